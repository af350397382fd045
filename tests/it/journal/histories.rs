//! Any history of any records: both journals, and a simple picture of what they should be, agree
//! on every answer, and a journal on disk reads the same when it is opened again.

use std::collections::{BTreeMap, HashMap};

use futures_util::future::join_all;
use proptest::prelude::*;
use serde_json::json;
use testerd::journal::{DiskJournal, Journal, JournalError, MemoryJournal, Note, State};
use testerd::spec::{Record, RecordId};

use super::{kept, record};
use crate::tools::fast_folder;

const MAX_OWED: usize = 3;

#[derive(Debug, Clone)]
enum Deed {
    Arm { target: u8, parent: Option<u8> },
    Note { which: u8, note: Note },
    Release { which: u8 },
    ReleaseRun { nth: u8 },
}

fn deed() -> impl Strategy<Value = Deed> {
    let which = 0..12_u8;
    let note = prop_oneof![
        any::<i64>().prop_map(|id| Note::Created(BTreeMap::from([("id".into(), json!(id))]))),
        Just(Note::Refused),
        "\\PC{0,9}".prop_map(Note::Tried),
        Just(Note::Settled),
    ];
    prop_oneof![
        3 => (0..2_u8, proptest::option::of(which.clone()))
            .prop_map(|(target, parent)| Deed::Arm { target, parent }),
        4 => (which.clone(), note).prop_map(|(which, note)| Deed::Note { which, note }),
        2 => which.clone().prop_map(|which| Deed::Release { which }),
        1 => which.prop_map(|nth| Deed::ReleaseRun { nth }),
    ]
}

/// What a journal must answer, from its words alone.
#[derive(Default)]
struct Picture {
    armed: Vec<(RecordId, usize, State, bool)>,
}

impl Picture {
    fn admits(&self, target: usize) -> bool {
        let same = |(_, other, state, held): &&(RecordId, usize, State, bool)| {
            *other == target && *state != State::Closed && !held
        };
        self.armed.iter().filter(same).count() < MAX_OWED
    }

    fn owed(&self) -> Vec<(RecordId, bool)> {
        let owed = self
            .armed
            .iter()
            .filter(|(.., state, _)| *state != State::Closed);
        owed.map(|(id, _, _, held)| (*id, *held)).collect()
    }
}

fn armed_by(nth: usize, target: u8, parent: Option<u8>) -> Record {
    Record {
        target: format!("target-{target}"),
        parent: parent.map(|parent| RecordId(parent.into())),
        ..record(nth)
    }
}

/// Which kind of answer it is.
fn word<T>(answer: &Result<T, JournalError>) -> &'static str {
    match answer {
        Ok(_) => "ok",
        Err(JournalError::Unknown(_)) => "unknown",
        Err(JournalError::Illegal { .. }) => "illegal",
        Err(JournalError::Unwritable(_)) => "unwritable",
        Err(JournalError::Owed { .. }) => "owed",
    }
}

async fn go_through(deeds: Vec<Deed>) {
    let folder = fast_folder();
    let disk = DiskJournal::open(folder.path(), MAX_OWED, "a test").unwrap();
    let memory = MemoryJournal::with_max_owed(MAX_OWED);
    let mut picture = Picture::default();
    for (nth, deed) in deeds.into_iter().enumerate() {
        match deed {
            Deed::Arm { target, parent } => {
                let record = armed_by(nth, target, parent);
                let answers = [disk.arm(record.clone()).await, memory.arm(record).await];
                let right = if picture.admits(target.into()) {
                    "ok"
                } else {
                    "owed"
                };
                assert_eq!([word(&answers[0]), word(&answers[1])], [right; 2]);
                let [Ok(on_disk), Ok(in_memory)] = answers else {
                    continue;
                };
                assert_eq!(on_disk, in_memory);
                picture
                    .armed
                    .push((on_disk, target.into(), State::Armed, true));
            }
            Deed::Note { which, note } => {
                let id = RecordId(which.into());
                let mut known = picture.armed.iter_mut().filter(|armed| armed.0 == id);
                let known = known.find(|armed| armed.2 != State::Closed);
                let right = match known.as_ref().map(|armed| armed.2.next(&note)) {
                    None => "unknown",
                    Some(Err(_)) => "illegal",
                    Some(Ok(_)) => "ok",
                };
                if let Some(armed) = known
                    && let Ok(next) = armed.2.next(&note)
                {
                    armed.2 = next;
                }
                let answers = [
                    disk.note(id, note.clone()).await,
                    memory.note(id, note).await,
                ];
                assert_eq!([word(&answers[0]), word(&answers[1])], [right; 2]);
            }
            Deed::Release { which } => {
                let id = RecordId(which.into());
                disk.release(id);
                memory.release(id);
                for armed in picture.armed.iter_mut().filter(|armed| armed.0 == id) {
                    armed.3 = false;
                }
            }
            Deed::ReleaseRun { nth } => {
                let run = format!("run-{nth}");
                let held: Vec<_> = disk
                    .owed()
                    .into_iter()
                    .filter(|o| o.record.run == run)
                    .collect();
                disk.release_run(&run);
                memory.release_run(&run);
                for armed in &mut picture.armed {
                    armed.3 &= held.iter().all(|owed| owed.id != armed.0);
                }
            }
        }
        let owed = disk.owed();
        assert_eq!(owed, memory.owed());
        let flags: Vec<_> = owed.iter().map(|owed| (owed.id, owed.held)).collect();
        assert_eq!(flags, picture.owed());
    }
    let before = kept(disk.owed());
    drop(disk);
    let again = DiskJournal::open(folder.path(), MAX_OWED, "a test").unwrap();
    assert_eq!(kept(again.owed()), before);
    assert!(again.damaged().is_empty());
}

/// All at once, so that they meet in one commit: whatever order they take, memory and file agree.
async fn all_at_once(deeds: Vec<Deed>) {
    let folder = fast_folder();
    let disk = DiskJournal::open(folder.path(), 1000, "a test").unwrap();
    for nth in 0..4 {
        disk.arm(record(nth)).await.unwrap();
    }
    let mut closed: HashMap<u8, usize> = HashMap::new();
    let notes = deeds.into_iter().enumerate().map(|(nth, deed)| {
        let disk = &disk;
        async move {
            match deed {
                Deed::Note { which, note } => {
                    let is_last = matches!(note, Note::Refused | Note::Settled);
                    let noted = disk.note(RecordId(u64::from(which) % 4 + 1), note).await;
                    (is_last && noted.is_ok()).then_some(which % 4)
                }
                Deed::Arm { target, parent } => {
                    disk.arm(armed_by(nth, target, parent)).await.unwrap();
                    None
                }
                Deed::Release { .. } | Deed::ReleaseRun { .. } => None,
            }
        }
    });
    for which in join_all(notes).await.into_iter().flatten() {
        *closed.entry(which).or_default() += 1;
    }
    assert!(closed.values().all(|times| *times == 1), "{closed:?}");
    let before = kept(disk.owed());
    drop(disk);
    let again = DiskJournal::open(folder.path(), 1000, "a test").unwrap();
    assert_eq!(again.damaged(), [] as [std::path::PathBuf; 0]);
    assert_eq!(kept(again.owed()), before);
}

fn block_on(work: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.unwrap().block_on(work);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn journals_agree_on_every_history(deeds in proptest::collection::vec(deed(), 0..40)) {
        block_on(go_through(deeds));
    }

    #[test]
    fn memory_and_file_agree_on_what_came_at_once(deeds in proptest::collection::vec(deed(), 0..40)) {
        block_on(all_at_once(deeds));
    }
}
