//! How a change is undone: plain data that outlives the run, the process and the spec file.

use std::collections::BTreeMap;
use std::time::SystemTime;

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::action::Context;
use crate::outcome::Failure;
use crate::text::json::{exact_map, exact_value};

/// The data from which a change can be compensated, known before the change is made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Undo {
    /// Names the code that carries it out, see `catalog`.
    pub kind: String,
    /// What that code needs. References to the resource's own captures are still open.
    #[serde(deserialize_with = "exact_value")]
    pub arguments: Value,
}

/// Names a record in a journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RecordId(pub u64);

/// One undo that is owed, with all that is needed to carry it out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// How.
    pub undo: Undo,
    /// The step or wrapper that made it, `-` written as `_`: its captures are read under this name.
    pub step: String,
    /// What the create told: without it the thing must be found by its name.
    #[serde(deserialize_with = "exact_map")]
    pub captures: BTreeMap<String, Value>,
    /// Whether the create is known to have happened. If not, "not found" proves nothing yet.
    pub created: bool,
    /// The record inside which this was made: undone after this one.
    pub parent: Option<RecordId>,
    /// The target's name.
    pub target: String,
    /// The target's endpoint when it was armed.
    pub endpoint: String,
    /// The instance that made it.
    pub instance: String,
    /// The run that made it.
    pub run: String,
    /// How long one try to undo it may take, in milliseconds.
    pub timeout_ms: u64,
    /// When it was armed; for people.
    pub armed_at: SystemTime,
    /// Whether its spec captures secrets: what the target says of it is then told nobody, because
    /// whoever undoes it later does not know them. Records of earlier versions do not say.
    #[serde(default = "perhaps")]
    pub may_show_secrets: bool,
}

fn perhaps() -> bool {
    true
}

/// What undoing found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Undone {
    /// It was there and is undone.
    Undone,
    /// It was not there.
    NotFound,
}

/// Code that carries out the undos of one kind.
pub type Undoer =
    for<'a> fn(&'a Record, &'a mut Context<'_>) -> BoxFuture<'a, Result<Undone, Failure>>;
