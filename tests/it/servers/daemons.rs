//! nginx, started with a folder of its own for all that it reads and writes.

use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::e2e::child::Child;
use crate::e2e::{eventually, seen};

/// A running nginx on loopback. It is killed when it is dropped.
pub(super) struct Nginx {
    ports: Vec<u16>,
    _child: Child,
    /// Keeps its files.
    _folder: TempDir,
}

impl Nginx {
    /// Starts it on as many ports as are wanted; `http` says what is in its block of that name, with
    /// the ports.
    pub(super) fn start(folder: TempDir, wanted: usize, http: impl Fn(&[u16]) -> String) -> Self {
        let free = || TcpListener::bind("127.0.0.1:0").unwrap();
        let (ports, child) = eventually("nginx listens", || {
            // Somebody else may take one of them in between: then once more, with others.
            let listeners: Vec<_> = (0..wanted).map(|_| free()).collect();
            let port = |listener: &TcpListener| listener.local_addr().unwrap().port();
            let ports: Vec<_> = listeners.iter().map(port).collect();
            drop(listeners);
            write_config(folder.path(), &http(&ports));
            let mut child = Child::start(&mut command(folder.path()), None);
            let up = |port: &u16| TcpStream::connect(("127.0.0.1", *port)).is_ok();
            let listening = || ports.iter().all(up);
            let ended = seen(|| (!child.lives() || listening()).then(|| !child.lives()));
            (ended == Some(false)).then_some((ports, child))
        });
        Self {
            ports,
            _child: child,
            _folder: folder,
        }
    }

    /// `IP:PORT` of the nth port.
    pub(super) fn at(&self, nth: usize) -> String {
        format!("127.0.0.1:{}", self.ports[nth])
    }
}

/// One process, which ends with its parent's kill; all its paths are in the folder.
pub(super) fn write_config(folder: &Path, http: &str) {
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {kind};\n"))
        .concat();
    let config = format!(
        "daemon off;\nmaster_process off;\npid nginx.pid;\nerror_log stderr;\nevents {{}}\n\
         http {{\naccess_log off;\n{temporary}{http}\n}}\n"
    );
    std::fs::write(folder.join("nginx.conf"), config).unwrap();
}

fn command(folder: &Path) -> Command {
    let mut command = Command::new("nginx");
    command.arg("-p").arg(folder);
    command.args(["-c", "nginx.conf", "-e", "stderr"]);
    command
}
