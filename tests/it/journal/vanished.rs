//! The journal's files vanish, or are changed, under whoever writes them: it is noticed before
//! anything more is made, all that is owed is written anew, and it is counted.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use testerd::journal::{DiskJournal, Journal, JournalError, Note, Owed};
use testerd::spec::RecordId;

use super::{kept, open, record};
use crate::tools::fast_folder;

/// A journal in use, with something owed in its file and in its log.
struct Used {
    around: tempfile::TempDir,
    journal: DiskJournal,
    /// A copy of its directory, made when less was owed.
    older: PathBuf,
}

impl Used {
    async fn new() -> Self {
        let around = fast_folder();
        let journal = open(&around.path().join("state"));
        for nth in 0..3 {
            journal.arm(record(nth)).await.unwrap();
        }
        journal
            .note(RecordId(1), Note::Tried("once".into()))
            .await
            .unwrap();
        journal
            .note(RecordId(1), Note::Tried("twice".into()))
            .await
            .unwrap();
        let older = around.path().join("older");
        copy(&around.path().join("state"), &older);
        for nth in 3..6 {
            journal.arm(record(nth)).await.unwrap();
        }
        journal.note(RecordId(2), Note::Settled).await.unwrap();
        Self {
            around,
            journal,
            older,
        }
    }

    fn state(&self) -> PathBuf {
        self.around.path().join("state")
    }

    fn file(&self, name: &str) -> PathBuf {
        self.state().join(name)
    }

    fn replaced(&self) -> u64 {
        self.journal.replaced().load(Ordering::Relaxed)
    }

