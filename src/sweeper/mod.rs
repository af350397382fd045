//! Carries out what runs have handed over: after a crash, an ambiguous create, a failed teardown.
//!
//! It looks at the journal, tries what may be tried now, and tries again with growing pauses until
//! the target confirms. Nothing is ever given up: what is owed for long is reported as stuck, and
//! kept. It has a small bound of its own and never waits behind runs.

mod pace;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::config::Patience;
use crate::event::{Event, OwedInfo, TeardownResult};
use crate::journal::{Journal, Note, Owed};
use crate::outcome::chain;
use crate::runner::{Hands, Runner, Undone, undo};
use crate::spec::{Record, RecordId, Target};
use pace::Pace;

/// How often it looks for records that were handed over.
const LOOK: Duration = Duration::from_millis(500);

/// How many undos may go on at once on one target, and as many more that people have asked for:
/// those do not wait behind a target that hangs.
const PER_TARGET: usize = 2;

/// Said of a record that is not the sweeper's yet.
const IN_HAND: &str = "a run has it in hand";

/// What somebody asks of the sweeper.
#[derive(Debug)]
pub enum Request {
    /// Try this record now, as the sweeper would or as a person wants it.
    Retry(RecordId, Hands, oneshot::Sender<Result<String, String>>),
    /// Owe this record no more: a person has seen to it.
    Forget(RecordId, oneshot::Sender<Result<String, String>>),
    /// These are the targets from now on, and the patience.
    Renew(BTreeMap<String, Arc<Target>>, Patience),
}

/// The sweeper.
pub struct Sweeper {
    /// Whose client, journal and exporters are used.
    pub runner: Arc<Runner>,
    /// The targets there are now, by name.
    pub targets: BTreeMap<String, Arc<Target>>,
    /// How long it waits for what.
    pub patience: Patience,
    /// What people ask.
    pub requests: mpsc::Receiver<Request>,
}

/// What is known of the records, and the undos under way.
struct Work {
    paces: HashMap<RecordId, Pace>,
    undos: JoinSet<(RecordId, Tried)>,
    busy: HashMap<RecordId, Place>,
    /// Who waits for a record's next try.
    asked: HashMap<RecordId, Vec<oneshot::Sender<Result<String, String>>>>,
    /// What a person wants to be tried, for one try each.
    persons: HashSet<RecordId>,
    told: Vec<OwedInfo>,
    cancel: CancellationToken,
}

/// What an undo under way takes up.
#[derive(PartialEq)]
struct Place {
    target: String,
    /// Whether a person asked for it.
    asked: bool,
}

/// Why a record is not tried, but answered for at once.
enum Obstacle {
    /// Its run is going on.
    InHand,
    /// This one was made inside it.
    Inside(RecordId),
}

/// What one try came to.
enum Tried {
    Undone(Undone),
    Failed(String),
}

impl Sweeper {
    /// One pass over everything that was owed at the start, for `at_most`.
    pub async fn first_pass(&self, at_most: Duration) {
        let mut work = Work::new(CancellationToken::new());
        let pass = async {
            let mut tried = HashSet::new();
            loop {
                self.start(&mut work, |id| tried.insert(id));
                let Some(ended) = work.undos.join_next().await else {
                    break;
                };
                self.settle(&mut work, ended).await;
            }
        };
        // What is still going is dropped: undoing again is safe.
        let _ = timeout(at_most, pass).await;
    }

