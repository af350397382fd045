//! A child process: what it says is kept, and it never outlives its test.

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use rustix::process::{Pid, Signal, kill_process};

use super::eventually;

/// A running program.
pub(crate) struct Child {
    name: String,
    process: std::process::Child,
    said: Arc<Mutex<Vec<String>>>,
    /// Holds the pipe also when nobody reads it any more.
    _ear: JoinHandle<Box<dyn Read + Send>>,
}

impl Child {
    /// Starts it and reads its standard error; where `deaf_after` is given, nothing after the first
    /// line with this text in it, so that the pipe fills up.
    pub(crate) fn start(command: &mut Command, deaf_after: Option<&'static str>) -> Self {
        let name = command.get_program().to_string_lossy().into_owned();
        let mut process = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{name} can't be started: {error}"));
        let said = Arc::<Mutex<Vec<String>>>::default();
        let pipe = process.stderr.take().unwrap();
        let kept = Arc::clone(&said);
        let ear = std::thread::spawn(move || -> Box<dyn Read + Send> {
            let mut pipe = BufReader::new(pipe);
            let mut line = String::new();
            while pipe.read_line(&mut line).is_ok_and(|length| length > 0) {
                let enough = deaf_after.is_some_and(|text| line.contains(text));
                kept.lock().unwrap().push(std::mem::take(&mut line));
                if enough {
                    break;
                }
            }
            Box::new(pipe)
        });
        Self {
            name,
            process,
            said,
            _ear: ear,
        }
    }

    /// Waits until it says something that `find` finds something in.
    pub(crate) fn hear<T>(&mut self, what: &str, find: impl Fn(&str) -> Option<T>) -> T {
        eventually(what, || {
            let found = self.said().iter().find_map(|line| find(line));
            let gone = found.is_none() && self.process.try_wait().unwrap().is_some();
            assert!(!gone, "{} ended instead of saying {what}", self.name);
            found
        })
    }

    /// The lines that it has said so far.
    pub(crate) fn said(&self) -> Vec<String> {
        self.said.lock().unwrap().clone()
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).unwrap();
    }

    /// Whether it has not ended yet.
    pub(crate) fn lives(&mut self) -> bool {
        self.process.try_wait().unwrap().is_none()
    }

    /// Waits for its end: the exit code, or nothing if a signal killed it.
    pub(crate) fn wait_exit(&mut self) -> Option<i32> {
        let name = &self.name;
        let status = eventually(&format!("{name} ends"), || self.process.try_wait().unwrap());
        status.code()
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
        if std::thread::panicking() {
            let said = self.said.lock().unwrap();
            let last = said.iter().rev().take(30).rev();
            eprintln!("{} said:\n{}", self.name, last.cloned().collect::<String>());
        }
    }
}
