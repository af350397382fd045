//! The write-ahead record of undos still owed.
//!
//! A journal is no exporter: it is ahead of the change, not behind it, and it may say no. Teardown
//! is always carried out from the record read back from here, so that recovery is the same path.

mod memory;

use std::collections::BTreeMap;

use futures_util::future::BoxFuture;
use serde_json::Value;

pub use memory::MemoryJournal;

use crate::outcome::Cause;
use crate::spec::{Record, RecordId};

/// Why a journal refused.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// No record has this id.
    #[error("the journal has no record {}", .0.0)]
    Unknown(RecordId),
    /// It cannot be written.
    #[error("the journal cannot be written: {0}")]
    Unwritable(String),
}

impl JournalError {
    /// What it means for the run.
    #[must_use]
    pub const fn cause(&self) -> Cause {
        match self {
            Self::Unknown(_) | Self::Unwritable(_) => Cause::Journal,
        }
    }
}

/// What became of a record.
#[derive(Debug, Clone, PartialEq)]
pub enum Note {
    /// The create was confirmed, and told these ids.
    Created(BTreeMap<String, Value>),
    /// The target refused: nothing was made, nothing is owed.
    Refused,
    /// Undoing it failed, or proved nothing: it stays owed.
    Tried(String),
    /// Undone: nothing is owed.
    Settled,
}

/// Where undos are written down before the change they undo.
pub trait Journal: Send + Sync {
    /// Writes a record down; only when this returns may the creating request leave.
    fn arm(&self, record: Record) -> BoxFuture<'_, Result<RecordId, JournalError>>;

    /// Notes what became of it.
    fn note(&self, id: RecordId, note: Note) -> BoxFuture<'_, Result<(), JournalError>>;

    /// The record as it is now.
    fn read(&self, id: RecordId) -> BoxFuture<'_, Result<Record, JournalError>>;

    /// Everything that is still owed, in the order of arming.
    fn owed(&self) -> BoxFuture<'_, Result<Vec<(RecordId, Record)>, JournalError>>;
}
