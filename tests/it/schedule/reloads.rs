//! Other work takes the place of what is running: who stays goes on as if nothing had happened, who
//! goes ends its last run, and every slot still has exactly one outcome.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use testerd::event::{Event, Identity, PoolInfo, SpecInfo};
use testerd::grid::Grid;
use testerd::journal::Journal;
use testerd::outcome::Verdict;
use testerd::spec::Scheduled;
use testerd::tester::Work;
use tokio::time::sleep;

use super::SECOND;
use super::stage::{Crowd, Stage, one, sleeper};
use crate::runs::handmade::{Act, Thing, scheduled, wrapper};

fn work(scheduled: Vec<Arc<Scheduled>>, pools: &[(&str, u32)]) -> Work {
    let pool = |(name, limit): &(&str, u32)| PoolInfo {
        name: (*name).to_owned(),
        limit: *limit,
        share: 0,
    };
    Work {
        scheduled,
        pools: pools.iter().chain(&[("global", 10)]).map(pool).collect(),
    }
}

/// What is known of one spec while it is in the plan.
#[derive(Debug, Default)]
struct Account {
    due_before: u64,
    slots: BTreeMap<&'static str, u64>,
    began: u64,
    ended: u64,
}

impl Account {
    /// Every due slot has an outcome, and each outcome `run` a run that ended.
    fn balance(&self, identity: &Identity, grid: Grid, at: Duration) {
        let due = self.due_before + grid.due_by(at);
        assert_eq!(due, self.slots.values().sum::<u64>(), "{identity} {self:?}");
        let run = self.slots.get("run").copied().unwrap_or(0);
        assert_eq!(
            (run, run),
            (self.began, self.ended),
            "{identity} at {at:?}: {self:?}"
        );
    }
}

/// Keeps the books that the metrics keep, over all plans. Returns how the last one's specs stood.
fn balance(events: &[Event]) -> BTreeMap<Identity, BTreeMap<&'static str, u64>> {
    let mut plan: BTreeMap<Identity, (Grid, Account)> = BTreeMap::new();
    let mut stopped = None;
    let never = |grid: &Grid| grid.first == Grid::never(grid.interval).first;
    for event in events {
        let known = |spec: &SpecInfo| spec.identity.clone();
        match event {
            Event::PlanLoaded { specs, since, .. } => {
                let mut before = std::mem::take(&mut plan);
                for (spec, grid) in specs {
                    let mut account = Account::default();
                    if let Some((old, kept)) = before.remove(&spec.identity) {
                        account = kept;
                        if old != *grid {
                            account.due_before += old.due_by(*since);
                            let moved = old.interval == grid.interval;
                            assert!(!moved || never(&old) || never(grid), "the grid moved");
                        }
                    }
                    plan.insert(known(spec), (*grid, account));
                }
                for (identity, (grid, account)) in before {
                    account.balance(&identity, grid, *since);
                }
            }
            Event::ScheduleStopped { at } => stopped = Some(*at),
            Event::SlotsEnded {
                spec,
                outcome,
                count,
            } => {
                // Who waited and is gone is told before the plan without it.
                let account = &mut plan.get_mut(&known(spec)).expect("in the plan").1;
                *account.slots.entry(outcome.as_str()).or_default() += count;
            }
            Event::RunStarted { run, .. } => {
                plan.get_mut(&known(&run.spec))
                    .expect("in the plan")
                    .1
                    .began += 1;
            }
            Event::RunFinished { run, .. } => {
                plan.get_mut(&known(&run.spec))
                    .expect("in the plan")
                    .1
                    .ended += 1;
            }
            _ => {}
        }
    }
    for (identity, (grid, account)) in &plan {
        account.balance(identity, *grid, stopped.unwrap());
    }
    let slots = plan.into_iter();
    slots
        .map(|(id, (_, account))| (id, account.slots))
        .collect()
}

