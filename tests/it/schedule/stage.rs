//! A tester with made-up specs, and the accounting that must hold of whatever it told.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use testerd::client::Client;
use testerd::contract;
use testerd::event::{Event, Exporter, Exporters, Identity, PoolInfo, TeardownResult};
use testerd::journal::MemoryJournal;
use testerd::outcome::Verdict;
use testerd::runner::{Runner, Searches, Stop};
use testerd::spec::{Case, Done, Scheduled};
use testerd::tester::{Tester, Work};
use tokio::sync::mpsc;
use tokio::time::sleep;

use crate::runs::Heard;
use crate::runs::handmade::{self, Act, scheduled, sequence};

/// A tester, and what it told.
pub(super) struct Stage {
    pub(super) scheduled: Vec<Arc<Scheduled>>,
    pub(super) pools: Vec<PoolInfo>,
    pub(super) heard: Arc<Heard>,
    pub(super) journal: Arc<MemoryJournal>,
    pub(super) more: Vec<Arc<dyn Exporter>>,
    pub(super) stop: Stop,
}

impl Stage {
    /// Pools by name and size; the global one has ten places.
    pub(super) fn new(scheduled: Vec<Arc<Scheduled>>, pools: &[(&str, u32)]) -> Self {
        let is_target = |name: &str| name.starts_with("target:");
        let targets = pools.iter().filter(|(name, _)| is_target(name)).count();
        let share = contract::fair_share(10, targets);
        let pool = |(name, limit): &(&str, u32)| PoolInfo {
            name: (*name).to_owned(),
            limit: *limit,
            share: if is_target(name) {
                share.min(*limit)
            } else {
                0
            },
        };
        Self {
            scheduled,
            pools: pools.iter().chain(&[("global", 10)]).map(pool).collect(),
            heard: Arc::default(),
            journal: Arc::default(),
            more: Vec::new(),
            stop: Stop::default(),
        }
    }

    pub(super) fn tester(&self) -> Tester {
        let mut exporters: Vec<Arc<dyn Exporter>> = vec![self.heard.clone()];
        exporters.extend(self.more.iter().cloned());
        Tester {
            runner: Arc::new(Runner {
                client: Client::new(),
                journal: self.journal.clone(),
                exporters: Exporters::new(exporters),
                undoer: handmade::undoer,
                searches: Searches::default(),
                instance: "it".to_owned(),
            }),
            work: Work {
                scheduled: self.scheduled.clone(),
                pools: self.pools.clone(),
            },
            next: mpsc::channel(1).1,
            stop: self.stop.clone(),
        }
    }

    /// Serves until `meanwhile` is over, then stops. Returns how many runs were dropped.
    pub(super) async fn serve(
        &self,
        grace: Duration,
        meanwhile: impl Future<Output = ()>,
    ) -> usize {
        let stopping = async {
            meanwhile.await;
            self.stop.cancel.cancel();
        };
        let (dropped, ()) = tokio::join!(self.tester().serve(grace, None), stopping);
        dropped
    }

    /// Serves until `meanwhile` is over, which may send other work, then stops.
    pub(super) async fn serve_anew(
        &self,
        grace: Duration,
        meanwhile: impl AsyncFnOnce(mpsc::Sender<Work>),
    ) -> usize {
        let (send, next) = mpsc::channel(1);
        let tester = Tester {
            next,
            ..self.tester()
        };
        let stopping = async {
            meanwhile(send).await;
            self.stop.cancel.cancel();
        };
        let (dropped, ()) = tokio::join!(tester.serve(grace, None), stopping);
        dropped
    }

