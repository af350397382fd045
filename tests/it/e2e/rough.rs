//! Rough treatment: answers without end, a log that nobody reads, a crowd at the web port, Ctrl-C.

use std::io::Write;
use std::net::TcpStream;

use rustix::process::Signal;

use super::daemon::Daemon;
use super::page::Page;
use crate::rig::Rig;

/// More than the daemon may ever take for the plans of these tests.
const MEMORY: f64 = 200e6;

fn runs(page: &Page, spec: &str) -> u64 {
    page.count("testerd_runs_total", &[("spec", spec)])
}

fn slots(page: &Page, spec: &str, outcome: &str) -> u64 {
    page.count(
        "testerd_slots_total",
        &[("spec", spec), ("outcome", outcome)],
    )
}

fn config(rig: &Rig) -> String {
    let url = rig.url();
    format!(
        r#"
        [target.t]
        type = "http"
        endpoint = "{url}"
        [[probe]]
        name = "rough"
        target = "t"
        tags = ["rough"]
        interval = "100ms"
        [[probe]]
        name = "witness"
        target = "t"
        tags = ["witness"]
        interval = "1s"
        "#
    )
}

/// Goes on as if nothing were. Its interval is longer than a busy machine may stall.
const WITNESS: &str = r#"
[[spec]]
name = "witness"
tags = ["witness"]
[[spec.steps]]
name = "ask"
use = "http"
path = "/ok?id=witness"
"#;

#[test]
fn an_answer_without_end_costs_only_its_own_step() {
    let rig = Rig::start();
    let spec = |name: &str, path: &str| {
        format!(
            "[[spec]]\nname = \"{name}\"\ntags = [\"rough\"]\ntimeout = \"20s\"\n\
             [[spec.steps]]\nname = \"ask\"\nuse = \"http\"\npath = \"{path}\"\n"
        )
    };
    // A gigabyte that is announced, and one that just goes on.
    let specs = [
        WITNESS.to_owned(),
        spec("announced", "/big?bytes=1073741824"),
        spec("endless", "/big?bytes=1073741824&endless=1"),
    ];
    let mut daemon = Daemon::start(&config(&rig), &specs.concat());
    daemon.comes_to("several of each", |page| {
        let memory = page.value("process_resident_memory_bytes", &[]).unwrap();
        assert!(memory < MEMORY, "{memory} bytes");
        runs(page, "announced") >= 10 && runs(page, "endless") >= 10 && runs(page, "witness") >= 3
    });

    let last = daemon.stop();
    for spec in ["announced", "endless"] {
        let protocol = [("spec", spec), ("reason", "protocol")];
        let failures = last.count("testerd_run_failures_total", &protocol);
        assert_eq!(failures, runs(&last, spec), "{spec}");
    }
    let failures = [("spec", "witness")];
    assert_eq!(last.count("testerd_run_failures_total", &failures), 0);
}

/// Eighty skipped steps are eighty lines of the log for each run.
fn noisy(name: &str) -> String {
    let step = |name: &str, path: &str| {
        format!("[[spec.steps]]\nname = \"{name}\"\nuse = \"http\"\npath = \"{path}\"\n")
    };
    let skipped = (0..80).map(|number| step(&format!("skipped-{number}"), "/ok?id=skipped"));
    let first = [
        format!("[[spec]]\nname = \"{name}\"\ntags = [\"rough\"]\n"),
        step("first", "/status/500"),
    ];
    first.into_iter().chain(skipped).collect()
}

#[test]
fn a_log_that_nobody_reads_delays_nothing() {
    let rig = Rig::start();
    let names = ["noisy-a", "noisy-b", "noisy-c", "noisy-d"];
    let specs = names.map(noisy).concat() + WITNESS;
    let mut daemon = Daemon::start_unheard(&config(&rig), &specs);
    let dropped =
        |page: &Page| page.count("testerd_exporter_dropped_total", &[("exporter", "log")]);
    let full = daemon.comes_to("lines are dropped", |page| dropped(page) > 0);
    let later = daemon.comes_to("runs go on", |page| {
        let went_on = |spec: &str, count| runs(page, spec) >= runs(&full, spec) + count;
        names.iter().all(|spec| went_on(spec, 20)) && went_on("witness", 3)
    });
    assert!(dropped(&later) > dropped(&full));
    for outcome in ["missed", "skipped_overlap", "skipped_capacity"] {
        assert_eq!(slots(&later, "witness", outcome), 0, "{outcome}");
    }
    assert_eq!(rig.count("/ok#skipped"), 0);

    // Still nobody reads, also not what it says at its end.
    let last = daemon.stop();
    assert!(last.count("testerd_runs_total", &[]) > 0);
}

#[test]
fn the_demo_runs_at_once_and_stops_at_ctrl_c() {
    let mut daemon = Daemon::demo();
    daemon.comes_to("runs", |page| page.count("testerd_runs_total", &[]) > 0);
    let landing = daemon.ask("/").unwrap().text;
    assert!(landing.contains("shop-cart-lifecycle"), "{landing}");
    daemon.signal(Signal::INT);
    assert_eq!(daemon.wait_exit(), Some(0));
}

/// Each of them takes a descriptor, and there are fewer than of them.
#[test]
fn a_crowd_at_the_web_port_takes_nothing_from_the_runs() {
    let rig = Rig::start();
    let config = format!(
        "[target.t]\ntype = \"http\"\nendpoint = \"{}\"\n\
         [[probe]]\ntarget = \"t\"\ntags = [\"witness\"]\ninterval = \"200ms\"\n",
        rig.url()
    );
    for (says, descriptors) in [
        ("GET /metrics HTTP/1.1\r\nhost: localhost\r\n", 64),
        ("GET /-/healthy HTTP/1.1\r\nhost: localhost\r\n\r\n", 128),
        ("", 64),
    ] {
        let mut daemon = Daemon::start_within(descriptors, &config, WITNESS);
        daemon.comes_to("runs", |page| runs(page, "witness") > 0);
        let address = daemon.url().strip_prefix("http://").unwrap();
        let crowd: Vec<_> = (0..300)
            .map(|_| {
                let mut stream = TcpStream::connect(address).unwrap();
                // It may be closed already, to make room for the others.
                let _ = stream.write_all(says.as_bytes());
                stream
            })
            .collect();
        let before = runs(&daemon.scrape(), "witness");
        let page = daemon.comes_to("runs go on", |page| runs(page, "witness") >= before + 3);
        let lost = page.count("testerd_runs_inconclusive_total", &[]);
        assert_eq!(lost, 0, "{descriptors} {says}");
        let failures = page.count("testerd_run_failures_total", &[]);
        assert_eq!(failures, 0, "{descriptors} {says}");
        drop(crowd);
        daemon.stop();
    }
}