    /// Sweeps until stopped.
    pub async fn serve(mut self, stop: CancellationToken) {
        let mut work = Work::new(stop.clone());
        loop {
            self.start(&mut work, |_| true);
            self.tell(&mut work);
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(request) = self.requests.recv() => self.answer(&mut work, request).await,
                Some(ended) = work.undos.join_next() => self.settle(&mut work, ended).await,
                () = sleep(LOOK) => {}
            }
        }
        work.undos.shutdown().await;
    }

    /// The same as [`Self::finish`], but ends too when all that is left fails again and again:
    /// somebody waits for it.
    pub async fn finish_soon(self, at_most: Duration, only: Option<RecordId>) -> Vec<Owed> {
        self.sweep(at_most, only, true).await
    }

    /// Sweeps everything, or one record, until it is owed no more or `at_most` is over. Says what
    /// is left.
    pub async fn finish(self, at_most: Duration, only: Option<RecordId>) -> Vec<Owed> {
        self.sweep(at_most, only, false).await
    }

    async fn sweep(self, at_most: Duration, only: Option<RecordId>, gives_up: bool) -> Vec<Owed> {
        let mut work = Work::new(CancellationToken::new());
        work.persons.extend(only);
        let sweep = async {
            let wanted = |id| only.is_none_or(|only| only == id);
            let is_wanted = || self.journal().owed().iter().any(|owed| wanted(owed.id));
            while is_wanted() && (!gives_up || self.is_hopeful(&work, wanted)) {
                self.start(&mut work, wanted);
                match work.undos.join_next().await {
                    Some(ended) => self.settle(&mut work, ended).await,
                    None => sleep(LOOK).await,
                }
            }
        };
        let _ = timeout(at_most, sweep).await;
        work.undos.shutdown().await;
        self.journal().owed()
    }

    /// Whether something that is wanted, and has nothing inside it any more, may still be undone.
    fn is_hopeful(&self, work: &Work, wanted: impl Fn(RecordId) -> bool) -> bool {
        let owed = self.journal().owed();
        let parents: HashSet<_> = owed.iter().filter_map(|owed| owed.record.parent).collect();
        let hopeless = |id| work.paces.get(&id).is_some_and(Pace::keeps_failing);
        owed.iter()
            .any(|owed| wanted(owed.id) && !parents.contains(&owed.id) && !hopeless(owed.id))
    }

    fn journal(&self) -> &dyn Journal {
        self.runner.journal.as_ref()
    }

    /// Starts what may be tried now: latest first, and nothing before what was made inside it.
    fn start(&self, work: &mut Work, mut wanted: impl FnMut(RecordId) -> bool) {
        let owed = self.journal().owed();
        let parents: HashSet<_> = owed.iter().filter_map(|owed| owed.record.parent).collect();
        let known: HashSet<_> = owed.iter().map(|owed| owed.id).collect();
        work.paces.retain(|id, _| known.contains(id));
        for Owed {
            id, record, held, ..
        } in owed.into_iter().rev()
        {
            if held || parents.contains(&id) || work.busy.contains_key(&id) {
                continue;
            }
            let pace = work.paces.entry(id).or_default();
            let room = Place {
                target: record.target.clone(),
                asked: work.asked.contains_key(&id),
            };
            let on_target = work.busy.values().filter(|other| **other == room).count();
            if !pace.is_due() || on_target >= PER_TARGET || !wanted(id) {
                continue;
            }
            pace.begin();
            work.busy.insert(id, room);
            let target = self.targets.get(&record.target).cloned();
            let (runner, cancel) = (self.runner.clone(), work.cancel.clone());
            let hands = work.persons.remove(&id);
            let hands = if hands { Hands::Person } else { Hands::Sweeper };
            work.undos.spawn(async move {
                let tried = try_one((id, &record), target, &runner, hands, &cancel).await;
                (id, tried)
            });
        }
    }

    /// Takes the end of one try.
    async fn settle(&self, work: &mut Work, ended: Result<(RecordId, Tried), JoinError>) {
        // A panic of the undo is caught inside; only a dropped task has no end.
        let Ok((id, tried)) = ended else {
            return;
        };
        work.busy.remove(&id);
        let Ok(record) = self.journal().read(id) else {
            // Forgotten meanwhile.
            work.answer(id, &Ok("owed no more".into()));
            return;
        };
        let pace = work.paces.entry(id).or_default();
        let (note, mut result) = match &tried {
            Tried::Undone(Undone::Gone) => (Note::Settled, TeardownResult::Done),
            Tried::Undone(Undone::NotFound) if pace.not_found_for() >= self.patience.settle => {
                (Note::Settled, TeardownResult::Done)
            }
            Tried::Undone(Undone::NotFound) => {
                let left = self.patience.settle.saturating_sub(pace.not_found_for());
                pace.not_found(left);
                let what = if record.created {
                    "not found; believed when that has held for `settle`"
                } else {
                    "not found, but its create was not confirmed"
                };
                (Note::Tried(what.into()), TeardownResult::Owed)
            }
            Tried::Failed(why) => {
                pace.failed();
                (Note::Tried(why.clone()), TeardownResult::Failed)
            }
        };
        let mut why = match tried {
            Tried::Failed(why) => Some(why),
            Tried::Undone(_) => None,
        };
        if let Err(error) = self.journal().note(id, note).await {
            // It stays owed; undoing it once more finds nothing.
            result = TeardownResult::Failed;
            why = Some(chain(&error));
        }
        let answer = if result == TeardownResult::Done {
            Ok("undone".to_owned())
        } else {
            Err(why.clone().unwrap_or_else(|| "not found yet".into()))
        };
        work.answer(id, &answer);
        self.runner.exporters.export(&Event::Swept {
            target: record.target,
            kind: record.undo.kind,
            result,
            why,
        });
    }

    async fn answer(&mut self, work: &mut Work, request: Request) {
        match request {
            Request::Renew(targets, patience) => {
                (self.targets, self.patience) = (targets, patience);
                // Whoever was refused may have its target back.
                work.paces.values_mut().for_each(Pace::now);
            }
            Request::Retry(id, hands, answer) => match self.obstacle(id) {
                // Nothing is wrong: it is undone when the run ends.
                Some(Obstacle::InHand) => drop(answer.send(Ok(IN_HAND.into()))),
                Some(Obstacle::Inside(inner)) => {
                    let why = format!("record {} was made inside it and comes first", inner.0);
                    drop(answer.send(Err(why)));
                }
                None => match self.journal().read(id) {
                    Ok(_) => {
                        work.paces.entry(id).or_default().now();
                        if hands == Hands::Person {
                            work.persons.insert(id);
                        }
                        work.asked.entry(id).or_default().push(answer);
                    }
                    Err(error) => drop(answer.send(Err(chain(&error)))),
                },
            },
            Request::Forget(id, answer) => {
                if let Some(Obstacle::InHand) = self.obstacle(id) {
                    drop(answer.send(Err(IN_HAND.into())));
                    return;
                }
                let forgotten = self.journal().note(id, Note::Settled).await;
                let forgotten = forgotten.map(|()| "forgotten".to_owned());
                drop(answer.send(forgotten.map_err(|error| chain(&error))));
            }
        }
    }

    /// Why a record is not tried however often one asks.
    fn obstacle(&self, id: RecordId) -> Option<Obstacle> {
        self.journal().owed().iter().find_map(|owed| {
            if owed.id == id && owed.held {
                Some(Obstacle::InHand)
            } else if owed.record.parent == Some(id) {
                Some(Obstacle::Inside(owed.id))
            } else {
                None
            }
        })
    }

    /// Tells what is owed, if it has changed.
    fn tell(&self, work: &mut Work) {
        let mut owed: BTreeMap<(String, String), OwedInfo> = BTreeMap::new();
        for Owed { id, record, .. } in self.journal().owed().into_iter().filter(|owed| !owed.held) {
            let age = work.paces.entry(id).or_default().age();
            let key = (record.target.clone(), record.undo.kind.clone());
            let info = owed.entry(key).or_insert_with(|| OwedInfo {
                target: record.target.clone(),
                kind: record.undo.kind.clone(),
                count: 0,
                stuck: 0,
                oldest: record.armed_at,
            });
            info.count += 1;
            info.stuck += u64::from(age >= self.patience.stuck_after);
            info.oldest = info.oldest.min(record.armed_at);
        }
        let owed: Vec<_> = owed.into_values().collect();
        if owed != work.told {
            self.runner
                .exporters
                .export(&Event::OwedChanged { owed: owed.clone() });
            work.told = owed;
        }
    }
}