    /// What a start after a kill would find.
    fn after_a_kill(&self) -> Vec<Owed> {
        let copied = self.around.path().join("copy");
        let _ = std::fs::remove_dir_all(&copied);
        copy(&self.state(), &copied);
        let again = open(&copied);
        again.owed()
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_file() {
            std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

fn cut(path: &Path, to: u64) {
    let file = std::fs::File::options().write(true).open(path).unwrap();
    file.set_len(to).unwrap();
}

fn remove(used: &Used, names: &[&str]) {
    for name in names {
        std::fs::remove_file(used.file(name)).unwrap();
    }
}

/// In place, so that the file stays the same.
fn overwrite(path: &Path, content: &[u8]) {
    use std::io::Write;
    let mut file = std::fs::File::options().write(true).open(path).unwrap();
    file.write_all(content).unwrap();
    file.set_len(content.len() as u64).unwrap();
}

type Act = (&'static str, fn(&Used));

const ACTS: [Act; 17] = [
    ("all removed", |used| {
        remove(used, &["journal.db", "journal.db-wal", "journal.db-shm"]);
    }),
    ("everything removed", |used| {
        std::fs::remove_dir_all(used.state()).unwrap();
    }),
    ("the file removed", |used| remove(used, &["journal.db"])),
    ("the log removed", |used| remove(used, &["journal.db-wal"])),
    ("the index removed", |used| {
        remove(used, &["journal.db-shm"]);
    }),
    ("the mark removed", |used| {
        remove(used, &["journal.db-mark"]);
    }),
    ("the lock removed", |used| remove(used, &["lock"])),
    ("the file emptied", |used| cut(&used.file("journal.db"), 0)),
    ("the file cut", |used| cut(&used.file("journal.db"), 1000)),
    ("the log emptied", |used| {
        cut(&used.file("journal.db-wal"), 0);
    }),
    ("the log cut", |used| {
        let length = used.file("journal.db-wal").metadata().unwrap().len();
        cut(&used.file("journal.db-wal"), length - 100);
    }),
    ("an older copy put over the file", |used| {
        let older = std::fs::read(used.older.join("journal.db")).unwrap();
        overwrite(&used.file("journal.db"), &older);
        cut(&used.file("journal.db-wal"), 0);
    }),
    ("an older copy moved over the file", |used| {
        std::fs::rename(used.older.join("journal.db"), used.file("journal.db")).unwrap();
    }),
    ("something else put over the log", |used| {
        let length = used.file("journal.db-wal").metadata().unwrap().len();
        let nonsense = vec![b'x'; usize::try_from(length).unwrap()];
        overwrite(&used.file("journal.db-wal"), &nonsense);
    }),
    ("the directory moved away", |used| {
        std::fs::rename(used.state(), used.around.path().join("away")).unwrap();
    }),
    ("an older copy of the directory", |used| {
        std::fs::rename(used.state(), used.around.path().join("away")).unwrap();
        std::fs::rename(&used.older, used.state()).unwrap();
    }),
    ("a row removed by hand", |used| {
        let connection = rusqlite::Connection::open(used.file("journal.db")).unwrap();
        let removed = connection.execute("DELETE FROM notes WHERE record = 4", []);
        assert_eq!(removed.unwrap(), 1);
    }),
];

#[tokio::test]
async fn what_is_owed_is_written_anew() {
    for (what, act) in ACTS {
        let used = Used::new().await;
        let owed = used.journal.owed();
        act(&used);
        let refused = used.journal.arm(record(6)).await;
        assert!(
            matches!(&refused, Err(JournalError::Unwritable(why)) if why.contains("anew")),
            "{what}: {refused:?}"
        );
        assert_eq!(used.replaced(), 1, "{what}");
        assert_eq!(used.journal.owed(), owed, "{what}");
        assert_eq!(kept(used.after_a_kill()), kept(owed), "{what}");
        // Then it goes on, with ids that nobody has seen.
        let next = used.journal.arm(record(7)).await.unwrap();
        assert!(next > RecordId(6), "{what}: {next:?}");
        let again = used.after_a_kill();
        assert_eq!(again.last().unwrap().id, next, "{what}");
        assert_eq!(again[0].tries, 2, "{what}");
        used.journal.note(next, Note::Settled).await.unwrap();
        assert_eq!(used.replaced(), 1, "{what}: it is noticed once");
    }
}

/// A run that is over is noted, whatever became of the files.
#[tokio::test]
async fn a_note_is_taken_also_then() {
    for (what, act) in ACTS {
        let used = Used::new().await;
        act(&used);
        used.journal.note(RecordId(3), Note::Settled).await.unwrap();
        let owed = used.journal.owed();
        assert!(owed.iter().all(|owed| owed.id != RecordId(3)), "{what}");
        assert_eq!(kept(used.after_a_kill()), kept(owed), "{what}");
    }
}

#[tokio::test]
async fn nobody_need_ask_for_it_to_be_noticed() {
    let used = Used::new().await;
    std::fs::remove_dir_all(used.state()).unwrap();
    let written = async {
        while used.replaced() == 0 {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    let long = std::time::Duration::from_secs(20);
    tokio::time::timeout(long, written).await.unwrap();
    assert_eq!(kept(used.after_a_kill()), kept(used.journal.owed()));
}

#[tokio::test]
async fn a_clean_end_leaves_a_journal_behind() {
    let used = Used::new().await;
    let owed = used.journal.owed();
    std::fs::remove_dir_all(used.state()).unwrap();
    let Used {
        journal, around, ..
    } = used;
    drop(journal);
    assert_eq!(kept(open(&around.path().join("state")).owed()), kept(owed));
}

/// Who looks, copies or puts in order has done nothing.
#[tokio::test]
async fn what_only_looks_is_no_damage() {
    let acts: [Act; 5] = [
        ("a reader", |used| {
            let connection = rusqlite::Connection::open(used.file("journal.db")).unwrap();
            let count = connection.query_row("SELECT count(*) FROM owed", [], |row| row.get(0));
            assert_eq!(count, Ok(5));
        }),
        ("a checkpoint", |used| {
            let connection = rusqlite::Connection::open(used.file("journal.db")).unwrap();
            let checkpoint = "PRAGMA wal_checkpoint(TRUNCATE)";
            connection.query_row(checkpoint, [], |_| Ok(())).unwrap();
        }),
        ("touched", |used| {
            for name in ["journal.db", "journal.db-wal"] {
                let file = std::fs::File::options()
                    .write(true)
                    .open(used.file(name))
                    .unwrap();
                file.set_modified(std::time::SystemTime::UNIX_EPOCH)
                    .unwrap();
            }
        }),
        ("linked", |used| {
            std::fs::hard_link(used.file("journal.db"), used.around.path().join("link")).unwrap();
        }),
        ("something else beside it", |used| {
            symlink("/nowhere", used.file("other")).unwrap();
        }),
    ];
    for (what, act) in acts {
        let used = Used::new().await;
        act(&used);
        used.journal.arm(record(6)).await.unwrap();
        assert_eq!(used.replaced(), 0, "{what}");
        assert_eq!(
            kept(used.after_a_kill()),
            kept(used.journal.owed()),
            "{what}"
        );
    }
}

/// Where nothing can be written, nothing is armed; when it can be, it goes on.
#[tokio::test]
async fn without_a_place_nothing_is_armed() {
    let used = Used::new().await;
    let owed = used.journal.owed();
    std::fs::rename(used.state(), used.around.path().join("away")).unwrap();
    std::fs::write(used.state(), "in the way").unwrap();
    for nth in 6..9 {
        let refused = used.journal.arm(record(nth)).await;
        assert!(matches!(refused, Err(JournalError::Unwritable(_))));
        let noted = used.journal.note(RecordId(3), Note::Settled).await;
        assert!(matches!(noted, Err(JournalError::Unwritable(_))));
    }
    assert_eq!(used.journal.owed(), owed);
    std::fs::remove_file(used.state()).unwrap();
    let _ = used.journal.arm(record(9)).await;
    used.journal.arm(record(10)).await.unwrap();
    assert_eq!(used.replaced(), 1);
    assert_eq!(kept(used.after_a_kill()), kept(used.journal.owed()));
}

/// Somebody else has the directory by now: it is his.
#[tokio::test]
async fn another_owner_is_not_overwritten() {
    let used = Used::new().await;
    std::fs::rename(used.state(), used.around.path().join("away")).unwrap();
    let other = open(&used.state());
    let theirs = other.arm(record(20)).await.unwrap();
    let refused = used.journal.arm(record(6)).await;
    assert!(
        matches!(&refused, Err(JournalError::Unwritable(why)) if why.contains("in use by a test")),
        "{refused:?}"
    );
    assert_eq!(other.replaced().load(Ordering::Relaxed), 0);
    assert_eq!(other.owed()[0].id, theirs);
}
