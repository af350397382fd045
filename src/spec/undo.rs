//! How a change is undone: plain data that outlives the run, the process and the spec file.

use std::collections::BTreeMap;
use std::time::SystemTime;

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::action::Context;
use super::changes::RequestKey;
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
#[expect(
    clippy::struct_excessive_bools,
    reason = "columns of a file: facts of their own"
)]
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
    /// Whether a delete was sent that may have been carried out: its ids may be somebody else's now.
    #[serde(default)]
    pub delete_sent: bool,
    /// Whether the search by its name was known to be blind when this was armed.
    #[serde(default)]
    pub search_is_blind: bool,
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

/// What names a thing on its target: what its create, or a search, told.
pub type Ids = BTreeMap<String, Value>;

/// What a search by name came to.
#[derive(Debug, Clone, PartialEq)]
pub enum Looked {
    /// These bear the name.
    Found(Vec<Ids>),
    /// The target told what there is, and nothing of it bears the name.
    NotListed,
    /// The target says that there is no such thing; it says so of addresses that it does not know, too.
    Unknown,
}

/// What a target said to a delete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deleted {
    /// It is deleted, or will be.
    Accepted,
    /// It was not there.
    NotThere,
    /// All is deleted that may be; what a search still shows is a mere record of it.
    AllButItsRecord,
}

/// How one record is undone. *When* each of this is done, `runner` says, for all kinds alike.
pub trait Undoing: Send + Sync {
    /// How its search is called, the same for all things that are looked for like this; `None` if
    /// it cannot be looked for.
    fn search(&self) -> Option<&str>;

    /// Whether the target may have given what the delete names to something of somebody else's. A
    /// name that only this instance gives, or an id that is given once, it has not.
    fn may_hit_others(&self) -> bool;

    /// The request that deletes it, to be known again if a step sends it. `None` if there is not
    /// just one.
    fn delete_key<'a>(
        &'a self,
        _ids: &'a Ids,
        _context: &'a Context<'_>,
    ) -> BoxFuture<'a, Option<RequestKey>> {
        Box::pin(std::future::ready(None))
    }

    /// Looks for it by its name.
    fn look<'a>(&'a self, context: &'a mut Context<'_>) -> BoxFuture<'a, Result<Looked, Failure>>;

    /// Deletes it. A failure without effect is a delete that was certainly not carried out.
    fn delete<'a>(
        &'a self,
        ids: &'a Ids,
        context: &'a mut Context<'_>,
    ) -> BoxFuture<'a, Result<Deleted, Failure>>;
}

/// Reads the records of one kind.
pub type Undoer = fn(&Record) -> Result<Box<dyn Undoing>, Failure>;
