//! A journal that lives as long as the process: for tests.

use std::sync::{Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};

use super::store::Store;
use super::{Journal, JournalError, Note, Owed};
use crate::spec::{Record, RecordId};

/// A journal in memory.
#[derive(Debug, Default)]
pub struct MemoryJournal {
    store: Mutex<Store>,
}

impl MemoryJournal {
    /// One that stops at so many per target and kind that no run holds.
    #[must_use]
    pub fn with_max_owed(max_owed: usize) -> Self {
        Self {
            store: Mutex::new(Store::with_max_owed(Some(max_owed))),
        }
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        // Each change is one insertion or removal: a panic leaves nothing half done.
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Journal for MemoryJournal {
    fn arm(&self, record: Record) -> BoxFuture<'_, Result<RecordId, JournalError>> {
        let mut store = self.store();
        let armed = store
            .admit(&record)
            .inspect(|id| store.insert(*id, record, true));
        ready(armed).boxed()
    }

    fn note(&self, id: RecordId, note: Note) -> BoxFuture<'_, Result<(), JournalError>> {
        let mut store = self.store();
        let noted = store.check(id, &note).map(|()| store.apply(id, note));
        ready(noted).boxed()
    }

    fn read(&self, id: RecordId) -> Result<Record, JournalError> {
        self.store().read(id)
    }

    fn release(&self, id: RecordId) {
        self.store().release(id);
    }

    fn release_run(&self, run: &str) {
        self.store().release_run(run);
    }

    fn owed(&self) -> Vec<Owed> {
        self.store().all()
    }
}
