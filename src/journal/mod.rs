//! The write-ahead record of undos still owed, and the sweeper that carries them out.
//!
//! A journal is no exporter: it is ahead of the change, not behind it, and it may say no. Teardown
//! is always carried out from the record read back from here, so that recovery is the same path.
//! A record belongs to its run until the run hands it over; then it is the sweeper's.

mod disk;
mod history;
mod memory;
mod state_dir;
mod store;

use std::collections::BTreeMap;

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use disk::DiskJournal;
pub use history::{Illegal, State};
pub use memory::MemoryJournal;
pub use state_dir::{OpenError, StateDir, Whose};

use crate::outcome::Cause;
use crate::spec::{Record, RecordId};
use crate::text::json::exact_map;

/// Why a journal refused.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// No record has this id.
    #[error("the journal has no record {}", .0.0)]
    Unknown(RecordId),
    /// The note cannot follow what is known of the record.
    #[error("record {}: {source}", id.0)]
    Illegal {
        /// The record.
        id: RecordId,
        /// What is wrong.
        source: Illegal,
    },
    /// It cannot be written.
    #[error("the journal cannot be written: {0}")]
    Unwritable(String),
    /// Too much of this kind is owed on this target already.
    #[error("{owed} of {kind} on {target} are still owed, so nothing more is made (max_owed)")]
    Owed {
        /// The target.
        target: String,
        /// The kind.
        kind: String,
        /// How many.
        owed: usize,
    },
}

impl JournalError {
    /// What it means for the run.
    #[must_use]
    pub const fn cause(&self) -> Cause {
        match self {
            Self::Unknown(_) | Self::Illegal { .. } | Self::Unwritable(_) => Cause::Journal,
            Self::Owed { .. } => Cause::Owed,
        }
    }
}

/// What became of a record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Note {
    /// The create was confirmed, and told these ids.
    Created(#[serde(deserialize_with = "exact_map")] BTreeMap<String, Value>),
    /// The target refused: nothing was made, nothing is owed.
    Refused,
    /// A delete is sent now, of which only a search can tell what came.
    Deleting,
    /// It was certainly not carried out.
    NotDeleted,
    /// The search by its name does not find what was certainly made.
    SearchIsBlind,
    /// Undoing it failed, or proved nothing: it stays owed.
    Tried(String),
    /// Undone: nothing is owed.
    Settled,
}

impl Note {
    /// The word for it in the file.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Created(_) => "created",
            Self::Refused => "refused",
            Self::Deleting => "deleting",
            Self::NotDeleted => "not deleted",
            Self::SearchIsBlind => "blind",
            Self::Tried(_) => "tried",
            Self::Settled => "settled",
        }
    }
}

/// One record that is owed.
#[derive(Debug, Clone, PartialEq)]
pub struct Owed {
    /// Its id; later ones were armed later.
    pub id: RecordId,
    /// What is owed.
    pub record: Record,
    /// How often undoing it was tried.
    pub tries: u32,
    /// What the last try came to.
    pub last: Option<String>,
    /// Whether a run still has it in hand.
    pub held: bool,
}

/// Where undos are written down before the change they undo.
pub trait Journal: Send + Sync {
    /// Writes a record down; only when this returns may the creating request leave. The record is
    /// held by its run until it is closed or released.
    fn arm(&self, record: Record) -> BoxFuture<'_, Result<RecordId, JournalError>>;

    /// Notes what became of it.
    fn note(&self, id: RecordId, note: Note) -> BoxFuture<'_, Result<(), JournalError>>;

    /// The record as it is now.
    fn read(&self, id: RecordId) -> Result<Record, JournalError>;

    /// Hands a record over to the sweeper.
    fn release(&self, id: RecordId);

    /// Hands over everything that a run still holds: it was dropped.
    fn release_run(&self, run: &str);

    /// Everything that is still owed, in the order of arming.
    fn owed(&self) -> Vec<Owed>;

    /// Whether something that was made inside this one is still owed.
    fn has_children(&self, id: RecordId) -> bool {
        self.owed()
            .iter()
            .any(|owed| owed.record.parent == Some(id))
    }
}
