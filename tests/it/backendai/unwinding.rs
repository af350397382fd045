//! Every built-in spec, every leaf, every ending: nothing is left behind in the stand-in's books.
//!
//! All of it would take half an hour: it is the test that is ignored, for when something in
//! `backendai` or the runner has changed. What always runs: of one spec of each family every step,
//! every write to the journal, and every request with every ending, of requests that only ask the
//! first of each kind after each change; of the others, every request that changes something, with
//! the endings that leave it unclear whether it has. The specs for clusters of several containers
//! are the same as those for one, and are struck only in the full test.

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
        all.retain(|(ending, at)| !ending.strikes() || distinct.contains(at));
        all
    });
}

#[test]
fn every_spec_unwinds_when_nobody_knows_whether_it_changed_something() {
    let others = |subject: &Subject| !is_struck_fully(subject) && !is_for_several(subject);
    proves(others, |_, ran| {
        let requests = ran.requests.iter().enumerate();
        let changing = requests.filter(|(_, kind)| changes(kind));
        let each = |(nth, _)| UNCLEAR.map(|ending| (ending, nth));
        changing.flat_map(each).collect()
    });
}

#[test]
#[ignore = "takes half an hour"]
fn every_spec_unwinds_whatever_befalls_whichever_request() {
    // For a part of them.
    let only = std::env::var("TESTERD_UNWIND").unwrap_or_default();
    proves(
        |subject| subject.identity.to_string().contains(&only),
        |subject, ran| everything(ran, subject.leaves),
    );
}
