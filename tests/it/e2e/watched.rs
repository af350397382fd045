//! A real Prometheus watches the daemon: what it has counted is what the rig's books say, each
//! failure has its right reason, and an alert comes and goes.

use std::net::SocketAddr;

use regex::Regex;
use tokio::net::TcpSocket;

use super::daemon::Daemon;
use super::eventually;
use super::page::{Page, whole};
use super::prometheus::Prometheus;
use crate::rig::{Fault, Rig};
use crate::tools::{read, require};

/// Specs by name, with what their first step is besides a request for `/ok?id=NAME`, what is wrong
/// with the answer, and the reason that this is to have.
const SPECS: [(&str, &str, Option<Fault>, &str); 8] = [
    ("steady", "", None, ""),
    ("broken", "", Some(Fault::Status(503)), "status"),
    ("locked", "", Some(Fault::Status(401)), "auth"),
    ("crowded", "", Some(Fault::Status(429)), "quota"),
    (
        "hanging",
        "timeout = \"150ms\"",
        Some(Fault::Hang),
        "timeout",
    ),
    ("cut-off", "", Some(Fault::Reset), "protocol"),
    (
        "surprising",
        "expect = { json = { \"/ok\" = false } }",
        None,
        "assertion",
    ),
    ("empty", "capture = { x = \"json:/x\" }", None, "capture"),
];

/// The same for targets that are not reached: tag and reason are one.
const UNREACHED: [&str; 2] = ["connect", "tls"];

fn spec(name: &str, tag: &str, first: &str) -> String {
    format!(
        r#"
        [[spec]]
        name = "{name}"
        tags = ["{tag}"]
        timeout = "2s"
        [[spec.steps]]
        name = "first"
        use = "http"
        path = "/ok?id={name}"
        {first}
        [[spec.steps]]
        name = "second"
        use = "http"
        path = "/ok?id=after-{name}"
        "#
    )
}

fn specs() -> String {
    let reached = SPECS
        .iter()
        .map(|(name, first, _, _)| spec(name, "reached", first));
    let unreached = UNREACHED.iter().map(|tag| spec(tag, tag, ""));
    reached.chain(unreached).collect()
}

fn config(rig: &Rig, closed: SocketAddr) -> String {
    let http = rig.url();
    let https = http.replace("http:", "https:");
    let endpoints = [
        ("reached", http),
        ("connect", format!("http://{closed}")),
        ("tls", https),
    ];
    let section = |(name, url): (&str, String)| {
        format!(
            "[target.{name}]\ntype = \"http\"\nendpoint = \"{url}\"\n\
             [[probe]]\ntarget = \"{name}\"\ntags = [\"{name}\"]\ninterval = \"250ms\"\n"
        )
    };
    endpoints.map(section).concat()
}

/// The shipped rules with other names, and in seconds what they have in minutes and hours.
fn quick_rules() -> String {
    let rules = read("dashboards/alerts.yml").replace("- alert: Testerd", "- alert: Quick");
    let period = Regex::new(r"(?m)(for: |\[)\d+[mh](\]|$)").unwrap();
    let rules = period.replace_all(&rules, "${1}2s${2}").into_owned();
    assert!(rules.contains("keep_firing_for: 2s"), "{rules}");
    rules
}

#[test]
fn a_prometheus_sees_what_the_books_say() {
    if !require("prometheus") {
        return;
    }
    let rig = Rig::start();
    // Bound, so that nobody else takes it, and not listened on.
    let closed = TcpSocket::new_v4().unwrap();
    closed.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    for (name, _, fault, _) in SPECS {
        fault.inspect(|fault| rig.fail(&format!("/ok#{name}"), *fault));
    }
    let mut daemon = Daemon::start(&config(&rig, closed.local_addr().unwrap()), &specs());
    let prometheus = Prometheus::start(&daemon, &[quick_rules()]);

    counts_are_those_of_the_books(&rig, &prometheus);
    reasons_are_right(&rig, &prometheus);
    alert_comes_and_goes(&rig, &daemon, &prometheus);
    last_scrape_has_it_all(&rig, &mut daemon, &prometheus);
}

