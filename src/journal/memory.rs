//! A journal that lives as long as the process: for one-shot commands and tests.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};

use super::{Journal, JournalError, Note};
use crate::spec::{Record, RecordId};

/// A journal in memory.
#[derive(Debug, Default)]
pub struct MemoryJournal {
    records: Mutex<Records>,
}

#[derive(Debug, Default)]
struct Records {
    last: u64,
    owed: BTreeMap<RecordId, Record>,
}

impl MemoryJournal {
    fn records(&self) -> MutexGuard<'_, Records> {
        // Each change below is one insertion or removal: a panic leaves nothing half done.
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Journal for MemoryJournal {
    fn arm(&self, record: Record) -> BoxFuture<'_, Result<RecordId, JournalError>> {
        let mut records = self.records();
        records.last += 1;
        let id = RecordId(records.last);
        records.owed.insert(id, record);
        ready(Ok(id)).boxed()
    }

    fn note(&self, id: RecordId, note: Note) -> BoxFuture<'_, Result<(), JournalError>> {
        let mut records = self.records();
        let noted = match note {
            Note::Created(captures) => records.owed.get_mut(&id).map(|record| {
                record.captures = captures;
                record.created = true;
            }),
            Note::Tried(_) => records.owed.get(&id).map(|_| ()),
            Note::Refused | Note::Settled => records.owed.remove(&id).map(|_| ()),
        };
        ready(noted.ok_or(JournalError::Unknown(id))).boxed()
    }

    fn read(&self, id: RecordId) -> BoxFuture<'_, Result<Record, JournalError>> {
        let record = self.records().owed.get(&id).cloned();
        ready(record.ok_or(JournalError::Unknown(id))).boxed()
    }

    fn owed(&self) -> BoxFuture<'_, Result<Vec<(RecordId, Record)>, JournalError>> {
        let records = self.records();
        let owed = records
            .owed
            .iter()
            .map(|(id, record)| (*id, record.clone()));
        ready(Ok(owed.collect())).boxed()
    }
}
