//! The real binary: what it prints, and the exit code that scripts go by.

mod bad_input;
mod signals;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;

use insta::assert_snapshot;

use crate::rig::Rig;
use crate::runs::{LONG, spec, step};

/// A folder with a configuration in it.
struct Folder {
    folder: tempfile::TempDir,
}

impl Folder {
    /// One target, one probe of everything, and these specs.
    fn new(endpoint: &str, specs: &str) -> Self {
        Self::with(
            &format!(
                "[tester]\ninstance = \"it\"\nspecs = [\"specs.toml\"]\nstop_grace = \"5m\"\n\
                 state_dir = \"state\"\n[cleanup]\nsettle = \"100ms\"\n\
                 [target.rig]\ntype = \"http\"\nendpoint = \"{endpoint}\"\n\
                 [[probe]]\nname = \"all\"\ntarget = \"rig\"\ninterval = \"1m\"\n"
            ),
            specs,
        )
    }

    fn with(config: &str, specs: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("testerd.toml"), config).unwrap();
        std::fs::write(folder.path().join("specs.toml"), specs).unwrap();
        Self { folder }
    }

    fn config(&self) -> PathBuf {
        self.folder.path().join("testerd.toml")
    }

    /// A text without the folder's own path.
    fn relative(&self, bytes: &[u8]) -> String {
        let path = format!("{}/", self.folder.path().display());
        String::from_utf8_lossy(bytes).replace(&path, "")
    }
}

fn testerd(arguments: &[&str], config: Option<&Path>) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_testerd"));
    command.args(arguments);
    if let Some(config) = config {
        command.arg("--config.file").arg(config);
    }
    let piped = command.stdin(Stdio::null()).stdout(Stdio::piped());
    piped.stderr(Stdio::piped()).spawn().unwrap()
}

/// Waits for the end, but not for ever.
fn ended(child: Child) -> Output {
    let pid = rustix::process::Pid::from_child(&child);
    let (send, receive) = mpsc::channel();
    std::thread::spawn(move || send.send(child.wait_with_output()));
    let Ok(output) = receive.recv_timeout(3 * LONG) else {
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        panic!("it did not end");
    };
    output.unwrap()
}

fn run(arguments: &[&str], folder: &Folder) -> Output {
    ended(testerd(arguments, Some(&folder.config())))
}

/// What it said with this exit code: standard output and standard error.
fn check(arguments: &[&str], folder: &Folder, code: i32) -> (String, String) {
    let output = run(arguments, folder);
    let out = folder.relative(&output.stdout);
    let err = folder.relative(&output.stderr);
    assert_eq!(
        output.status.code(),
        Some(code),
        "{arguments:?}\n{out}{err}"
    );
    assert!(!err.contains("panicked"), "{err}");
    (out, err)
}

/// Three specs: one that passes, one that fails, one that nobody can judge.
fn three() -> String {
    let named = |name: &str, tags: &str, step: String| {
        spec(&format!("tags = {tags}"), &[step]).replacen("\"s\"", &format!("\"{name}\""), 1)
    };
    let echo = "method = \"POST\"\nbody = '{}'\nheaders = { x = \"${run.id}\" }";
    let capture = "capture = { id = \"json:/echo\" }";
    let unclear = [
        step("first", "/json", &format!("{echo}\n{capture}")),
        step("second", "/items/${first.id}", ""),
    ];
    [
        named("good", "[\"a\", \"b\"]", step("look", "/ok", "")),
        named("bad", "[\"b\"]", step("look", "/status/500", "")),
        named("unclear", "[\"c\"]", unclear.concat()),
    ]
    .concat()
}

