//! What went wrong in other probers, each kept from going wrong here.
//!
//! | there | here |
//! |---|---|
//! | a suite's timeout stops nothing | `runs::deadlines::a_suite_ends_at_its_deadline_and_teardown_follows` |
//! | steps have no metrics | below |
//! | ticks are dropped without a count | below; `schedule::in_an_hour_every_due_slot_has_exactly_one_outcome` |
//! | failed runs are missing from latency | below |
//! | killed runs are missing from results | `schedule::stopping::what_does_not_end_is_dropped_told_and_owed` |
//! | no teardown when setup throws | `runs::order::after_half_a_setup_what_was_set_up_is_torn_down`, `runs::stopping::a_panicking_create_is_looked_after` |
//! | no teardown at the deadline | `runs::deadlines` |
//! | an alert or sink that blocks probing | below |
//! | buckets end below the allowed timeout | below |
//! | error texts and URLs as labels | below |
//! | histograms rebuilt, so that counts fall | below |
//! | the last sample re-sent as if new | below |

use std::collections::BTreeMap;
use std::fmt::Write;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use testerd::event::{Event, Exporter};
use testerd::exporter::metrics::Metrics;
use testerd::grid::Grid;
use testerd::spec::Scheduled;

use crate::rig::{Fault, Rig};
use crate::runs::{LONG, World, make, spec, step, wrap};

/// A world whose runs are counted.
fn counted(text: &str) -> (World, Arc<Metrics>, Arc<Scheduled>) {
    let mut world = World::new();
    let metrics = Arc::new(Metrics::new(Vec::new()));
    world.more.push(metrics.clone());
    let scheduled = world.compile(text).remove(0);
    let far = Duration::from_secs(u64::from(u32::MAX));
    let grid = Grid {
        first: far,
        then: far,
        interval: scheduled.info.interval,
    };
    metrics.export(&Event::PlanLoaded {
        specs: vec![(scheduled.info.clone(), grid)],
        pools: Vec::new(),
        origin: Instant::now(),
        since: Duration::ZERO,
    });
    (world, metrics, scheduled)
}

/// Every sample by name and labels.
fn samples(metrics: &Metrics) -> BTreeMap<String, f64> {
    let text = String::from_utf8(metrics.encode()).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let sample = |line: &str| {
        let (name, value) = line.rsplit_once(' ').unwrap();
        (name.to_owned(), value.parse().unwrap())
    };
    lines.map(sample).collect()
}

/// The sum of all samples of a name with these labels.
fn sum(samples: &BTreeMap<String, f64>, name: &str, labels: &[&str]) -> f64 {
    let begin = format!("{name}{{");
    let meant = |series: &str| {
        series.starts_with(&begin) && labels.iter().all(|label| series.contains(label))
    };
    let values = samples.iter().filter(|(series, _)| meant(series));
    values.map(|(_, value)| value).sum()
}

/// The same of what is counted.
fn count(samples: &BTreeMap<String, f64>, name: &str, labels: &[&str]) -> u64 {
    sum(samples, name, labels).to_string().parse().unwrap()
}

/// A scenario in which a bit of everything goes wrong.
fn troubled() -> String {
    spec(
        "",
        &[
            wrap("item", "teardown_timeout = \"100ms\""),
            step("allowed", "/status/401", "allow_failure = true"),
            make("made", ""),
            step("hangs", "/hang", "timeout = \"100ms\""),
            step("never", "/ok", ""),
            step(
                "last",
                "/badjson",
                "always = true\nexpect = { json = { \"/a\" = 1 } }",
            ),
        ],
    )
}

#[tokio::test]
async fn every_step_has_metrics_and_failed_ones_have_a_duration() {
    let (world, metrics, scheduled) = counted(&troubled());
    world.rig.fail("DELETE /items/{id}#item", Fault::Hang);
    world.run_scheduled(&scheduled).await;
    let samples = samples(&metrics);
    let of = |step: &str, phase: &str| {
        let labels = [&*format!("step=\"{step}\""), &*format!("phase=\"{phase}\"")];
        [
            count(&samples, "testerd_step_duration_seconds_count", &labels),
            count(&samples, "testerd_step_failures_total", &labels),
        ]
    };
    assert_eq!(of("item", "setup"), [1, 0]);
    assert_eq!(of("made", "body"), [1, 0]);
    assert_eq!(of("made", "teardown"), [1, 0]);
    for failed in [
        ("allowed", "body"),
        ("hangs", "body"),
        ("last", "body"),
        ("item", "teardown"),
    ] {
        assert_eq!(of(failed.0, failed.1), [1, 1], "{failed:?}");
    }
    assert_eq!(of("never", "body"), [0, 0]);
    // A timeout counts with its deadline, not with the timer's later tick.
    let hung = sum(
        &samples,
        "testerd_step_duration_seconds_sum",
        &["step=\"hangs\""],
    );
    assert!((hung - 0.1).abs() < 1e-9, "{hung}");
    assert_eq!(
        count(&samples, "testerd_run_duration_seconds_count", &[]),
        1
    );
    assert_eq!(count(&samples, "testerd_runs_total", &[]), 1);
    let labels = ["reason=\"timeout\""];
    assert_eq!(count(&samples, "testerd_run_failures_total", &labels), 1);
}

