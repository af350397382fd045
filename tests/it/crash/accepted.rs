//! A start while a bad edit lies on the disk: what was accepted last is served, so that what is owed
//! is not left for a file to be mended.

use std::os::unix::fs::MetadataExt;

use super::probe;
use super::site::Site;
use crate::e2e::child::Child;
use crate::e2e::eventually;

const SETTINGS: &str = "cleanup.settle = \"1s\"\ntester.stop_grace = \"2s\"";

/// Probes that also follow a file of targets.
fn probes() -> String {
    let idle = probe("idle", "100ms");
    format!(
        "{idle}[target.more]\ntype = \"http\"\ntargets_file = \"more.json\"\n\
         [[probe]]\ntarget = \"more\"\nnames = [\"idle\"]\ninterval = \"1h\"\n"
    )
}

fn site() -> Site {
    let site = Site::new(SETTINGS, &probe("idle", "100ms"));
    site.write(
        "more.json",
        &format!("[{{\"targets\": [\"{}\"]}}]", site.rig.url()),
    );
    site
}

/// Where a daemon listens, as it said.
fn address(daemon: &mut Child) -> String {
    daemon.hear("where it listens", |line| {
        let (_, rest) = line.split_once("addresses=")?;
        let address = rest.split_whitespace().next()?.trim_matches('"');
        Some(address.to_owned())
    })
}

fn get(address: &str, path: &str) -> String {
    let mut answer = ureq::get(format!("http://{address}{path}")).call().unwrap();
    answer.body_mut().read_to_string().unwrap()
}

fn is_current(address: &str) -> bool {
    let metrics = get(address, "/metrics");
    let line = "testerd_config_last_reload_successful ";
    let value = metrics.lines().find_map(|text| text.strip_prefix(line));
    value.expect("there is the metric") == "1"
}

type Edit = (&'static str, fn(&Site));

/// What people do to their files.
const EDITS: [Edit; 8] = [
    ("no TOML", |site| {
        site.edit("testerd.toml", "[target.rig]", "[target.rig");
    }),
    ("an unknown key", |site| {
        site.edit("testerd.toml", "[target.rig]", "[target.rig]\noops = 1");
    }),
    ("emptied", |site| site.write("testerd.toml", "")),
    ("no list of specs", |site| {
        site.edit("testerd.toml", "\"specs.toml\"", "\"none.toml\"");
    }),
    ("a spec that is no TOML", |site| {
        site.write("specs.toml", "[[spec");
    }),
    ("a spec that is gone", |site| {
        std::fs::remove_file(site.path("specs.toml")).unwrap();
    }),
    ("targets that are none", |site| site.write("more.json", "{")),
    ("no UTF-8", |site| {
        std::fs::write(
            site.path("testerd.toml"),
            b"tester.state_dir = \"state\"\n\xff",
        )
        .unwrap();
    }),
];

#[test]
fn what_was_accepted_last_is_served() {
    for (what, edit) in EDITS {
        let site = site();
        let crashed = site.crash(SETTINGS);
        site.configure(SETTINGS, &probes());
        drop(site.serve());
        let kept = site.path("state/accepted.json");
        assert_eq!(kept.metadata().unwrap().mode() & 0o777, 0o600);
        let files = ["testerd.toml", "specs.toml", "more.json"];
        let good = files.map(|name| std::fs::read_to_string(site.path(name)).unwrap());
        edit(&site);
        // Whoever asks what is right is told, and nothing else is strict about.
        for command in ["check", "run"] {
            site.run(command, &[]).says(3, "nothing was started");
        }
        // Where the directory is, is not found in every file: the unit tells it.
        let mut command = site.command("serve", &["--web.listen-address", "127.0.0.1:0"]);
        command.env("STATE_DIRECTORY", site.path("state"));
        let mut daemon = Child::start(&mut command, None);
        daemon.hear("that it serves another", |line| {
            line.contains("accepted last is running").then_some(())
        });
        let address = address(&mut daemon);
        assert!(!is_current(&address), "{what}");
        assert!(get(&address, "/").contains("was refused"), "{what}");
        eventually(&format!("{crashed} is undone: {what}"), || {
            site.rig.alive().is_empty().then_some(())
        });
        for (name, text) in files.iter().zip(&good) {
            site.write(name, text);
        }
        daemon.signal(rustix::process::Signal::HUP);
        eventually(&format!("it is taken on again: {what}"), || {
            is_current(&address).then_some(())
        });
        assert!(!get(&address, "/").contains("was refused"), "{what}");
    }
}

#[test]
fn what_was_accepted_elsewhere_is_not() {
    let site = site();
    site.write("testerd.toml", "oops");
    let refused = || site.run("serve", &["--web.listen-address", "127.0.0.1:0"]);
    refused().says(3, "nothing was started");
    // A good one, then another file with the same directory.
    site.configure(SETTINGS, &probe("idle", "100ms"));
    drop(site.serve());
    let good = std::fs::read_to_string(site.path("testerd.toml")).unwrap();
    let kept = std::fs::read_to_string(site.path("state/accepted.json")).unwrap();
    let broken = good.replace("[target.rig]", "[target.rig");
    site.write("testerd.toml", &broken);
    let other = site.path("other.toml").display().to_string();
    let mine = site.path("testerd.toml").display().to_string();
    for changed in [
        kept.replace(&mine, &other),
        kept.replace("\"version\":1", "\"version\":2"),
        kept[..kept.len() / 2].to_owned(),
        String::new(),
    ] {
        assert_ne!(changed, kept);
        site.write("state/accepted.json", &changed);
        refused().says(3, "nothing was started");
    }
}