#[test]
fn exit_codes_tell_what_happened() {
    let rig = Rig::start();
    let folder = Folder::new(&rig.url(), &three());
    check(&["run", "--tag", "a"], &folder, 0);
    check(&["run", "--name", "go*", "--name", "g*d"], &folder, 0);
    check(&["run", "--target", "rig", "--tag", "a"], &folder, 0);
    assert_eq!((rig.count("/ok"), rig.count("/status/500")), (3, 0));
    check(&["run", "--tag", "b"], &folder, 1);
    check(&["run", "--name", "unclear"], &folder, 4);
    // A failure tells more than what could not be judged.
    check(&["run"], &folder, 1);

    let before = rig.connections();
    for nothing in [
        ["--tag", "none"],
        ["--name", "none"],
        ["--target", "none"],
        ["--no-such-flag", "x"],
        ["--name", "[a"],
    ] {
        let (out, err) = check(&[&["run"], &nothing[..]].concat(), &folder, 2);
        assert!(out.is_empty() && !err.is_empty(), "{nothing:?}");
    }
    check(
        &["run", "--tag", "a", "--log.level", "no=such=level"],
        &folder,
        2,
    );
    check(&["frobnicate"], &folder, 2);
    check(&[], &folder, 2);
    assert_eq!(rig.connections(), before);
}

#[test]
fn a_run_can_be_told_to_scripts() {
    let rig = Rig::start();
    let requires = |path: &str| {
        format!("[[spec.requires]]\nname = \"asked\"\nuse = \"http\"\npath = \"{path}\"\n")
    };
    let foreign = spec("", &[requires("/status/404"), step("look", "/ok", "")]);
    // What only a part of a spec requires leaves out that part.
    let part = requires("/status/404").replace("spec.", "spec.steps.");
    let inner = step("inner", "/ok", "").replace("spec.", "spec.steps.");
    let partly = format!(
        "{}{}[[spec.steps]]\nname = \"part\"\n{part}{inner}",
        spec("", &[step("look", "/ok", "")]),
        step("tried", "/status/500", "allow_failure = true"),
    );
    let specs = [
        three(),
        foreign.replacen("\"s\"", "\"foreign\"", 1),
        partly.replacen("\"s\"", "\"partly\"", 1),
    ];
    let folder = Folder::new(&rig.url(), &specs.concat());
    let (out, _) = check(&["run", "--json"], &folder, 1);
    let mut told: Vec<serde_json::Value> = out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    told.sort_by_key(|run| run["spec"].to_string());
    let words = told.iter().map(|run| {
        let keys = [
            "target", "spec", "variant", "verdict", "reason", "step", "phase",
        ];
        let words = keys.map(|key| run[key].as_str().unwrap_or("-"));
        assert!(run["duration_seconds"].as_f64().unwrap() > 0.0);
        assert_eq!(run["trace_id"].as_str().unwrap().len(), 32);
        let others = run["other_steps"].as_array().unwrap().iter();
        let others = others.map(|step| {
            assert!(step["message"].as_str().unwrap().contains("status"));
            format!("{} {} {}", step["step"], step["reason"], step["allowed"])
        });
        [words.join(" ")]
            .into_iter()
            .chain(others)
            .collect::<Vec<_>>()
            .join("; ")
    });
    assert_snapshot!(words.collect::<Vec<_>>().join("\n"), @r#"
    rig bad  fail status look body
    rig foreign  not_applicable not_applicable asked body
    rig good  pass - - -
    rig partly  pass - - -; "tried" "status" true; "asked" "not_applicable" false
    rig unclear  error input second body
    "#);
    assert!(told[0]["message"].as_str().unwrap().contains("500"));
    // What the target lacks is no failure of anybody.
    check(&["run", "--name", "foreign"], &folder, 0);
}

#[test]
fn a_bad_configuration_starts_nothing() {
    let rig = Rig::start();
    let folder = Folder::new(&rig.url(), &format!("{}\nnme = 1\n", three()));
    for command in [
        &["check"][..],
        &["run"],
        &["list"],
        &["serve"],
        &["serve", "--config.check"],
    ] {
        let (out, err) = check(command, &folder, 3);
        assert!(out.is_empty(), "{out}");
        assert!(
            err.ends_with("testerd.toml: 1 problem, nothing was started\n"),
            "{err}"
        );
    }
    assert_eq!(rig.connections(), 0);
}

#[test]
fn check_says_what_a_plan_costs() {
    let folder = Folder::new("http://127.0.0.1:9", &three());
    let (out, err) = check(&["check"], &folder, 0);
    assert!(err.is_empty(), "{err}");
    assert_snapshot!(out, @r"
    ok: 3 of 3 specs, 3 variants scheduled by 1 probe on 1 target
      runs per hour         180
      requests per second   0.1 at most
      series                247 (limit 200000)
      longest wait          none: each target has a place for each of its runs
      longest teardown      0s
      stop timeout          0s lets every teardown end; stop_grace is 5m
    ");
    let (same, _) = check(&["serve", "--config.check"], &folder, 0);
    assert_eq!(same, out);
}

#[test]
fn output_that_is_lost_is_an_error() {
    let rig = Rig::start();
    let folder = Folder::new(&rig.url(), &three());
    for command in [
        &["check"][..],
        &["list"],
        &["list", "--json"],
        &["run"],
        &["run", "--json"],
        &["sweep"],
        &["sweep", "--list"],
        &["--help"],
        &["--version"],
        &["run", "--help"],
    ] {
        let full = std::fs::File::options()
            .write(true)
            .open("/dev/full")
            .unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_testerd"))
            .args(command)
            .arg("--config.file")
            .arg(folder.config())
            .stdout(full)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(4), "{command:?}: {said}");
        assert!(said.contains("standard output"), "{command:?}: {said}");
    }
}

/// Standard output may be a file that must not grow: no signal ends whoever writes to it.
#[test]
fn output_beyond_the_limit_of_files_is_an_error() {
    let rig = Rig::start();
    let folder = Folder::new(&rig.url(), &three());
    let output = folder.folder.path().join("output");
    for command in [
        "check",
        "list",
        "list --json",
        "run",
        "run --json",
        "sweep --list",
    ] {
        let script = "ulimit -f 0; exec \"$0\" $1 --config.file \"$2\" > \"$3\"";
        let told = Command::new("sh")
            .args(["-c", script, env!("CARGO_BIN_EXE_testerd"), command])
            .arg(folder.config())
            .arg(&output)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&told.stderr);
        assert_eq!(told.status.code(), Some(4), "{command}: {said}");
        assert!(!said.is_empty(), "{command}");
    }
}

