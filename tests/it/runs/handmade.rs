//! Actions, resources and schedules made by hand, for what no text can say: panics, and times
//! without a network.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::Value;
use testerd::client::Endpoint;
use testerd::event::{Identity, Phase, SpecInfo, StateRule, StepInfo};
use testerd::outcome::Failure;
use testerd::spec::{
    Action, Case, Context, Deleted, Done, HeaderAuth, Ids, Looked, Record, Resource, Retry,
    Scheduled, Sequence, Step, Target, TargetKind, Undo, Undoer, Undoing, Work, Wrapper,
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
    let of_kind = |record: &Record| -> Result<Box<dyn Undoing>, Failure> {
        Ok(Box::new(Handmade {
            kind: record.undo.kind.clone(),
            is_gone: AtomicBool::new(false),
        }))
    };
    match kind {
        "slow" | "stuck" | "panics" => Some(of_kind),
        _ => testerd::catalog::undoer(kind),
    }
}

/// It is there until it is deleted.
struct Handmade {
    kind: String,
    is_gone: AtomicBool,
}

impl Undoing for Handmade {
    fn search(&self) -> Option<&str> {
        Some("by hand")
    }

    fn may_hit_others(&self) -> bool {
        false
    }

    fn look<'a>(&'a self, _: &'a mut Context<'_>) -> BoxFuture<'a, Result<Looked, Failure>> {
        let looked = if self.is_gone.load(Ordering::Relaxed) {
            Looked::NotListed
        } else {
            Looked::Found(vec![Ids::new()])
        };
        std::future::ready(Ok(looked)).boxed()
    }

    fn delete<'a>(
        &'a self,
        _: &'a Ids,
        _: &'a mut Context<'_>,
    ) -> BoxFuture<'a, Result<Deleted, Failure>> {
        assert!(self.kind != "panics", "as asked");
        let stuck = self.kind == "stuck";
        async move {
            tokio::time::sleep(Duration::from_secs(1)).await;
            if stuck {
                std::future::pending::<()>().await;
            }
            self.is_gone.store(true, Ordering::Relaxed);
            Ok(Deleted::Accepted)
        }
        .boxed()
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