impl Work {
    fn new(cancel: CancellationToken) -> Self {
        Self {
            paces: HashMap::new(),
            undos: JoinSet::new(),
            busy: HashMap::new(),
            asked: HashMap::new(),
            persons: HashSet::new(),
            told: Vec::new(),
            cancel,
        }
    }

    /// Answers whoever waits for a record.
    fn answer(&mut self, id: RecordId, answer: &Result<String, String>) {
        for asked in self.asked.remove(&id).into_iter().flatten() {
            let _ = asked.send(answer.clone());
        }
    }
}

/// Why a record must not be carried out on a target: it is gone, or is somewhere else now.
#[must_use]
pub fn refusal(record: &Record, target: Option<&Target>) -> Option<String> {
    let Some(target) = target else {
        return Some(format!("there is no target `{}` any more", record.target));
    };
    let endpoint = target.endpoint.to_string();
    (endpoint != record.endpoint).then(|| {
        format!(
            "target `{}` is {endpoint} now, but this was made on {}",
            record.target, record.endpoint
        )
    })
}

async fn try_one(
    (id, record): (RecordId, &Record),
    target: Option<Arc<Target>>,
    runner: &Runner,
    hands: Hands,
    cancel: &CancellationToken,
) -> Tried {
    if let Some(why) = refusal(record, target.as_deref()) {
        return Tried::Failed(why);
    }
    let Some(target) = target else {
        return Tried::Failed("there is no target".into());
    };
    let office = runner.office(id, hands);
    match undo(record, office, &target, &runner.client, cancel).await {
        Ok(undone) => Tried::Undone(undone),
        Err(failure) => Tried::Failed(failure.to_string()),
    }
}
