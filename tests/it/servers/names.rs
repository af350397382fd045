//! What a resolver and a network can do to a probe: the built program on a machine of its own, a
//! network namespace with dnsmasq for its resolver, nginx for its target, and routes that lead
//! nowhere.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use super::daemons::write_config;
use crate::e2e::eventually;
use crate::tools::{require, skipped};

/// What `/etc/resolv.conf` says there: dnsmasq; one that says SERVFAIL; one that says nothing; a port
/// where nobody is.
const DNSMASQ: &str = "nameserver 127.0.0.1\n";
const FAILING: &str = "nameserver 127.0.0.53\noptions timeout:1 attempts:1\n";
const SILENT: &str = "nameserver 127.0.0.54\noptions timeout:1 attempts:1\n";
const NOBODY: &str = "nameserver 127.0.0.55\noptions timeout:1 attempts:1\n";

/// A process that answers every question with SERVFAIL, and hears others without a word.
const RESOLVERS: &str = "
import socket
failing, silent = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
silent.bind(('127.0.0.54', 53))
failing.bind(('127.0.0.53', 53))
while True:
    asked, who = failing.recvfrom(4096)
    failing.sendto(asked[:2] + b'\\x81\\x82' + asked[4:], who)
";

/// Sets the machine up; `@` is the folder. 192.0.2.7 takes every packet and never answers.
const SETUP: &str = "
set -e
exec 2>@/said
PATH=$PATH:/usr/sbin:/sbin
ip link set lo up
ip link add quiet type veth peer name lost
ip addr add 192.0.2.1/24 dev quiet
ip link set quiet up
ip link set lost up
ip neigh add 192.0.2.7 lladdr 02:00:00:00:00:01 dev quiet
ip route add unreachable 198.51.100.0/24
mount --bind @/resolv.conf /etc/resolv.conf
mount --bind @/nsswitch.conf /etc/nsswitch.conf
dnsmasq --conf-file=/dev/null --keep-in-foreground --user=root --pid-file= \\
    --no-resolv --no-hosts --local=/example/ --hostsdir=@/hosts \\
    --listen-address=127.0.0.1 --bind-interfaces \\
    --host-record=four.example,127.0.0.1 --host-record=six.example,::1 \\
    --host-record=both.example,127.0.0.1,::1 --cname=alias.example,four.example \\
    --txt-record=text.example,hello &
resolver=$!
python3 @/resolvers.py &
nginx -p @ -c nginx.conf -e stderr &
echo up
";

/// The machine: a shell in it. Whatever runs there ends when this is dropped.
struct Machine {
    shell: Child,
    orders: ChildStdin,
    told: BufReader<ChildStdout>,
    folder: TempDir,
}

