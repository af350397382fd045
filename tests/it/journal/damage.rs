//! A damaged journal: opening it never panics, and either nothing is lost or everybody is told.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use serde_json::json;
use testerd::journal::{DiskJournal, Journal, Note, Owed};
use testerd::spec::RecordId;

use super::{kept, open, record};
use crate::tools::fast_folder;

const BLOCK: usize = 512;

/// Only a test that fails waits for so long.
const LONG: Duration = Duration::from_secs(20);

/// A journal as a killed process leaves it.
struct Killed {
    db: Vec<u8>,
    log: Vec<u8>,
    mark: Vec<u8>,
    /// What was owed at first, and after each commit in the log.
    states: Vec<Vec<Owed>>,
    /// Where each commit in the log ends.
    ends: Vec<usize>,
}

impl Killed {
    async fn new() -> Self {
        let folder = fast_folder();
        let journal = open(folder.path());
        for nth in 0..8 {
            let mut record = record(nth);
            if nth == 3 {
                record.undo.arguments = json!("long ".repeat(2000));
            }
            journal.arm(record).await.unwrap();
        }
        let captures = BTreeMap::from([("id".to_owned(), json!(7))]);
        journal
            .note(RecordId(2), Note::Created(captures))
            .await
            .unwrap();
        drop(journal);

        let journal = open(folder.path());
        let mut states = vec![kept(journal.owed())];
        let mut later = Vec::new();
        for nth in 8..14 {
            later.push(journal.arm(record(nth)).await.unwrap());
            states.push(kept(journal.owed()));
        }
        for (id, note) in [
            (later[0], Note::Created(BTreeMap::new())),
            (RecordId(1), Note::Settled),
            (RecordId(2), Note::Tried("why".into())),
            (later[2], Note::Refused),
        ] {
            journal.note(id, note).await.unwrap();
            states.push(kept(journal.owed()));
        }
        let read = |name: &str| std::fs::read(folder.path().join(name)).unwrap();
        let (db, log) = (read("journal.db"), read("journal.db-wal"));
        let mark = read("journal.db-mark");
        let ends = ends(&log);
        assert_eq!(ends.len() + 1, states.len(), "the log holds every commit");
        Self {
            db,
            log,
            mark,
            states,
            ends,
        }
    }

    fn all(&self) -> &Vec<Owed> {
        self.states.last().unwrap()
    }

    /// What a log of this length certainly holds.
    fn state_at(&self, length: usize) -> &Vec<Owed> {
        let commits = self.ends.iter().filter(|end| **end <= length).count();
        &self.states[commits]
    }
}

/// Where each commit in a log ends: behind its frame that tells the size of the file.
fn ends(log: &[u8]) -> Vec<usize> {
    let page = u32::from_be_bytes(log[8..12].try_into().unwrap()) as usize;
    let frames = (32..log.len()).step_by(24 + page);
    frames
        .filter(|at| log[at + 4..at + 8] != [0; 4])
        .map(|at| at + 24 + page)
        .collect()
}

/// Opens these bytes: what is owed, or `None` if they were set aside, and then they are all there.
fn opened(db: &[u8], log: &[u8], mark: &[u8]) -> Option<Vec<Owed>> {
    let folder = fast_folder();
    if !mark.is_empty() {
        std::fs::write(folder.path().join("journal.db-mark"), mark).unwrap();
    }
    std::fs::write(folder.path().join("journal.db"), db).unwrap();
    if !log.is_empty() {
        std::fs::write(folder.path().join("journal.db-wal"), log).unwrap();
    }
    let journal = open(folder.path());
    let owed = kept(journal.owed());
    let [aside] = journal.damaged() else {
        assert!(journal.damaged().is_empty());
        return Some(owed);
    };
    assert!(owed.is_empty());
    assert!(std::fs::read(aside).unwrap() == db, "it was changed");
    if !log.is_empty() {
        let aside = format!("{}-wal", aside.display());
        assert!(std::fs::read(aside).unwrap() == log, "its log was changed");
    }
    drop(journal);
    // It stays known until somebody takes it away.
    assert_eq!(open(folder.path()).damaged().len(), 1);
    None
}

/// Every block of some bytes, overwritten.
fn overwritten(bytes: &[u8]) -> impl Iterator<Item = (Range<usize>, u8, Vec<u8>)> {
    let blocks = (0..bytes.len()).step_by(BLOCK);
    blocks.flat_map(move |at| {
        [0, 0xff].map(|fill| {
            let block = at..(at + BLOCK).min(bytes.len());
            let mut damaged = bytes.to_vec();
            damaged[block.clone()].fill(fill);
            (block, fill, damaged)
        })
    })
}

fn cut(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    (0..bytes.len()).step_by(BLOCK).map(|at| &bytes[..at])
}

#[tokio::test]
async fn a_damaged_file_loses_nothing_in_silence() {
    let killed = Killed::new().await;
    let (all, mark) = (Some(killed.all()), &killed.mark[..]);
    assert_eq!(opened(&killed.db, &killed.log, mark).as_ref(), all);
    let mut aside = 0;
    let mut tell = |what: String, told: Option<Vec<Owed>>, right: &Vec<Owed>| match told {
        None => aside += 1,
        Some(owed) => assert!(owed == *right, "{what}: {} are owed", owed.len()),
    };
    // With its log, as a kill leaves it, and without one, as a clean end does.
    for (log, mark) in [(&killed.log[..], mark), (&[], &[])] {
        let right = killed.state_at(log.len());
        for db in cut(&killed.db) {
            tell(format!("cut to {}", db.len()), opened(db, log, mark), right);
        }
        for (block, fill, db) in overwritten(&killed.db) {
            tell(
                format!("{block:?} is {fill}"),
                opened(&db, log, mark),
                right,
            );
        }
    }
    assert!(aside > killed.db.len() / BLOCK, "only {aside} were noticed");
}

