//! The schedule on a paused clock: hours pass in a moment, nothing touches a network, and every due
//! slot must have exactly one outcome.

mod reloads;
mod stage;
mod stopping;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt;
use testerd::event::{Event, Exporter};
use testerd::outcome::{Cause, SlotOutcome, Verdict};
use testerd::spec::Done;
use testerd::tester::Heartbeat;
use tokio::time::{Instant, advance, sleep};

use crate::runs::handmade::{Act, scheduled};
use stage::{Crowd, Stage, one, sleeper};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test(start_paused = true)]
async fn in_an_hour_every_due_slot_has_exactly_one_outcome() {
    let mut specs = Vec::new();
    for (index, seconds) in [3, 7, 10, 30, 61, 300, 7200].into_iter().enumerate() {
        let time = Duration::from_millis(1700) * u32::try_from(index + 1).unwrap();
        let interval = SECOND * seconds;
        specs.push(sleeper("wide", &format!("s{index}"), interval, time));
        specs.push(sleeper("narrow", &format!("s{index}"), interval, time));
    }
    let stage = Stage::new(specs, &[("target:wide", 9), ("target:narrow", 2)]);
    let dropped = stage.serve(60 * SECOND, async {
        sleep(HOUR / 2).await;
        // Suspended for two minutes and a bit.
        advance(Duration::from_millis(123_456)).await;
        sleep(HOUR / 2).await;
    });
    assert_eq!(dropped.await, 0);
    let (wide, narrow) = (stage.on("wide"), stage.on("narrow"));
    assert!(!wide.contains_key("skipped_capacity"), "{wide:?}");
    for outcome in ["run", "skipped_overlap", "missed"] {
        assert!(wide.contains_key(outcome), "{outcome}: {wide:?}");
    }
    for outcome in ["run", "skipped_overlap", "skipped_capacity", "missed"] {
        assert!(narrow.contains_key(outcome), "{outcome}: {narrow:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_overlap_is_skipped_and_not_made_up_for() {
    let crowd = Arc::new(Crowd::default());
    let case = one(crowd.act(25 * SECOND));
    let spec = scheduled("t", "s", 10 * SECOND, &[], case);
    let stage = Stage::new(vec![spec], &[("target:t", 9)]);
    assert_eq!(stage.serve(60 * SECOND, sleep(HOUR)).await, 0);
    assert_eq!(crowd.most(), 1);
    let outcomes = stage.on("t");
    assert!(
        outcomes["skipped_overlap"] > outcomes["run"],
        "{outcomes:?}"
    );
    for event in stage.heard.events() {
        if let Event::RunStarted {
            lateness,
            queue_wait,
            ..
        } = event
        {
            // On its slot, not when the one before was over. Timers tick in milliseconds.
            assert!(
                lateness.unwrap() <= Duration::from_millis(1),
                "{lateness:?}"
            );
            assert_eq!(queue_wait, Duration::ZERO);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn who_waits_until_its_next_slot_is_skipped() {
    let slow = sleeper("t", "slow", 100 * SECOND, 90 * SECOND);
    let quick = sleeper("t", "quick", 7 * SECOND, SECOND);
    let stage = Stage::new(vec![slow, quick], &[("target:t", 1)]);
    assert_eq!(stage.serve(100 * SECOND, sleep(HOUR)).await, 0);
    let outcomes = stage.outcomes();
    let quick = outcomes
        .iter()
        .find(|(identity, _)| identity.spec == "quick");
    let quick = quick.unwrap().1;
    assert!(quick["skipped_capacity"] > quick["run"], "{quick:?}");
    assert!(quick["run"] > 30, "{quick:?}");
}

#[tokio::test(start_paused = true)]
async fn hung_targets_delay_no_other() {
    // Targets with work, those of them that hang, and what a target may have at most: the default is
    // all places that there are.
    for (targets, hung, each) in [(2, 1, 5), (2, 1, 10), (3, 2, 10), (10, 5, 10)] {
        let names: Vec<_> = (0..targets).map(|index| format!("t{index}")).collect();
        let mut specs = Vec::new();
        for name in &names[..hung] {
            specs.extend((0..20).map(|index| {
                let case = one(Act::hang());
                scheduled(name, &format!("s{index}"), 10 * SECOND, &[], case)
            }));
        }
        for name in &names[hung..] {
            specs.extend(
                (0..3).map(|index| sleeper(name, &format!("s{index}"), 10 * SECOND, SECOND / 5)),
            );
        }
        let pools: Vec<_> = names.iter().map(|name| format!("target:{name}")).collect();
        let pools: Vec<_> = pools.iter().map(|pool| (pool.as_str(), each)).collect();
        let stage = Stage::new(specs, &pools);
        assert_eq!(stage.serve(60 * SECOND, sleep(HOUR)).await, 0);
        for name in &names[hung..] {
            // The first run after a start may stand right before its grid and overlap once.
            let fine = stage.on(name);
            let others = fine.values().sum::<u64>() - fine["run"];
            assert!(
                others <= 3 && fine["run"] > 1000,
                "{targets} {hung}: {fine:?}"
            );
            assert!(
                !fine.contains_key("skipped_capacity"),
                "{targets} {hung}: {fine:?}"
            );
        }
        assert!((1..=5).contains(&stage.on(&names[0])["run"]));
    }
}

#[tokio::test(start_paused = true)]
async fn limits_are_respected() {
    let (gpus, on_target, all) = <(Arc<Crowd>, Arc<Crowd>, Arc<Crowd>)>::default();
    let mut specs = Vec::new();
    for index in 0..15 {
        let (target, crowd, uses): (_, _, &[_]) = match index % 3 {
            0 => ("a", &gpus, &[("gpu", 1)]),
            1 => ("b", &on_target, &[]),
            _ => ("c", &all, &[("wide", 3)]),
        };
        let case = one(crowd.act(4 * SECOND));
        specs.push(scheduled(
            target,
            &format!("s{index}"),
            5 * SECOND,
            uses,
            case,
        ));
    }
    let pools = [
        ("limit:gpu", 2),
        ("limit:wide", 4),
        ("target:a", 9),
        ("target:b", 3),
        ("target:c", 9),
    ];
    let stage = Stage::new(specs, &pools);
    assert_eq!(stage.serve(60 * SECOND, sleep(HOUR / 4)).await, 0);
    stage.outcomes();
    // Each limit is reached, and none is exceeded; three of `wide` fit in once.
    assert_eq!([gpus.most(), on_target.most(), all.most()], [2, 3, 1]);
    let limits: BTreeMap<_, _> = stage
        .pools
        .iter()
        .map(|p| (p.name.as_str(), p.limit))
        .collect();
    let mut last = BTreeMap::new();
    for event in stage.heard.events() {
        if let Event::PoolChanged {
            pool,
            in_use,
            waiting,
        } = event
        {
            assert!(in_use <= limits[&*pool], "{pool}");
            last.insert(pool, (in_use, waiting));
        }
    }
    assert!(last.values().all(|last| *last == (0, 0)), "{last:?}");
}

#[tokio::test(start_paused = true)]
async fn the_first_run_comes_within_its_interval_and_a_minute() {
    let origin = Instant::now();
    let firsts: Arc<Mutex<BTreeMap<u64, Duration>>> = Arc::default();
    let intervals = [1, 10, 59, 60, 61, 3600, 86_400];
    let spec = |seconds: u64| {
        let firsts = firsts.clone();
        let note = Act(Box::new(move || {
            let since = origin.elapsed();
            firsts.lock().unwrap().entry(seconds).or_insert(since);
            async { Ok(Done::default()) }.boxed()
        }));
        scheduled(
            "t",
            &format!("s{seconds}"),
            SECOND * u32::try_from(seconds).unwrap(),
            &[],
            one(note),
        )
    };
    let stage = Stage::new(intervals.map(spec).to_vec(), &[("target:t", 9)]);
    stage.serve(SECOND, sleep(61 * SECOND)).await;
    let firsts = firsts.lock().unwrap();
    for seconds in intervals {
        let latest = Duration::from_secs(seconds.min(60)) + Duration::from_millis(1);
        assert!(firsts[&seconds] <= latest, "{seconds}: {firsts:?}");
    }
}

/// An exporter that breaks the runner itself.
struct Bomb;

impl Exporter for Bomb {
    fn export(&self, event: &Event) {
        if let Event::StepFinished { run, .. } = event {
            assert!(run.spec.identity.spec != "bomb", "as asked");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_anywhere_in_a_run_stops_only_that_run() {
    let specs = vec![
        sleeper("t", "fine", 10 * SECOND, SECOND),
        sleeper("t", "bomb", 10 * SECOND, SECOND),
        scheduled("t", "panics", 10 * SECOND, &[], one(Act::panic())),
    ];
    let mut stage = Stage::new(specs, &[("target:t", 1)]);
    stage.more.push(Arc::new(Bomb));
    assert_eq!(stage.serve(10 * SECOND, sleep(600 * SECOND)).await, 0);
    for (identity, outcomes) in stage.outcomes() {
        assert!(outcomes["run"] > 50, "{identity}: {outcomes:?}");
    }
    let panicked = Verdict::Inconclusive(Cause::Panic);
    let verdicts = stage.verdicts();
    let panics = verdicts.iter().filter(|verdict| **verdict == panicked);
    assert!(panics.count() > 100);
}

#[tokio::test(start_paused = true)]
async fn the_heart_beats_while_the_loop_turns() {
    let stage = Stage::new(
        vec![sleeper("t", "s", SECOND, SECOND / 2)],
        &[("target:t", 1)],
    );
    let beats = Arc::new(AtomicU32::new(0));
    let counted = beats.clone();
    let heartbeat = Heartbeat {
        every: 10 * SECOND,
        beat: Box::new(move || {
            counted.fetch_add(1, Ordering::SeqCst);
        }),
    };
    let stopping = async {
        sleep(105 * SECOND).await;
        stage.stop.cancel.cancel();
    };
    tokio::join!(stage.tester().serve(SECOND, Some(heartbeat)), stopping);
    assert_eq!(beats.load(Ordering::SeqCst), 10);
}

#[tokio::test(start_paused = true)]
async fn running_once_is_bounded_too() {
    let crowd = Arc::new(Crowd::default());
    let specs = (0..10).map(|index| {
        let case = one(crowd.act(SECOND));
        scheduled("t", &format!("s{index}"), SECOND, &[], case)
    });
    let stage = Stage::new(specs.collect(), &[("target:t", 3)]);
    let verdicts = stage.tester().run_once(SECOND).await;
    assert_eq!(verdicts.len(), 10);
    assert!(
        verdicts
            .iter()
            .all(|(_, verdict)| *verdict == Verdict::Pass)
    );
    assert_eq!(crowd.most(), 3);
    let slots = |event: &Event| {
        matches!(
            event,
            Event::SlotsEnded {
                outcome: SlotOutcome::Run,
                ..
            }
        )
    };
    assert!(
        !stage.heard.events().iter().any(slots),
        "there is no schedule"
    );
}