/// A sample may be as old as its scrape, so it lies between what the books said before and what
/// they say now.
fn counts_are_those_of_the_books(rig: &Rig, prometheus: &Prometheus) {
    for (name, ..) in SPECS {
        let key = format!("/ok#{name}");
        assert!(rig.reaches(&key, 8, super::WITHIN), "{name} does not run");
        let before = rig.count(&key) as u64;
        eventually(&format!("the runs of {name} are scraped"), || {
            let runs = prometheus.value(&format!("testerd_runs_total{{spec=\"{name}\"}}"))?;
            let (runs, now) = (whole(runs), rig.count(&key) as u64);
            assert!(runs <= now, "{name}: {runs} of {now} requests");
            (runs >= before).then_some(())
        });
    }
}

fn reasons_are_right(rig: &Rig, prometheus: &Prometheus) {
    let reached = SPECS.iter().map(|(name, _, _, reason)| (*name, *reason));
    let unreached = UNREACHED.iter().map(|reason| (*reason, *reason));
    for (spec, reason) in reached.chain(unreached) {
        let failures = format!("testerd_run_failures_total{{spec=\"{spec}\"}} > 0");
        let found = eventually(&format!("the failures of {spec}"), || {
            let found = prometheus.query(&failures);
            (reason.is_empty() || !found.is_empty()).then_some(found)
        });
        let reasons: Vec<_> = found
            .iter()
            .map(|found| found.labels["reason"].as_str())
            .collect();
        let wanted: &[&str] = if reason.is_empty() { &[] } else { &[reason] };
        assert_eq!(reasons, wanted, "{spec}");
        // What the first step leaves out does not reach the target.
        let after = rig.count(&format!("/ok#after-{spec}"));
        assert_eq!(after > 0, reason.is_empty(), "{spec}: {after} second steps");
    }
}

fn judged(page: &Page) -> (u64, u64) {
    let labels = [("spec", "broken")];
    let failures = page.count("testerd_run_failures_total", &labels);
    (page.count("testerd_runs_total", &labels), failures)
}

fn alert_comes_and_goes(rig: &Rig, daemon: &Daemon, prometheus: &Prometheus) {
    let fires = |spec: &str| {
        let firing = prometheus.firing("QuickSpecFailing");
        firing.iter().any(|labels| labels["spec"] == spec)
    };
    eventually("an alert", || fires("broken").then_some(()));
    assert!(!fires("steady"));

    rig.heal("/ok#broken");
    let healed = judged(&daemon.scrape());
    let page = daemon.comes_to("two more verdicts", |page| judged(page).0 >= healed.0 + 2);
    let success = page.value("testerd_last_run_success", &[("spec", "broken")]);
    // Only the run that was under way may still have failed.
    assert!(success == Some(1.0) && judged(&page).1 <= healed.1 + 1);
    assert!(rig.count("/ok#after-broken") > 0);

    eventually("the alert is gone", || (!fires("broken")).then_some(()));
    assert!(fires("locked"));
}

/// The daemon stays for one last scrape, so Prometheus ends with the very number of runs.
fn last_scrape_has_it_all(rig: &Rig, daemon: &mut Daemon, prometheus: &Prometheus) {
    // From the last few scrapes the daemon learns how long to wait, and some of them were ours.
    prometheus.scrapes(2);
    daemon.signal(rustix::process::Signal::TERM);
    assert_eq!(daemon.wait_exit(), Some(0));
    let last = |name: &str, spec: &str, more: &str| {
        let query = format!("last_over_time({name}{{spec=\"{spec}\"{more}}}[5m])");
        whole(prometheus.value(&query).unwrap())
    };
    for (spec, ..) in SPECS {
        let judged = last("testerd_runs_total", spec, "");
        let inconclusive = last("testerd_runs_inconclusive_total", spec, "");
        let run = last("testerd_slots_total", spec, ",outcome=\"run\"");
        assert_eq!(run, judged + inconclusive, "{spec}");
        let asked = rig.count(&format!("/ok#{spec}")) as u64;
        assert!(
            (judged..=run).contains(&asked),
            "{spec}: {asked} requests, {judged} of {run} runs"
        );
    }
}
