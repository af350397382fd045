//! Carries out one undo record. The same code for a run's own teardown and for the sweeper, so that
//! recovery is used all the time and cannot rot. The order of things is `protocol`'s.

use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::Runner;
use super::limits::Limits;
use super::perform::{Stage, race};
use super::protocol::{Hands, Heard, Known, Next, Protocol, Undone};
use super::searches::{Searches, Sight};
use crate::client::Client;
use crate::event::{Event, Exporters, HttpPhases};
use crate::journal::{Journal, JournalError, Note};
use crate::outcome::{Cause, Effect, Failure, chain};
use crate::secret::Redactor;
use crate::spec::{
    Change, DEFAULT_TEARDOWN, Deleted, Record, RecordId, Run, Scope, Target, Undoer, Undoing,
};

/// What carrying out a record needs of those who share it.
#[derive(Clone, Copy)]
pub struct Office<'a> {
    /// The code that reads the records of a kind.
    pub undoer: fn(&str) -> Option<Undoer>,
    /// What is known of searches.
    pub searches: &'a Searches,
    /// Who is told of blind ones.
    pub exporters: &'a Exporters,
    /// Where the record is written down; `None` if it is not.
    pub journal: Option<(&'a dyn Journal, RecordId)>,
    /// Who does it.
    pub hands: Hands,
}

/// What came of it.
pub(super) struct Carried {
    pub(super) result: Result<Undone, Failure>,
    /// How long it was waited for the journal: nobody's time but ours.
    pub(super) noting: Duration,
}

/// One record in hand.
struct Errand<'a, 'b, 's> {
    office: Office<'a>,
    record: &'a Record,
    undoing: Box<dyn Undoing>,
    stage: &'b mut Stage<'s>,
    limits: Limits,
    http: &'b mut Vec<HttpPhases>,
    noting: Duration,
    /// Whether it is written down that a delete is sent.
    noted: bool,
}

/// Undoes what a record says, raced against its limits.
pub(super) async fn carry_out(
    record: &Record,
    office: Office<'_>,
    stage: &mut Stage<'_>,
    limits: &Limits,
    http: &mut Vec<HttpPhases>,
) -> Carried {
    let read = race(async { read(record, office.undoer) }, limits, true).await;
    let undoing = match read {
        Ok(undoing) => undoing,
        Err(failure) => {
            return Carried {
                result: Err(stage.told(failure, record.may_show_secrets)),
                noting: Duration::ZERO,
            };
        }
    };
    let mut errand = Errand {
        office,
        record,
        undoing,
        stage,
        limits: limits.clone(),
        http,
        noting: Duration::ZERO,
        noted: false,
    };
    let result = errand.run().await;
    Carried {
        noting: errand.noting,
        result: result.map_err(|failure| errand.stage.told(failure, record.may_show_secrets)),
    }
}

fn read(record: &Record, undoer: fn(&str) -> Option<Undoer>) -> Result<Box<dyn Undoing>, Failure> {
    let kind = &record.undo.kind;
    let Some(read) = undoer(kind) else {
        let what = format!("nothing here can undo `{kind}`");
        return Err(Failure::new(Cause::Input, what));
    };
    read(record)
}

