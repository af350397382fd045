//! What is written, when it is written, and who may write.

use std::collections::BTreeMap;
use std::path::Path;

use futures_util::future::join_all;
use serde_json::json;
use testerd::journal::{DiskJournal, Journal, JournalError, Note, OpenError};

use super::{kept, open, record};
use crate::tools::fast_folder;

#[tokio::test]
async fn what_is_owed_outlives_the_process_to_the_last_character() {
    let folder = fast_folder();
    let journal = open(folder.path());
    let mut odd = record(1);
    odd.undo.arguments = json!({ "ä\u{0}\u{1f600}\"'": [null, true, -1.5e300, u64::MAX, {}], "long": "x".repeat(20_000) });
    odd.run = "line\nbreak".into();
    let outer = journal.arm(odd).await.unwrap();
    let mut inner = record(2);
    inner.parent = Some(outer);
    let inner = journal.arm(inner).await.unwrap();
    let captures = BTreeMap::from([("id".to_owned(), json!("7/ü")), ("n".to_owned(), json!(7))]);
    journal.note(outer, Note::Created(captures)).await.unwrap();
    for why in ["first", "second"] {
        journal.note(inner, Note::Tried(why.into())).await.unwrap();
    }
    let [refused, settled] = [3, 4].map(record);
    let (refused, settled) = (
        journal.arm(refused).await.unwrap(),
        journal.arm(settled).await.unwrap(),
    );
    journal.note(refused, Note::Refused).await.unwrap();
    journal.note(settled, Note::Settled).await.unwrap();

    let owed = journal.owed();
    assert_eq!(owed.len(), 2);
    assert!(owed[0].record.created && owed[1].last.as_deref() == Some("second"));
    assert!(journal.has_children(outer) && !journal.has_children(inner));
    drop(journal);
    let again = open(folder.path());
    assert_eq!(kept(again.owed()), kept(owed));
    assert!(
        again.owed().iter().all(|owed| !owed.held),
        "nobody is left to hold it"
    );
    assert!(again.arm(record(5)).await.unwrap() > inner, "ids go on");
}

#[tokio::test]
async fn what_was_armed_is_seen_by_others_at_once() {
    let folder = fast_folder();
    let journal = open(folder.path());
    for nth in 1..=20 {
        let id = journal.arm(record(nth)).await.unwrap();
        let seen = DiskJournal::look(folder.path()).unwrap();
        assert_eq!(seen.last().map(|owed| owed.id), Some(id));
        assert_eq!(kept(seen), kept(journal.owed()));
    }
    // An operator's view, with any SQLite.
    let connection = rusqlite::Connection::open(journal.path()).unwrap();
    let count: i64 = connection
        .query_row(
            "SELECT count(*) FROM owed WHERE kind = 'http.resource'",
            [],
            |row| row.get(0),
        )
        .unwrap();
    assert_eq!(count, 20);
}

/// How many transactions were committed: SQLite counts them in the log's index.
fn commits(folder: &Path) -> u32 {
    let index = std::fs::read(folder.join("journal.db-shm")).unwrap();
    u32::from_ne_bytes(index[8..12].try_into().unwrap())
}

#[tokio::test]
async fn many_at_once_share_a_commit_and_none_is_lost() {
    const ARMS: usize = 400;
    let folder = tempfile::tempdir().unwrap();
    let journal = open(folder.path());
    let before = commits(folder.path());
    let armed = join_all((0..ARMS).map(|nth| journal.arm(record(nth)))).await;
    let ids: Vec<_> = armed.into_iter().map(Result::unwrap).collect();
    let shared = commits(folder.path()) - before;
    assert!(
        (1..=ARMS / 10).contains(&(shared as usize)),
        "{ARMS} arms in {shared} commits"
    );
    drop(journal);
    let again: Vec<_> = open(folder.path())
        .owed()
        .iter()
        .map(|owed| owed.id)
        .collect();
    assert_eq!(again, ids);
}