#[test]
fn check_says_what_a_hung_target_costs() {
    let specs: String = (0..15)
        .map(|number| {
            let step = "[[spec.steps]]\nname = \"look\"\nuse = \"http\"\npath = \"/\"\n";
            format!("[[spec]]\nname = \"s{number}\"\ntimeout = \"10s\"\n{step}")
        })
        .collect();
    let none = "none: each target has a place for each of its runs";
    // Targets, their `concurrency`, the interval of their probes.
    for (targets, concurrency, interval, said) in [
        (1, 15, "1m", none),
        (
            1,
            10,
            "15s",
            "15s on t0 if it hangs: 15 runs share 10 places",
        ),
        (
            1,
            4,
            "15s",
            "38s on t0 if it hangs: 15 runs share 4 places (longer than its interval of 15s: slots are skipped then)",
        ),
        (
            2,
            20,
            "15s",
            "19s on t1 if it hangs: 15 runs share 8 places (longer than its interval",
        ),
    ] {
        let mut config = "[tester]\nspecs = [\"specs.toml\"]\nconcurrency = 17\n".to_owned();
        for number in 0..targets {
            config += &format!(
                "[target.t{number}]\ntype = \"http\"\nendpoint = \"http://127.0.0.1:9\"\n\
                 concurrency = {concurrency}\n\
                 [[probe]]\ntarget = \"t{number}\"\ninterval = \"{interval}\"\n"
            );
        }
        let (out, _) = check(&["check"], &Folder::with(&config, &specs), 0);
        let row = out
            .lines()
            .find(|line| line.contains("longest wait"))
            .unwrap();
        assert!(row.contains(said), "{row}");
    }
}

