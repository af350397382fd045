//! Deletes that lie, ids that go to strangers, and searches that do not see: what is still there is
//! still owed, and what is another's is left alone.

use testerd::event::Event;

use super::{Told, World, make, spec, step, wrap};
use crate::rig::{Fault, Lies};

const SOON: &str = "teardown_timeout = \"900ms\"";

fn blind(told: &Told) -> usize {
    let all = told.events.iter().chain(&told.swept);
    all.filter(|event| matches!(event, Event::SearchIsBlind { .. }))
        .count()
}

/// All that a delete may say while it does nothing.
const ANSWERS: [Fault; 6] = [
    Fault::Status(200),
    Fault::Status(202),
    Fault::Status(204),
    Fault::Status(302),
    Fault::Status(404),
    Fault::Status(503),
];

#[tokio::test]
async fn what_is_still_found_is_still_owed_whatever_the_delete_said() {
    for fault in ANSWERS {
        let world = World::new();
        world.rig.fail("DELETE /items/{id}", fault);
        let told = world.run(&spec("", &[make("item", SOON)])).await;
        let failed = "fail teardown in teardown item\n";
        assert!(told.story.ends_with(failed), "{fault:?}: {}", told.story);
        assert_eq!(told.owed_names(), ["it-0001-item"], "{fault:?}");
        assert_eq!(world.rig.alive(), ["it-0001-item"], "{fault:?}");
        // By the run again and again, and by the sweeper.
        assert!(world.rig.count("DELETE /items/{id}") > 2, "{fault:?}");
        assert_eq!(blind(&told), 0, "{fault:?}");
    }
}

#[tokio::test]
async fn a_delete_that_did_nothing_is_sent_again() {
    for fault in ANSWERS {
        let world = World::new();
        world.rig.snare("DELETE /items/{id}", 1, Some(fault));
        let told = world.run(&spec("", &[make("item", "")])).await;
        assert!(
            told.story.ends_with("\npass\n"),
            "{fault:?}: {}",
            told.story
        );
        assert!(told.owed.is_empty() && world.rig.alive().is_empty());
        assert_eq!(world.rig.count("DELETE /items/{id}"), 2, "{fault:?}");
    }
}

#[tokio::test]
async fn an_honest_teardown_is_three_requests() {
    let world = World::new();
    let told = world.run(&spec("", &[make("item", "")])).await;
    assert!(told.story.ends_with("\npass\n"), "{}", told.story);
    let log = world.rig.log();
    let requests = [
        "POST /items",
        "GET /items",
        "DELETE /items/{id}",
        "GET /items",
    ];
    assert_eq!(log, requests);
}

/// The delete was carried out, nobody knows, and its id is a stranger's now.
#[tokio::test]
async fn an_id_that_went_to_a_stranger_is_not_deleted_again() {
    for fault in [
        Fault::ResetAfterEffect,
        Fault::FailAfterEffect(502),
        Fault::FailAfterEffect(404),
        Fault::Unreadable2xx,
    ] {
        let world = World::new();
        world.rig.reuse_ids();
        world.rig.snare("DELETE /items/{id}", 1, Some(fault));
        let told = world.run(&spec("", &[make("item", "")])).await;
        assert!(told.owed.is_empty(), "{fault:?}: {}", told.story);
        assert_eq!(world.rig.deleted(), ["it-0001-item"], "{fault:?}");
        assert_eq!(world.rig.alive().len(), 1, "{fault:?}");
    }
}

#[tokio::test]
async fn a_search_that_does_not_show_what_was_made_is_blind() {
    let lies = [(Some(8), false), (Some(11), false), (Some(11), true)];
    for (cut, lower) in lies {
        let world = World::new();
        world.rig.lie(Lies {
            cut,
            lower,
            ..Lies::default()
        });
        let told = world
            .run(&spec("", &[wrap("item", ""), step("look", "/ok", "")]))
            .await;
        assert!(told.story.ends_with("\npass\n"), "{}", told.story);
        assert_eq!(blind(&told), 1, "{}", told.story);
        assert!(told.owed.is_empty() && world.rig.alive().is_empty());
    }
}

const LISTED: &str = "find = { path = \"/items?name=${run.name}\", items = \"/found\", match = { \"/name\" = \"${run.name}\" }, capture = { id = \"json:/id\" } }\n";
/// Where there is nothing that has the name, the target knows no such address.
const ASKED: &str = "find = { path = \"/status/404\", match = { \"/name\" = \"${run.name}\" }, capture = { id = \"json:/id\" } }\n";

/// A thing that is deleted by a step, as specs do that create, read, change and delete.
fn deleted_by_a_step(find: &str, path: &str, expect: &str) -> String {
    let text = without_find("/items/${item.id}");
    let text = text.replace("delete =", &format!("{find}delete ="));
    format!(
        "{text}[[spec.steps]]\nname = \"delete\"\nuse = \"http\"\nmethod = \"DELETE\"\npath = \"{path}\"\n\
         expect = {{ status = {expect} }}\n"
    )
}

