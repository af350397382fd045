//! The dashboards and alert rules: well-formed, complete for people, and made of metrics that exist.
//!
//! Whether every query finds something is for the end-to-end test to say, which has a Prometheus
//! that scraped a daemon: it takes [`queries`] and [`metric_names`] from here.

use std::collections::BTreeSet;

use regex::{Captures, Regex};
use serde_json::{Value, json};

use crate::tools::{read, require, root, succeed};

const RULES: &str = "dashboards/alerts.yml";
const RULES_TEST: &str = "dashboards/alerts.test.yml";
const ALERTMANAGER: &str = "dashboards/alertmanager.yml";

/// What a user who has chosen "All" everywhere gets. The end-to-end test overrides what it likes.
pub(crate) const VARIABLES: &[(&str, &str)] = &[
    ("__interval", "15s"),
    ("__range", "1h"),
    ("__rate_interval", "4m"),
    ("instance", ".+"),
    ("job", ".+"),
    ("resolution", "1m"),
    ("spec", ".+"),
    ("target", ".+"),
];

/// One query of a dashboard.
#[derive(Debug)]
pub(crate) struct Query {
    /// The file's name without its end.
    pub(crate) dashboard: String,
    /// The panel's title; `variable NAME` and `annotation NAME` for what is not in a panel.
    pub(crate) panel: String,
    /// The query as it stands in the file.
    pub(crate) written: String,
    /// The query with every variable replaced: what Prometheus is asked.
    pub(crate) expr: String,
    /// The labels that its legend shows. (`variant` is empty, and so absent, for a spec without
    /// a matrix.)
    pub(crate) legend: BTreeSet<String>,
    /// An instant query; otherwise one over a range.
    pub(crate) instant: bool,
}

/// Every query of every dashboard, with `variables` (`__range`, `job`, …) replaced.
pub(crate) fn queries(variables: &[(&str, &str)]) -> Vec<Query> {
    let mut queries = Vec::new();
    for (dashboard, board) in dashboards() {
        let mut add = |panel: String, written: &str, legend: &str, instant: bool| {
            queries.push(Query {
                dashboard: dashboard.clone(),
                panel,
                written: written.to_owned(),
                expr: resolve(written, variables),
                legend: legend_labels(legend),
                instant,
            });
        };
        for variable in list(&board["templating"]["list"]) {
            if let Some((metric, label)) = label_values(variable) {
                // `label_values` is Grafana's; this is what it amounts to.
                let expr = format!("count by ({label}) ({metric})");
                let legend = format!("{{{{{label}}}}}");
                add(
                    format!("variable {}", text(&variable["name"])),
                    &expr,
                    &legend,
                    true,
                );
            }
        }
        for annotation in list(&board["annotations"]["list"]) {
            if let Some(expr) = annotation["expr"].as_str() {
                let name = format!("annotation {}", text(&annotation["name"]));
                add(name, expr, text(&annotation["textFormat"]), false);
            }
        }
        for panel in panels(&board) {
            for target in list(&panel["targets"]) {
                let instant = target["instant"].as_bool().unwrap_or(false);
                let legend = text(&target["legendFormat"]);
                add(
                    text(&panel["title"]).to_owned(),
                    text(&target["expr"]),
                    legend,
                    instant,
                );
            }
        }
    }
    queries
}

/// The names of all metrics of ours that dashboards, alert rules and their tests speak of; those of
/// histograms without `_bucket`, `_sum` and `_count`.
pub(crate) fn metric_names() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for query in queries(VARIABLES) {
        names.extend(names_in(&query.written));
    }
    for file in [RULES, RULES_TEST] {
        for line in read(file).lines() {
            let code = line.split_once(" # ").map_or(line, |(code, _)| code);
            if !code.trim_start().starts_with('#') {
                names.extend(names_in(code));
            }
        }
    }
    names
}

fn names_in(text: &str) -> Vec<String> {
    let name = Regex::new(r"\b(?:testerd|process)_\w+").unwrap();
    let part = Regex::new(r"_(bucket|sum|count)$").unwrap();
    name.find_iter(text)
        .map(|found| part.replace(found.as_str(), "").into_owned())
        .collect()
}

