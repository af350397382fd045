//! How a schedule ends: what runs is cancelled and cleaned up, and nothing begins any more.

use testerd::event::TeardownResult;
use testerd::journal::Journal;
use testerd::outcome::{Cause, Verdict};
use tokio::time::sleep;

use super::stage::{Stage, one, sleeper};
use super::{HOUR, SECOND};
use crate::runs::handmade::{Act, Thing, scheduled, wrapper};

#[tokio::test(start_paused = true)]
async fn a_stop_cancels_cleans_up_and_begins_nothing() {
    let thing = Thing {
        act: Act::sleep(SECOND),
        kind: "slow",
    };
    let case = wrapper("thing", thing, one(Act::hang()));
    let hangs = scheduled("t", "hangs", 10 * SECOND, &[], case);
    let waits = sleeper("t", "waits", HOUR, SECOND);
    let stage = Stage::new(vec![hangs, waits], &[("target:t", 1)]);
    assert_eq!(stage.serve(30 * SECOND, sleep(100 * SECOND)).await, 0);
    let outcomes = stage.outcomes();
    let waited = outcomes
        .iter()
        .find(|(identity, _)| identity.spec == "waits");
    assert_eq!(waited.unwrap().1["skipped_capacity"], 1);
    let cancelled = Verdict::Inconclusive(Cause::Cancelled);
    assert!(stage.verdicts().contains(&cancelled));
    assert_eq!(stage.undone(), [TeardownResult::Done]);
    assert!(stage.journal.owed().is_empty());
}

#[tokio::test(start_paused = true)]
async fn when_the_grace_is_over_teardowns_are_cut_short() {
    let thing = Thing {
        act: Act::sleep(SECOND),
        kind: "stuck",
    };
    let case = wrapper("thing", thing, one(Act::hang()));
    let stage = Stage::new(
        vec![scheduled("t", "s", 10 * SECOND, &[], case)],
        &[("target:t", 1)],
    );
    assert_eq!(stage.serve(5 * SECOND, sleep(100 * SECOND)).await, 0);
    stage.outcomes();
    assert_eq!(stage.undone(), [TeardownResult::Failed]);
    assert_eq!(stage.journal.owed().len(), 1);
}

/// A create that is under way is waited for, to its own deadline, but not beyond the grace.
#[tokio::test(start_paused = true)]
async fn what_does_not_end_is_dropped_told_and_owed() {
    let thing = Thing {
        act: Act::hang(),
        kind: "slow",
    };
    let case = wrapper("thing", thing, one(Act::hang()));
    let stage = Stage::new(
        vec![scheduled("t", "s", 10 * SECOND, &[], case)],
        &[("target:t", 1)],
    );
    assert_eq!(stage.serve(5 * SECOND, sleep(100 * SECOND)).await, 1);
    stage.outcomes();
    assert_eq!(stage.verdicts(), [Verdict::Inconclusive(Cause::Cancelled)]);
    assert_eq!(stage.journal.owed().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn running_once_ends_when_it_is_stopped() {
    let specs = (0..5).map(|index| {
        let thing = Thing {
            act: Act::sleep(SECOND),
            kind: "slow",
        };
        let case = wrapper("thing", thing, one(Act::hang()));
        scheduled("t", &format!("s{index}"), SECOND, &[], case)
    });
    let stage = Stage::new(specs.collect(), &[("target:t", 2)]);
    let stopping = async {
        sleep(10 * SECOND).await;
        stage.stop.cancel.cancel();
    };
    let (verdicts, ()) = tokio::join!(stage.tester().run_once(10 * SECOND), stopping);
    assert_eq!(verdicts.len(), 2, "only those that had begun");
    assert_eq!(stage.undone(), [TeardownResult::Done; 2]);
}
