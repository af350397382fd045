//! Every leaf with every ending: whatever befalls whichever request of a run, afterwards nothing of
//! ours is alive that the journal does not owe, and when the target is well again the sweeper
//! leaves nothing at all, and nobody else's thing is touched.
//!
//! A clean run tells the requests of a spec and its writes to the journal. Then each of them, and
//! each step, is struck by each ending in a run, a rig and a journal of its own. To put more specs to the proof, give [`unwinds`] their text.

mod endings;
mod hostile;
mod refusing;
mod trial;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;
use testerd::outcome::{Reason, Verdict};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use endings::{Ending, PANICS, STRUCK};
use trial::{Subject, Trial};

/// How many trials go on at once; most of their time they wait.
const AT_ONCE: usize = 48;

/// Proves that all specs in a text unwind. `clean` are the verdicts of the specs that cannot pass.
async fn unwinds(specs: &str, clean: &[(&str, Verdict)]) {
    let places = Arc::new(Semaphore::new(AT_ONCE));
    let mut trials = JoinSet::new();
    let mut wrong = Vec::new();
    for subject in Subject::all(specs) {
        let subject = Arc::new(subject);
        let expected = clean.iter().find(|(spec, _)| *spec == subject.spec);
        let expected = expected.map_or(Verdict::Pass, |(_, verdict)| *verdict);
        let learned = Trial::new(&subject, Ending::Nothing, 0).run().await;
        let learned = match learned {
            Ok(learned) => learned,
            Err(what) => {
                wrong.push(what);
                continue;
            }
        };
        assert_eq!(learned.verdict, Some(expected), "{}", subject.spec);
        let strikes = STRUCK
            .iter()
            .flat_map(|ending| (0..learned.requests.len()).map(move |nth| (*ending, nth)));
        let panics = PANICS
            .iter()
            .flat_map(|when| (0..subject.leaves).map(move |leaf| (Ending::Panic(*when), leaf)));
        let refusals = [false, true].into_iter().flat_map(|lasting| {
            (0..learned.writes).map(move |nth| (Ending::Unwritable(lasting), nth))
        });
        let undo = [(Ending::UndoPanics, 0)];
        for (ending, at) in strikes.chain(panics).chain(refusals).chain(undo) {
            let trial = Trial::new(&subject, ending, at);
            let places = places.clone();
            trials.spawn(async move {
                let _place = places.acquire_owned().await.unwrap();
                let ran = AssertUnwindSafe(trial.run()).catch_unwind().await;
                let through = || {
                    Err::<trial::Ran, _>(format!("{ending:?} at {at} panicked through everything"))
                };
                ran.unwrap_or_else(|_| through()).map(|_| ())
            });
        }
    }
    let count = trials.len();
    let ended = trials.join_all().await;
    wrong.extend(ended.into_iter().filter_map(Result::err));
    let told = wrong.join("\n");
    assert!(wrong.is_empty(), "{} of {count}:\n{told}", wrong.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tree_of_every_shape_unwinds() {
    let accepted = Verdict::Fail(Reason::Assertion);
    unwinds(include_str!("tree.toml"), &[("accepted", accepted)]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_example_specs_unwind() {
    let specs: Vec<_> = testerd::demo::SPECS.iter().map(|(_, text)| *text).collect();
    // Thinking takes longer than a trial is patient.
    let specs = specs.join("\n").replace("for = \"500ms\"", "for = \"5ms\"");
    unwinds(&specs, &[]).await;
}