#[tokio::test(start_paused = true)]
async fn who_stays_keeps_its_run_and_its_times() {
    let (before, after) = <(Arc<Crowd>, Arc<Crowd>)>::default();
    let spec =
        |crowd: &Arc<Crowd>| scheduled("t", "s", 60 * SECOND, &[], one(crowd.act(50 * SECOND)));
    let pools = [("target:t", 9)];
    let stage = Stage::new(vec![spec(&before)], &pools);
    let dropped = stage.serve_anew(60 * SECOND, async |send| {
        sleep(65 * SECOND).await;
        // A reload each second: none ends a run, none begins one.
        for _ in 0..600 {
            sleep(SECOND).await;
            let stays = spec(&after);
            let comes = sleeper("t", "other", 10 * SECOND, SECOND);
            send.send(work(vec![comes, stays], &pools)).await.unwrap();
        }
    });
    assert_eq!(dropped.await, 0);
    let slots = balance(&stage.heard.events());
    let outcomes = slots
        .iter()
        .find(|(identity, _)| identity.spec == "s")
        .unwrap()
        .1;
    assert!((10..=12).contains(&outcomes["run"]), "{outcomes:?}");
    assert_eq!(
        (before.most(), after.most()),
        (1, 1),
        "the new content is run"
    );
    let passed = |verdict: &&Verdict| **verdict == Verdict::Pass;
    assert!(stage.verdicts().iter().filter(passed).count() >= 9);
}

#[tokio::test(start_paused = true)]
async fn who_goes_ends_its_last_run_and_what_waits_does_not_begin() {
    let thing = Thing {
        act: Act::sleep(SECOND),
        kind: "slow",
    };
    let case = wrapper("thing", thing, one(Act::sleep(200 * SECOND)));
    let goes = scheduled("t", "goes", 10 * SECOND, &[], case);
    let waits = sleeper("t", "waits", 3600 * SECOND, SECOND);
    let stays = sleeper("u", "stays", 10 * SECOND, SECOND);
    let stage = Stage::new(
        vec![goes, waits, stays.clone()],
        &[("target:t", 1), ("target:u", 1)],
    );
    let mut told = 0;
    let dropped = stage.serve_anew(60 * SECOND, async |send| {
        sleep(100 * SECOND).await;
        told = stage.heard.events().len();
        send.send(work(vec![stays], &[("target:u", 1)]))
            .await
            .unwrap();
        sleep(300 * SECOND).await;
    });
    assert_eq!(dropped.await, 0);
    let events = stage.heard.events();
    let slots = balance(&events);
    let left: Vec<_> = slots
        .keys()
        .map(|identity| identity.spec.as_str())
        .collect();
    assert_eq!(
        left,
        ["stays"],
        "the others are gone once the last run is over"
    );
    assert!(stage.journal.owed().is_empty());
    let mut seen = Vec::new();
    for event in &events[told..] {
        match event {
            Event::RunStarted { run, .. } => assert_eq!(run.spec.identity.spec, "stays"),
            Event::RunFinished { run, verdict, .. } if run.spec.identity.spec == "goes" => {
                seen.push(verdict.as_str());
            }
            Event::SlotsEnded { spec, outcome, .. } if spec.identity.spec == "waits" => {
                seen.push(outcome.as_str());
            }
            Event::PoolChanged { pool, .. } => assert_ne!(&**pool, "target:t"),
            _ => {}
        }
    }
    assert_eq!(seen, ["skipped_capacity", "pass"]);
    let plans = events
        .iter()
        .filter(|event| matches!(event, Event::PlanLoaded { .. }));
    assert_eq!(
        plans.count(),
        3,
        "the start, the reload, the end of the last run"
    );
}

