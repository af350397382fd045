//! SIGTERM and SIGINT: the first cleans up, the second does not wait for that.

use std::process::Child;

use rustix::process::{Pid, Signal, kill_process};

use super::{Folder, ended, testerd};
use crate::rig::{Fault, Rig};
use crate::runs::{LONG, spec, step, wrap};

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

/// An item, and inside it a step that hangs.
fn hangs() -> String {
    let keys = "timeout = \"1h\"";
    spec(
        keys,
        &[
            wrap("item", "teardown_timeout = \"1h\""),
            step("hangs", "/hang", ""),
        ],
    )
}

#[test]
fn the_first_signal_ends_a_single_run_and_cleans_up() {
    for first in [Signal::TERM, Signal::INT] {
        let rig = Rig::start();
        let folder = Folder::new(&rig.url(), &hangs());
        let child = testerd(&["run"], Some(&folder.config()));
        assert!(rig.reaches("/hang", 1, LONG));
        signal(&child, first);
        let output = ended(child);
        assert_eq!(output.status.code(), Some(4), "nothing was concluded");
        assert_eq!((rig.created().len(), rig.deleted().len()), (1, 1));
    }
}

/// Two different signals, because two of a kind may arrive as one.
#[test]
fn the_second_signal_does_not_wait() {
    for command in [
        &["run"][..],
        &["serve", "--web.listen-address", "127.0.0.1:0"],
    ] {
        let rig = Rig::start();
        rig.fail("DELETE /items/{id}", Fault::Hang);
        let specs = hangs().replace("path = \"/hang", "path = \"/ok");
        let folder = Folder::new(&rig.url(), &specs);
        let config = std::fs::read_to_string(folder.config()).unwrap();
        let often = config.replace("interval = \"1m\"", "interval = \"1s\"");
        std::fs::write(folder.config(), often).unwrap();
        let child = testerd(command, Some(&folder.config()));
        assert!(rig.reaches("DELETE /items/{id}", 1, LONG));
        signal(&child, Signal::TERM);
        signal(&child, Signal::INT);
        let output = ended(child);
        assert_eq!(output.status.code(), Some(130), "{command:?}");
        assert_eq!(rig.alive().len(), 1);
    }
}

#[test]
fn a_daemon_that_is_stopped_leaves_nothing_behind() {
    let rig = Rig::start();
    let folder = Folder::new(&rig.url(), &hangs());
    let config = std::fs::read_to_string(folder.config()).unwrap();
    let often = config.replace("interval = \"1m\"", "interval = \"1s\"");
    std::fs::write(folder.config(), often).unwrap();
    let child = testerd(
        &["serve", "--web.listen-address", "127.0.0.1:0"],
        Some(&folder.config()),
    );
    assert!(rig.reaches("/hang", 1, LONG));
    assert_eq!(rig.alive().len(), 1);
    signal(&child, Signal::TERM);
    let output = ended(child);
    let log = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{log}");
    assert!(rig.alive().is_empty(), "{log}");
    assert!(!log.contains("left behind"), "{log}");
}

#[test]
fn a_single_run_says_what_it_left_behind() {
    let rig = Rig::start();
    rig.fail("DELETE /items/{id}", Fault::Status(500));
    let specs = spec("", &[wrap("item", ""), step("look", "/ok", "")]);
    let folder = Folder::new(&rig.url(), &specs);
    let config = std::fs::read_to_string(folder.config()).unwrap();
    let brief = config.replace("stop_grace = \"5m\"", "stop_grace = \"1s\"");
    std::fs::write(folder.config(), brief).unwrap();
    let (_, err) = super::check(&["run"], &folder, 1);
    let expected = format!(
        "still owed: http.resource of step item on rig ({}",
        rig.url()
    );
    assert!(err.contains(&expected), "{err}");
}

/// Whoever asks for a reload does not know how far the start has come. What comes before the first
/// instruction nobody can catch, so it is asked once the process has said something to systemd's
/// stand-in; a hundred at once are no more than one.
#[test]
fn a_hangup_never_ends_a_daemon() {
    let rig = Rig::start();
    let folder = Folder::new(&rig.url(), &hangs());
    let name = format!("testerd-test-{}-hangup", std::process::id());
    let systemd = Systemd::new(&name);
    for _ in 0..10 {
        let mut command = Systemd::serve(&folder, &format!("@{name}"));
        let child = command.spawn().unwrap();
        systemd.hears("READY=1");
        for _ in 0..100 {
            signal(&child, Signal::HUP);
        }
        systemd.hears("RELOADING=1");
        signal(&child, Signal::TERM);
        systemd.hears("STOPPING=1");
        let output = ended(child);
        assert_eq!(output.status.code(), Some(0));
    }
}

/// A socket that stands in for systemd's.
struct Systemd(std::os::unix::net::UnixDatagram);

impl Systemd {
    fn new(name: &str) -> Self {
        use std::os::linux::net::SocketAddrExt;
        use std::os::unix::net::{SocketAddr, UnixDatagram};
        let address = SocketAddr::from_abstract_name(name).unwrap();
        let socket = UnixDatagram::bind_addr(&address).unwrap();
        socket.set_read_timeout(Some(LONG)).unwrap();
        Self(socket)
    }

    fn serve(folder: &Folder, at: &str) -> std::process::Command {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_testerd"));
        command.args(["serve", "--web.listen-address=127.0.0.1:0", "--config.file"]);
        command.arg(folder.config()).env("NOTIFY_SOCKET", at);
        command.stderr(std::process::Stdio::piped());
        command
    }

    fn hears(&self, wanted: &str) {
        let mut text = [0; 4096];
        loop {
            let length = self.0.recv(&mut text).expect(wanted);
            let said = String::from_utf8_lossy(&text[..length]);
            if said.lines().any(|line| line == wanted) {
                return;
            }
        }
    }
}

#[test]
fn systemd_is_told_wherever_its_socket_is() {
    let rig = Rig::start();
    let folder = Folder::new(&rig.url(), &hangs());
    let id = std::process::id();
    for name in [
        format!("testerd-test-{id}"),
        format!("testerd/test with blank-{id}"),
    ] {
        let systemd = Systemd::new(&name);
        let child = Systemd::serve(&folder, &format!("@{name}"))
            .spawn()
            .unwrap();
        systemd.hears("READY=1");
        signal(&child, Signal::TERM);
        systemd.hears("STOPPING=1");
        ended(child);
    }
    let path = folder.config().with_extension("socket");
    let systemd = Systemd(std::os::unix::net::UnixDatagram::bind(&path).unwrap());
    systemd.0.set_read_timeout(Some(LONG)).unwrap();
    let child = Systemd::serve(&folder, path.to_str().unwrap())
        .spawn()
        .unwrap();
    systemd.hears("READY=1");
    signal(&child, Signal::TERM);
    ended(child);
}