/// Replaces `$name`, `${name}` and `${name:format}`. What `variables` does not have stays.
fn resolve(expr: &str, variables: &[(&str, &str)]) -> String {
    let variable = Regex::new(r"\$(?:(\w+)|\{(\w+)(?::\w+)?\})").unwrap();
    variable
        .replace_all(expr, |found: &Captures<'_>| {
            let name = found
                .get(1)
                .or(found.get(2))
                .map_or("", |name| name.as_str());
            let value = variables.iter().find(|(variable, _)| *variable == name);
            value.map_or_else(|| found[0].to_owned(), |(_, value)| (*value).to_owned())
        })
        .into_owned()
}

fn legend_labels(legend: &str) -> BTreeSet<String> {
    let label = Regex::new(r"\{\{\s*(\w+)\s*\}\}").unwrap();
    label
        .captures_iter(legend)
        .map(|found| found[1].to_owned())
        .collect()
}

/// The selector and the label of a variable that is filled by `label_values(selector, label)`.
fn label_values(variable: &Value) -> Option<(String, String)> {
    let query = variable["query"]["query"].as_str()?;
    let inside = query.strip_prefix("label_values(")?.strip_suffix(')')?;
    let (metric, label) = inside.rsplit_once(',')?;
    Some((metric.trim().to_owned(), label.trim().to_owned()))
}

/// All dashboards by the name of their file.
fn dashboards() -> Vec<(String, Value)> {
    let mut boards: Vec<_> = std::fs::read_dir(root().join("dashboards"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "json"))
        .map(|path| {
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            let text = std::fs::read_to_string(&path).unwrap();
            let board =
                serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
            (name, board)
        })
        .collect();
    boards.sort_by(|a, b| a.0.cmp(&b.0));
    assert!(!boards.is_empty(), "no dashboards");
    boards
}

