//! What Prometheus sees, as text.

use super::*;
use crate::event::{Phase, SpecInfo};
use crate::exporter::sample::{MILLI, ended, loaded, pools, run, spec, step, story};
use crate::outcome::{Cause, Failure, Fault, Reason, Verdict};

fn metrics() -> Metrics {
    Metrics::new(vec![("log", Dropped::default())])
}

fn text(metrics: &Metrics) -> String {
    String::from_utf8(metrics.encode()).unwrap()
}

fn samples(metrics: &Metrics) -> Vec<String> {
    let text = text(metrics);
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(str::to_owned).collect()
}

/// The value of the one sample whose name and labels these are.
fn value(metrics: &Metrics, series: &str) -> Option<String> {
    let samples = samples(metrics);
    let mut values = samples.iter().filter_map(|line| {
        let (name, value) = line.rsplit_once(' ')?;
        (name == series).then(|| value.to_owned())
    });
    let value = values.next();
    assert_eq!(values.next(), None, "{series} is there twice");
    value
}

fn number(metrics: &Metrics, series: &str) -> f64 {
    value(metrics, series).unwrap().parse().unwrap()
}

fn shared(specs: Vec<SpecInfo>) -> Vec<Arc<SpecInfo>> {
    specs.into_iter().map(Arc::new).collect()
}

#[test]
fn the_contract_as_text() {
    let specs = shared(vec![spec("shop", "checkout", "")]);
    let metrics = metrics();
    metrics.export(&loaded(&specs, Instant::now()));
    for event in story(&specs[0]) {
        metrics.export(&event);
    }
    let text = text(&metrics);
    let differs = |line: &&str| {
        let sample = !line.starts_with('#');
        sample
            && [
                "process_",
                "testerd_build_info",
                "testerd_config_last_reload_success_timestamp",
            ]
            .iter()
            .any(|name| line.starts_with(name))
    };
    let stable: Vec<&str> = text.lines().filter(|line| !differs(line)).collect();
    insta::assert_snapshot!(stable.join("\n"));
}

#[test]
fn the_series_are_as_many_as_the_contract_says() {
    let mut plain = spec("shop", "search", "");
    plain.http_phases = false;
    plain.objective = None;
    plain.kinds = vec!["backendai.session", "http.resource"];
    plain.timeout = Duration::from_secs(300);
    plain.longest = Duration::from_secs(300);
    let bare = SpecInfo {
        steps: vec![],
        kinds: vec![],
        ..spec("till", "checkout", "")
    };
    let plans = [
        vec![],
        vec![spec("shop", "checkout", "")],
        vec![spec("shop", "checkout", "big"), plain, bare],
    ];
    let metrics = metrics();
    for specs in plans.map(shared) {
        metrics.export(&loaded(&specs, Instant::now()));
        let few = samples(&metrics).len();
        for spec in &specs {
            for event in story(spec) {
                metrics.export(&event);
            }
        }
        let all = samples(&metrics).len();
        assert_eq!(all as u64, contract::series(&specs, &pools(), 1));
        assert_eq!(
            all - few,
            5 * specs.len(),
            "only what verdicts say was absent"
        );
    }
}

#[test]
fn everything_is_zero_at_the_start() {
    let specs = shared(vec![
        spec("shop", "checkout", ""),
        spec("till", "checkout", ""),
    ]);
    let metrics = metrics();
    metrics.export(&loaded(&specs, Instant::now()));
    let constant = |name: &&String| {
        !name.starts_with("process_")
            && ![
                "testerd_spec_",
                "testerd_permits_limit",
                "testerd_build",
                "testerd_config",
            ]
            .iter()
            .any(|start| name.starts_with(start))
    };
    let samples = samples(&metrics);
    let counts: Vec<&String> = samples.iter().filter(constant).collect();
    assert!(counts.len() > 300);
    for line in counts {
        assert!(line.ends_with(" 0"), "{line}");
    }
}

