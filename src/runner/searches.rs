//! What is known of the searches by which things are found again: whether they find what was
//! certainly made. In memory; what a record must remember beyond a restart stands in the record.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What is known of a search.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sight {
    /// It has found what was made.
    Sees,
    /// It has not found what was certainly made, and never will be trusted again: "not found" is
    /// no proof.
    Blind,
}

/// The searches of all runs and of the sweeper.
#[derive(Debug, Default)]
pub struct Searches(Mutex<HashMap<(String, String, String), Sight>>);

impl Searches {
    /// What is known of a search on a target, for things of a kind.
    #[must_use]
    pub fn sight(&self, target: &str, kind: &str, search: &str) -> Option<Sight> {
        let key = (target.to_owned(), kind.to_owned(), search.to_owned());
        self.known().get(&key).copied()
    }

    /// Whether any is blind.
    pub(super) fn any_blind(&self) -> bool {
        self.known().values().any(|sight| *sight == Sight::Blind)
    }

    /// Takes note of what one try has told.
    pub(super) fn learn(&self, target: &str, kind: &str, search: &str, sight: Sight) {
        let key = (target.to_owned(), kind.to_owned(), search.to_owned());
        let mut known = self.known();
        let before = known.entry(key).or_insert(sight);
        if sight == Sight::Blind {
            *before = sight;
        }
    }

    fn known(&self) -> MutexGuard<'_, HashMap<(String, String, String), Sight>> {
        // Each change is one insertion: a panic leaves nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
