//! Every leaf with every ending: whatever befalls whichever request of a run, afterwards nothing of
//! ours is alive that the journal does not owe, and when the target is well again the sweeper
//! leaves nothing at all, and nobody else's thing is touched.
//!
//! A clean run tells the requests of a spec and its writes to the journal. Then each of them, and
//! each step, is struck by each ending in a run, a world and a journal of its own. To put more specs
//! to the proof, give [`unwinds`] their text; another kind of target is another [`World`].

mod endings;
mod hostile;
mod refusing;
mod subject;
mod trial;
mod world;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;
use testerd::outcome::{Reason, Verdict};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::rig::Rig;
use endings::{PANICS, STRUCK};

pub(crate) use endings::Ending;
pub(crate) use subject::{ENDPOINT, Subject};
pub(crate) use trial::{INSTANCE, RUN, Ran, Trial};
pub(crate) use world::{Thing, World};

/// Every ending at every place where it can be met: a request, a step, a write.
pub(crate) fn everything(ran: &Ran, leaves: usize) -> Vec<(Ending, usize)> {
    let strikes = STRUCK
        .iter()
        .flat_map(|ending| (0..ran.requests.len()).map(move |nth| (*ending, nth)));
    let panics = PANICS
        .iter()
        .flat_map(|when| (0..leaves).map(move |leaf| (Ending::Panic(*when), leaf)));
    let refusals = [false, true]
        .into_iter()
        .flat_map(|lasting| (0..ran.writes).map(move |nth| (Ending::Unwritable(lasting), nth)));
    let undo = [(Ending::UndoPanics, 0)];
    strikes.chain(panics).chain(refusals).chain(undo).collect()
}

/// Runs each subject undisturbed, and then with each of the endings that `met` makes of what was
/// learnt from that. Says how many runs there were, and what was wrong with any.
pub(crate) async fn prove<W: World>(
    subjects: Vec<Subject>,
    expected: impl Fn(&Subject) -> Verdict,
    met: impl Fn(&Subject, &Ran) -> Vec<(Ending, usize)>,
) -> (usize, Vec<String>) {
    let mut wrong = Vec::new();
    let mut clean = Vec::new();
    for subject in subjects {
        let subject = Arc::new(subject);
        match Trial::<W>::new(&subject, Ending::Nothing, 0).run().await {
            Ok(learned) => clean.push((subject, learned)),
            Err(what) => wrong.push(what),
        }
    }
    // Only now, so that what is learnt is not slowed down by what is tried.
    let places = Arc::new(Semaphore::new(W::AT_ONCE));
    let mut trials = JoinSet::new();
    for (subject, learned) in clean {
        assert_eq!(
            learned.verdict,
            Some(expected(&subject)),
            "{}",
            subject.identity
        );
        for (ending, at) in met(&subject, &learned) {
            let trial = Trial::<W>::new(&subject, ending, at);
            let places = places.clone();
            trials.spawn(async move {
                let _place = places.acquire_owned().await.unwrap();
                let ran = AssertUnwindSafe(trial.run()).catch_unwind().await;
                let through = || Err(format!("{ending:?} at {at} panicked through everything"));
                ran.unwrap_or_else(|_| through()).map(|_| ())
            });
        }
    }
    let count = trials.len();
    let ended = trials.join_all().await;
    wrong.extend(ended.into_iter().filter_map(Result::err));
    (count, wrong)
}

/// Proves that all specs in a text unwind. `clean` are the verdicts of the specs that cannot pass.
async fn unwinds(specs: &str, clean: &[(&str, Verdict)]) {
    let expected = |subject: &Subject| {
        let expected = clean
            .iter()
            .find(|(spec, _)| *spec == subject.identity.spec);
        expected.map_or(Verdict::Pass, |(_, verdict)| *verdict)
    };
    let subjects = Subject::all(&config(specs));
    let (count, wrong) = prove::<Rig>(subjects, expected, |subject, ran| {
        everything(ran, subject.leaves)
    })
    .await;
    let told = wrong.join("\n");
    assert!(wrong.is_empty(), "{} of {count}:\n{told}", wrong.len());
}

/// All specs of a text on the rig.
fn config(specs: &str) -> String {
    format!(
        "[tester]\ninstance = \"{INSTANCE}\"\n\
         [target.rig]\ntype = \"http\"\nendpoint = \"{ENDPOINT}\"\n\
         [target.rig.vars]\nuser = \"ann\"\n\
         [[probe]]\nname = \"all\"\ntarget = \"rig\"\ninterval = \"1h\"\nnames = [\"*\"]\n\
         # --- specs.toml\n{specs}"
    )
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
