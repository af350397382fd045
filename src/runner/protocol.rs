//! The order in which something is undone, the same for all kinds: find, compare, delete, find
//! again, and wait in between. Pure: it hears what came of one thing and says which is next.
//!
//! What is still found is still owed, whatever the delete said. Nothing is deleted for a second
//! time, nor by another process than the one that made it, before a search by its name has told
//! the same ids: they may be somebody else's by now. A search that does not find what was
//! certainly made is blind, and proves nothing.

use std::time::Duration;

use super::searches::Sight;
use crate::outcome::{Effect, Failure, Fault, Reason};
use crate::spec::{Deleted, Ids, Looked, Record};
use crate::text::plain;

/// How often something that was just made is looked for, before its search counts as blind.
const LOOKS: u32 = 5;

/// The pause after the first look or delete that was not enough; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Who undoes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hands {
    /// The run that made it, which tries until its time is over.
    Run,
    /// The sweeper, which tries once and comes back.
    Sweeper,
    /// The sweeper, because a person wants it: what must not be repeated may be.
    Person,
}

/// What undoing came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Undone {
    /// It is gone.
    Gone,
    /// It was not found. That may be believed when it has held for a while.
    NotFound,
}

/// What is known before.
#[derive(Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "facts that do not depend on each other"
)]
pub(super) struct Known {
    pub(super) ids: Ids,
    pub(super) created: bool,
    pub(super) delete_sent: bool,
    /// Whether a step of the run has deleted it, as the target says.
    pub(super) deleted_by_step: bool,
    /// Whether it can be looked for.
    pub(super) searchable: bool,
    pub(super) may_hit_others: bool,
    pub(super) sight: Option<Sight>,
    pub(super) hands: Hands,
    /// The time that there is.
    pub(super) time: Duration,
}

/// What is to be done next.
#[derive(Debug)]
pub(super) enum Next {
    Look,
    Delete(Ids),
    Pause(Duration),
    End(Result<Undone, Failure>),
}

/// What came of it.
#[derive(Debug)]
pub(super) enum Heard {
    Looked(Result<Looked, Failure>),
    Deleted(Result<Deleted, Failure>),
    Paused,
}

/// One try to undo one thing.
#[derive(Debug)]
pub(super) struct Protocol {
    known: Known,
    looks: u32,
    pause: Duration,
    /// How long it was waited for something to be listed.
    waited: Duration,
    /// What the last delete of this try came to.
    deleted: Option<Result<Deleted, Effect>>,
    /// Whether it is looked for right after a delete.
    after_delete: bool,
    /// Whether a look of this try has shown it.
    pub(super) seen: bool,
    /// What this try tells of the search.
    pub(super) sight: Option<Sight>,
    /// Why it is not over yet.
    last: Option<Failure>,
}

impl Known {
    pub(super) fn of(record: &Record, hands: Hands, time: Duration) -> Self {
        Self {
            ids: record.captures.clone(),
            created: record.created,
            delete_sent: record.delete_sent,
            deleted_by_step: false,
            searchable: true,
            may_hit_others: true,
            sight: record.search_is_blind.then_some(Sight::Blind),
            hands,
            time,
        }
    }
}

impl Protocol {
    pub(super) fn new(known: Known) -> Self {
        Self {
            known,
            looks: 0,
            pause: FIRST_PAUSE,
            waited: Duration::ZERO,
            deleted: None,
            after_delete: false,
            seen: false,
            sight: None,
            last: None,
        }
    }

    /// The first thing to do.
    pub(super) fn begin(&mut self) -> Next {
        if self.known.searchable {
            Next::Look
        } else {
            self.delete_unseen()
        }
    }

    /// Why it is not over yet.
    pub(super) fn unfinished(self) -> Option<Failure> {
        self.last
    }

    /// What is next; `left` is the time that is left.
    pub(super) fn next(&mut self, heard: Heard, left: Duration) -> Next {
        match heard {
            Heard::Paused => self.begin(),
            Heard::Looked(Ok(looked)) => self.looked(looked, left),
            Heard::Looked(Err(failure)) => self.look_failed(failure, left),
            Heard::Deleted(result) => self.deleted(result, left),
        }
    }

