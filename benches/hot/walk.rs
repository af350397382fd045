//! One run, from its start to its verdict, of steps that do nothing: what the runner itself costs.

use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::Criterion;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};
use testerd::client::{Client, Endpoint};
use testerd::event::{Exporters, RunRef};
use testerd::journal::MemoryJournal;
use testerd::outcome::{Failure, Verdict};
use testerd::runner::{Begun, Runner, Searches, Stop};
use testerd::spec::{
    Action, Case, Context, Done, HeaderAuth, Retry, Scheduled, Sequence, Step, Target, TargetKind,
    Work,
};

use crate::fixtures;

struct Nothing;

impl Action for Nothing {
    fn perform<'a>(&'a self, _: &'a mut Context<'_>) -> BoxFuture<'a, Result<Done, Failure>> {
        ready(Ok(Done::default())).boxed()
    }
}

fn scheduled() -> Result<Scheduled, Box<dyn std::error::Error>> {
    let info = fixtures::info("visit");
    let step = |name: &Arc<str>| {
        Case::Step(Step {
            name: name.clone(),
            timeout: Some(Duration::from_secs(5)),
            work: Work::Act(Box::new(Nothing)),
            retry: Retry::ONCE,
            poll: None,
            always: false,
            allow_failure: false,
            prerequisite: false,
            acting: None,
            reads: Vec::new(),
            writes: Vec::new(),
        })
    };
    let cases = info.steps.iter().map(|info| step(&info.name)).collect();
    Ok(Scheduled {
        target: Arc::new(Target {
            name: info.identity.target.clone(),
            kind: TargetKind::Http,
            endpoint: Endpoint::parse("http://127.0.0.1:8091")?,
            auth: Arc::new(HeaderAuth::Nobody),
            secrets: std::collections::BTreeMap::new(),
            concurrency: 1,
        }),
        case: Case::Sequence(Sequence {
            name: None,
            timeout: None,
            optional: false,
            cases,
        }),
        info: Arc::new(info),
        uses: Vec::new(),
        teardown: Duration::ZERO,
        requests: 3,
    })
}

/// A sequence of three steps, nobody told.
pub(crate) fn three_steps(criterion: &mut Criterion) {
    let runner = Runner {
        client: Client::new(),
        journal: Arc::new(MemoryJournal::default()),
        exporters: Exporters::default(),
        undoer: |_| None,
        searches: Searches::default(),
        instance: "bench".to_owned(),
    };
    let made = scheduled().map(Arc::new);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build();
    let (Ok(spec), Ok(runtime)) = (made, runtime) else {
        panic!("nothing to run, or nothing to run it on");
    };
    let run = RunRef {
        spec: spec.info.clone(),
        id: "0123456789abc".into(),
    };
    // As in the daemon, whose stop outlives its runs: each has tokens below the common ones.
    let stop = Stop::default();
    let many = async |times| {
        let begun = Instant::now();
        for _ in 0..times {
            let stop = Stop {
                cancel: stop.cancel.child_token(),
                kill: stop.kill.child_token(),
            };
            let verdict = runner.run(&spec, run.clone(), Begun::default(), stop).await;
            assert_eq!(verdict, Verdict::Pass);
        }
        begun.elapsed()
    };
    criterion.bench_function("walk/three-steps", |bencher| {
        bencher.iter_custom(|times| runtime.block_on(many(times)));
    });
}