#[tokio::test]
async fn no_error_text_and_no_url_is_a_label() {
    let (world, metrics, scheduled) = counted(&troubled());
    let before = samples(&metrics);
    world.rig.fail("DELETE /items/{id}", Fault::Status(500));
    let told = world.run_scheduled(&scheduled).await;
    assert!(told.story.contains("the body begins"), "{}", told.story);
    let after = samples(&metrics);
    for series in after.keys() {
        for text in [
            "http:",
            "127.0.0.1",
            "/items",
            "hang?",
            "body begins",
            "status is",
            "0001",
        ] {
            assert!(!series.contains(text), "{series}");
        }
        // What is there was there before the first run, but for what needs a verdict.
        let judged = ["state{", "last_", "consecutive_failures{"];
        let needs_verdict = judged
            .iter()
            .any(|name| series.contains(&format!("testerd_{name}")));
        assert!(before.contains_key(series) || needs_verdict, "{series}");
    }
}

#[tokio::test]
async fn counts_only_grow_and_the_last_run_stays_the_last() {
    let (world, metrics, scheduled) = counted(&spec(
        "",
        &[step("look", "/fail-first?n=2", ""), make("item", "")],
    ));
    let mut last = samples(&metrics);
    for round in 1..=5 {
        world.run_scheduled(&scheduled).await;
        let now = samples(&metrics);
        for (series, value) in &now {
            let name = series.split('{').next().unwrap();
            let grows = ["_total", "_count", "_bucket", "_sum"]
                .iter()
                .any(|end| name.ends_with(end));
            if grows {
                assert!(
                    *value >= last.get(series).copied().unwrap_or(0.0),
                    "{series}"
                );
            }
        }
        assert_eq!(count(&now, "testerd_runs_total", &[]), round);
        let times = |samples: &BTreeMap<String, f64>| {
            sum(samples, "testerd_last_run_timestamp_seconds", &[])
        };
        assert!(times(&now) > times(&last), "a run refreshes it");
        // Asking again and loading the same plan again do not.
        let again = samples(&metrics);
        assert_eq!(times(&again).to_bits(), times(&now).to_bits());
        last = now;
    }
}

#[tokio::test]
async fn buckets_reach_every_deadline() {
    let specs = [
        spec("timeout = \"3m\"", &[step("look", "/ok", "")]),
        spec(
            "",
            &[
                wrap("item", "teardown_timeout = \"20m\""),
                step("look", "/ok", ""),
            ],
        ),
        spec(
            "",
            &[step("look", "/ok", "always = true\ntimeout = \"20m\"")],
        ),
    ];
    for (text, longest) in [(&specs[0], 180.0), (&specs[1], 1200.0), (&specs[2], 1200.0)] {
        let (_, metrics, _) = counted(text);
        let samples = samples(&metrics);
        for name in ["step", "run"] {
            let begin = format!("testerd_{name}_duration_seconds_bucket{{");
            let bounds = samples.keys().filter(|series| series.starts_with(&begin));
            let bound = |series: &String| {
                let (_, rest) = series.split_once("le=\"").unwrap();
                rest.split('"').next().unwrap().parse::<f64>().unwrap()
            };
            let last = bounds
                .map(bound)
                .filter(|bound| bound.is_finite())
                .fold(0.0, f64::max);
            assert!(last >= longest, "{name}: {last} < {longest}\n{text}");
        }
    }
}

/// The log goes to a pipe that nobody reads.
#[test]
fn a_blocked_log_does_not_block_probing() {
    let rig = Rig::start();
    let folder = tempfile::tempdir().unwrap();
    let mut matrix = String::new();
    for row in 0..10 {
        writeln!(matrix, "[[spec.matrix]]\nvariant = \"v{row}\"").unwrap();
    }
    let specs = spec(&matrix, &[step("look", "/status/500", "")]);
    std::fs::write(folder.path().join("specs.toml"), specs).unwrap();
    let config = folder.path().join("testerd.toml");
    let text = format!(
        "[tester]\nspecs = [\"specs.toml\"]\nstate_dir = \"state\"\n\
         [target.rig]\ntype = \"http\"\nendpoint = \"{}\"\n\
         [[probe]]\ntarget = \"rig\"\ninterval = \"100ms\"\n",
        rig.url()
    );
    std::fs::write(&config, text).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_testerd"))
        .args([
            "serve",
            "--web.listen-address",
            "127.0.0.1:0",
            "--log.level",
            "trace",
        ])
        .arg("--config.file")
        .arg(&config)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Each run logs a line of some hundred bytes, and a pipe holds 64 KiB.
    let went_on = rig.reaches("/status/500", 1000, 3 * LONG);
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(went_on, "{} requests", rig.count("/status/500"));
}