#[tokio::test]
async fn two_notes_at_once_follow_one_another() {
    let folder = fast_folder();
    let journal = open(folder.path());
    let id = journal.arm(record(1)).await.unwrap();
    // Somebody forgets a record while its run writes down what came of it. In one commit the
    // second note would be one on a record that is not there, and the file damaged by it.
    let [forgotten, tried, created] = [
        Note::Settled,
        Note::Tried("late".into()),
        Note::Created(BTreeMap::new()),
    ]
    .map(|note| journal.note(id, note));
    let (forgotten, tried, created) = futures_util::join!(forgotten, tried, created);
    forgotten.unwrap();
    assert!(matches!(
        tried,
        Err(JournalError::Illegal { .. } | JournalError::Unknown(_))
    ));
    assert!(matches!(
        created,
        Err(JournalError::Illegal { .. } | JournalError::Unknown(_))
    ));
    assert!(journal.owed().is_empty());
    drop(journal);
    let again = open(folder.path());
    assert!(again.owed().is_empty() && again.damaged().is_empty());
}

#[tokio::test]
async fn a_record_whose_run_was_dropped_while_arming_is_the_sweepers() {
    // A real disk, so that the thread is still busy when the run is gone.
    let folder = tempfile::tempdir().unwrap();
    let journal = open(folder.path());
    let mut last = 0;
    loop {
        last += 1;
        let mut arming = journal.arm(record(last));
        let is_waiting = futures_util::poll!(&mut arming).is_pending();
        journal.release_run(&format!("run-{last}"));
        if is_waiting {
            break;
        }
    }
    // What comes later is written later.
    journal.arm(record(last + 1)).await.unwrap();
    let held: Vec<_> = journal.owed().iter().map(|owed| owed.held).collect();
    assert_eq!(held.len(), last + 1);
    assert_eq!(held.iter().position(|held| *held), Some(last), "{held:?}");
}

#[test]
fn a_later_version_is_refused_and_left_alone() {
    let folder = fast_folder();
    let path = open(folder.path()).path().to_owned();
    let set_version = |version: i64| {
        let connection = rusqlite::Connection::open(&path).unwrap();
        connection
            .pragma_update(None, "user_version", version)
            .unwrap();
    };
    set_version(2);
    let before = std::fs::read(&path).unwrap();
    let error = DiskJournal::open(folder.path(), 5, "x").err().unwrap();
    assert!(
        matches!(
            error,
            OpenError::Newer {
                found: 2,
                known: 1,
                ..
            }
        ),
        "{error:?}"
    );
    let told = error.to_string();
    assert!(told.contains("journal.db") && told.contains('2') && told.contains("later testerd"));
    assert_eq!(std::fs::read(&path).unwrap(), before);
    set_version(1);
    assert!(open(folder.path()).damaged().is_empty());
}

#[test]
fn it_has_one_owner_who_is_named() {
    let folder = fast_folder();
    let first = DiskJournal::open(folder.path(), 5, "testerd one (pid 4711)").unwrap();
    let told = || {
        let error = DiskJournal::open(folder.path(), 5, "testerd two")
            .err()
            .unwrap();
        assert!(matches!(error, OpenError::Locked { .. }), "{error:?}");
        error.to_string()
    };
    assert!(told().contains("testerd one (pid 4711)"), "{}", told());
    assert!(
        told().contains("testerd one (pid 4711)"),
        "the loser wrote nothing"
    );
    drop(first);
    DiskJournal::open(folder.path(), 5, "testerd two").unwrap();
}

#[test]
fn a_closed_journal_is_one_file_and_its_mark() {
    let folder = fast_folder();
    let journal = open(folder.path());
    let path = journal.path().to_owned();
    drop(journal);
    let mut names: Vec<_> = std::fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    names.sort();
    let name = path.file_name().unwrap();
    assert_eq!(names, [name, "journal.db-mark".as_ref(), "lock".as_ref()]);
}
