//! A real Prometheus that scrapes one daemon every second.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::child::Child;
use super::daemon::Daemon;
use super::eventually;
use crate::rig::ask_with;

/// A running Prometheus. It is killed when it is dropped.
pub(super) struct Prometheus {
    _child: Child,
    url: String,
    /// Keeps its files.
    _folder: TempDir,
}

/// One series of an answer, as it is now.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) labels: BTreeMap<String, String>,
    pub(super) value: f64,
}

impl Prometheus {
    /// Starts it with these rule files, and waits until it has scraped the daemon.
    pub(super) fn start(daemon: &Daemon, rules: &[String]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut files = Vec::new();
        for (number, text) in rules.iter().enumerate() {
            let file = folder.path().join(format!("rules-{number}.yml"));
            std::fs::write(&file, text).unwrap();
            files.push(file);
        }
        let target = daemon.url().strip_prefix("http://").unwrap();
        let config = json!({
            "global": { "scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s" },
            "rule_files": files,
            "scrape_configs": [
                { "job_name": "testerd", "static_configs": [{ "targets": [target] }] },
            ],
        });
        // JSON is YAML.
        let file = folder.path().join("prometheus.yml");
        std::fs::write(&file, config.to_string()).unwrap();
        let mut command = Command::new("prometheus");
        command
            .arg(format!("--config.file={}", file.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                folder.path().join("data").display()
            ))
            .arg("--web.listen-address=127.0.0.1:0");
        let mut child = Child::start(&mut command, None);
        let address = child.hear("where it listens", |line| {
            let (_, rest) = line.split_once("msg=\"Listening on\" address=")?;
            Some(rest.trim().to_owned())
        });
        let prometheus = Self {
            _child: child,
            url: format!("http://{address}"),
            _folder: folder,
        };
        eventually("the daemon is scraped", || {
            let targets = prometheus.try_api("targets")?;
            (targets["activeTargets"][0]["health"] == "up").then_some(())
        });
        prometheus
    }

    /// What PromQL says now; only finite values.
    pub(super) fn query(&self, promql: &str) -> Vec<Found> {
        let query = utf8_percent_encode(promql, NON_ALPHANUMERIC);
        let data = self.api(&format!("query?query={query}"));
        let labels = |series: &Value| {
            let labels = series["metric"].as_object().cloned().unwrap_or_default();
            let text = |value: Value| value.as_str().unwrap().to_owned();
            labels
                .into_iter()
                .map(|(name, value)| (name, text(value)))
                .collect()
        };
        let series = data["result"].as_array().cloned().unwrap_or_default();
        series
            .iter()
            .map(|series| Found {
                labels: labels(series),
                value: series["value"][1].as_str().unwrap().parse().unwrap(),
            })
            .filter(|found| found.value.is_finite())
            .collect()
    }

    /// The sum over all series; nothing if there are none.
    pub(super) fn value(&self, promql: &str) -> Option<f64> {
        let found = self.query(promql);
        (!found.is_empty()).then(|| found.iter().map(|found| found.value).sum())
    }

    /// Waits for so many more scrapes.
    pub(super) fn scrapes(&self, count: usize) {
        for _ in 0..count {
            let at = || self.value("timestamp(up)");
            let before = at();
            eventually("another scrape", || at().filter(|_| at() > before));
        }
    }

    /// The alerts of this name that are firing, by their labels.
    pub(super) fn firing(&self, alert: &str) -> Vec<Value> {
        let alerts = self.api("alerts")["alerts"].as_array().cloned().unwrap();
        let firing = alerts
            .into_iter()
            .filter(|found| found["state"] == "firing" && found["labels"]["alertname"] == alert);
        firing.map(|alert| alert["labels"].clone()).collect()
    }

    /// `data` of an answer of its API.
    pub(super) fn api(&self, path: &str) -> Value {
        let answer = self.try_api(path);
        answer.unwrap_or_else(|| panic!("Prometheus refuses {path}"))
    }

    fn try_api(&self, path: &str) -> Option<Value> {
        let url = format!("{}/api/v1/{path}", self.url);
        let told = ask_with("GET", &url, &[], None, Duration::from_secs(10)).ok()?;
        let mut answer = told.json();
        (answer["status"] == "success").then(|| answer["data"].take())
    }
}