#[test]
fn a_reload_keeps_what_stays_and_drops_what_goes() {
    let origin = Instant::now();
    let specs = shared(vec![
        spec("shop", "checkout", ""),
        spec("till", "search", ""),
    ]);
    let metrics = metrics();
    metrics.export(&loaded(&specs, origin));
    for spec in &specs {
        for event in story(spec) {
            metrics.export(&event);
        }
    }
    let runs = |target: &str, spec: &str| {
        format!("testerd_runs_total{{target=\"{target}\",spec=\"{spec}\",variant=\"\"}}")
    };
    assert_eq!(value(&metrics, &runs("shop", "checkout")).unwrap(), "2");

    // Longer deadlines, one step and a whole target less, and a spec that is new.
    let mut changed = spec("shop", "checkout", "");
    changed.timeout = Duration::from_secs(100);
    changed.longest = Duration::from_secs(100);
    changed.steps.retain(|step| &*step.name != "receipt");
    let mut new = spec("shop", "new", "");
    new.steps.clear();
    let next = shared(vec![changed, new]);
    metrics.export(&loaded(&next, origin));
    assert!(!text(&metrics).contains("till"));
    assert!(!text(&metrics).contains("receipt"));
    assert_eq!(value(&metrics, &runs("shop", "checkout")).unwrap(), "2");
    assert_eq!(value(&metrics, &runs("shop", "new")).unwrap(), "0");
    let pay = "target=\"shop\",spec=\"checkout\",variant=\"\",step=\"pay\"";
    let name = "testerd_step_duration_seconds";
    for (series, count) in [
        (
            format!("{name}_bucket{{{pay},phase=\"body\",le=\"131.072\"}}"),
            "1",
        ),
        (format!("{name}_count{{{pay},phase=\"body\"}}"), "1"),
        (format!("testerd_step_retries_total{{{pay}}}"), "1"),
        ("testerd_permits_in_use{pool=\"global\"}".to_owned(), "1"),
        (
            "testerd_teardowns_total{target=\"shop\",kind=\"http.resource\",result=\"done\"}"
                .to_owned(),
            "1",
        ),
    ] {
        assert_eq!(value(&metrics, &series).as_deref(), Some(count), "{series}");
    }

    // The last run of a spec that is gone brings nothing back.
    metrics.export(&ended(&run(&specs[1], "late"), Verdict::Pass, None));
    metrics.export(&step(&run(&specs[0], "late"), "receipt", Phase::Body, None));
    assert!(!text(&metrics).contains("till"));
    assert!(!text(&metrics).contains("receipt"));
}

#[test]
fn due_slots_are_computed_and_stop() {
    let long_ago = Instant::now()
        .checked_sub(Duration::from_secs(100))
        .unwrap();
    let grid = Grid {
        first: Duration::ZERO,
        then: Duration::from_secs(50),
        interval: Duration::from_secs(1000),
    };
    let of = Arc::new(spec("shop", "checkout", ""));
    let plan = |origin, grid| Event::PlanLoaded {
        specs: vec![(Arc::clone(&of), grid)],
        pools: vec![],
        origin,
        since: Duration::from_secs(100),
    };
    let due = "testerd_slots_due_total{target=\"shop\",spec=\"checkout\",variant=\"\"}";
    let metrics = metrics();
    for (event, count) in [
        (plan(long_ago, grid), "2"),
        // The same grid goes on; another one counts further from where the last one ended.
        (plan(long_ago, grid), "2"),
        (
            plan(
                Instant::now(),
                Grid {
                    first: 900 * MILLI * 1000,
                    ..grid
                },
            ),
            "2",
        ),
        (plan(long_ago, grid), "4"),
        // Slots that the clock would bring after the stop are not due.
        (
            Event::ScheduleStopped {
                at: Duration::from_secs(10),
            },
            "3",
        ),
        (plan(long_ago, grid), "5"),
    ] {
        metrics.export(&event);
        assert_eq!(value(&metrics, due).as_deref(), Some(count), "{event:?}");
    }
}