#[tokio::test(start_paused = true)]
async fn who_comes_back_during_its_last_run_overlaps_with_it() {
    let (crowd, others) = <(Arc<Crowd>, Arc<Crowd>)>::default();
    let one_of = |name: &str, crowd: &Arc<Crowd>, seconds: u32| {
        let case = one(crowd.act(seconds * SECOND));
        scheduled("t", name, 10 * SECOND, &[], case)
    };
    let stage = Stage::new(vec![one_of("s", &crowd, 1000)], &[("target:t", 2)]);
    let dropped = stage.serve_anew(2000 * SECOND, async |send| {
        sleep(100 * SECOND).await;
        send.send(work(vec![], &[])).await.unwrap();
        sleep(SECOND).await;
        let mut back: Vec<_> = ["a", "b", "c"].map(|name| one_of(name, &others, 9)).into();
        back.push(one_of("s", &crowd, 1000));
        send.send(work(back, &[("target:t", 2)])).await.unwrap();
        sleep(300 * SECOND).await;
    });
    assert_eq!(dropped.await, 0);
    assert_eq!(crowd.most(), 1);
    // Its place is still taken, though its pool was gone in between.
    assert_eq!(others.most(), 1);
    let slots = balance(&stage.heard.events());
    let back = slots
        .iter()
        .find(|(identity, _)| identity.spec == "s")
        .unwrap()
        .1;
    assert_eq!(back["run"], 1, "{back:?}");
    assert!(back["skipped_overlap"] > 30, "{back:?}");
}

#[tokio::test(start_paused = true)]
async fn a_pool_may_shrink_below_what_is_taken_of_it() {
    let crowd = Arc::new(Crowd::default());
    let specs = || {
        let spec = |index| {
            let case = one(crowd.act(30 * SECOND));
            scheduled("t", &format!("s{index}"), 20 * SECOND, &[], case)
        };
        (0..6).map(spec).collect::<Vec<_>>()
    };
    let stage = Stage::new(specs(), &[("target:t", 5)]);
    let most = async || {
        let mut most = 0;
        for _ in 0..100 {
            most = most.max(crowd.now());
            sleep(SECOND).await;
        }
        most
    };
    let dropped = stage.serve_anew(60 * SECOND, async |send| {
        assert_eq!(most().await, 5);
        for places in [2, 3] {
            let next = work(specs(), &[("target:t", places)]);
            send.send(next).await.unwrap();
            // What had begun before.
            sleep(31 * SECOND).await;
            assert_eq!(most().await, places);
        }
    });
    assert_eq!(dropped.await, 0);
    balance(&stage.heard.events());
}

/// One of the works that are tried in turn: which specs, how often, how long, in what bounds.
type Turn = (u64, Vec<(usize, u32, u32)>, u32);

fn turns() -> impl Strategy<Value = Vec<Turn>> {
    let spec = (0usize..6, prop::sample::select(vec![3u32, 7, 30]), 0u32..40);
    let turn = (0u64..90_000, prop::collection::vec(spec, 0..6), 1u32..4);
    prop::collection::vec(turn, 1..12)
}

fn work_of((_, specs, places): &Turn) -> Work {
    let mut named = BTreeMap::new();
    for (index, every, time) in specs {
        let thing = Thing {
            act: Act::sleep(SECOND),
            kind: "slow",
        };
        let case = wrapper("thing", thing, one(Act::sleep(SECOND * *time)));
        let (target, name) = (["a", "b"][index % 2], format!("s{index}"));
        named.insert(
            name.clone(),
            scheduled(target, &name, SECOND * *every, &[], case),
        );
    }
    let pools = [("target:a", *places), ("target:b", 2)];
    work(named.into_values().collect(), &pools)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn over_any_reloads_every_slot_has_one_outcome_and_nothing_is_left(turns in turns()) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            let first = work_of(&turns[0]);
            let mut stage = Stage::new(first.scheduled, &[]);
            stage.pools = first.pools;
            let dropped = stage.serve_anew(3600 * SECOND, async |send| {
                for turn in &turns[1..] {
                    send.send(work_of(turn)).await.unwrap();
                    sleep(Duration::from_millis(turn.0)).await;
                }
            });
            assert_eq!(dropped.await, 0);
            balance(&stage.heard.events());
            assert!(stage.journal.owed().is_empty());
        });
    }
}