#[tokio::test]
async fn a_damaged_log_loses_nothing_in_silence() {
    let killed = Killed::new().await;
    for (block, fill, log) in overwritten(&killed.log) {
        let told = opened(&killed.db, &log, &killed.mark);
        assert!(
            told.is_none_or(|owed| owed == *killed.all()),
            "{block:?} is {fill}"
        );
    }
    let bytes = (0..killed.log.len())
        .step_by(97)
        .map(|at| &killed.log[..at]);
    for log in cut(&killed.log).chain(bytes) {
        let told = opened(&killed.db, log, &killed.mark);
        assert!(told.is_none(), "cut to {}", log.len());
    }
    // What came before it, with the mark of later.
    let earlier = fast_folder();
    drop(open(earlier.path()));
    let empty = std::fs::read(earlier.path().join("journal.db")).unwrap();
    assert!(opened(&empty, &[], &killed.mark).is_none(), "an older copy");
}

/// Then nothing tells a log that was cut off from one that never was longer; what is left is one whole
/// commit after the other.
#[tokio::test]
async fn without_a_mark_what_is_left_is_whole() {
    let killed = Killed::new().await;
    for log in cut(&killed.log) {
        let owed = opened(&killed.db, log, &[]);
        assert_eq!(owed.as_ref(), Some(killed.state_at(log.len())));
    }
}

/// The journal is good, so it is used; that nothing vouches for its end is told.
#[tokio::test]
async fn a_damaged_mark_is_told() {
    let killed = Killed::new().await;
    let mut marks: Vec<Vec<u8>> = (0..killed.mark.len())
        .map(|at| killed.mark[..at].to_vec())
        .collect();
    for at in 0..killed.mark.len() {
        for fill in [0, b'7', 0xff] {
            let mut mark = killed.mark.clone();
            mark[at] = fill;
            marks.push(mark);
        }
    }
    marks.push([&killed.mark[..], b"more"].concat());
    for mark in marks.into_iter().filter(|mark| *mark != killed.mark) {
        let folder = fast_folder();
        for (name, bytes) in [
            ("journal.db", &killed.db),
            ("journal.db-wal", &killed.log),
            ("journal.db-mark", &mark),
        ] {
            std::fs::write(folder.path().join(name), bytes).unwrap();
        }
        let journal = open(folder.path());
        assert_eq!(kept(journal.owed()), *killed.all(), "{mark:?}");
        assert_eq!(journal.damaged().len(), 1, "{mark:?}");
    }
}

#[tokio::test]
async fn a_journal_that_is_gone_is_told() {
    let killed = Killed::new().await;
    let folder = fast_folder();
    std::fs::write(folder.path().join("journal.db-mark"), &killed.mark).unwrap();
    let journal = open(folder.path());
    assert!(journal.owed().is_empty());
    assert_eq!(journal.damaged().len(), 1);
    let next = journal.arm(record(1)).await.unwrap();
    assert!(next > RecordId(14), "an id is given once: {next:?}");
    drop(journal);
    assert_eq!(open(folder.path()).owed().len(), 1);
}

#[tokio::test]
async fn a_log_without_its_file_is_set_aside() {
    // A log that says nothing without its file, and one from which SQLite could make up a whole.
    let small = fast_folder();
    let journal = open(small.path());
    journal.arm(record(1)).await.unwrap();
    let whole = std::fs::read(small.path().join("journal.db-wal")).unwrap();
    for log in [Killed::new().await.log, whole] {
        let folder = fast_folder();
        std::fs::write(folder.path().join("journal.db-wal"), &log).unwrap();
        let journal = open(folder.path());
        assert!(journal.owed().is_empty());
        assert_eq!(journal.damaged().len(), 1);
        journal.arm(record(1)).await.unwrap();
    }
}

/// Nothing is in the log for longer than a moment, so little can be lost with its end.
#[tokio::test]
async fn the_log_becomes_part_of_the_file_when_it_is_quiet() {
    let folder = fast_folder();
    let journal = open(folder.path());
    for nth in 0..5 {
        journal.arm(record(nth)).await.unwrap();
    }
    let log = folder.path().join("journal.db-wal");
    let length = || std::fs::metadata(&log).unwrap().len();
    let emptied = async {
        while length() > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(LONG, emptied).await.unwrap();
    let file_alone = fast_folder();
    std::fs::copy(journal.path(), file_alone.path().join("journal.db")).unwrap();
    assert_eq!(kept(open(file_alone.path()).owed()), kept(journal.owed()));
    journal.arm(record(5)).await.unwrap();
    assert!(length() > 0);
}

/// A look at the journal of a daemon changes nothing, also if it is damaged.
#[tokio::test]
async fn a_look_leaves_a_damaged_file_where_it_is() {
    let killed = Killed::new().await;
    let folder = fast_folder();
    let path = folder.path().join("journal.db");
    std::fs::write(&path, &killed.db[..killed.db.len() / 2]).unwrap();
    assert!(DiskJournal::look(folder.path()).is_err());
    let kept = std::fs::read(&path).unwrap();
    assert!(kept[..] == killed.db[..killed.db.len() / 2]);
    let mut entries = std::fs::read_dir(folder.path()).unwrap();
    let is_aside = |name: String| name.contains("damaged");
    assert!(!entries.any(|entry| is_aside(entry.unwrap().file_name().into_string().unwrap())));
}
