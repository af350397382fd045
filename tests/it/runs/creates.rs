//! Creates of which nobody knows what became: the thing is found by its exact name among
//! strangers, or stays owed.

use insta::assert_snapshot;

use super::{Told, World, make, spec, step, wrap};
use crate::rig::Fault;

/// Names that a search for ours finds too.
const STRANGERS: [&str; 3] = ["it-0001-item-2", "it-0001-itema", "it-0001-items"];

async fn ambiguous(fault: Fault) -> (World, Told) {
    let world = World::new();
    for stranger in STRANGERS {
        world.rig.seed(stranger);
    }
    world.rig.fail("POST /items#item", fault);
    let text = spec(
        "",
        &[
            wrap("item", "timeout = \"300ms\""),
            step("never", "/ok", ""),
        ],
    );
    let told = world.run(&text).await;
    assert_eq!(world.rig.count("/ok"), 0, "{fault:?}");
    (world, told)
}

async fn check_found(fault: Fault, reason: &str) {
    let (world, told) = ambiguous(fault).await;
    let verdict = format!("fail {reason} in setup item\n");
    assert!(told.story.ends_with(&verdict), "{fault:?}: {}", told.story);
    assert!(
        told.story.contains("\n  http.resource: owed\n"),
        "{fault:?}: {}",
        told.story
    );
    assert_eq!(world.rig.deleted(), ["it-0001-item"], "{fault:?}");
    assert_eq!(world.rig.alive(), STRANGERS, "{fault:?}");
    assert!(told.owed.is_empty(), "{fault:?}");
}

#[tokio::test]
async fn what_was_made_is_found_among_strangers_and_deleted() {
    check_found(Fault::HangAfterEffect, "timeout").await;
    check_found(Fault::FailAfterEffect(500), "status").await;
    check_found(Fault::FailAfterEffect(302), "status").await;
    check_found(Fault::FailAfterEffect(409), "status").await;
    check_found(Fault::FailAfterEffect(408), "status").await;
    check_found(Fault::Unreadable2xx, "capture").await;
    check_found(Fault::ResetAfterEffect, "protocol").await;
}

#[tokio::test]
async fn what_is_not_found_stays_owed() {
    for fault in [
        Fault::Hang,
        Fault::Reset,
        Fault::FailBeforeEffect(500),
        Fault::FailBeforeEffect(409),
    ] {
        let (world, told) = ambiguous(fault).await;
        let undone = "\n  http.resource: owed\n";
        assert!(told.story.contains(undone), "{fault:?}: {}", told.story);
        assert_eq!(told.owed_names(), ["it-0001-item"], "{fault:?}");
        assert!(!told.owed[0].created, "{fault:?}");
        assert_eq!(world.rig.alive(), STRANGERS, "{fault:?}");
    }
}

#[tokio::test]
async fn what_comes_late_is_still_owed() {
    let (world, told) = ambiguous(Fault::LateEffect(std::time::Duration::from_secs(1))).await;
    assert_eq!(told.owed_names(), ["it-0001-item"]);
    let all = [&["it-0001-item"], &STRANGERS[..]].concat();
    assert!(world.rig.comes_to(&all, super::LONG));
}

#[tokio::test]
async fn a_refusal_owes_nothing() {
    for code in [400, 401, 403, 404, 422] {
        let (world, told) = ambiguous(Fault::FailBeforeEffect(code)).await;
        assert!(told.owed.is_empty(), "{code}: {}", told.story);
        assert!(!told.story.contains("teardown"), "{code}: {}", told.story);
        assert_eq!(world.rig.count("GET /items"), 0, "{code}");
    }
}

#[tokio::test]
async fn of_several_that_have_the_name_none_is_deleted() {
    let world = World::new();
    world.rig.seed("it-0001-item");
    world
        .rig
        .fail("POST /items#item", Fault::FailAfterEffect(500));
    let told = world.run(&spec("", &[make("item", "")])).await;
    assert_snapshot!(told.story, @r#"
    body item: status: status is 500, expected 2xx; the body begins: {"status":500,"why":"status as asked"}
      http.resource: owed
    fail status in body item
    "#);
    assert_eq!(world.rig.alive(), ["it-0001-item", "it-0001-item"]);
    assert_eq!(told.owed_names(), ["it-0001-item"]);
    assert_eq!(
        told.swept(),
        ["protocol: find: several items have the name, none is deleted"]
    );
}

#[tokio::test]
async fn an_unclear_search_deletes_nothing() {
    for (fault, says) in [
        (Fault::Status(500), "status is 500"),
        (Fault::Status(404), "status is 404"),
        (Fault::Unreadable2xx, "the body is not JSON"),
        (Fault::Reset, "no http answer"),
        (Fault::Hang, "no end in time"),
    ] {
        let world = World::new();
        world
            .rig
            .fail("POST /items#item", Fault::FailAfterEffect(500));
        world.rig.fail("GET /items#item", fault);
        let keys = "teardown_timeout = \"300ms\"";
        let told = world.run(&spec("", &[make("item", keys)])).await;
        let [why] = told.swept().try_into().unwrap();
        assert!(why.contains(says), "{fault:?}: {why}");
        // Not `teardown`: the first failing leaf was the create.
        assert!(told.story.ends_with("fail status in body item\n"));
        assert_eq!(world.rig.alive(), ["it-0001-item"], "{fault:?}");
        assert_eq!(told.owed_names(), ["it-0001-item"], "{fault:?}");
    }
}

#[tokio::test]
async fn a_delete_that_is_not_confirmed_is_still_owed() {
    for fault in [Fault::Status(500), Fault::Reset, Fault::Hang] {
        let world = World::new();
        world.rig.fail("DELETE /items/{id}", fault);
        let keys = "teardown_timeout = \"300ms\"";
        let told = world.run(&spec("", &[make("item", keys)])).await;
        assert!(
            told.story.ends_with("fail teardown in teardown item\n"),
            "{fault:?}"
        );
        assert_eq!(told.owed_names(), ["it-0001-item"], "{fault:?}");
        assert!(told.owed[0].created, "{fault:?}");
    }
}

#[tokio::test]
async fn what_a_step_deleted_itself_is_gone_at_teardown() {
    let world = World::new();
    let text = spec(
        "",
        &[
            wrap("item", ""),
            step("delete", "/items/${item.id}", "method = \"DELETE\""),
        ],
    );
    let told = world.run(&text).await;
    assert_snapshot!(told.story, @r"
    setup item: passed
    body delete: passed
    teardown item: passed
      http.resource: done
    pass
    ");
    assert!(told.owed.is_empty());
}
