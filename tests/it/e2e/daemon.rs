//! The daemon itself, as systemd and Prometheus meet it: started on files, asked over HTTP,
//! stopped by a signal.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;

use super::child::Child;
use super::page::Page;
use super::{eventually, seen};
use crate::rig::{Told, ask_with};

const PROGRAM: &str = env!("CARGO_BIN_EXE_testerd");

/// What it says once it listens.
const RUNNING: &str = "testerd is running";

/// A running daemon. It is killed when it is dropped.
pub(super) struct Daemon {
    child: Child,
    url: String,
    /// Keeps its files.
    folder: TempDir,
}

impl Daemon {
    /// Starts it on a configuration, whose targets and probes are given, and its specs.
    pub(super) fn start(config: &str, specs: &str) -> Self {
        Self::start_with(config, specs, &[])
    }

    /// The same beside other files.
    pub(super) fn start_with(config: &str, specs: &str, files: &[(&str, &str)]) -> Self {
        let folder = write(config, specs);
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        Self::spawn(&mut serve(&folder), None, folder)
    }

    /// The same with all the log there is, which nobody reads once it runs: the pipe is full then.
    pub(super) fn start_unheard(config: &str, specs: &str) -> Self {
        let folder = write(config, specs);
        let mut command = serve(&folder);
        command.arg("--log.level=debug");
        Self::spawn(&mut command, Some(RUNNING), folder)
    }

    /// The same with no more descriptors than these.
    pub(super) fn start_within(descriptors: u32, config: &str, specs: &str) -> Self {
        let folder = write(config, specs);
        let mut command = Command::new("sh");
        command.arg("-c");
        command.arg(format!("ulimit -n {descriptors}; exec \"$0\" \"$@\""));
        command.args([PROGRAM, "serve", "--config.file"]);
        command.arg(config_file(&folder));
        Self::spawn(&mut command, None, folder)
    }

    /// Starts the demo.
    pub(super) fn demo() -> Self {
        let mut command = Command::new(PROGRAM);
        command.arg("demo");
        Self::spawn(&mut command, None, tempfile::tempdir().unwrap())
    }

    fn spawn(command: &mut Command, deaf_after: Option<&'static str>, folder: TempDir) -> Self {
        // It takes a free port and says which: one that a test had found could be gone by then.
        command.args(["--web.listen-address", "127.0.0.1:0"]);
        let mut child = Child::start(command, deaf_after);
        let address = child.hear("its address", |line| {
            let (_, rest) = line.split_once("addresses=")?;
            let address = rest.split_whitespace().next()?.trim_matches('"');
            line.contains(RUNNING).then(|| address.to_owned())
        });
        let daemon = Self {
            child,
            url: format!("http://{address}"),
            folder,
        };
        eventually("ready", || {
            let told = daemon.ask("/-/ready")?;
            (told.status == 200).then_some(())
        });
        daemon
    }

    /// Where it listens, as `http://127.0.0.1:PORT`.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// `GET`, unless it is gone.
    pub(super) fn ask(&self, path: &str) -> Option<Told> {
        let url = format!("{}{path}", self.url);
        ask_with("GET", &url, &[], None, Duration::from_secs(10)).ok()
    }

    pub(super) fn scrape(&self) -> Page {
        self.try_scrape().expect("the daemon answers")
    }

    fn try_scrape(&self) -> Option<Page> {
        let told = self.ask("/metrics")?;
        assert_eq!(told.status, 200);
        Some(Page::parse(&told.text))
    }

    /// Scrapes until a page is as wanted.
    pub(super) fn comes_to(&self, what: &str, mut wanted: impl FnMut(&Page) -> bool) -> Page {
        let mut last = self.scrape();
        let seen = seen(|| {
            last = self.scrape();
            wanted(&last).then(|| last.clone())
        });
        seen.unwrap_or_else(|| panic!("it never came to: {what}\n{}", last.told()))
    }

    /// Puts another file into the place of one of its own.
    pub(super) fn replace(&self, name: &str, text: &str) {
        let new = self.folder.path().join("new");
        std::fs::write(&new, text).unwrap();
        std::fs::rename(new, self.folder.path().join(name)).unwrap();
    }

    /// Writes its configuration anew.
    pub(super) fn configure(&self, config: &str) {
        self.replace("testerd.toml", &configuration(config));
    }

    /// What `testerd sweep --list` says.
    pub(super) fn owed(&self) -> String {
        let output = Command::new(PROGRAM)
            .args(["sweep", "--list", "--config.file"])
            .arg(config_file(&self.folder))
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// The lines of its log that hold a text.
    pub(super) fn logged(&self, text: &str) -> usize {
        let said = self.child.said();
        said.iter().filter(|line| line.contains(text)).count()
    }

    /// What it takes of memory, in bytes, by a line of `/proc/PID/status`.
    pub(super) fn memory(&self, line: &str) -> u64 {
        let status = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(status).unwrap();
        let found = status.lines().find_map(|told| told.strip_prefix(line));
        let kib = found.unwrap().trim_matches([':', ' ', '\t', 'k', 'B']);
        kib.parse::<u64>().unwrap() * 1024
    }

    pub(super) fn signal(&self, signal: Signal) {
        self.child.signal(signal);
    }

    pub(super) fn wait_exit(&mut self) -> Option<i32> {
        self.child.wait_exit()
    }

    /// Ends it as systemd does, and goes on scraping, as Prometheus does: the last page, after
    /// which nothing is counted any more.
    pub(super) fn stop(&mut self) -> Page {
        let mut last = self.scrape();
        self.signal(Signal::TERM);
        eventually("gone after SIGTERM", || match self.try_scrape() {
            Some(page) => {
                last = page;
                None
            }
            None => (!self.child.lives()).then_some(()),
        });
        assert_eq!(self.wait_exit(), Some(0));
        last
    }
}

/// What `testerd check` says of a configuration.
pub(super) fn check(config: &str, specs: &str) -> String {
    let folder = write(config, specs);
    let output = Command::new(PROGRAM)
        .args(["check", "--config.file"])
        .arg(config_file(&folder))
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn serve(folder: impl AsRef<Path>) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(["serve", "--config.file"]);
    command.arg(config_file(folder));
    command
}

fn write(config: &str, specs: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("specs.toml"), specs).unwrap();
    std::fs::write(config_file(&folder), configuration(config)).unwrap();
    folder
}

fn configuration(rest: &str) -> String {
    let tester = "[tester]\ninstance = \"e2e\"\nspecs = [\"specs.toml\"]\nstate_dir = \"state\"\n";
    format!("{tester}{rest}")
}

fn config_file(folder: impl AsRef<Path>) -> PathBuf {
    folder.as_ref().join("testerd.toml")
}
