//! No descriptors left: the built program under a limit that its runs exceed. That says nothing of
//! any target, however it shows.

use std::process::Command;

use serde_json::Value;

use super::{Do, Server};
use crate::authority::Authority;
use crate::rig::Rig;

/// So many descriptors.
const LIMIT: usize = 60;

/// So many runs at once, all of which hold a connection for as long as they may: a third of them,
/// those of one target, take more than there is.
const RUNS: usize = 240;

#[test]
fn no_descriptors_left_is_our_own_fault() {
    let rig = Rig::start();
    // Nobody there shakes hands.
    let mute = Server::start(vec![Do::Hold], None);
    let folder = tempfile::tempdir().unwrap();
    let ca = Authority::new("ours").write(folder.path());
    let port = rig.url().rsplit(':').next().unwrap().to_owned();
    let rows: Vec<_> = (0..RUNS / 3)
        .map(|n| format!("{{ variant = \"v{n}\" }}"))
        .collect();
    let specs = format!(
        "[[spec]]\nname = \"s\"\ntimeout = \"4s\"\nmatrix = [{}]\n\
         [[spec.steps]]\nname = \"look\"\nuse = \"http\"\npath = \"/hang\"\n",
        rows.join(", ")
    );
    let probe = |target: &str| {
        format!("[[probe]]\nname = \"{target}\"\ntarget = \"{target}\"\ninterval = \"1m\"\n")
    };
    let config = format!(
        "[tester]\ninstance = \"it\"\nspecs = [\"specs.toml\"]\nstate_dir = \"state\"\n\
         concurrency = {RUNS}\n\
         [target.address]\ntype = \"http\"\nendpoint = \"http://127.0.0.1:{port}\"\n\
         [target.name]\ntype = \"http\"\nendpoint = \"http://localhost:{port}\"\n\
         address_family = \"ipv4\"\n\
         [target.tls]\ntype = \"http\"\nendpoint = \"https://{}\"\n\
         tls = {{ ca_file = \"{}\" }}\n{}{}{}",
        mute.address(),
        ca.display(),
        probe("address"),
        probe("name"),
        probe("tls"),
    );
    std::fs::write(folder.path().join("testerd.toml"), config).unwrap();
    std::fs::write(folder.path().join("specs.toml"), specs).unwrap();
    let output = Command::new("sh")
        .arg("-c")
        .arg(format!("ulimit -n {LIMIT}; exec \"$0\" \"$@\""))
        .arg(env!("CARGO_BIN_EXE_testerd"))
        .args(["run", "--json", "--config.file"])
        .arg(folder.path().join("testerd.toml"))
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    let said = String::from_utf8_lossy(&output.stderr);
    let runs: Vec<Value> = told
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(runs.len(), RUNS, "{said}");
    let mut without: Vec<&str> = Vec::new();
    for run in &runs {
        match run["verdict"].as_str().unwrap() {
            "error" => {
                assert_eq!(run["reason"], "resources", "{run}");
                let message = run["message"].as_str().unwrap();
                assert!(message.contains("Too many open files"), "{run}");
                without.push(run["target"].as_str().unwrap());
            }
            // It had a connection, and waited.
            _ => assert!(run["reason"] == "timeout", "{run}"),
        }
    }
    assert!(without.len() >= RUNS - LIMIT, "{} of {RUNS}", without.len());
    for target in ["address", "name", "tls"] {
        assert!(without.contains(&target), "{target} found enough");
    }
}
