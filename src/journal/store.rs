//! What is owed, in memory: the one picture that both journals keep and read from.

use std::collections::BTreeMap;

use super::{JournalError, Note, Owed, State};
use crate::spec::{Record, RecordId};

/// A record as a file has it.
pub(super) struct Replayed {
    pub(super) id: RecordId,
    pub(super) record: Record,
    /// How often it was tried before the try among its notes.
    pub(super) tries: u32,
    /// What was noted since it was armed.
    pub(super) notes: Vec<Note>,
}

/// All records that are owed.
#[derive(Debug, Default)]
pub(super) struct Store {
    last: u64,
    owed: BTreeMap<RecordId, (State, Owed)>,
    /// How many that no run holds may be owed per target and kind.
    max_owed: Option<usize>,
}

impl Store {
    /// Nothing owed yet.
    pub(super) fn with_max_owed(max_owed: Option<usize>) -> Self {
        Self {
            max_owed,
            ..Self::default()
        }
    }

    /// Gives no id up to this one.
    pub(super) fn begin_after(&mut self, last: u64) {
        self.last = self.last.max(last);
    }

    /// The latest id that was given.
    pub(super) fn last(&self) -> u64 {
        self.last
    }

    /// Takes what was read from a file.
    pub(super) fn restore(&mut self, records: Vec<Replayed>) {
        for read in records {
            self.insert(read.id, read.record, false);
            if let Some((_, owed)) = self.owed.get_mut(&read.id) {
                owed.tries = read.tries;
            }
            for note in read.notes {
                self.apply(read.id, note);
            }
        }
    }

    /// Whether one more may be made, and its id.
    pub(super) fn admit(&mut self, record: &Record) -> Result<RecordId, JournalError> {
        let same = |owed: &&(State, Owed)| {
            let other = &owed.1.record;
            !owed.1.held && other.target == record.target && other.undo.kind == record.undo.kind
        };
        let owed = self.owed.values().filter(same).count();
        if self.max_owed.is_some_and(|most| owed >= most) {
            return Err(JournalError::Owed {
                target: record.target.clone(),
                kind: record.undo.kind.clone(),
                owed,
            });
        }
        self.last += 1;
        Ok(RecordId(self.last))
    }

    /// A record is written down.
    pub(super) fn insert(&mut self, id: RecordId, record: Record, held: bool) {
        self.last = self.last.max(id.0);
        let state = State::of(&record);
        let owed = Owed {
            id,
            record,
            tries: 0,
            last: None,
            held,
        };
        self.owed.insert(id, (state, owed));
    }

    /// Whether a note may follow.
    pub(super) fn check(&self, id: RecordId, note: &Note) -> Result<(), JournalError> {
        let (state, _) = self.owed.get(&id).ok_or(JournalError::Unknown(id))?;
        let next = state.next(note).map(|_| ());
        next.map_err(|source| JournalError::Illegal { id, source })
    }

    /// Takes a note that was checked.
    pub(super) fn apply(&mut self, id: RecordId, note: Note) {
        let Some((state, owed)) = self.owed.get_mut(&id) else {
            return;
        };
        match state.next(&note) {
            Ok(State::Closed) => {
                self.owed.remove(&id);
            }
            Ok(next) => {
                *state = next;
                match note {
                    Note::Created(captures) => {
                        owed.record.captures = captures;
                        owed.record.created = true;
                    }
                    Note::Tried(why) => {
                        owed.tries += 1;
                        owed.last = Some(why);
                    }
                    Note::Deleting => owed.record.delete_sent = true,
                    Note::NotDeleted => owed.record.delete_sent = false,
                    Note::SearchIsBlind => owed.record.search_is_blind = true,
                    Note::Refused | Note::Settled => {}
                }
            }
            Err(_) => {}
        }
    }

    pub(super) fn read(&self, id: RecordId) -> Result<Record, JournalError> {
        let owed = self.owed.get(&id).ok_or(JournalError::Unknown(id))?;
        Ok(owed.1.record.clone())
    }

    pub(super) fn release(&mut self, id: RecordId) {
        if let Some((_, owed)) = self.owed.get_mut(&id) {
            owed.held = false;
        }
    }

    pub(super) fn release_run(&mut self, run: &str) {
        for (_, owed) in self
            .owed
            .values_mut()
            .filter(|(_, owed)| owed.record.run == run)
        {
            owed.held = false;
        }
    }

    pub(super) fn all(&self) -> Vec<Owed> {
        self.owed.values().map(|(_, owed)| owed.clone()).collect()
    }
}