impl Machine {
    /// Nothing if this machine makes none, or lacks a program for it.
    fn start() -> Option<Self> {
        let wanted = ["unshare", "ip", "dnsmasq", "nginx", "python3"];
        if !wanted.into_iter().all(require) || !is_allowed() {
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            std::fs::write(folder.path().join(name), text).unwrap();
        };
        write("resolv.conf", DNSMASQ);
        write("nsswitch.conf", "hosts: files dns\n");
        write("resolvers.py", RESOLVERS);
        std::fs::create_dir(folder.path().join("hosts")).unwrap();
        let http = "log_format here \"$server_addr\";\n\
             server {\naccess_log seen.log here;\nlisten 80;\nlisten [::]:80;\n\
             location / { default_type text/plain; return 200 \"at [$server_addr]\"; }\n}";
        write_config(folder.path(), http);
        let mut shell = unshare()
            .arg("sh")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut machine = Self {
            orders: shell.stdin.take().unwrap(),
            told: BufReader::new(shell.stdout.take().unwrap()),
            shell,
            folder,
        };
        let setup = SETUP.replace('@', machine.path("").to_str().unwrap());
        machine.order(&setup);
        assert_eq!(machine.line(), "up", "the machine does not come up");
        for port in ["53", "80"] {
            // Python and both daemons need a moment; bash alone has a way to look.
            let look = format!(
                "bash -c 'until : < /dev/tcp/127.0.0.1/{port}; do :; done' 2>/dev/null; echo there"
            );
            machine.order(&look);
            assert_eq!(machine.line(), "there");
        }
        Some(machine)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn order(&mut self, text: &str) {
        writeln!(self.orders, "{text}").unwrap();
    }

    /// The next line that something there says.
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.told.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// Writes what `/etc/resolv.conf` says there: in its place, where it is mounted.
    fn resolver(&self, text: &str) {
        std::fs::write(self.path("resolv.conf"), text).unwrap();
    }

    /// Writes a configuration, with one step that asks for `/`.
    fn configure(&self, endpoint: &str, target: &str, keys: &str) {
        let config = format!(
            "[tester]\ninstance = \"it\"\nspecs = [\"specs.toml\"]\nstate_dir = \"state\"\n\
             [server]\nlisten = \"127.0.0.1:0\"\n\
             [target.t]\ntype = \"http\"\nendpoint = \"{endpoint}\"\n{target}\n\
             [[probe]]\ntarget = \"t\"\ninterval = \"100ms\"\n"
        );
        let specs = format!(
            "[[spec]]\nname = \"s\"\n[[spec.steps]]\nname = \"look\"\nuse = \"http\"\npath = \"/\"\n{keys}\n"
        );
        std::fs::write(self.path("testerd.toml"), config).unwrap();
        std::fs::write(self.path("specs.toml"), specs).unwrap();
    }

    /// Runs the program on it there, and returns what it told.
    fn run(&mut self) -> Value {
        let (program, config) = (env!("CARGO_BIN_EXE_testerd"), self.path("testerd.toml"));
        self.order(&format!(
            "{program} run --json --config.file {} || true",
            config.display()
        ));
        serde_json::from_str(&self.line()).unwrap()
    }

    /// `pass`, or verdict and reason; and the message.
    fn check(&mut self, row: &Row) {
        let (endpoint, target, keys, verdict, says) = *row;
        self.configure(endpoint, target, keys);
        let told = self.run();
        let was = match told["reason"].as_str() {
            None => "pass".to_owned(),
            Some(reason) => format!("{} {reason}", told["verdict"].as_str().unwrap()),
        };
        assert_eq!(was, verdict, "{row:?}: {told}");
        let message = told["message"].as_str().unwrap_or_default();
        assert!(message.contains(says), "{row:?}: {message}");
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // `--kill-child` takes everything there along.
        let _ = self.shell.kill();
        let _ = self.shell.wait();
        if std::thread::panicking() {
            let said = std::fs::read_to_string(self.path("said"));
            eprintln!("the machine said:\n{}", said.unwrap_or_default());
        }
    }
}

/// Endpoint, keys of the target, keys of the step, verdict and reason, and what stands in the
/// message.
type Row = (
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    &'static str,
);

fn unshare() -> Command {
    let mut command = Command::new("unshare");
    command.args(["--net", "--mount", "--pid", "--fork", "--kill-child"]);
    if !rustix::process::geteuid().is_root() {
        command.arg("--map-root-user");
    }
    command
}

/// Whether this machine lets us make another.
fn is_allowed() -> bool {
    let output = unshare().arg("true").output().unwrap();
    let allowed = output.status.success();
    if !allowed {
        let why = String::from_utf8_lossy(&output.stderr).into_owned();
        let forced = std::env::var_os("TESTERD_REQUIRE_ALL").is_some();
        assert!(!forced, "no network namespace: {why}");
        skipped(&format!("no network namespace: {why}"));
    }
    allowed
}

const V4: &str = "address_family = \"ipv4\"";
const V6: &str = "address_family = \"ipv6\"";
const SHORT: &str = "timeout = \"300ms\"";

const AT_4: &str = "expect = { text = \"at [127.0.0.1]\" }";
const AT_6: &str = "expect = { text = \"at [::1]\" }";
const DNS: &str = "fail dns";
const CONNECT: &str = "fail connect";

/// Of a resolver that is well, and of routes.
const ROWS: [Row; 15] = [
    ("http://four.example", "", AT_4, "pass", ""),
    ("http://six.example", "", AT_6, "pass", ""),
    ("http://alias.example", "", AT_4, "pass", ""),
    (
        "http://alias.example",
        V6,
        "",
        DNS,
        "it has no IPv6 address",
    ),
    ("http://both.example", "", "", "pass", ""),
    ("http://both.example", V4, AT_4, "pass", ""),
    ("http://both.example", V6, AT_6, "pass", ""),
    ("http://four.example", V6, "", DNS, "it has no IPv6 address"),
    ("http://six.example", V4, "", DNS, "it has no IPv4 address"),
    (
        "http://nothing.example",
        "",
        "",
        DNS,
        "Name or service not known",
    ),
    (
        "http://text.example",
        "",
        "",
        DNS,
        "No address associated with hostname",
    ),
    ("http://127.0.0.1", V6, "", DNS, "it has no IPv6 address"),
    ("http://198.51.100.7", "", "", CONNECT, "No route to host"),
    (
        "http://203.0.113.7",
        "",
        "",
        CONNECT,
        "Network is unreachable",
    ),
    (
        "http://192.0.2.7",
        "",
        SHORT,
        "fail timeout",
        "no end within 300",
    ),
];

/// Of resolvers that are not.
const RESOLVED: [(&str, Row); 4] = [
    (
        FAILING,
        (
            "http://four.example",
            "",
            "",
            DNS,
            "Temporary failure in name resolution",
        ),
    ),
    (
        NOBODY,
        (
            "http://four.example",
            "",
            "",
            DNS,
            "Temporary failure in name resolution",
        ),
    ),
    // Its own patience ends first, or ours does.
    (
        SILENT,
        (
            "http://four.example",
            "",
            "",
            DNS,
            "Temporary failure in name resolution",
        ),
    ),
    (
        SILENT,
        (
            "http://four.example",
            "",
            SHORT,
            "fail timeout",
            "no end within 300",
        ),
    ),
];

#[test]
fn what_a_name_resolves_to() {
    let Some(mut machine) = Machine::start() else {
        return;
    };
    for row in &ROWS {
        machine.check(row);
    }
    for (resolver, row) in &RESOLVED {
        machine.resolver(resolver);
        machine.check(row);
    }
}

/// Nothing of ours remembers an address: a daemon goes where the name is now.
#[test]
fn a_name_that_moves_is_followed() {
    let Some(mut machine) = Machine::start() else {
        return;
    };
    machine.configure("http://moving.example", "", "");
    let (hosts, seen) = (machine.path("hosts/moving"), machine.path("seen.log"));
    std::fs::write(&hosts, "127.0.0.11 moving.example\n").unwrap();
    let (program, config) = (env!("CARGO_BIN_EXE_testerd"), machine.path("testerd.toml"));
    machine.order(&format!(
        "{program} serve --config.file {} &",
        config.display()
    ));
    let came = |address: &str| {
        eventually(&format!("somebody asks {address}"), || {
            last_line(&seen).filter(|line| line == address)
        });
    };
    came("127.0.0.11");
    std::fs::write(&hosts, "127.0.0.12 moving.example\n").unwrap();
    // It adds what the folder has, and forgets what that had when it is told to.
    machine.order("kill -HUP $resolver");
    came("127.0.0.12");
}

/// Name servers that say nothing, many who wait for them, and somebody who asks for nothing of the
/// kind: he passes, and the page is there.
#[test]
fn names_that_hang_are_nobody_elses_trouble() {
    let Some(mut machine) = Machine::start() else {
        return;
    };
    machine.resolver("nameserver 127.0.0.54\noptions timeout:30\n");
    let hosts: Vec<_> = (0..700)
        .map(|n| format!("\"h{n}.slow.example:1\""))
        .collect();
    let hosts = format!("[{{\"targets\": [{}]}}]", hosts.join(","));
    std::fs::write(machine.path("slow.json"), hosts).unwrap();
    machine.configure("http://127.0.0.11", "", "timeout = \"20s\"");
    let config = std::fs::read_to_string(machine.path("testerd.toml")).unwrap();
    let config = config
        .replace("127.0.0.1:0", "127.0.0.1:9900")
        .replace("[tester]\n", "[tester]\nconcurrency = 800\n")
        + "[target.slow]\ntype = \"http\"\ntargets_file = \"slow.json\"\n\
           [[probe]]\ntarget = \"slow\"\ninterval = \"1s\"\n";
    std::fs::write(machine.path("testerd.toml"), config).unwrap();
    let (program, config) = (env!("CARGO_BIN_EXE_testerd"), machine.path("testerd.toml"));
    machine.order(&format!(
        "{program} serve --config.file {} & daemon=$!",
        config.display()
    ));
    // A page that does not come within five seconds is an empty one.
    let page = "python3 -c 'import urllib.request as u; \
         print(u.urlopen(\"http://127.0.0.1:9900/metrics\", timeout=5).read().decode())' 2>/dev/null; \
         echo; echo end";
    let scrape = |machine: &mut Machine, name: &str, part: &str| {
        machine.order(page);
        let lines: Vec<_> = std::iter::repeat_with(|| machine.line())
            .take_while(|line| line != "end")
            .collect();
        let of = |line: &&String| line.starts_with(name) && line.contains(part);
        let values = lines
            .iter()
            .filter(of)
            .filter_map(|line| line.rsplit_once(' '));
        values
            .map(|(_, value)| value.parse::<f64>().unwrap())
            .sum::<f64>()
    };
    eventually("they all hang", || {
        (scrape(&mut machine, "testerd_permits_in_use", "") > 690.0).then_some(())
    });
    let (ours, read) = (
        "target=\"t\"",
        "testerd_config_last_reload_success_timestamp_seconds",
    );
    let (before, loaded) = (
        scrape(&mut machine, "testerd_runs_total", ours),
        scrape(&mut machine, read, ""),
    );
    machine.order("kill -HUP $daemon");
    eventually("the configuration is read again", || {
        (scrape(&mut machine, read, "") > loaded).then_some(())
    });
    eventually("somebody is looked at", || {
        (scrape(&mut machine, "testerd_runs_total", ours) > before + 10.0).then_some(())
    });
    let failed = scrape(&mut machine, "testerd_run_failures_total", ours);
    assert!(failed < 1.0, "{failed} runs have failed");
}

fn last_line(file: &Path) -> Option<String> {
    let text = std::fs::read_to_string(file).ok()?;
    text.lines().last().map(str::to_owned)
}
