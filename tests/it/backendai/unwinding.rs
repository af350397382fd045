//! Every built-in spec, every leaf, every ending: nothing is left behind in the stand-in's books.
//!
//! All of it takes an hour: that is the test which is ignored, for when something in `backendai` or
//! in the runner has changed. What always runs, in half a minute:
//!
//! * of one spec of each family, every step that panics, every write to the journal that fails, every
//!   request that changes something with every ending, and every question with those that differ
//!   for it, repetitions left out;
//! * of all others, each request that makes or removes something, with the endings after which
//!   nobody knows whether it has.
//!
//! The specs for clusters of several containers are those for one with another number, and are
//! struck in the full test only.

use std::collections::BTreeSet;

use testerd::outcome::{Cause, Verdict};

use super::clock;
use super::cluster::{Cluster, changes, config};
use crate::rig::Fault;
use crate::unwind::{Ending, Ran, Subject, everything, prove};

/// One of each family: sessions, folders, what is between users, projects, services.
const FULLY: [&str; 5] = [
    "single_node_single_container_creation_interactive_session_success",
    "clone_vfolder_failure_not_cloneable",
    "invite_vfolder_success",
    "session_in_purged_group_failure",
    "single_node_single_container_creation_endpoint_success",
];

/// After these nobody knows whether a request was carried out, or how often.
const UNCLEAR: [Ending; 7] = [
    Ending::Once(Fault::FailAfterEffect(500)),
    Ending::Once(Fault::HangAfterEffect),
    Ending::Once(Fault::Unreadable2xx),
    Ending::Once(Fault::EffectAfterNext),
    Ending::Once(Fault::Twice),
    Ending::Cancel,
    Ending::Drop,
];

/// What can befall a removal that nothing else can.
const REMOVED: [Ending; 3] = [
    Ending::Once(Fault::FailAfterEffect(500)),
    Ending::Once(Fault::EffectAfterNext),
    Ending::Kill,
];

/// What can befall a question.
const ASKED: [Ending; 9] = [
    Ending::Once(Fault::FailBeforeEffect(500)),
    Ending::Once(Fault::Hang),
    Ending::Once(Fault::FalseBody("{}")),
    Ending::Lasting(Fault::FailBeforeEffect(500)),
    Ending::Lasting(Fault::Hang),
    Ending::Everything(Fault::Hang),
    Ending::Everything(Fault::FailBeforeEffect(404)),
    Ending::Cancel,
    Ending::Drop,
];

enum Effect {
    Makes,
    Removes,
    /// Whatever it does, it goes with what it is done to.
    Other,
}

/// What a request of this kind is for.
fn effect(kind: &str) -> Effect {
    const MAKING: [&str; 8] = [
        "/session",
        "/session/_/create-from-template",
        "/template/session",
        "/services",
        "/folders",
        "/folders/{id}/clone",
        "/folders/{id}/invite",
        "/folders/{id}/share",
    ];
    let (what, path) = kind.split_once(' ').unwrap_or((kind, ""));
    if what == "DELETE" || path.contains("delete") || path.contains("purge") {
        Effect::Removes
    } else if what == "mutation" || what == "POST" && MAKING.contains(&path) {
        Effect::Makes
    } else {
        Effect::Other
    }
}

/// What the stand-in does not have either.
fn expected(subject: &Subject) -> Verdict {
    if subject.identity.spec.contains("imagify") {
        Verdict::Inconclusive(Cause::NotApplicable)
    } else {
        Verdict::Pass
    }
}

fn is_for_several(subject: &Subject) -> bool {
    subject.identity.spec.contains("multi_container")
}

fn is_struck_fully(subject: &Subject) -> bool {
    FULLY.contains(&&*subject.identity.spec) && ["", "rw"].contains(&&*subject.identity.variant)
}

/// The requests that are not just one more look at the same thing.
fn distinct(ran: &Ran) -> BTreeSet<usize> {
    let mut distinct = BTreeSet::new();
    let mut seen = BTreeSet::new();
    for (nth, kind) in ran.requests.iter().enumerate() {
        if changes(kind) {
            seen.clear();
        }
        if seen.insert(kind) {
            distinct.insert(nth);
        }
    }
    distinct
}

fn proves(which: impl Fn(&Subject) -> bool, met: impl Fn(&Subject, &Ran) -> Vec<(Ending, usize)>) {
    let mut subjects = Subject::all(&config("*"));
    subjects.retain(which);
    let (count, wrong) = clock::run(prove::<Cluster>(subjects, expected, met));
    let told = wrong.join("\n");
    assert!(wrong.is_empty(), "{} of {count}:\n{told}", wrong.len());
}

#[test]
fn a_spec_of_each_family_unwinds_whatever_befalls_whichever_request() {
    proves(is_struck_fully, |subject, ran| {
        let distinct = distinct(ran);
        let mut all = everything(ran, subject.leaves);
        all.retain(|(ending, at)| {
            let is_met = || distinct.contains(at) && ASKED.contains(ending);
            !ending.strikes() || changes(&ran.requests[*at]) || is_met()
        });
        all
    });
}

#[test]
fn every_spec_unwinds_when_nobody_knows_whether_something_was_made_or_removed() {
    let others = |subject: &Subject| !is_struck_fully(subject) && !is_for_several(subject);
    proves(others, |_, ran| {
        let mut met = Vec::new();
        for (nth, kind) in ran.requests.iter().enumerate() {
            let endings: &[Ending] = match effect(kind) {
                Effect::Makes => &UNCLEAR,
                Effect::Removes => &REMOVED,
                Effect::Other => &[],
            };
            met.extend(endings.iter().map(|ending| (*ending, nth)));
        }
        met
    });
}

#[test]
#[ignore = "takes an hour"]
fn every_spec_unwinds_whatever_befalls_whichever_request() {
    // For a part of them.
    let only = std::env::var("TESTERD_UNWIND").unwrap_or_default();
    proves(
        |subject| subject.identity.to_string().contains(&only),
        |subject, ran| everything(ran, subject.leaves),
    );
}
