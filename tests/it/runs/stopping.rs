//! What stops a run before its end: cancellation, a kill, a panic.

use std::sync::Arc;

use insta::assert_snapshot;
use testerd::spec::{Case, Scheduled};

use super::handmade::{self, Act, Thing};
use super::{LONG, World, make, spec, step, suite, wrap};
use crate::rig::Fault;

#[tokio::test]
async fn cancellation_ends_a_hanging_step_and_teardown_follows() {
    let world = World::new();
    let text = spec(
        "",
        &[
            wrap("outer", ""),
            suite(
                "suite",
                "",
                &[
                    wrap("inner", ""),
                    step("hangs", "/hang", "allow_failure = true"),
                    step("clean", "/ok", "always = true"),
                ],
            ),
            step("after", "/ok", "always = true"),
        ],
    );
    let told = world.run_while(&text, |rig, stop| {
        assert!(rig.reaches("/hang", 1, LONG));
        stop.cancel.cancel();
    });
    let told = told.await;
    assert_snapshot!(told.story, @r"
    setup outer: passed
    setup inner: passed
    body hangs: cancelled: cancelled
    skipped clean: step `hangs` did not pass
    teardown inner: passed
      http.resource: done
    skipped after: suite `suite` did not pass
    teardown outer: passed
      http.resource: done
    cancelled cancelled in body hangs
    ");
    assert_eq!(world.rig.deleted(), ["it-0001-inner", "it-0001-outer"]);
    assert!(told.owed.is_empty());
}

#[tokio::test]
async fn a_run_that_is_cancelled_before_it_begins_makes_nothing() {
    let world = World::new();
    world.stop.cancel.cancel();
    let text = spec("", &[wrap("item", ""), step("look", "/ok", "")]);
    let told = world.run(&text).await;
    assert_snapshot!(told.story, @r"
    skipped item: cancelled
    skipped look: setup `item` did not pass
    cancelled cancelled in setup item
    ");
    assert_eq!(world.rig.connections(), 0);
    assert!(told.owed.is_empty());
}

#[tokio::test]
async fn cancellation_waits_for_a_creating_request_that_is_under_way() {
    let world = World::new();
    world.rig.fail("POST /items#item", Fault::HangAfterEffect);
    let text = spec(
        "",
        &[wrap("item", "timeout = \"1s\""), step("never", "/ok", "")],
    );
    let told = world.run_while(&text, |rig, stop| {
        assert!(rig.reaches("POST /items", 1, LONG));
        stop.cancel.cancel();
    });
    let told = told.await;
    assert_snapshot!(told.story, @r"
    setup item: timeout: no end within TIME
    skipped never: setup `item` did not pass
      http.resource: owed
    fail timeout in setup item
    ");
    assert!(world.rig.alive().is_empty());
    assert!(told.owed.is_empty());
}

#[tokio::test]
async fn cancellation_ends_the_wait_for_the_next_attempt() {
    let world = World::new();
    world
        .rig
        .fail("POST /items#item", Fault::FailBeforeEffect(429));
    let text = spec(
        "timeout = \"2h\"",
        &[make("item", "retry = { attempts = 3, delay = \"1h\" }")],
    );
    let told = world.run_while(&text, |rig, stop| {
        assert!(rig.reaches("POST /items", 1, LONG));
        stop.cancel.cancel();
    });
    let told = told.await;
    // Whether the answer or the cancellation comes first is open; that nothing was made is not.
    assert!(
        told.story.ends_with("cancelled cancelled in body item\n"),
        "{}",
        told.story
    );
    assert!(told.owed.is_empty(), "{}", told.story);
}

#[tokio::test]
async fn a_kill_cuts_teardown_short_and_the_record_stays_owed() {
    let world = World::new();
    world.rig.fail("DELETE /items/{id}#inner", Fault::Hang);
    let keys = "teardown_timeout = \"1h\"";
    let text = spec(
        "",
        &[
            wrap("outer", keys),
            wrap("inner", keys),
            step("look", "/ok", ""),
        ],
    );
    let told = world.run_while(&text, |rig, stop| {
        assert!(rig.reaches("DELETE /items/{id}", 1, LONG));
        stop.cancel.cancel();
        stop.kill.cancel();
    });
    let told = told.await;
    let mut lines: Vec<_> = told.story.lines().collect();
    let last = lines.pop();
    assert_eq!(last, Some("cancelled cancelled in teardown inner"));
    assert_eq!(told.owed_names()[..1], ["it-0001-inner"]);
    // The outer one may just have been quick enough.
    assert_eq!(world.rig.alive(), told.owed_names());
}

/// The spec of a text with one of its innermost steps replaced.
fn with_step(world: &World, text: &str, replace: impl FnOnce(&mut Vec<Case>)) -> Scheduled {
    fn innermost(case: &mut Case) -> &mut Vec<Case> {
        match case {
            Case::Wrapper(wrapper) => innermost(&mut wrapper.inner),
            Case::Sequence(sequence) => &mut sequence.cases,
            Case::Step(_) => unreachable!("a spec is a suite"),
        }
    }
    let mut scheduled = Arc::into_inner(world.compile(text).remove(0)).unwrap();
    replace(innermost(&mut scheduled.case));
    scheduled
}

async fn with_panic(panicking: Case) -> (String, Vec<String>) {
    let mut world = World::new();
    world.undoer = handmade::undoer;
    let text = spec(
        "",
        &[
            wrap("outer", ""),
            wrap("inner", ""),
            step("after", "/ok", ""),
        ],
    );
    let scheduled = with_step(&world, &text, |cases| cases.insert(0, panicking));
    let told = world.run_scheduled(&scheduled).await;
    (told.story, world.rig.deleted())
}

/// All is undone in the end.
async fn check_panic(panicking: Case) -> String {
    let (story, deleted) = with_panic(panicking).await;
    assert_eq!(deleted, ["it-0001-inner", "it-0001-outer"]);
    story
}

/// What cannot be undone keeps what is around it.
async fn check_stuck(stuck: Case) -> String {
    let (story, deleted) = with_panic(stuck).await;
    assert!(deleted.is_empty(), "{deleted:?}");
    story
}

#[tokio::test]
async fn a_panicking_step_ends_its_run_and_teardown_follows() {
    let story = check_panic(Case::Step(handmade::step("panics", Act::panic()))).await;
    assert_snapshot!(story, @r"
    setup outer: passed
    setup inner: passed
    body panics: panic: panicked: as asked
    skipped after: step `panics` did not pass
    teardown inner: passed
      http.resource: done
    teardown outer: passed
      http.resource: done
    error panic in body panics
    ");
    let at_once = Act(Box::new(|| panic!("at once")));
    let story = check_panic(Case::Step(handmade::step("panics", at_once))).await;
    assert!(
        story.contains("body panics: panic: panicked: at once\n"),
        "{story}"
    );
}

fn wrapped(kind: &'static str, act: Act) -> Case {
    let inside = Case::Step(handmade::step(
        "inside",
        Act::sleep(std::time::Duration::ZERO),
    ));
    handmade::wrapper(
        "thing",
        Thing { act, kind },
        handmade::sequence(vec![inside]),
    )
}

#[tokio::test]
async fn a_panicking_create_is_looked_after() {
    assert_snapshot!(check_panic(wrapped("slow", Act::panic())).await, @r"
    setup outer: passed
    setup inner: passed
    setup thing: panic: panicked: as asked
    skipped inside: setup `thing` did not pass
      slow: owed
    skipped after: suite in `thing` did not pass
      http.resource: owed
      http.resource: owed
    error panic in setup thing
    ");
}

#[tokio::test]
async fn a_panic_while_saying_how_to_undo_it_makes_nothing() {
    let act = Act(Box::new(|| unreachable!("nothing was armed")));
    assert_snapshot!(check_panic(wrapped("unsayable", act)).await, @r"
    setup outer: passed
    setup inner: passed
    skipped thing: panicked: as asked
    skipped inside: setup `thing` did not pass
    skipped after: suite in `thing` did not pass
    teardown inner: passed
      http.resource: done
    teardown outer: passed
      http.resource: done
    error panic in setup thing
    ");
}

#[tokio::test]
async fn after_a_panicking_teardown_all_around_it_is_owed() {
    let act = Act::sleep(std::time::Duration::ZERO);
    assert_snapshot!(check_stuck(wrapped("panics", act)).await, @r"
    setup outer: passed
    setup inner: passed
    setup thing: passed
    body inside: passed
    teardown thing: panic: panicked: as asked
      panics: failed
    skipped after: suite in `thing` did not pass
      http.resource: owed
      http.resource: owed
    error panic in teardown thing
    ");
}

#[tokio::test]
async fn what_nobody_can_undo_any_more_is_our_fault_and_owed() {
    let act = Act::sleep(std::time::Duration::ZERO);
    assert_snapshot!(check_stuck(wrapped("forgotten", act)).await, @r"
    setup outer: passed
    setup inner: passed
    setup thing: passed
    body inside: passed
    teardown thing: input: nothing here can undo `forgotten`
      forgotten: failed
    skipped after: suite in `thing` did not pass
      http.resource: owed
      http.resource: owed
    error input in teardown thing
    ");
}
