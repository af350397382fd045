//! Virtual folders.

use super::gate::Caller;
use super::hall::{Id, State};
use super::refusal::{Refusal, no_object};

/// A virtual folder.
#[derive(Debug)]
pub(super) struct Folder {
    pub(super) id: Id,
    pub(super) name: String,
}

impl State {
    /// A folder that the caller may put into a session.
    pub(super) fn mountable(&self, _caller: &Caller, name: &str) -> Result<&Folder, Refusal> {
        let refusal = no_object("No such virtual folder.", "vfolder_read_not-found");
        Err(refusal.with(serde_json::json!([name])))
    }
}
