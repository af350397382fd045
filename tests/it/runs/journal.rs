//! A journal that says no, and teardowns that fail.

use std::sync::Mutex;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};
use insta::assert_snapshot;
use testerd::journal::{Journal, JournalError, MemoryJournal, Note, Owed};
use testerd::spec::{Record, RecordId};

use super::{World, make, spec, step, wrap};
use crate::rig::Fault;

/// A journal on a disk that is full from some operation on.
#[derive(Default)]
struct Full {
    kept: MemoryJournal,
    /// So many more records and notes fit.
    left: Mutex<u32>,
}

impl Full {
    fn after(left: u32) -> Self {
        Self {
            kept: MemoryJournal::default(),
            left: Mutex::new(left),
        }
    }

    fn take_place(&self) -> Result<(), JournalError> {
        let mut left = self.left.lock().unwrap();
        let full = || JournalError::Unwritable("no space left on device".to_owned());
        *left = left.checked_sub(1).ok_or_else(full)?;
        Ok(())
    }
}

impl Journal for Full {
    fn arm(&self, record: Record) -> BoxFuture<'_, Result<RecordId, JournalError>> {
        match self.take_place() {
            Ok(()) => self.kept.arm(record),
            Err(error) => ready(Err(error)).boxed(),
        }
    }

    fn note(&self, id: RecordId, note: Note) -> BoxFuture<'_, Result<(), JournalError>> {
        match self.take_place() {
            Ok(()) => self.kept.note(id, note),
            Err(error) => ready(Err(error)).boxed(),
        }
    }

    fn read(&self, id: RecordId) -> Result<Record, JournalError> {
        self.kept.read(id)
    }

    fn release(&self, id: RecordId) {
        self.kept.release(id);
    }

    fn release_run(&self, run: &str) {
        self.kept.release_run(run);
    }

    fn owed(&self) -> Vec<Owed> {
        self.kept.owed()
    }
}

