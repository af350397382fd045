//! Actions, resources and schedules made by hand, for what no text can say: panics, and times
//! without a network.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::Value;
use testerd::client::Endpoint;
use testerd::event::{Identity, Phase, SpecInfo, StateRule, StepInfo};
use testerd::outcome::Failure;
use testerd::spec::{
    Action, Case, Context, Done, HeaderAuth, Record, Resource, Retry, Scheduled, Sequence, Step,
    Target, TargetKind, Undo, Undoer, Undone, Work, Wrapper,
};

type Deed = Box<dyn Fn() -> BoxFuture<'static, Result<Done, Failure>> + Send + Sync>;

/// Does whatever it is told to.
pub(crate) struct Act(pub(crate) Deed);

impl Act {
    /// Does nothing for so long.
    pub(crate) fn sleep(time: Duration) -> Self {
        let deed = move || {
            async move {
                tokio::time::sleep(time).await;
                Ok(Done::default())
            }
            .boxed()
        };
        Self(Box::new(deed))
    }

    /// Never ends by itself.
    pub(crate) fn hang() -> Self {
        Self(Box::new(|| std::future::pending().boxed()))
    }

    /// Panics after its first wait.
    pub(crate) fn panic() -> Self {
        let deed = || {
            async {
                tokio::task::yield_now().await;
                panic!("as asked")
            }
            .boxed()
        };
        Self(Box::new(deed))
    }
}

impl Action for Act {
    fn perform<'a>(&'a self, _: &'a mut Context<'_>) -> BoxFuture<'a, Result<Done, Failure>> {
        (self.0)()
    }
}

/// Something to be undone; what `undo` and undoing it do is said by its kind, see [`undoer`].
pub(crate) struct Thing {
    pub(crate) act: Act,
    pub(crate) kind: &'static str,
}

impl Action for Thing {
    fn perform<'a>(&'a self, _: &'a mut Context<'_>) -> BoxFuture<'a, Result<Done, Failure>> {
        (self.act.0)()
    }
}

impl Resource for Thing {
    fn undo(&self, _: &Context<'_>) -> Result<Undo, Failure> {
        assert!(self.kind != "unsayable", "as asked");
        Ok(Undo {
            kind: self.kind.to_owned(),
            arguments: Value::Null,
        })
    }
}

/// `slow` takes a second, `stuck` for ever, `panics` panics.
pub(crate) fn undoer(kind: &str) -> Option<Undoer> {
    fn slow<'a>(_: &'a Record, _: &'a mut Context<'_>) -> BoxFuture<'a, Result<Undone, Failure>> {
        async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            Ok(Undone::Undone)
        }
        .boxed()
    }
    fn stuck<'a>(_: &'a Record, _: &'a mut Context<'_>) -> BoxFuture<'a, Result<Undone, Failure>> {
        std::future::pending().boxed()
    }
    fn panics<'a>(_: &'a Record, _: &'a mut Context<'_>) -> BoxFuture<'a, Result<Undone, Failure>> {
        panic!("as asked")
    }
    match kind {
        "slow" => Some(slow),
        "stuck" => Some(stuck),
        "panics" => Some(panics),
        _ => testerd::catalog::undoer(kind),
    }
}

/// A step that does it once, within a minute.
pub(crate) fn step(name: &str, act: Act) -> Step {
    with_work(name, Work::Act(Box::new(act)))
}

/// A wrapper around `inner`.
pub(crate) fn wrapper(name: &str, thing: Thing, inner: Case) -> Case {
    let work = Work::Acquire {
        resource: Box::new(thing),
        teardown_timeout: Duration::from_secs(10),
    };
    Case::Wrapper(Wrapper {
        setup: with_work(name, work),
        inner: Box::new(inner),
    })
}

fn with_work(name: &str, work: Work) -> Step {
    Step {
        name: name.into(),
        timeout: None,
        work,
        retry: Retry::ONCE,
        poll: None,
        always: false,
        allow_failure: false,
        prerequisite: false,
        acting: None,
        reads: Vec::new(),
        writes: Vec::new(),
    }
}

/// A sequence of these.
pub(crate) fn sequence(cases: Vec<Case>) -> Case {
    Case::Sequence(Sequence {
        name: None,
        timeout: None,
        optional: false,
        cases,
    })
}

/// What is scheduled under `target/spec`, with a deadline of a day.
pub(crate) fn scheduled(
    target: &str,
    spec: &str,
    interval: Duration,
    uses: &[(&str, u32)],
    case: Case,
) -> Arc<Scheduled> {
    let mut steps = Vec::new();
    note(&case, &mut steps);
    Arc::new(Scheduled {
        info: Arc::new(SpecInfo {
            identity: Identity {
                target: target.into(),
                spec: spec.into(),
                variant: String::new(),
            },
            tags: Vec::new(),
            description: String::new(),
            probe: "p".into(),
            interval,
            timeout: Duration::from_secs(86_400),
            longest: Duration::from_secs(86_400),
            overtime: Duration::ZERO,
            objective: None,
            state: StateRule::default(),
            steps,
            kinds: vec!["slow", "stuck"],
            http_phases: false,
        }),
        target: Arc::new(Target {
            name: target.into(),
            kind: TargetKind::Http,
            endpoint: Endpoint::parse("http://127.0.0.1:9").unwrap(),
            auth: Arc::new(HeaderAuth::Nobody),
            secrets: std::collections::BTreeMap::new(),
            concurrency: 1,
        }),
        case,
        uses: uses.iter().map(|(name, n)| ((*name).into(), *n)).collect(),
        teardown: Duration::ZERO,
        requests: 0,
    })
}

fn note(case: &Case, steps: &mut Vec<StepInfo>) {
    let info = |step: &Step, phase| StepInfo {
        name: step.name.clone(),
        phase,
        is_resource: phase == Phase::Setup,
        may_retry: false,
        speaks_http: false,
    };
    match case {
        Case::Step(step) => steps.push(info(step, Phase::Body)),
        Case::Sequence(sequence) => sequence.cases.iter().for_each(|case| note(case, steps)),
        Case::Wrapper(wrapper) => {
            steps.push(info(&wrapper.setup, Phase::Setup));
            note(&wrapper.inner, steps);
        }
    }
}
