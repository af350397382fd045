//! One installation: a configuration, specs and a state directory, beside the rig that they are
//! about; and every way to start the program on them.

use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

use super::{LONG, SPECS, probe};
use crate::e2e::child::Child;
use crate::e2e::eventually;
use crate::rig::{Fault, Rig};

const PROGRAM: &str = env!("CARGO_BIN_EXE_testerd");

/// What the daemon says once it listens.
const RUNNING: &str = "testerd is running";

/// The installation. Dropped, it is gone.
pub(super) struct Site {
    pub(super) rig: Rig,
    folder: TempDir,
}

/// How a command ended, and what it said.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) code: Option<i32>,
    pub(super) out: String,
    pub(super) err: String,
}

impl Site {
    /// Specs as in [`SPECS`]; settings as dotted keys, and probes, as given.
    pub(super) fn new(settings: &str, probes: &str) -> Self {
        let site = Self {
            rig: Rig::start(),
            folder: tempfile::tempdir().unwrap(),
        };
        site.write("specs.toml", SPECS);
        site.configure(settings, probes);
        site
    }

    /// Writes the configuration anew.
    pub(super) fn configure(&self, settings: &str, probes: &str) {
        let endpoint = self.rig.url();
        let text = format!(
            "tester.instance = \"crash\"\ntester.specs = [\"specs.toml\"]\ntester.state_dir = \"state\"\n\
             {settings}\n[target.rig]\ntype = \"http\"\nendpoint = \"{endpoint}\"\n{probes}"
        );
        self.write("testerd.toml", &text);
    }

    pub(super) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    /// Changes something in a file.
    pub(super) fn edit(&self, name: &str, from: &str, to: &str) {
        let text = std::fs::read_to_string(self.path(name)).unwrap();
        assert!(text.contains(from), "{name} has no {from}");
        self.write(name, &text.replace(from, to));
    }

    /// A file of the installation.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(super) fn command(&self, command: &str, arguments: &[&str]) -> Command {
        let mut testerd = Command::new(PROGRAM);
        testerd.args([command, "--config.file"]);
        testerd.arg(self.path("testerd.toml")).args(arguments);
        // What other tests leave there is not looked at.
        testerd.env("TMPDIR", self.folder.path());
        testerd
    }

    /// Starts a command and does not wait for anything. It is killed when it is dropped.
    pub(super) fn start(&self, command: &str, arguments: &[&str]) -> Child {
        Child::start(&mut self.command(command, arguments), None)
    }

    /// Starts the daemon and does not wait for anything.
    pub(super) fn begin(&self) -> Child {
        self.start("serve", &["--web.listen-address", "127.0.0.1:0"])
    }

    /// Starts the daemon, and waits until it runs.
    pub(super) fn serve(&self) -> Child {
        let mut daemon = self.begin();
        daemon.hear("that it runs", |line| line.contains(RUNNING).then_some(()));
        daemon
    }

    /// Runs a command to its end.
    pub(super) fn run(&self, command: &str, arguments: &[&str]) -> Ended {
        Ended::of(&mut self.command(command, arguments))
    }
}

impl Ended {
    /// Runs a program to its end.
    pub(super) fn of(program: &mut Command) -> Self {
        let output = program.output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Self {
            code: output.status.code(),
            out: text(output.stdout),
            err: text(output.stderr),
        }
    }
}

impl Site {
    /// `testerd sweep`.
    pub(super) fn sweep(&self, arguments: &[&str]) -> Ended {
        self.run("sweep", arguments)
    }

    /// What `testerd sweep --list` says is owed, a line each.
    pub(super) fn owed(&self) -> Vec<String> {
        let listed = self.sweep(&["--list"]);
        assert_eq!(listed.code, Some(0), "{listed:?}");
        let lines = listed.out.lines().filter(|line| *line != "nothing is owed");
        lines.map(str::to_owned).collect()
    }

    /// Makes one item whose deletion is owed, under the id that is returned: a run of `single` is
    /// killed before it can delete. The configuration then is one that makes nothing.
    pub(super) fn crash(&self, settings: &str) -> String {
        let before = self.rig.alive().len();
        self.configure(settings, &probe("single", "100ms"));
        self.rig.snare("DELETE /items/{id}", 1, Some(Fault::Hang));
        let daemon = self.serve();
        assert!(self.rig.has_snared(LONG), "nothing was deleted");
        drop(daemon);
        assert_eq!(self.rig.alive().len(), before + 1);
        self.configure(settings, &probe("idle", "100ms"));
        let owed = self.owed();
        let last = owed.last().expect("something is owed");
        last.split_whitespace().next().unwrap().to_owned()
    }

    /// Waits until nothing is owed.
    pub(super) fn settles(&self, what: &str) {
        eventually(&format!("nothing is owed: {what}"), || {
            self.owed().is_empty().then_some(())
        });
    }
}

impl Ended {
    /// Asserts how it ended, and that it said this somewhere.
    pub(super) fn says(&self, code: i32, text: &str) {
        assert_eq!(self.code, Some(code), "{self:?}");
        let said = self.out.contains(text) || self.err.contains(text);
        assert!(said, "no `{text}` in {self:?}");
    }
}
