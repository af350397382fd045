//! A small plan and one event of every kind, for the tests of all exporters.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use crate::event::{
    Event, FailedStep, HttpPhases, Identity, Phase, PoolInfo, RunRef, SpecInfo, StateRule, StepEnd,
    StepInfo, TeardownResult,
};
use crate::grid::Grid;
use crate::outcome::{Cause, Failure, Reason, SlotOutcome, Verdict};

pub(crate) const MILLI: Duration = Duration::from_millis(1);

/// A spec with a resource, a step that may retry, and one that does not speak HTTP.
pub(crate) fn spec(target: &str, spec: &str, variant: &str) -> SpecInfo {
    let step = |name: &str, phase, is_resource, may_retry, speaks_http| StepInfo {
        name: name.into(),
        phase,
        is_resource,
        may_retry,
        speaks_http,
    };
    SpecInfo {
        identity: Identity {
            target: target.to_owned(),
            spec: spec.to_owned(),
            variant: variant.to_owned(),
        },
        tags: vec!["cart".to_owned(), "shop".to_owned()],
        description: "Somebody buys something.".to_owned(),
        probe: "buyers".to_owned(),
        interval: Duration::from_secs(60),
        timeout: Duration::from_secs(1),
        longest: Duration::from_secs(1),
        overtime: Duration::ZERO,
        objective: Some(0.99),
        state: StateRule::default(),
        steps: vec![
            step("item", Phase::Setup, true, false, true),
            step("pay", Phase::Body, false, true, true),
            step("receipt", Phase::Body, false, false, false),
        ],
        kinds: vec!["http.resource"],
        http_phases: true,
    }
}

/// A pool like that of the tester.
pub(crate) fn pools() -> Vec<PoolInfo> {
    let name = "global".to_owned();
    vec![PoolInfo {
        name,
        limit: 10,
        share: 0,
    }]
}

/// These specs are running; none is due for an hour.
pub(crate) fn loaded(specs: &[Arc<SpecInfo>], origin: Instant) -> Event {
    let hour = Duration::from_secs(3600);
    let grid = Grid {
        first: hour,
        then: 2 * hour,
        interval: hour,
    };
    Event::PlanLoaded {
        specs: specs.iter().map(|spec| (Arc::clone(spec), grid)).collect(),
        pools: pools(),
        origin,
        since: Duration::ZERO,
    }
}

pub(crate) fn run(spec: &Arc<SpecInfo>, id: &str) -> RunRef {
    RunRef {
        spec: Arc::clone(spec),
        id: id.into(),
    }
}

pub(crate) fn step(run: &RunRef, step: &str, phase: Phase, failure: Option<Failure>) -> Event {
    let phases = HttpPhases {
        connect: Some(MILLI),
        first_byte: Some(20 * MILLI),
        ..HttpPhases::default()
    };
    Event::StepFinished {
        run: run.clone(),
        end: StepEnd {
            step: step.into(),
            phase,
            failure,
            duration: 30 * MILLI,
            retries: u32::from(step == "pay"),
            http: vec![phases],
            allowed: false,
        },
    }
}

pub(crate) fn ended(run: &RunRef, verdict: Verdict, failed: Option<FailedStep>) -> Event {
    Event::RunFinished {
        run: run.clone(),
        verdict,
        failed,
        duration: 412 * MILLI,
        at: SystemTime::UNIX_EPOCH + Duration::from_secs(1_790_000_000),
    }
}

/// A run that fails at its second step, whose resource is still owed, then one that passes and one
/// that says nothing; what the schedule says of them.
pub(crate) fn story(spec: &Arc<SpecInfo>) -> Vec<Event> {
    let (first, second, third) = (run(spec, "r1"), run(spec, "r2"), run(spec, "r3"));
    let failure = || Failure::new(Reason::Timeout, "no answer\nwithin 30 s");
    let failed = FailedStep {
        step: "pay".into(),
        phase: Phase::Body,
        failure: failure(),
    };
    let started = |run: &RunRef| Event::RunStarted {
        run: run.clone(),
        lateness: Some(2 * MILLI),
        queue_wait: Duration::ZERO,
    };
    let slots = |outcome, count| Event::SlotsEnded {
        spec: Arc::clone(spec),
        outcome,
        count,
    };
    let torn_down = |run: &RunRef, result| Event::TeardownFinished {
        run: run.clone(),
        kind: "http.resource".to_owned(),
        result,
    };
    vec![
        slots(SlotOutcome::Run, 3),
        slots(SlotOutcome::Missed, 2),
        Event::PoolChanged {
            pool: "global".into(),
            in_use: 1,
            waiting: 2,
        },
        started(&first),
        step(&first, "item", Phase::Setup, None),
        Event::AttemptFailed {
            run: first.clone(),
            step: "pay".into(),
            attempt: 1,
            failure: failure(),
        },
        step(&first, "pay", Phase::Body, Some(failure())),
        Event::StepSkipped {
            run: first.clone(),
            step: "receipt".into(),
            why: "pay failed".into(),
        },
        step(
            &first,
            "item",
            Phase::Teardown,
            Some(Failure::new(Reason::Status, "500")),
        ),
        torn_down(&first, TeardownResult::Failed),
        ended(&first, Verdict::Fail(Reason::Timeout), Some(failed)),
        started(&second),
        torn_down(&second, TeardownResult::Done),
        ended(&second, Verdict::Pass, None),
        started(&third),
        torn_down(&third, TeardownResult::Owed),
        ended(&third, Verdict::Inconclusive(Cause::Cancelled), None),
        Event::ScheduleStopped { at: Duration::ZERO },
    ]
}
