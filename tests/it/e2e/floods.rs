//! Every kind of flood at once (`faults::floods`), against one daemon: their deadlines are kept, who
//! is healthy is told as healthy and loses no slot, the pages answer, and SIGTERM is obeyed.

use super::daemon::Daemon;
use super::page::Page;
use crate::faults::floods::{DEADLINE, Flood, Flooding, all, stand_back};
use crate::rig::Rig;

/// What a run of a flooded spec may take on average, where 300 ms are allowed: the machine of the
/// tests is busy, and a create, its teardown and a search have a deadline each.
const PATIENCE: f64 = 10.0;

fn config(rig: &Rig, floods: &[Flooding]) -> String {
    let url = rig.url();
    let probe = |name: &str, interval: &str| {
        format!(
            "[[probe]]\nname = \"{name}\"\ntarget = \"{name}\"\ntags = [\"{name}\"]\ninterval = \"{interval}\"\n"
        )
    };
    let mut config =
        format!("concurrency = 100\n[target.witness]\ntype = \"http\"\nendpoint = \"{url}\"\n");
    config += &probe("witness", "2s");
    for flood in floods {
        config += &flood.target(flood.name());
        config += &probe(flood.name(), "4s");
    }
    config
}

const WITNESS: &str = r#"
[[spec]]
name = "witness"
tags = ["witness"]
timeout = "5s"
[[spec.steps]]
name = "ask"
use = "http"
path = "/ok?id=witness"
"#;

fn runs(page: &Page, spec: &str) -> u64 {
    page.count("testerd_runs_total", &[("spec", spec)])
}

#[test]
fn floods_cost_only_themselves() {
    stand_back();
    let rig = Rig::start();
    let floods: Vec<_> = all().into_iter().map(Flood::start).collect();
    let specs: String = floods
        .iter()
        .map(|flood| flood.spec(flood.name(), DEADLINE))
        .collect();
    let mut daemon = Daemon::start(&config(&rig, &floods), &(specs + WITNESS));
    daemon.comes_to("two runs of each", |page| {
        let all = floods.iter().all(|flood| runs(page, flood.name()) >= 2);
        all && runs(page, "witness") >= 4
    });
    let last = daemon.stop();
    for flood in &floods {
        let labels = [("spec", flood.name())];
        let count = last.value("testerd_run_duration_seconds_count", &labels);
        let sum = last.value("testerd_run_duration_seconds_sum", &labels);
        let mean = sum.unwrap() / count.unwrap();
        assert!(mean < PATIENCE, "{} took {mean} s", flood.name());
        let failures = last.count("testerd_run_failures_total", &labels);
        assert_eq!(failures, runs(&last, flood.name()), "{}", flood.name());
    }
    let witness = [("spec", "witness")];
    assert_eq!(last.count("testerd_run_failures_total", &witness), 0);
    for outcome in ["missed", "skipped_overlap", "skipped_capacity"] {
        let slots = last.count("testerd_slots_total", &[witness[0], ("outcome", outcome)]);
        assert_eq!(slots, 0, "{outcome}");
    }
}