/// Its id is a stranger's at once.
#[tokio::test]
async fn what_a_step_has_deleted_is_not_deleted_again() {
    for (find, looks) in [(LISTED, 1), (ASKED, 1), ("", 0)] {
        let world = World::new();
        world.rig.reuse_ids();
        let told = world
            .run(&deleted_by_a_step(find, "/items/${item.id}", "204"))
            .await;
        let passed = told.story.ends_with("\npass\n");
        assert!(passed && blind(&told) == 0, "{find}: {}", told.story);
        assert!(told.owed.is_empty(), "{find}: {}", told.story);
        assert_eq!(world.rig.deleted(), ["it-0001"], "{find}");
        let log = world.rig.log();
        assert_eq!(log[..2], ["POST /items", "DELETE /items/{id}"], "{find}");
        assert_eq!(log.len(), 2 + looks, "{log:?}");
    }
}

#[tokio::test]
async fn what_a_step_may_have_deleted_is_looked_for() {
    let id = "/items/${item.id}";
    // How the step's delete ends, what it expects; deletes in all, and what stays owed.
    let rows = [
        // It did nothing.
        (LISTED, id, Some(Fault::Status(204)), "204", 2, 0),
        // It is refused, which is what the spec wants.
        (LISTED, id, Some(Fault::Status(403)), "403", 2, 0),
        (LISTED, id, Some(Fault::Status(404)), "404", 2, 0),
        ("", id, Some(Fault::Status(409)), "409", 2, 0),
        // It was carried out, and nobody knows.
        (LISTED, id, Some(Fault::FailAfterEffect(502)), "502", 1, 1),
        ("", id, Some(Fault::FailAfterEffect(502)), "502", 1, 1),
        // By another request than the undo's: both say that it is gone.
        (LISTED, "/items/${item.id}?now=1", None, "204", 2, 0),
    ];
    for (find, path, fault, expect, deletes, owed) in rows {
        let world = World::new();
        if let Some(fault) = fault {
            world.rig.snare("DELETE /items/{id}", 1, Some(fault));
        }
        let told = world.run(&deleted_by_a_step(find, path, expect)).await;
        let row = format!("{find}, {path}, {fault:?}: {}", told.story);
        assert_eq!(world.rig.count("DELETE /items/{id}"), deletes, "{row}");
        assert_eq!((told.owed.len(), blind(&told)), (owed, 0), "{row}");
        assert!(told.owed.iter().all(|record| record.delete_sent), "{row}");
        assert!(world.rig.alive().is_empty(), "{row}");
    }
}

fn without_find(delete: &str) -> String {
    spec(
        "",
        &[format!(
            "[[spec.steps]]\nname = \"item\"\nuse = \"http.resource\"\n{SOON}\n\
             create = {{ path = \"/items\", json = {{ name = \"${{run.name}}\" }}, capture = {{ id = \"json:/id\" }} }}\n\
             delete = {{ path = \"{delete}\" }}\n"
        )],
    )
}

#[tokio::test]
async fn without_a_search_a_delete_that_may_have_been_carried_out_is_not_repeated() {
    for (fault, deletes) in [
        (Fault::ResetAfterEffect, 1),
        (Fault::FailAfterEffect(500), 1),
        (Fault::Hang, 1),
        // Certainly not carried out.
        (Fault::Status(429), 2),
    ] {
        let world = World::new();
        world.rig.snare("DELETE /items/{id}", 1, Some(fault));
        let told = world.run(&without_find("/items/${item.id}")).await;
        assert_eq!(world.rig.count("DELETE /items/{id}"), deletes, "{fault:?}");
        assert_eq!(told.owed.len(), 2 - deletes, "{fault:?}: {}", told.story);
        assert!(told.owed.iter().all(|record| record.delete_sent));
        if deletes == 1 {
            let [why] = told.swept().try_into().unwrap();
            assert!(why.contains("sweep --retry"), "{why}");
        }
    }
}

/// Twenty things of others, and ours behind them.
#[tokio::test]
async fn a_lost_create_is_found_on_whichever_page_it_is() {
    let find = "find = { path = \"/items\", items = \"/found\", match = { \"/name\" = \"${run.name}\" }, capture = { id = \"json:/id\" }";
    for (next, left) in [
        (", next = { address = \"/next\" }", None),
        (", next = { page = \"page\" }", None),
        (
            ", next = { address = \"/next\" }, max_pages = 3",
            Some("max_pages"),
        ),
        (
            ", next = { page = \"side\" }",
            Some("page 2 is the one before again"),
        ),
        ("", Some("says that there is more (`next`)")),
    ] {
        let world = World::new();
        world.rig.lie(Lies {
            page: Some(5),
            ..Lies::default()
        });
        world
            .rig
            .snare("POST /items", 1, Some(Fault::FailAfterEffect(500)));
        let text = without_find("/items/${item.id}");
        let text = text.replace("delete =", &format!("{find}{next} }}\ndelete ="));
        for nth in 0..20 {
            world.rig.seed(&format!("other-{nth}"));
        }
        let told = world.run(&text).await;
        let alive = world.rig.alive().contains(&"it-0001".to_owned());
        assert_eq!(alive, left.is_some(), "{next}: {}", told.story);
        assert_eq!(told.owed.is_empty(), left.is_none(), "{next}");
        if let Some(left) = left {
            assert!(told.swept()[0].contains(left), "{next}: {:?}", told.swept());
        }
    }
}