#[test]
fn inconclusive_runs_change_no_state() {
    let specs = shared(vec![spec("shop", "checkout", "")]);
    let metrics = metrics();
    metrics.export(&loaded(&specs, Instant::now()));
    let labels = "{target=\"shop\",spec=\"checkout\",variant=\"\"}";
    let gauges = ["state", "last_run_success", "consecutive_failures"];
    let seen = |verdict| {
        metrics.export(&ended(&run(&specs[0], "r"), verdict, None));
        let value = |name| value(&metrics, &format!("testerd_{name}{labels}"));
        gauges.map(|name| value(name).unwrap_or_default()).join(" ")
    };
    let fail = || seen(Verdict::Fail(Reason::Status));
    let inconclusive = || seen(Verdict::Inconclusive(Cause::Journal));
    assert_eq!(inconclusive(), "  ");
    assert_eq!(fail(), "0 0 1");
    let succeeded = format!("testerd_last_success_timestamp_seconds{labels}");
    assert_eq!(value(&metrics, &succeeded), None, "0 would read as 1970");
    assert_eq!(fail(), "0 0 2");
    assert_eq!(inconclusive(), "0 0 2");
    assert_eq!(seen(Verdict::Pass), "1 1 0");
    assert_eq!(inconclusive(), "1 1 0");
    assert_eq!(value(&metrics, &succeeded).unwrap(), "1790000000");

    // What does not apply any more is neither failing nor stale; later verdicts begin anew.
    assert_eq!(fail(), "0 0 1");
    let last_run = format!("testerd_last_run_timestamp_seconds{labels}");
    assert!(value(&metrics, &last_run).is_some());
    assert_eq!(seen(Verdict::Inconclusive(Cause::NotApplicable)), "  ");
    assert_eq!(value(&metrics, &last_run), None);
    assert_eq!(value(&metrics, &succeeded).unwrap(), "1790000000");
    assert_eq!(fail(), "0 0 1");
}

#[test]
fn steps_that_say_nothing_about_the_target_are_not_measured() {
    let specs = shared(vec![spec("shop", "checkout", "")]);
    let metrics = metrics();
    metrics.export(&loaded(&specs, Instant::now()));
    let run = run(&specs[0], "r");
    let step = |fault: Fault| {
        let failure = Some(Failure::new(fault, "stopped"));
        metrics.export(&step(&run, "pay", Phase::Body, failure));
    };
    let labels = "{target=\"shop\",spec=\"checkout\",variant=\"\",step=\"pay\",phase=\"body\"}";
    let seen = || {
        ["failures_total", "duration_seconds_count"]
            .map(|name| value(&metrics, &format!("testerd_step_{name}{labels}")).unwrap())
    };
    step(Cause::Cancelled.into());
    step(Cause::Journal.into());
    assert_eq!(seen(), ["0", "0"]);
    step(Reason::Timeout.into());
    assert_eq!(seen(), ["1", "1"]);
}

#[test]
fn labels_are_escaped_and_never_mixed_up() {
    let specs = shared(vec![
        spec("shop", "a", "b"),
        spec("shop", "ab", ""),
        spec("shop", "quote\" slash\\", "new\nline"),
    ]);
    let metrics = metrics();
    metrics.export(&loaded(&specs, Instant::now()));
    for (spec, runs) in specs.iter().zip(1..) {
        let event = ended(&run(spec, "r"), Verdict::Pass, None);
        (0..runs).for_each(|_| metrics.export(&event));
    }
    for (labels, runs) in [
        (r#"spec="a",variant="b""#, "1"),
        (r#"spec="ab",variant="""#, "2"),
        (r#"spec="quote\" slash\\",variant="new\nline""#, "3"),
    ] {
        let series = format!("testerd_runs_total{{target=\"shop\",{labels}}}");
        assert_eq!(value(&metrics, &series).as_deref(), Some(runs), "{series}");
    }
}

#[test]
fn the_process_is_measured() {
    let metrics = metrics();
    for (name, least) in [
        ("process_cpu_seconds_total", 1e-6),
        ("process_open_fds", 3.0),
        ("process_max_fds", 3.0),
        ("process_resident_memory_bytes", 1e5),
        ("process_virtual_memory_bytes", 1e6),
        ("process_start_time_seconds", 1.7e9),
    ] {
        assert!(number(&metrics, name) >= least, "{name}");
    }
}
