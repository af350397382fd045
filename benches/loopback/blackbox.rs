//! Each phase as testerd and as `blackbox_exporter` tell it, of the same URL, by turns: nginx with TLS
//! before the target, reached by name.

use std::fmt::Write;
use std::process::Command;
use std::time::Duration;

use serde_json::json;

use crate::authority::{Authority, Holds};
use crate::figures::Figures;
use crate::program::{Daemon, Program, free, listens};
use crate::target::Target;

/// How often each of them asks.
const TURNS: usize = 300;

/// How long the target holds an answer.
const HELD: Duration = Duration::from_millis(20);

/// What testerd and what `blackbox_exporter` call a phase.
const PHASES: [(&str, &str); 5] = [
    ("resolve", "resolve"),
    ("connect", "connect"),
    ("tls", "tls"),
    ("first_byte", "processing"),
    ("transfer", "transfer"),
];

const PERCENTS: [usize; 4] = [5, 50, 95, 99];

/// Prints the table.
pub(crate) fn measure() {
    let target = Target::start(None);
    let ours = Authority::new("ours");
    let folder = tempfile::tempdir().unwrap();
    let ca = ours.write(folder.path());
    ours.sign(&["localhost"], Holds::Now)
        .write(folder.path(), "here");

    let web = free();
    let config = format!(
        "daemon off;\nmaster_process off;\npid nginx.pid;\nerror_log stderr;\nevents {{}}\n\
         http {{\naccess_log off;\nclient_body_temp_path body;\nproxy_temp_path proxy;\n\
         fastcgi_temp_path fastcgi;\nuwsgi_temp_path uwsgi;\nscgi_temp_path scgi;\n\
         server {{\nlisten {web} ssl;\nssl_certificate here.pem;\nssl_certificate_key here.key;\n\
         location / {{ proxy_pass http://{}; }}\n}}\n}}\n",
        target.address
    );
    std::fs::write(folder.path().join("nginx.conf"), config).unwrap();
    let mut nginx = Command::new("nginx");
    nginx.arg("-p").arg(folder.path());
    nginx.args(["-c", "nginx.conf", "-e", "stderr"]);
    let _nginx = Program::start(&mut nginx, None);
    listens(web);

    // JSON is YAML.
    let http = json!({
        "preferred_ip_protocol": "ip4",
        "fail_if_not_ssl": true,
        "enable_http2": false,
        "tls_config": { "ca_file": ca },
    });
    let modules = json!({ "modules": { "tls": { "prober": "http", "http": http } } });
    let file = folder.path().join("blackbox.yml");
    std::fs::write(&file, modules.to_string()).unwrap();
    let exporter = free();
    let mut command = Command::new("prometheus-blackbox-exporter");
    command.arg(format!("--config.file={}", file.display()));
    command.arg(format!("--web.listen-address={exporter}"));
    command.arg("--log.level=error");
    let _exporter = Program::start(&mut command, None);
    listens(exporter);

    let path = format!("/?ms={}&bytes=100000", HELD.as_millis());
    let mut daemon = Daemon::start(
        &format!(
            "[target.t]\ntype = \"http\"\nendpoint = \"https://localhost:{}\"\n\
             address_family = \"ipv4\"\n[target.t.tls]\nca_file = \"{}\"\n\
             [[probe]]\ntarget = \"t\"\ninterval = \"200ms\"\n",
            web.port(),
            ca.display()
        ),
        &format!(
            "[[spec]]\nname = \"get\"\n\
             [[spec.steps]]\nname = \"get\"\nuse = \"http\"\npath = \"{path}\"\n"
        ),
    );
    let url = format!(
        "https://localhost:{}{}",
        web.port(),
        path.replace('&', "%26")
    );
    let mut told: [[Vec<f64>; 2]; PHASES.len()] = Default::default();
    for _ in 0..TURNS {
        let ours = daemon.next("get");
        let theirs = ureq::get(format!("http://{exporter}/probe?module=tls&target={url}"));
        let theirs = theirs.call().unwrap().body_mut().read_to_string().unwrap();
        assert!(theirs.contains("\nprobe_success 1\n"), "{theirs}");
        for ((own, other), told) in PHASES.into_iter().zip(&mut told) {
            told[0].push(ours.phase(own).unwrap());
            told[1].push(phase(&theirs, other));
        }
    }
    print(&told);
}

/// A phase of a probe's page, in seconds.
fn phase(page: &str, name: &str) -> f64 {
    let series = format!("probe_http_duration_seconds{{phase=\"{name}\"}} ");
    let value = page.lines().find_map(|line| line.strip_prefix(&series));
    value.unwrap().parse().unwrap()
}

fn print(told: &[[Vec<f64>; 2]; PHASES.len()]) {
    let heads = PERCENTS.iter().fold(String::new(), |mut heads, percent| {
        let _ = write!(heads, "{:>9}", format!("p{percent}"));
        heads
    });
    println!("{TURNS} requests each by turns, answers held for {HELD:?}, 100 kB, in ms");
    println!("  phase                          {heads}");
    for ((own, other), [ours, theirs]) in PHASES.into_iter().zip(told) {
        for (who, name, times) in [("testerd", own, ours), ("blackbox_exporter", other, theirs)] {
            let figures = Figures::new(times.iter().copied());
            println!("  {name:<12} {who:<18}{}", figures.columns(&PERCENTS));
        }
    }
}