/// All panels but rows; those of folded rows too.
fn panels(board: &Value) -> Vec<&Value> {
    let mut panels = Vec::new();
    for panel in list(&board["panels"]) {
        if panel["type"] == "row" {
            panels.extend(list(&panel["panels"]));
        } else {
            panels.push(panel);
        }
    }
    panels
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Calls `check` for every dashboard; what it complains of is shown all at once.
fn lint(check: impl Fn(&Value, &mut Vec<String>)) {
    let mut problems = Vec::new();
    for (name, board) in dashboards() {
        let mut found = Vec::new();
        check(&board, &mut found);
        problems.extend(
            found
                .into_iter()
                .map(|problem| format!("{name}: {problem}")),
        );
    }
    assert!(problems.is_empty(), "\n{}\n", problems.join("\n"));
}

#[test]
fn a_dashboard_can_be_provisioned_as_it_is() {
    lint(|board, problems| {
        let mut must = |holds: bool, what: &str| {
            if !holds {
                problems.push(what.to_owned());
            }
        };
        must(
            !text(&board["uid"]).is_empty(),
            "needs a fixed uid, or links to it break",
        );
        must(
            board["id"].is_null(),
            "id must be null: it belongs to one Grafana",
        );
        must(
            board["editable"] == false,
            "must not be editable: the file is the truth",
        );
        must(
            board["graphTooltip"] == 1,
            "graphTooltip must be 1 (a shared crosshair)",
        );
        must(
            (39..=41).contains(&board["schemaVersion"].as_i64().unwrap_or(0)),
            "schemaVersion must be 39 to 41, which older servers read too",
        );
        must(
            !list(&board["links"]).is_empty(),
            "needs links to its siblings",
        );
        // Those two are resolved by the interactive import only.
        let written = board.to_string();
        must(
            !written.contains("__inputs"),
            "__inputs does not survive provisioning",
        );
        must(!written.contains("${DS_"), "use ${datasource}");
    });
}

#[test]
fn variables_let_a_user_choose() {
    lint(|board, problems| {
        let variables = list(&board["templating"]["list"]);
        let named = |name: &str| variables.iter().find(|variable| variable["name"] == name);
        if named("datasource").is_none_or(|variable| {
            variable["type"] != "datasource"
                || variable["query"] != "prometheus"
                || variable["label"] != "Data source"
        }) {
            problems.push("needs a variable `datasource`, labelled `Data source`".to_owned());
        }
        for (name, label) in [
            ("job", "Job"),
            ("instance", "Instance"),
            ("target", "Target"),
            ("spec", "Spec"),
        ] {
            let want = json!({
                "label": label, "type": "query", "multi": true, "includeAll": true,
                "allValue": ".+", "refresh": 2, "datasource": datasource(),
            });
            for (key, value) in want.as_object().unwrap() {
                if named(name).is_none_or(|variable| &variable[key] != value) {
                    problems.push(format!("variable {name}: {key} must be {value}"));
                }
            }
            if named(name).and_then(label_values).is_none() {
                problems.push(format!("variable {name} must be filled by label_values"));
            }
        }
    });
}

fn datasource() -> Value {
    json!({ "type": "prometheus", "uid": "${datasource}" })
}

#[test]
fn a_panel_says_what_it_shows() {
    lint(|board, problems| {
        let mut titles = BTreeSet::new();
        let mut ids = BTreeSet::new();
        for panel in panels(board) {
            let title = text(&panel["title"]);
            let mut must = |holds: bool, what: &str| {
                if !holds {
                    problems.push(format!("panel {title:?}: {what}"));
                }
            };
            must(!title.is_empty(), "needs a title");
            must(titles.insert(title), "its title stands twice");
            must(ids.insert(panel["id"].to_string()), "its id stands twice");
            must(
                !text(&panel["description"]).is_empty(),
                "needs a description",
            );
            must(
                UNITS.contains(&text(&panel["fieldConfig"]["defaults"]["unit"])),
                "needs a unit from UNITS in tests/it/dashboards.rs (a typing error is not seen by Grafana)",
            );
            must(
                panel["datasource"] == datasource(),
                "must use ${datasource}",
            );
            must(!list(&panel["targets"]).is_empty(), "has no queries");
            for target in list(&panel["targets"]) {
                must(
                    target["datasource"] == datasource(),
                    "its queries must use ${datasource}",
                );
            }
        }
    });
}

/// Grafana's ids of the units that we use.
const UNITS: &[&str] = &["bytes", "percentunit", "s", "short"];

#[test]
fn panels_lie_side_by_side() {
    lint(|board, problems| {
        let mut taken = std::collections::BTreeMap::new();
        for panel in list(&board["panels"]) {
            let title = text(&panel["title"]);
            let at = |key: &str| panel["gridPos"][key].as_u64().unwrap_or(0);
            if at("x") + at("w") > 24 || at("w") == 0 || at("h") == 0 {
                problems.push(format!("panel {title:?} does not fit into 24 columns"));
            }
            for x in at("x")..at("x") + at("w") {
                for y in at("y")..at("y") + at("h") {
                    if let Some(other) = taken.insert((x, y), title).filter(|other| *other != title)
                    {
                        problems.push(format!("panel {title:?} covers {other:?} at {x},{y}"));
                    }
                }
            }
        }
    });
}

#[test]
fn queries_ask_for_the_chosen_daemons_and_rates() {
    let selector = Regex::new(r"\b([a-z_]+)\{([^}]*)\}").unwrap();
    let bare = Regex::new(r"\b((?:testerd|process)_\w+)\b(?:[^{\w]|$)").unwrap();
    let ranged = Regex::new(r"(rate|irate|increase)\(([a-z_]+)\{[^}]*\}\[([^\]]+)\]\)").unwrap();
    let counter = Regex::new(r"_(total|bucket|sum|count)$").unwrap();
    let mut problems = Vec::new();
    let mut complain = |query: &Query, what: &str| {
        problems.push(format!(
            "{}, {:?}: {what}\n    {}",
            query.dashboard, query.panel, query.written
        ));
    };
    for query in queries(VARIABLES) {
        let expr = query.written.as_str();
        if query.panel.starts_with("variable ") {
            continue; // they choose the job, and so can't ask for it
        }
        for found in selector.captures_iter(expr) {
            for wanted in ["job=~\"$job\"", "instance=~\"$instance\""] {
                if !found[2].contains(wanted) {
                    complain(&query, &format!("{} needs {wanted}", &found[1]));
                }
            }
        }
        if let Some(found) = bare.captures(expr) {
            complain(&query, &format!("{} has no selector", &found[1]));
        }
        let mut in_a_rate = BTreeSet::new();
        for found in ranged.captures_iter(expr) {
            in_a_rate.insert(found.get(2).unwrap().start());
            let range = &found[3];
            let rate = &found[1] != "increase";
            if range != "$__rate_interval" && (rate || range != "$__range") {
                complain(
                    &query,
                    "rate wants $__rate_interval; increase that or $__range",
                );
            }
        }
        for found in selector.captures_iter(expr) {
            let name = found.get(1).unwrap();
            if counter.is_match(name.as_str()) && !in_a_rate.contains(&name.start()) {
                complain(
                    &query,
                    &format!("{} is a counter: only in rate or increase", name.as_str()),
                );
            }
        }
    }
    assert!(problems.is_empty(), "\n{}\n", problems.join("\n"));
}

#[test]
fn resolved_queries_are_promql() {
    let queries = queries(VARIABLES);
    for query in &queries {
        let left = query.expr.find('$');
        assert!(
            left.is_none(),
            "{:?}: an unknown variable in {}",
            query.panel,
            query.expr
        );
        assert!(
            !query.instant || !query.written.contains("$__rate_interval"),
            "{:?}: an instant query wants $__range: it looks once at all of it",
            query.panel
        );
    }
    if !require("promtool") {
        return;
    }
    // No server is needed to parse: each query becomes a recording rule. JSON is YAML.
    let rules: Vec<_> = queries
        .iter()
        .enumerate()
        .map(|(number, query)| json!({ "record": format!("query:{number}"), "expr": query.expr }))
        .collect();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("queries.yml");
    let groups = json!({ "groups": [{ "name": "queries", "rules": rules }] });
    std::fs::write(&file, groups.to_string()).unwrap();
    succeed("promtool", &["check", "rules", file.to_str().unwrap()]);
}

/// `sum by (a, b)` leaves a and b and nothing else: a legend that asks for more stays empty.
#[test]
fn legends_show_labels_that_are_left() {
    let by = Regex::new(r"by \(([^)]*)\)").unwrap();
    for query in queries(VARIABLES) {
        let Some(found) = by.captures(&query.written) else {
            continue;
        };
        let left: BTreeSet<String> = found[1].split(", ").map(str::to_owned).collect();
        assert!(
            query.legend.is_subset(&left),
            "{:?}: the legend shows {:?}, the query leaves {left:?}",
            query.panel,
            query.legend
        );
    }
}

#[test]
fn metric_names_are_found_everywhere() {
    let names = metric_names();
    for name in [
        "testerd_spec_info",                                    // a variable
        "testerd_step_duration_seconds", // a panel; a histogram without its end
        "process_open_fds",              // a panel in a folded row
        "testerd_journal_stuck",         // a rule
        "testerd_config_last_reload_success_timestamp_seconds", // an annotation
    ] {
        assert!(names.contains(name), "{name} is not in {names:?}");
    }
    assert!(!names.iter().any(|name| name.ends_with("_bucket")));
}

/// An alert without a test, or without words for whoever is woken by it, is not finished.
#[test]
fn every_alert_is_tested_and_explained() {
    let rules = read(RULES);
    let tests = read(RULES_TEST);
    let alerts: Vec<&str> = rules
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: "))
        .collect();
    assert!(!alerts.is_empty());
    for alert in &alerts {
        assert!(
            tests.contains(&format!("- alertname: {alert}\n")),
            "{alert} has no test in {RULES_TEST}"
        );
    }
    for key in ["summary: ", "description: ", "runbook: ", "severity: "] {
        let count = rules
            .lines()
            .filter(|line| line.trim().starts_with(key))
            .count();
        assert_eq!(count, alerts.len(), "each alert needs one {key}");
    }
}

#[test]
fn promtool_accepts_the_rules() {
    if require("promtool") {
        succeed("promtool", &["check", "rules", RULES]);
    }
}

#[test]
fn alerts_fire_when_they_should_and_only_then() {
    if require("promtool") {
        succeed("promtool", &["test", "rules", RULES_TEST]);
    }
}

#[test]
fn amtool_accepts_the_sample() {
    if require("amtool") {
        succeed("amtool", &["check-config", ALERTMANAGER]);
    }
}