impl Errand<'_, '_, '_> {
    async fn run(&mut self) -> Result<Undone, Failure> {
        let time = self
            .limits
            .deadline
            .saturating_duration_since(self.limits.begun);
        let by_step = async { Ok(sent_by_step(self.record, &*self.undoing, self.stage).await) };
        let by_step = race(by_step, &self.limits, true).await?;
        let mut protocol = Protocol::new(Known {
            delete_sent: self.record.delete_sent || by_step.is_some(),
            deleted_by_step: by_step == Some(Change::Confirmed),
            searchable: self.undoing.search().is_some(),
            may_hit_others: self.undoing.may_hit_others(),
            sight: self.sight(),
            ..Known::of(self.record, self.office.hands, time)
        });
        let mut next = protocol.begin();
        let result = loop {
            let heard = match next {
                Next::End(result) => break result,
                Next::Pause(pause) => {
                    let slept = race(sleep(pause).map(Ok), &self.limits, true).await;
                    match slept {
                        Ok(()) => Heard::Paused,
                        Err(failure) => break Err(failure),
                    }
                }
                Next::Look => Heard::Looked(self.look().await),
                Next::Delete(ids) => match self.write_down(protocol.seen).await {
                    // What a search has just shown may be deleted: the next process compares, too.
                    Err(error) if !protocol.seen => {
                        break Err(Failure::new(error.cause(), chain(&error)));
                    }
                    _ => Heard::Deleted(self.delete(&ids).await),
                },
            };
            // Whatever ends by the deadline or from outside is no answer.
            if let Heard::Looked(Err(failure)) | Heard::Deleted(Err(failure)) = &heard
                && (self.limits.cancel.is_cancelled() || failure.late)
            {
                break Err(failure.clone());
            }
            let left = self
                .limits
                .deadline
                .saturating_duration_since(Instant::now());
            next = protocol.next(heard, left);
        };
        self.learn(protocol.sight).await;
        result.map_err(|failure| match protocol.unfinished() {
            Some(last) if failure.late => last,
            _ => failure,
        })
    }

    async fn look(&mut self) -> Result<crate::spec::Looked, Failure> {
        let mut context = self.stage.context(self.limits.deadline, self.http);
        let look = async { self.undoing.look(&mut context).await };
        race(look, &self.limits, true).await
    }

    /// Deletes, and takes back that it was sent if it certainly was not carried out.
    async fn delete(&mut self, ids: &crate::spec::Ids) -> Result<Deleted, Failure> {
        let mut context = self.stage.context(self.limits.deadline, self.http);
        let delete = async { self.undoing.delete(ids, &mut context).await };
        let deleted = race(delete, &self.limits, true).await;
        let not_carried_out = |failure: &Failure| failure.effect == Effect::Nothing;
        if self.noted && deleted.as_ref().is_err_and(not_carried_out) {
            // If this cannot be written, it only is not repeated before somebody has looked.
            self.noted = self.note(Note::NotDeleted).await.is_err();
        }
        deleted
    }

    /// A delete that must not be repeated blindly leaves only after that is written down.
    async fn write_down(&mut self, seen: bool) -> Result<(), JournalError> {
        let is_known = self.noted || self.record.delete_sent || !self.record.created;
        if is_known || !self.undoing.may_hit_others() {
            return Ok(());
        }
        if !seen && self.undoing.search().is_some() && !self.record.search_is_blind {
            // Should this process end now, "not found" will not say that it was carried out.
            self.note(Note::SearchIsBlind).await?;
        }
        self.note(Note::Deleting).await?;
        self.noted = true;
        Ok(())
    }

    /// Writes a note, in nobody's time.
    async fn note(&mut self, note: Note) -> Result<(), JournalError> {
        let Some((journal, id)) = self.office.journal else {
            return Ok(());
        };
        let begun = Instant::now();
        let noted = journal.note(id, note).await;
        self.noting += begun.elapsed();
        self.limits.deadline += begun.elapsed();
        noted
    }

    fn sight(&self) -> Option<Sight> {
        if self.record.search_is_blind {
            return Some(Sight::Blind);
        }
        let (target, kind) = (&self.record.target, &self.record.undo.kind);
        let search = self.undoing.search()?;
        self.office.searches.sight(target, kind, search)
    }

    /// Takes note of what this try has told of the search. That it is blind is told everybody, and
    /// written down where something may still come of it.
    async fn learn(&mut self, sight: Option<Sight>) {
        let (target, kind) = (&self.record.target, &self.record.undo.kind);
        let (Some(sight), Some(search)) = (sight, self.undoing.search()) else {
            return;
        };
        self.office.searches.learn(target, kind, search, sight);
        if sight != Sight::Blind {
            return;
        }
        self.office.exporters.export(&Event::SearchIsBlind {
            target: target.clone(),
            kind: kind.clone(),
            search: search.to_owned(),
        });
        let Some((journal, _)) = self.office.journal else {
            return;
        };
        for owed in journal.owed() {
            let record = &owed.record;
            let is_like_it = record.target == *target
                && record.undo.kind == *kind
                && !record.search_is_blind
                && read(record, self.office.undoer)
                    .is_ok_and(|other| other.search() == Some(search));
            if is_like_it {
                // What cannot be written now is known in memory.
                let _ = journal.note(owed.id, Note::SearchIsBlind).await;
            }
        }
    }
}

/// Whether a step of the run has sent the very request that undoes this.
async fn sent_by_step(
    record: &Record,
    undoing: &dyn Undoing,
    stage: &mut Stage<'_>,
) -> Option<Change> {
    let mut http = Vec::new();
    let key = {
        let context = stage.context(Instant::now(), &mut http);
        undoing.delete_key(&record.captures, &context).await?
    };
    stage.changes.of(key)
}

/// Writes down of what is armed that a step may have deleted it: whoever comes after this process
/// must not delete it a second time, either.
pub(super) async fn note_deletes_of_steps(
    armed: &[RecordId],
    runner: &Runner,
    stage: &mut Stage<'_>,
) {
    if !stage.changes.take_new() {
        return;
    }
    for id in armed {
        let Ok(record) = runner.journal.read(*id) else {
            continue;
        };
        // Nothing is waited for here, but code of a kind may panic anywhere.
        let limits = Limits::from_now(DEFAULT_TEARDOWN, &CancellationToken::new());
        let asked = async {
            let undoing = read(&record, runner.undoer)?;
            let may_be_noted = record.created && !record.delete_sent && undoing.may_hit_others();
            Ok(may_be_noted
                && sent_by_step(&record, undoing.as_ref(), stage)
                    .await
                    .is_some())
        };
        if race(asked, &limits, false).await.unwrap_or(false) {
            // What cannot be written now is known in memory.
            let _ = runner.journal.note(*id, Note::Deleting).await;
        }
    }
}

/// Undoes what a record says, outside any run.
///
/// # Errors
/// If it failed; the record is then still owed. Secrets of the target are not in the message.
pub async fn undo(
    record: &Record,
    office: Office<'_>,
    target: &Target,
    client: &Client,
    cancel: &CancellationToken,
) -> Result<Undone, Failure> {
    let mut redactor = Redactor::default();
    let run = Run::new(&record.instance, &record.run);
    let scope = Scope::new(&run);
    let mut stage = Stage::new(run, scope, target, client, &mut redactor);
    let limits = || Limits::from_now(Duration::from_millis(record.timeout_ms), cancel);
    stage.prepare(&mut redactor, &limits()).await;
    let limits = limits();
    let carried = carry_out(record, office, &mut stage, &limits, &mut Vec::new()).await;
    carried
        .result
        .map_err(|failure| failure.redacted(&redactor))
}

/// Whether a search is known to be blind for a record that is to be armed.
pub(super) fn is_blind(
    record: &Record,
    undoer: fn(&str) -> Option<Undoer>,
    searches: &Searches,
) -> bool {
    if !searches.any_blind() {
        return false;
    }
    let Ok(undoing) = read(record, undoer) else {
        return false;
    };
    let (target, kind) = (&record.target, &record.undo.kind);
    let sight = undoing
        .search()
        .and_then(|search| searches.sight(target, kind, search));
    sight == Some(Sight::Blind)
}
