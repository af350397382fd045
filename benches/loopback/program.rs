//! Programs beside which, or with which, is measured: testerd itself in release, and others. Each is
//! killed when it is dropped.

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// A running program.
pub(crate) struct Program {
    child: Child,
    /// Keeps its files.
    _folder: Option<TempDir>,
}

impl Program {
    pub(crate) fn start(command: &mut Command, folder: Option<TempDir>) -> Self {
        let started = command.stdin(Stdio::null()).spawn();
        let name = command.get_program().to_string_lossy();
        Self {
            child: started.unwrap_or_else(|error| panic!("{name} can't be started: {error}")),
            _folder: folder,
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A running daemon that logs the phases of every request.
pub(crate) struct Daemon {
    _program: Program,
    log: BufReader<ChildStderr>,
}

/// The phases of one request, in seconds, as the daemon logged them.
pub(crate) struct Logged {
    pub(crate) spec: String,
    pub(crate) run: String,
    fields: Value,
}

impl Logged {
    pub(crate) fn phase(&self, name: &str) -> Option<f64> {
        self.fields[name].as_f64()
    }
}

impl Daemon {
    /// Starts it with these targets and probes, and these specs.
    pub(crate) fn start(config: &str, specs: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("testerd.toml");
        let own = "[tester]\ninstance = \"bench\"\nspecs = [\"specs.toml\"]\n\
             state_dir = \"state\"\nconcurrency = 1000\n[server]\nlisten = \"127.0.0.1:0\"\n";
        std::fs::write(&file, format!("{own}{config}")).unwrap();
        std::fs::write(folder.path().join("specs.toml"), specs).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_testerd"));
        command.args(["serve", "--log.format=json", "--log.level=testerd=debug"]);
        command
            .arg("--config.file")
            .arg(file)
            .stderr(Stdio::piped());
        let mut program = Program::start(&mut command, Some(folder));
        let log = BufReader::new(program.child.stderr.take().unwrap());
        Self {
            _program: program,
            log,
        }
    }

    /// The next request of a spec whose name begins like this. Anything that goes wrong ends it all.
    pub(crate) fn next(&mut self, spec: &str) -> Logged {
        loop {
            let mut line = String::new();
            self.log.read_line(&mut line).unwrap();
            let fields: Value = serde_json::from_str(&line)
                .unwrap_or_else(|error| panic!("{error}: the daemon said {line:?}"));
            let level = fields["level"].as_str().unwrap_or_default();
            assert!(!["WARN", "ERROR"].contains(&level), "{line}");
            let text = |key: &str| fields[key].as_str().unwrap_or_default().to_owned();
            if fields["message"] == "http request" && text("spec").starts_with(spec) {
                return Logged {
                    spec: text("spec"),
                    run: text("run"),
                    fields,
                };
            }
        }
    }
}

/// A port that is free now.
pub(crate) fn free() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

/// Waits until somebody listens there.
pub(crate) fn listens(address: SocketAddr) {
    let begun = Instant::now();
    while TcpStream::connect(address).is_err() {
        assert!(
            begun.elapsed() < Duration::from_secs(20),
            "{address} is silent"
        );
        std::thread::yield_now();
    }
}
