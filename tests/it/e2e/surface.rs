//! What the daemon shows of itself: the metrics contract on the live page, health, the page for
//! people, and how a restart looks from outside.

use std::io::{Read, Write};
use std::process::{Command, Stdio};

use flate2::read::GzDecoder;

use super::daemon::{Daemon, check};
use super::page::{Page, Sample};
use super::showcase;
use crate::rig::{Fault, Rig};
use crate::tools::require;

/// Gauges that wait for a verdict, so that a restart pages nobody.
const JUDGED: [&str; 5] = [
    "testerd_state",
    "testerd_last_run_success",
    "testerd_consecutive_failures",
    "testerd_last_run_timestamp_seconds",
    "testerd_last_success_timestamp_seconds",
];

fn is_judged(sample: &Sample) -> bool {
    JUDGED.contains(&sample.name.as_str())
}

/// A page on which every spec has passed once: nothing more can come.
fn complete(daemon: &Daemon) -> Page {
    daemon.comes_to("every spec passed", |page| {
        showcase::IDENTITIES.iter().all(|(spec, variant)| {
            let labels = [("spec", *spec), ("variant", *variant)];
            let passed = page.value("testerd_last_success_timestamp_seconds", &labels);
            passed.is_some()
        })
    })
}

#[test]
fn every_series_is_there_from_the_first_scrape() {
    let rig = Rig::start();
    let config = showcase::config(&rig);
    let forecast = check(&config, showcase::SPECS);
    let mut daemon = Daemon::start(&config, showcase::SPECS);
    let first = daemon.scrape();
    let later = complete(&daemon);

    let ours = |sample: &Sample| !is_judged(sample);
    assert_eq!(first.series(ours), later.series(ours));
    let failures = [
        "testerd_run_failures_total",
        "testerd_runs_inconclusive_total",
    ];
    for name in failures {
        assert_eq!(first.count(name, &[]), 0, "{name}");
    }
    for gauge in JUDGED {
        assert_eq!(later.select(gauge, &[]).count(), showcase::IDENTITIES.len());
    }

    let row = forecast
        .lines()
        .find_map(|line| line.trim().strip_prefix("series "));
    let said = row.unwrap().split_whitespace().next().unwrap();
    assert_eq!(said, later.len().to_string(), "{forecast}");

    // What is kept is what a run makes anew each time: nothing grows.
    let last = daemon.stop();
    assert_eq!(last.series(|_| true), later.series(|_| true));
    assert_eq!(rig.alive(), [""; 0]);
}

#[test]
fn the_pages_are_what_others_expect() {
    let rig = Rig::start();
    let daemon = Daemon::start(&showcase::config(&rig), showcase::SPECS);
    complete(&daemon);

    let url = format!("{}/metrics", daemon.url());
    let plain = ureq::get(&url).call().unwrap();
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    assert_eq!(plain.headers()["content-type"], kind);
    assert!(plain.headers().get("content-encoding").is_none());
    let gzip = ureq::get(&url).header("accept-encoding", "gzip");
    let mut gzip = gzip.call().unwrap();
    assert_eq!(gzip.headers()["content-type"], kind);
    assert_eq!(gzip.headers()["content-encoding"], "gzip");
    let packed = gzip.body_mut().read_to_vec().unwrap();
    let mut text = String::new();
    GzDecoder::new(&*packed).read_to_string(&mut text).unwrap();
    assert_eq!(
        Page::parse(&text).series(|_| true),
        daemon.scrape().series(|_| true)
    );
    assert!(packed.len() * 4 < text.len());

    for (path, wanted) in [("/-/healthy", "healthy\n"), ("/-/ready", "ready\n")] {
        let told = daemon.ask(path).unwrap();
        assert_eq!((told.status, told.text.as_str()), (200, wanted), "{path}");
    }
    assert_eq!(daemon.ask("/nothing").unwrap().status, 404);
    let landing = daemon.ask("/").unwrap();
    assert_eq!(landing.status, 200);
    let shown = [
        "greeting",
        "evening",
        "item",
        "house",
        "store",
        "&lt;not&gt;",
        "scraped",
        ">pass<",
    ];
    for wanted in shown {
        assert!(
            landing.text.contains(wanted),
            "no {wanted} in {}",
            landing.text
        );
    }
    lint(&text);
}

/// `promtool check metrics`, which also fails on bad names and missing help.
fn lint(text: &str) {
    if !require("promtool") {
        return;
    }
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = promtool.stdin.take().unwrap();
    stdin.write_all(text.as_bytes()).unwrap();
    drop(stdin);
    let output = promtool.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{said}");
}

#[test]
fn after_a_restart_nothing_is_said_before_the_first_verdict() {
    let rig = Rig::start();
    let url = rig.url();
    let config = format!(
        "[target.t]\ntype = \"http\"\nendpoint = \"{url}\"\n\
         [[probe]]\ntarget = \"t\"\nnames = [\"*\"]\ninterval = \"200ms\"\n"
    );
    let specs = "[[spec]]\nname = \"s\"\ntimeout = \"1500ms\"\n\
                 [[spec.steps]]\nname = \"ask\"\nuse = \"http\"\npath = \"/ok\"\n";
    let judged = |page: &Page| page.series(is_judged).len();

    let mut before = Daemon::start(&config, specs);
    let page = before.comes_to("a verdict", |page| judged(page) > 0);
    assert_eq!(judged(&page), JUDGED.len());
    assert!(before.stop().count("testerd_runs_total", &[]) > 0);

    rig.fail("/ok", Fault::Hang);
    let daemon = Daemon::start(&config, specs);
    let running = [("outcome", "run")];
    let page = daemon.comes_to("a run that hangs", |page| {
        page.count("testerd_slots_total", &running) == 1
    });
    assert_eq!(
        (judged(&page), page.count("testerd_runs_total", &[])),
        (0, 0)
    );

    let page = daemon.comes_to("its verdict", |page| judged(page) > 0);
    assert_eq!(page.value("testerd_last_run_success", &[]), Some(0.0));
    assert_eq!(page.value("testerd_state", &[]), Some(0.0));
    assert_eq!(
        page.value("testerd_last_success_timestamp_seconds", &[]),
        None
    );

    rig.heal("/ok");
    let page = daemon.comes_to("a success", |page| judged(page) == JUDGED.len());
    assert_eq!(page.value("testerd_last_run_success", &[]), Some(1.0));
}
