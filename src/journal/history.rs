//! Which histories of a record are legal: a small pure state machine, used live and at replay.

use super::Note;
use crate::spec::Record;

/// What is known of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Written down; whether the change was made is not known.
    Armed,
    /// The change was confirmed.
    Created,
    /// Nothing is owed any more. The end.
    Closed,
}

/// A note that cannot follow what is known: a bug, or a damaged file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a record that is {state:?} cannot be {note}")]
pub struct Illegal {
    state: State,
    note: &'static str,
}

impl State {
    /// What a record says itself, before anything that was noted since.
    #[must_use]
    pub const fn of(record: &Record) -> Self {
        if record.created {
            Self::Created
        } else {
            Self::Armed
        }
    }

    /// What is known after `note`.
    ///
    /// # Errors
    /// If the note cannot follow.
    pub fn next(self, note: &Note) -> Result<Self, Illegal> {
        match (self, note) {
            (Self::Armed, Note::Created(_)) => Ok(Self::Created),
            (Self::Armed, Note::Refused) | (Self::Armed | Self::Created, Note::Settled) => {
                Ok(Self::Closed)
            }
            (
                Self::Armed | Self::Created,
                Note::Tried(_) | Note::Deleting | Note::NotDeleted | Note::SearchIsBlind,
            ) => Ok(self),
            (Self::Created, Note::Created(_) | Note::Refused) | (Self::Closed, _) => Err(Illegal {
                state: self,
                note: note.name(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn only_these_histories_are_legal() {
        let created = || Note::Created(BTreeMap::new());
        let tried = || Note::Tried("why".into());
        let ends = |notes: &[Note]| notes.iter().try_fold(State::Armed, State::next);
        assert_eq!(ends(&[]), Ok(State::Armed));
        assert_eq!(
            ends(&[created(), tried(), tried(), Note::Settled]),
            Ok(State::Closed)
        );
        assert_eq!(ends(&[tried(), Note::Settled]), Ok(State::Closed));
        let deleted = [created(), Note::Deleting, Note::NotDeleted, Note::Deleting];
        assert_eq!(ends(&deleted), Ok(State::Created));
        assert_eq!(ends(&[Note::SearchIsBlind, tried()]), Ok(State::Armed));
        assert!(ends(&[Note::Settled, Note::Deleting]).is_err());
        assert_eq!(ends(&[Note::Refused]), Ok(State::Closed));
        assert!(ends(&[created(), Note::Refused]).is_err());
        assert!(ends(&[created(), created()]).is_err());
        assert!(ends(&[Note::Refused, tried()]).is_err());
        assert!(ends(&[Note::Settled, Note::Settled]).is_err());
    }
}
