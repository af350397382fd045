//! `expect_refused`: a refusal passes, and what was wrongly accepted is undone.

use insta::assert_snapshot;

use super::{Told, World, make, spec, step};
use crate::rig::Fault;

async fn refused(keys: &str, fault: Option<Fault>) -> (World, Told) {
    let world = World::new();
    if let Some(fault) = fault {
        world.rig.fail("POST /items#item", fault);
    }
    let text = spec("", &[make("item", keys), step("after", "/ok", "")]);
    let told = world.run(&text).await;
    assert!(world.rig.alive().is_empty());
    (world, told)
}

#[tokio::test]
async fn a_refusal_passes_and_owes_nothing() {
    let keys = "expect_refused = { status = [400, 422], text = \"as asked\" }";
    let (world, told) = refused(keys, Some(Fault::FailBeforeEffect(422))).await;
    assert_snapshot!(told.story, @r"
    body item: passed
    body after: passed
    pass
    ");
    assert!(told.owed.is_empty());
    assert_eq!(world.rig.count("GET /items"), 0);
}

/// A name that is taken is what people refuse most.
#[tokio::test]
async fn a_conflict_that_was_expected_is_a_refusal() {
    let keys = "expect_refused = { status = 409 }";
    let (world, told) = refused(keys, Some(Fault::FailBeforeEffect(409))).await;
    assert_snapshot!(told.story, @r"
    body item: passed
    body after: passed
    pass
    ");
    assert!(told.owed.is_empty());
    assert_eq!(world.rig.count("GET /items"), 0);
}

#[tokio::test]
async fn another_refusal_fails_and_owes_nothing() {
    let keys = "expect_refused = { status = 400 }";
    let (_, told) = refused(keys, Some(Fault::FailBeforeEffect(403))).await;
    assert_snapshot!(told.story, @r#"
    body item: auth: status is 403, expected 400; the body begins: {"status":403,"why":"status as asked"}
    skipped after: step `item` did not pass
    fail auth in body item
    "#);
    assert!(told.owed.is_empty());

    let keys = "expect_refused = { status = 403, text = \"too long\" }";
    let (_, told) = refused(keys, Some(Fault::FailBeforeEffect(403))).await;
    assert_snapshot!(told.story, @r#"
    body item: assertion: the body does not contain `too long`; the body begins: {"status":403,"why":"status as asked"}
    skipped after: step `item` did not pass
    fail assertion in body item
    "#);
    assert!(told.owed.is_empty());
}

#[tokio::test]
async fn what_was_wrongly_accepted_fails_and_is_undone() {
    let (world, told) = refused("expect_refused = { status = 400 }", None).await;
    assert_snapshot!(told.story, @r"
    body item: assertion: the target accepted (status 201) what it should refuse
    skipped after: step `item` did not pass
      http.resource: owed
    fail assertion in body item
    ");
    assert!(told.owed.is_empty());
    assert_eq!(world.rig.deleted(), ["it-0001-item"]);
}

#[tokio::test]
async fn a_broken_target_refuses_nothing_and_the_thing_is_looked_for() {
    let keys = "expect_refused = { status = 400 }";
    let (world, told) = refused(keys, Some(Fault::FailAfterEffect(500))).await;
    assert_snapshot!(told.story, @r#"
    body item: status: status is 500, expected 400; the body begins: {"status":500,"why":"status as asked"}
    skipped after: step `item` did not pass
      http.resource: owed
    fail status in body item
    "#);
    assert!(told.owed.is_empty());
    assert_eq!(world.rig.deleted(), ["it-0001-item"]);

    // Nor does it when the spec takes that for a refusal.
    let keys = "expect_refused = { status = [\"4xx\", 500] }";
    for code in [500, 408] {
        let (world, told) = refused(keys, Some(Fault::FailAfterEffect(code))).await;
        assert!(
            told.story.ends_with("fail status in body item\n"),
            "{}",
            told.story
        );
        assert!(told.owed.is_empty());
        assert_eq!(world.rig.deleted(), ["it-0001-item"]);
    }
}