    /// How often each outcome was told, by spec; checked against the grid and the runs.
    pub(super) fn outcomes(&self) -> BTreeMap<Identity, BTreeMap<&'static str, u64>> {
        let events = self.heard.events();
        let mut outcomes: BTreeMap<_, BTreeMap<_, u64>> = BTreeMap::new();
        let mut grids = Vec::new();
        let mut stopped = None;
        let (mut began, mut ended) = (BTreeMap::new(), BTreeMap::new());
        for event in &events {
            match event {
                Event::PlanLoaded { specs, .. } => grids.clone_from(specs),
                Event::ScheduleStopped { at } => stopped = Some(*at),
                Event::SlotsEnded {
                    spec,
                    outcome,
                    count,
                } => {
                    let outcomes = outcomes.entry(spec.identity.clone()).or_default();
                    *outcomes.entry(outcome.as_str()).or_default() += count;
                }
                Event::RunStarted { run, .. } => {
                    assert!(stopped.is_none(), "no run begins after the stop");
                    *began.entry(run.spec.identity.clone()).or_default() += 1;
                }
                Event::RunFinished { run, .. } => {
                    *ended.entry(run.spec.identity.clone()).or_default() += 1;
                }
                _ => {}
            }
        }
        assert_eq!(began, ended, "every run ends once");
        for (spec, grid) in grids {
            let outcomes = outcomes.entry(spec.identity.clone()).or_default();
            let due = grid.due_by(stopped.unwrap());
            assert_eq!(due, outcomes.values().sum::<u64>(), "{}", spec.identity);
            let run = outcomes.get("run").copied().unwrap_or(0);
            assert_eq!(run, began.get(&spec.identity).copied().unwrap_or(0));
        }
        outcomes
    }

    /// All outcomes of the specs on one target.
    pub(super) fn on(&self, target: &str) -> BTreeMap<&'static str, u64> {
        let mut sum = BTreeMap::new();
        let outcomes = self.outcomes().into_iter();
        for (_, outcomes) in outcomes.filter(|(identity, _)| identity.target == target) {
            for (outcome, count) in outcomes {
                *sum.entry(outcome).or_default() += count;
            }
        }
        sum
    }

    /// How undoing things ended.
    pub(super) fn undone(&self) -> Vec<TeardownResult> {
        let events = self.heard.events();
        let result = |event: &Event| match event {
            Event::TeardownFinished { result, .. } => Some(*result),
            _ => None,
        };
        events.iter().filter_map(result).collect()
    }

    pub(super) fn verdicts(&self) -> Vec<Verdict> {
        let events = self.heard.events();
        let verdict = |event: &Event| match event {
            Event::RunFinished { verdict, .. } => Some(*verdict),
            _ => None,
        };
        events.iter().filter_map(verdict).collect()
    }
}

/// How many do something at once.
#[derive(Default)]
pub(super) struct Crowd {
    now: AtomicU32,
    most: AtomicU32,
}

impl Crowd {
    pub(super) fn most(&self) -> u32 {
        self.most.load(Ordering::SeqCst)
    }

    pub(super) fn now(&self) -> u32 {
        self.now.load(Ordering::SeqCst)
    }

    /// Is counted for so long.
    pub(super) fn act(self: &Arc<Self>, time: Duration) -> Act {
        struct Member(Arc<Crowd>);
        impl Drop for Member {
            fn drop(&mut self) {
                self.0.now.fetch_sub(1, Ordering::SeqCst);
            }
        }
        let crowd = self.clone();
        Act(Box::new(move || {
            let crowd = crowd.clone();
            async move {
                let now = crowd.now.fetch_add(1, Ordering::SeqCst) + 1;
                crowd.most.fetch_max(now, Ordering::SeqCst);
                let _member = Member(crowd);
                sleep(time).await;
                Ok(Done::default())
            }
            .boxed()
        }))
    }
}

pub(super) fn one(act: Act) -> Case {
    sequence(vec![Case::Step(handmade::step("only", act))])
}

pub(super) fn sleeper(
    target: &str,
    spec: &str,
    interval: Duration,
    time: Duration,
) -> Arc<Scheduled> {
    scheduled(target, spec, interval, &[], one(Act::sleep(time)))
}