    fn looked(&mut self, looked: Looked, left: Duration) -> Next {
        self.looks += 1;
        let Looked::Found(found) = looked else {
            return self.not_found(looked == Looked::Unknown, left);
        };
        self.sight = Some(Sight::Sees);
        if !self.known.created && !self.seen {
            // Only its name tells whose it is.
            let [ids] = &found[..] else {
                return self.retry(protocol(SEVERAL), left);
            };
            self.known.ids = ids.clone();
        }
        let ours = |ids: &&Ids| !differ(ids, &self.known.ids);
        match found.iter().filter(ours).count() {
            0 if !self.after_delete && self.looks < LOOKS && self.may_be_late(left) => self.wait(),
            0 => Next::End(Err(protocol(ANOTHER))),
            1 => {
                self.seen = true;
                self.there(left)
            }
            _ => Next::End(Err(protocol(SEVERAL))),
        }
    }

    /// A look has shown it.
    fn there(&mut self, left: Duration) -> Next {
        if !self.after_delete {
            return Next::Delete(self.known.ids.clone());
        }
        match self.deleted {
            Some(Ok(Deleted::AllButItsRecord)) => Next::End(Ok(Undone::Gone)),
            Some(Ok(Deleted::Accepted)) => self.retry(protocol(STILL_THERE), left),
            Some(Ok(Deleted::NotThere)) => self.retry(protocol(FALSELY_GONE), left),
            // The delete has said why.
            Some(Err(_)) | None => {
                let why = self.last.take().unwrap_or_else(|| protocol(STILL_THERE));
                self.retry(why, left)
            }
        }
    }

    /// A look has not shown it. `unknown`: by a word that a target also has for what it does not
    /// know.
    fn not_found(&mut self, unknown: bool, left: Duration) -> Next {
        match self.deleted {
            // A step says so, and nothing speaks against it: it is not deleted a second time.
            None if self.known.deleted_by_step => Next::End(Ok(Undone::Gone)),
            None if !self.known.delete_sent => self.not_found_before(left),
            Some(Ok(Deleted::NotThere)) if unknown => Next::End(Ok(Undone::NotFound)),
            _ if self.seen => Next::End(Ok(Undone::Gone)),
            // An earlier try has deleted it.
            None if self.is_blind() => self.repeat_unseen(left),
            None if self.sees() => Next::End(Ok(Undone::Gone)),
            None => Next::End(Ok(Undone::NotFound)),
            Some(Ok(Deleted::NotThere)) => Next::End(Ok(Undone::Gone)),
            // It was there, or so the delete says, and nothing has shown it.
            Some(Ok(Deleted::Accepted | Deleted::AllButItsRecord)) => {
                self.suspect();
                Next::End(Ok(Undone::Gone))
            }
            Some(Err(_)) => {
                self.suspect();
                self.repeat_unseen(left)
            }
        }
    }

    /// The run that has just made it did not find it.
    fn suspect(&mut self) {
        if self.known.hands == Hands::Run && self.known.created {
            self.sight = Some(Sight::Blind);
        }
    }

    /// Not found, and never deleted.
    fn not_found_before(&mut self, left: Duration) -> Next {
        let (known, blind) = (&self.known, self.is_blind());
        if !known.created {
            return Next::End(if blind {
                Err(protocol(BLIND))
            } else {
                Ok(Undone::NotFound)
            });
        }
        match known.hands {
            Hands::Run if !blind && self.looks < LOOKS && self.may_be_late(left) => self.wait(),
            Hands::Run | Hands::Person => Next::Delete(known.ids.clone()),
            Hands::Sweeper if blind || !known.may_hit_others => Next::Delete(known.ids.clone()),
            Hands::Sweeper if self.sees() => Next::End(Ok(Undone::NotFound)),
            Hands::Sweeper => Next::End(Err(protocol(MADE_BUT_NOT_FOUND))),
        }
    }

    fn look_failed(&mut self, failure: Failure, left: Duration) -> Next {
        self.looks += 1;
        // The first delete by whom it was made needs no search.
        let first = self.deleted.is_none() && !self.known.delete_sent && self.known.created;
        if first && self.known.hands == Hands::Run && self.looks >= LOOKS && repeats(&failure) {
            self.last = Some(failure);
            return Next::Delete(self.known.ids.clone());
        }
        self.retry(failure, left)
    }

    fn deleted(&mut self, result: Result<Deleted, Failure>, left: Duration) -> Next {
        self.after_delete = true;
        let (known, failure) = match result {
            Ok(deleted) => {
                self.deleted = Some(Ok(deleted));
                self.known.delete_sent = true;
                if self.known.searchable {
                    return Next::Look;
                }
                // Without a search its word is all there is.
                return Next::End(Ok(if self.known.created {
                    Undone::Gone
                } else {
                    Undone::NotFound
                }));
            }
            Err(failure) => (&mut self.known, failure),
        };
        known.delete_sent |= failure.effect == Effect::Unknown;
        self.deleted = Some(Err(failure.effect));
        if !repeats(&failure) {
            return Next::End(Err(failure));
        }
        self.last = Some(failure);
        if self.known.searchable {
            Next::Look
        } else {
            self.repeat_unseen(left)
        }
    }

