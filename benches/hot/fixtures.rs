//! Specs, events and a runner that all benches share. Small numbers of steps, as people write them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use testerd::event::{
    Event, HttpPhases, Identity, Phase, PoolInfo, RunRef, SpecInfo, StateRule, StepEnd, StepInfo,
};
use testerd::exporter::metrics::Metrics;
use testerd::grid::Grid;
use testerd::outcome::Verdict;

/// What exporters know of a spec of three HTTP steps.
pub(crate) fn info(name: &str) -> SpecInfo {
    let step = |name: &str| StepInfo {
        name: name.into(),
        phase: Phase::Body,
        is_resource: false,
        may_retry: false,
        speaks_http: true,
    };
    SpecInfo {
        identity: Identity {
            target: "shop".to_owned(),
            spec: name.to_owned(),
            variant: String::new(),
        },
        tags: vec!["shop".to_owned()],
        description: "Somebody looks around.".to_owned(),
        probe: "shop".to_owned(),
        interval: Duration::from_secs(1),
        timeout: Duration::from_secs(60),
        longest: Duration::from_secs(60),
        overtime: Duration::ZERO,
        objective: None,
        state: StateRule::default(),
        steps: ["front", "search", "item"].map(step).into(),
        kinds: Vec::new(),
        http_phases: false,
    }
}

/// The same under `count` names.
pub(crate) fn infos(count: usize) -> Vec<Arc<SpecInfo>> {
    let numbered = |number| Arc::new(info(&format!("spec-{number:04}")));
    (0..count).map(numbered).collect()
}

/// The metrics of a plan of these specs.
pub(crate) fn metrics(specs: &[Arc<SpecInfo>]) -> Metrics {
    use testerd::event::Exporter;

    let metrics = Metrics::new(Vec::new());
    let interval = Duration::from_secs(1);
    let grid = |spec: &Arc<SpecInfo>| {
        let key = spec.identity.to_string();
        Grid::new(&key, interval, Duration::ZERO, Duration::ZERO)
    };
    metrics.export(&Event::PlanLoaded {
        specs: specs
            .iter()
            .map(|spec| (spec.clone(), grid(spec)))
            .collect(),
        pools: pools(),
        origin: Instant::now(),
        since: Duration::ZERO,
    });
    metrics
}

/// The pools of the plan of [`metrics`].
pub(crate) fn pools() -> Vec<PoolInfo> {
    let name = "global".to_owned();
    vec![PoolInfo {
        name,
        limit: 100,
        share: 0,
    }]
}

/// The end of a step and of its run, both passed.
pub(crate) fn ended(spec: &Arc<SpecInfo>) -> [Event; 2] {
    let run = RunRef {
        spec: spec.clone(),
        id: "0123456789abc".into(),
    };
    let phases = HttpPhases {
        connect: Some(Duration::from_micros(300)),
        first_byte: Some(Duration::from_millis(20)),
        ..HttpPhases::default()
    };
    let end = StepEnd {
        step: spec.steps[1].name.clone(),
        phase: Phase::Body,
        failure: None,
        duration: Duration::from_millis(21),
        retries: 0,
        http: vec![phases],
        allowed: false,
    };
    [
        Event::StepFinished {
            run: run.clone(),
            end,
        },
        Event::RunFinished {
            run,
            verdict: Verdict::Pass,
            failed: None,
            duration: Duration::from_millis(64),
            at: testerd::text::wall_clock(),
        },
    ]
}