#[test]
fn list_shows_every_spec_and_who_runs_it() {
    let config = "[tester]\nspecs = [\"specs.toml\"]\nstate_dir = \"state\"\n\
                  [target.rig]\ntype = \"http\"\nendpoint = \"http://127.0.0.1:9\"\n\
                  [[probe]]\ntarget = \"rig\"\ntags = [\"b\"]\ninterval = \"90s\"\n";
    let folder = Folder::with(config, &three());
    assert_snapshot!(check(&["list"], &folder, 0).0, @r"
    TARGET  SPEC     VARIANT  PROBE  EVERY   TAGS
    rig     bad      -        rig-b  1m 30s  b
    rig     good     -        rig-b  1m 30s  a,b
    -       unclear  -        -      -       c
    ");
    assert_snapshot!(check(&["list", "--tag", "a"], &folder, 0).0, @r"
    TARGET  SPEC  VARIANT  PROBE  EVERY   TAGS
    rig     good  -        rig-b  1m 30s  a,b
    ");
    assert_snapshot!(check(&["list", "--target", "none"], &folder, 0).0, @r"
    TARGET  SPEC  VARIANT  PROBE  EVERY  TAGS
    ");

    let (out, _) = check(&["list", "--json"], &folder, 0);
    let listing: serde_json::Value = serde_json::from_str(&out).unwrap();
    let names = |list: &str, key: &str| {
        let rows = listing[list].as_array().unwrap();
        let names = rows.iter().map(|row| row[key].as_str().unwrap().to_owned());
        names.collect::<Vec<_>>()
    };
    assert_eq!(names("specs", "name"), ["bad", "good", "unclear"]);
    assert_eq!(names("scheduled", "spec"), ["bad", "good"]);
    assert_eq!(listing["scheduled"][0]["interval_seconds"], 90.0);
    assert_eq!(
        listing["scheduled"][0]["steps"],
        serde_json::json!(["look"])
    );
}

#[test]
fn help_names_every_command() {
    let help = ended(testerd(&["--help"], None));
    assert_eq!(help.status.code(), Some(0));
    let help = String::from_utf8(help.stdout).unwrap();
    for command in ["serve", "check", "list", "run", "demo"] {
        assert!(
            help.contains(&format!("\n  {command} ")),
            "{command}: {help}"
        );
        let own = ended(testerd(&[command, "--help"], None));
        assert_eq!(own.status.code(), Some(0), "{command}");
    }
    let version = ended(testerd(&["--version"], None));
    assert_eq!(version.status.code(), Some(0));
    let expected = format!("testerd {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(String::from_utf8(version.stdout).unwrap(), expected);
}

#[test]
fn a_literal_secret_is_warned_of_and_not_shown() {
    let rig = Rig::start();
    let config = format!(
        "[tester]\nspecs = [\"specs.toml\"]\nstate_dir = \"state\"\n\
         [target.rig]\ntype = \"http\"\nendpoint = \"{}\"\nauth = {{ bearer = \"hush-hush-42\" }}\n\
         [[probe]]\ntarget = \"rig\"\ninterval = \"1m\"\n",
        rig.url()
    );
    let echo = "method = \"POST\"\njson = {}\nexpect = { text = \"@\" }";
    let folder = Folder::with(&config, &spec("", &[step("echo", "/json", echo)]));
    for (arguments, code) in [
        (&["check"][..], 0),
        (&["list", "--json"], 0),
        (&["run"], 1),
        (&["run", "--log.level", "trace"], 1),
    ] {
        let (out, err) = check(arguments, &folder, code);
        assert!(err.contains("testerd.toml:7:"), "{err}");
        assert!(err.contains("warning"), "{err}");
        assert!(
            !format!("{out}{err}").contains("hush-hush-42"),
            "{out}{err}"
        );
    }
}

#[test]
fn a_file_that_cannot_be_read_now_is_warned_of() {
    let config = "[tester]\nspecs = [\"specs.toml\"]\n\
         [target.rig]\ntype = \"http\"\nendpoint = \"https://a\"\ntls = { ca_file = \"no-ca.pem\" }\n\
         [[probe]]\ntarget = \"rig\"\ninterval = \"1m\"\n";
    let send = "method = \"POST\"\nbody_file = \"there.json\"\nexpect = { schema_file = \"no-schema.json\" }";
    let folder = Folder::with(config, &spec("", &[step("send", "/", send)]));
    std::fs::write(folder.folder.path().join("there.json"), "{}").unwrap();
    let (_, err) = check(&["check"], &folder, 0);
    let warned: Vec<_> = err
        .lines()
        .filter(|line| line.contains("warning"))
        .collect();
    assert_eq!(warned.len(), 2, "{err}");
    for (key, file) in [
        ("tls.ca_file", "no-ca.pem"),
        ("schema_file", "no-schema.json"),
    ] {
        let is_told = |line: &&str| line.contains(key) && line.contains(file);
        assert!(warned.iter().any(is_told), "{err}");
    }
}