#[tokio::test]
async fn without_a_journal_nothing_is_made() {
    let world = World::new().journal(Full::after(0));
    let text = spec("", &[wrap("item", ""), step("never", "/ok", "")]);
    assert_snapshot!(world.run(&text).await.story, @r"
    skipped item: the journal cannot be written: no space left on device
    skipped never: setup `item` did not pass
    error journal in setup item
    ");
    assert_eq!(world.rig.connections(), 0);

    let world = World::new().journal(Full::after(0));
    let text = spec(
        "",
        &[
            make("item", "allow_failure = true"),
            step("never", "/ok", ""),
        ],
    );
    assert_snapshot!(world.run(&text).await.story, @r"
    skipped item: the journal cannot be written: no space left on device
    skipped never: step `item` did not pass
    error journal in body item
    ");
    assert_eq!(world.rig.connections(), 0);
}

/// One place for the record, none for the note that it was created.
#[tokio::test]
async fn what_the_journal_did_not_learn_is_found_by_its_name() {
    let world = World::new().journal(Full::after(1));
    let text = spec("", &[wrap("item", ""), step("never", "/ok", "")]);
    let told = world.run(&text).await;
    assert_snapshot!(told.story, @r"
    setup item: journal: the journal cannot be written: no space left on device
    skipped never: setup `item` did not pass
      http.resource: owed
    error journal in setup item
    ");
    assert!(world.rig.alive().is_empty());
    // Owed although it is gone, which is safe: undoing it once more finds nothing.
    assert_eq!(told.owed_names(), ["it-0001-item"]);
}

#[tokio::test]
async fn the_inner_one_is_refused_and_the_outer_one_is_torn_down() {
    let world = World::new().journal(Full::after(2));
    let text = spec(
        "",
        &[
            wrap("outer", ""),
            wrap("inner", ""),
            step("never", "/ok", ""),
        ],
    );
    let told = world.run(&text).await;
    assert_snapshot!(told.story, @r"
    setup outer: passed
    skipped inner: the journal cannot be written: no space left on device
    skipped never: setup `inner` did not pass
    teardown outer: journal: the journal cannot be written: no space left on device
      http.resource: owed
    error journal in setup inner
    ");
    assert_eq!(world.rig.deleted(), ["it-0001-outer"]);
    assert_eq!(told.owed_names(), ["it-0001-outer"]);
}

#[tokio::test]
async fn a_failed_teardown_fails_a_run_that_passed_otherwise() {
    let world = World::new();
    world
        .rig
        .fail("DELETE /items/{id}#inner", Fault::Status(500));
    world
        .rig
        .fail("DELETE /items/{id}#outer", Fault::Status(403));
    let soon = "teardown_timeout = \"2s\"";
    let wraps = [wrap("outer", soon), wrap("inner", soon)].concat();
    let told = world
        .run(&spec("", &[wraps.clone(), step("look", "/ok", "")]))
        .await;
    assert_snapshot!(told.story, @r#"
    setup outer: passed
    setup inner: passed
    body look: passed
    teardown inner: status: status is 500, expected 2xx; the body begins: {"status":500,"why":"status as asked"}
      http.resource: failed
      http.resource: owed
    fail teardown in teardown inner
    "#);
    assert_eq!(told.owed_names(), ["it-0001-inner", "it-0001-outer"]);
    assert_eq!(world.rig.alive(), ["it-0001-inner", "it-0001-outer"]);

    // The first failing leaf tells more.
    let world = World::new();
    world.rig.fail("DELETE /items/{id}", Fault::Status(500));
    let told = world
        .run(&spec("", &[wraps, step("look", "/status/429", "")]))
        .await;
    assert!(
        told.story.ends_with("fail quota in body look\n"),
        "{}",
        told.story
    );
}

#[tokio::test]
async fn a_suite_whose_teardown_failed_has_not_passed() {
    let world = World::new();
    world.rig.fail("DELETE /items/{id}", Fault::Status(500));
    let inner = super::suite(
        "inner",
        "",
        &[
            make("item", "teardown_timeout = \"2s\""),
            step("look", "/ok", ""),
        ],
    );
    let text = spec("", &[inner, step("after", "/ok", "")]);
    assert_snapshot!(world.run(&text).await.story, @r#"
    body item: passed
    body look: passed
    teardown item: status: status is 500, expected 2xx; the body begins: {"status":500,"why":"status as asked"}
      http.resource: failed
    skipped after: suite `inner` did not pass
    fail teardown in teardown item
    "#);
}

#[tokio::test]
async fn a_record_says_all_that_undoing_it_needs() {
    let world = World::new();
    world.rig.fail("DELETE /items/{id}", Fault::Status(500));
    let text = spec(
        "",
        &[
            wrap("outer", "teardown_timeout = \"2s\""),
            wrap("inner-one", "teardown_timeout = \"2s\""),
            step("look", "/ok", ""),
        ],
    );
    let told = world.run(&text).await;
    let [outer, inner] = &told.owed[..] else {
        panic!("{:#?}", told.owed);
    };
    assert!(outer.created && inner.created);
    assert_eq!(outer.parent, None);
    assert_eq!(inner.parent, Some(RecordId(1)));
    assert_eq!(
        (inner.target.as_str(), inner.instance.as_str()),
        ("rig", "it")
    );
    assert_eq!(
        (inner.run.as_str(), inner.step.as_str()),
        ("0001", "inner_one")
    );
    assert!(
        world
            .rig
            .url()
            .starts_with(inner.endpoint.trim_end_matches('/'))
    );
    let arguments = serde_json::to_string_pretty(&inner.undo.arguments).unwrap();
    assert_snapshot!(arguments, @r#"
    {
      "by_id": true,
      "delete": {
        "method": "DELETE",
        "path": "/items/${inner_one.id}?id=inner-one"
      },
      "find": {
        "captures": [
          [
            "id",
            "json:/id"
          ]
        ],
        "items": "/found",
        "matches": [
          [
            "/name",
            "it-0001-inner-one"
          ]
        ],
        "request": {
          "method": "GET",
          "path": "/items?name=it-0001-inner-one&id=inner-one"
        },
        "search": "GET /items?name=…-inner-one&id=inner-one"
      },
      "gone": [
        404,
        410
      ]
    }
    "#);
}
