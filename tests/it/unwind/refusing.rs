//! A journal that cannot be written at one moment, or from one moment on.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};
use testerd::journal::{Journal, JournalError, Note, Owed};
use testerd::spec::{Record, RecordId};

/// Passes everything on, but refuses some writes.
pub(super) struct Refusing {
    pub(super) inner: Arc<dyn Journal>,
    /// How many writes there were.
    pub(super) writes: AtomicUsize,
    /// The write that is refused, and whether all later ones are too.
    pub(super) refuses: Option<(usize, bool)>,
}

impl Refusing {
    fn refuses(&self) -> bool {
        let nth = self.writes.fetch_add(1, Ordering::Relaxed);
        let is_meant = |(at, lasting)| nth == at || (lasting && nth > at);
        self.refuses.is_some_and(is_meant)
    }
}

fn no<T: Send + 'static>() -> BoxFuture<'static, Result<T, JournalError>> {
    ready(Err(JournalError::Unwritable(
        "as the proof wants it".into(),
    )))
    .boxed()
}

impl Journal for Refusing {
    fn arm(&self, record: Record) -> BoxFuture<'_, Result<RecordId, JournalError>> {
        if self.refuses() {
            return no();
        }
        self.inner.arm(record)
    }

    fn note(&self, id: RecordId, note: Note) -> BoxFuture<'_, Result<(), JournalError>> {
        if self.refuses() {
            return no();
        }
        self.inner.note(id, note)
    }

    fn read(&self, id: RecordId) -> Result<Record, JournalError> {
        self.inner.read(id)
    }

    fn release(&self, id: RecordId) {
        self.inner.release(id);
    }

    fn release_run(&self, run: &str) {
        self.inner.release_run(run);
    }

    fn owed(&self) -> Vec<Owed> {
        self.inner.owed()
    }
}