    /// The next delete of something that no search shows.
    fn repeat_unseen(&mut self, left: Duration) -> Next {
        if self.may_delete_unseen() && !self.after_delete {
            return Next::Delete(self.known.ids.clone());
        }
        let what = if self.known.searchable {
            UNREPEATABLE_BLIND
        } else {
            UNREPEATABLE
        };
        match self.last.take() {
            Some(failure) if self.may_delete_unseen() => self.retry(failure, left),
            Some(failure) => Next::End(Err(Failure {
                message: format!("{}; {what}", failure.message),
                ..failure
            })),
            None => Next::End(Err(protocol(what))),
        }
    }

    /// Deletes what cannot be looked for.
    fn delete_unseen(&mut self) -> Next {
        if !self.known.created && self.known.may_hit_others {
            return Next::End(Err(protocol(UNFINDABLE)));
        }
        if self.known.deleted_by_step && self.known.may_hit_others {
            // Without a search its word is all there is.
            return Next::End(Ok(Undone::Gone));
        }
        self.repeat_unseen(Duration::ZERO)
    }

    /// Whether a delete hits nothing but what is ours, as far as anybody knows.
    fn may_delete_unseen(&self) -> bool {
        let known = &self.known;
        let wanted = known.hands == Hands::Person && self.deleted.is_none();
        !known.delete_sent || !known.may_hit_others || wanted
    }

    fn sees(&self) -> bool {
        self.sight == Some(Sight::Sees) || self.known.sight == Some(Sight::Sees)
    }

    fn is_blind(&self) -> bool {
        self.known.sight == Some(Sight::Blind)
    }

    /// Whether it may be listed late, and there is time to wait for that.
    fn may_be_late(&self, left: Duration) -> bool {
        let allowed = self.known.time / 3;
        self.known.hands == Hands::Run && self.waited + self.pause <= allowed && self.pause < left
    }

    fn wait(&mut self) -> Next {
        self.waited += self.pause;
        self.after_delete = false;
        Next::Pause(self.grow())
    }

    /// Once more in a while, if there is time.
    fn retry(&mut self, failure: Failure, left: Duration) -> Next {
        let again = repeats(&failure) && self.known.hands == Hands::Run && self.pause < left;
        if !again {
            return Next::End(Err(failure));
        }
        self.last = Some(failure);
        self.after_delete = false;
        Next::Pause(self.grow())
    }

    fn grow(&mut self) -> Duration {
        let pause = self.pause;
        self.pause = (pause * 2).min(LONGEST_PAUSE);
        pause
    }
}

/// Whether a failure may be another one, or none, the next time: faults of ours stay.
fn repeats(failure: &Failure) -> bool {
    matches!(failure.fault, Fault::Target(_))
}

fn protocol(what: &'static str) -> Failure {
    Failure::new(Reason::Protocol, what)
}

/// Whether two things are not the same; what only one of them tells does not count.
fn differ(one: &Ids, other: &Ids) -> bool {
    one.iter().any(|(key, value)| {
        let known = other.get(key);
        known.is_some_and(|known| plain(known) != plain(value))
    })
}

const SEVERAL: &str = "find: several items have the name, none is deleted";
const ANOTHER: &str = "find: another item has the name, with other ids, and is left alone";
const STILL_THERE: &str =
    "find: the target accepted the delete, but the thing of the name is still there";
const FALSELY_GONE: &str =
    "find: the target says that it is gone, but the thing of the name is still there";
const BLIND: &str = "not found, but this search did not find what was certainly made either (it is blind): look yourself, then `testerd sweep --forget`";
const MADE_BUT_NOT_FOUND: &str = "it was made, and a search by the name does not find it: either somebody else has deleted it, or the search is blind; not deleted by its id, which may be somebody else's now. `testerd sweep --retry` deletes it all the same, `--forget` owes it no more";
const UNREPEATABLE: &str = "a delete was sent and may have been carried out: it is not repeated without a `find`, because the id may be somebody else's now. `testerd sweep --retry` repeats it, `--forget` owes it no more";
const UNREPEATABLE_BLIND: &str = "a delete was sent and may have been carried out: it is not repeated, because the search by the name is blind and the id may be somebody else's now. `testerd sweep --retry` repeats it, `--forget` owes it no more";
const UNFINDABLE: &str = "nobody knows whether it was made, and without a `find` nobody can look for it by the name: look yourself, then `testerd sweep --forget`";

#[cfg(test)]
mod tests;
