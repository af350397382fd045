//! Dashboards and rules against what a Prometheus has of the running daemon: no query is empty, no
//! rule is broken, and no metric that they name is missing.

use std::collections::BTreeSet;

use serde_json::Value;

use super::daemon::Daemon;
use super::eventually;
use super::prometheus::Prometheus;
use super::showcase;
use crate::dashboards::{Query, VARIABLES, metric_names, queries};
use crate::rig::{Fault, Rig};
use crate::tools::{read, require};

/// A user who has chosen "All" and looks at the last half minute.
fn variables() -> Vec<(&'static str, &'static str)> {
    let short = |(name, value): &(&'static str, &'static str)| match *name {
        "__range" => (*name, "30s"),
        "__rate_interval" | "resolution" => (*name, "10s"),
        "__interval" => (*name, "1s"),
        _ => (*name, *value),
    };
    VARIABLES.iter().map(short).collect()
}

/// What is wrong with the answer to a query.
fn complaint(prometheus: &Prometheus, query: &Query) -> Option<String> {
    let found = prometheus.query(&query.expr);
    let named = |what: &str| {
        format!(
            "{}, {:?}: {what}\n    {}",
            query.dashboard, query.panel, query.expr
        )
    };
    if found.is_empty() {
        return Some(named("no data"));
    }
    let labels: BTreeSet<&String> = found
        .iter()
        .flat_map(|series| series.labels.keys())
        .collect();
    let missing = query.legend.iter().find(|label| !labels.contains(label));
    missing.map(|label| named(&format!("no series has the label {label} of the legend")))
}

#[test]
fn dashboards_and_rules_find_what_they_ask_for() {
    if !require("prometheus") {
        return;
    }
    let rig = Rig::start();
    // Failures and retries, so that there is something to draw.
    rig.fail(showcase::EVENING, Fault::Status(503));
    let daemon = Daemon::start(&showcase::config(&rig), showcase::SPECS);
    let prometheus = Prometheus::start(&daemon, &[read("dashboards/alerts.yml")]);
    rules_are_healthy(&prometheus);

    let asked = queries(&variables());
    assert!(asked.len() > 30, "{} queries", asked.len());
    let mut complaints = Vec::new();
    let all = super::seen(|| {
        let wrong = asked
            .iter()
            .filter_map(|query| complaint(&prometheus, query));
        complaints = wrong.collect();
        complaints.is_empty().then_some(())
    });
    assert!(all.is_some(), "\n{}\n", complaints.join("\n"));
    let page = daemon.scrape();
    let ends = ["", "_bucket"];
    let exported = |name: &str| {
        ends.iter()
            .any(|end| page.select(&format!("{name}{end}"), &[]).next().is_some())
    };
    let missing: Vec<_> = metric_names()
        .into_iter()
        .filter(|name| !exported(name))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}

/// Every shipped rule is evaluated without an error.
fn rules_are_healthy(prometheus: &Prometheus) {
    let rules = eventually("every rule is evaluated", || {
        let groups = prometheus.api("rules")["groups"].as_array().cloned()?;
        let rules = groups
            .iter()
            .flat_map(|group| group["rules"].as_array().unwrap());
        let rules: Vec<Value> = rules.cloned().collect();
        let evaluated = rules.iter().all(|rule| rule["health"] != "unknown");
        (evaluated && !rules.is_empty()).then_some(rules)
    });
    let written = read("dashboards/alerts.yml").matches("- alert: ").count();
    assert_eq!(rules.len(), written);
    for rule in rules {
        assert_eq!(rule["health"], "ok", "{rule}");
    }
}
