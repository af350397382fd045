//! One disturbed run, what the journal must owe after it, and the sweep that must end it.

use std::collections::{BTreeMap, BTreeSet};
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use testerd::catalog;
use testerd::client::Client;
use testerd::config::Patience;
use testerd::event::{Exporters, RunRef};
use testerd::journal::{DiskJournal, Journal, MemoryJournal, Note, OpenError, Owed};
use testerd::outcome::Verdict;
use testerd::runner::{Begun, Runner, Searches, Stop};
use testerd::spec::{Scheduled, Target};
use testerd::sweeper::Sweeper;
use tokio::sync::mpsc;

use super::endings::{Ending, panicking_undoer};
use super::refusing::Refusing;
use super::subject::Subject;
use super::world::{Thing, World};
use crate::rig::Blow;

pub(crate) const INSTANCE: &str = "unwind";
pub(crate) const RUN: &str = "01j0000000abc";

/// Where the undos are kept; a journal on disk is opened anew for the sweeper.
enum Books {
    Memory(Arc<MemoryJournal>),
    Disk(tempfile::TempDir, Arc<DiskJournal>),
}

impl Books {
    fn open(on_disk: bool) -> Self {
        if !on_disk {
            return Self::Memory(Arc::default());
        }
        let folder = crate::tools::fast_folder();
        let journal = DiskJournal::open(folder.path(), 100, "a run").unwrap();
        Self::Disk(folder, Arc::new(journal))
    }

    fn journal(&self) -> Arc<dyn Journal> {
        match self {
            Self::Memory(journal) => journal.clone(),
            Self::Disk(_, journal) => journal.clone(),
        }
    }

    /// As after a restart.
    fn reopened(self) -> Result<Self, String> {
        let Self::Disk(folder, journal) = self else {
            return Ok(self);
        };
        let before = strip(journal.owed());
        drop(Arc::try_unwrap(journal).map_err(|_| "somebody still has the journal")?);
        let journal = open_again(folder.path());
        if strip(journal.owed()) != before || !journal.damaged().is_empty() {
            return Err("the journal reads otherwise after a restart".into());
        }
        Ok(Self::Disk(folder, Arc::new(journal)))
    }
}

/// Opens a journal that was closed a moment ago. A program that another test starts holds its lock,
/// too, between the fork and the exec.
#[expect(
    clippy::disallowed_methods,
    reason = "the clock of the test stands still"
)]
fn open_again(folder: &std::path::Path) -> DiskJournal {
    for _ in 0..1000 {
        match DiskJournal::open(folder, 100, "a sweep") {
            Err(OpenError::Locked { .. }) => std::thread::sleep(Duration::from_millis(5)),
            opened => return opened.unwrap(),
        }
    }
    panic!("the journal stays locked");
}

/// Without what is not kept on disk.
fn strip(owed: Vec<Owed>) -> Vec<Owed> {
    let without = |owed| Owed {
        held: false,
        tries: 0,
        ..owed
    };
    owed.into_iter().map(without).collect()
}

/// What a run came to.
pub(crate) struct Ran {
    /// Absent if it was dropped.
    pub(crate) verdict: Option<Verdict>,
    /// What it sent.
    pub(crate) requests: Vec<String>,
    /// How often it wrote to the journal.
    pub(crate) writes: usize,
}

/// One run with one ending.
pub(crate) struct Trial<W> {
    subject: Arc<Subject>,
    worlds: PhantomData<fn() -> W>,
    ending: Ending,
    /// The request that is struck, the step that panics, or the write that is refused.
    at: usize,
    on_disk: bool,
}

impl<W: World> Trial<W> {
    pub(crate) fn new(subject: &Arc<Subject>, ending: Ending, at: usize) -> Self {
        let all = super::STRUCK.iter();
        let place = all.clone().position(|known| *known == ending);
        Self {
            subject: subject.clone(),
            worlds: PhantomData,
            ending,
            at,
            // Each ending and each place meets both journals.
            on_disk: (at + place.unwrap_or_default()).is_multiple_of(2),
        }
    }

    /// Runs, looks, heals, sweeps and looks again; the error is the promise that was broken.
    pub(crate) async fn run(&self) -> Result<Ran, String> {
        let world = W::start();
        let mut said = Vec::new();
        let ran = self.run_in(&world, &mut said).await;
        ran.map_err(|wrong| {
            format!(
                "{}: {:?} at {}: {wrong}\n  {}\n  requests: {:?}",
                self.subject.identity,
                self.ending,
                self.at,
                said.join("\n  "),
                world.log()
            )
        })
    }

    async fn run_in(&self, world: &W, said: &mut Vec<String>) -> Result<Ran, String> {
        let patient = match self.ending {
            Ending::Nothing => W::LONG,
            _ => W::PATIENT,
        };
        let mut case = self.subject.take(patient);
        let target = Arc::new(world.target(&case.spec.target));
        let targets = BTreeMap::from([(target.name.clone(), target.clone())]);
        case.spec.target = target;
        let strangers = world.seed_strangers().await;
        case.panics.at(match self.ending {
            Ending::Panic(when) => Some((self.at, when)),
            _ => None,
        });
        let books = Books::open(self.on_disk);
        let journal = Arc::new(Refusing {
            inner: books.journal(),
            writes: AtomicUsize::new(0),
            refuses: match self.ending {
                Ending::Unwritable(lasting) => Some((self.at, lasting)),
                _ => None,
            },
        });
        let verdict = self.perform(&case.spec, world, journal.clone()).await;
        self.subject.put_back(case);
        let writes = journal.writes.load(Ordering::Relaxed);
        drop(journal);
        let requests = world.log();
        said.push(format!("verdict {verdict:?}"));

        let owed = books.journal().owed();
        said.extend(owed.iter().map(|owed| format!("owed {owed:?}")));
        if let Some(held) = owed.iter().find(|owed| owed.held) {
            return Err(format!("record {} is still held", held.id.0));
        }
        all_owed(world, &strangers, &owed)?;

        world.heal();
        let books = books.reopened()?;
        self.sweep(world, &books, &targets, &strangers, said)
            .await?;
        if let Some(lost) = strangers
            .iter()
            .find(|thing| !thing.is_among(&world.alive()))
        {
            return Err(format!("{lost:?} is gone and was not ours"));
        }
        let created = world.created();
        if let Some(theirs) = world
            .deleted()
            .iter()
            .find(|thing| !thing.is_among(&created))
        {
            return Err(format!("{theirs:?} was deleted and is not ours"));
        }
        world.intact().await?;
        Ok(Ran {
            verdict,
            requests,
            writes,
        })
    }

    /// Afterwards nothing of ours is there, and nothing is owed.
    async fn sweep(
        &self,
        world: &W,
        books: &Books,
        targets: &BTreeMap<String, Arc<Target>>,
        strangers: &BTreeSet<Thing>,
        said: &mut Vec<String>,
    ) -> Result<(), String> {
        let sweep = || Sweep::new::<W>(books.journal(), targets);
        let is_stuck = || !world.twins().is_empty() && books.journal().owed().iter().any(says_why);
        let mut left = sweep().until(is_stuck).await;
        said.extend(left.iter().map(|owed| format!("left {owed:?}")));
        if !world.twins().is_empty() {
            said.push("a person takes one of two away".into());
            loud(world, strangers, &left)?;
            for thing in world.twins() {
                world.take_away(&thing).await;
            }
            left = sweep().until(|| false).await;
        }
        // That a delete was sent could not be written: a person has to look, at one after another.
        while matches!(self.ending, Ending::Unwritable(_)) && forgets(world, books, &left).await {
            let journal = books.journal();
            left = sweep().until(|| journal.owed().iter().any(says_why)).await;
        }
        if !left.is_empty() {
            return Err(format!("still owed: {left:?}"));
        }
        let mut alive = world.alive();
        alive.retain(|thing| !strangers.contains(thing));
        if alive.is_empty() {
            Ok(())
        } else {
            Err(format!("alive at the end: {alive:?}"))
        }
    }

    async fn perform(
        &self,
        spec: &Scheduled,
        world: &W,
        journal: Arc<dyn Journal>,
    ) -> Option<Verdict> {
        let stop = Stop::default();
        let dropped = tokio_util::sync::CancellationToken::new();
        let blow = match self.ending {
            Ending::Nothing | Ending::Panic(_) | Ending::UndoPanics | Ending::Unwritable(_) => None,
            Ending::Once(fault) => Some(Blow::Once(fault)),
            Ending::Lasting(fault) => Some(Blow::Lasting(fault)),
            Ending::Everything(fault) => Some(Blow::Everything(fault)),
            Ending::Cancel | Ending::Kill => Some(Blow::Tell(stop.cancel.clone())),
            Ending::Drop => Some(Blow::Tell(dropped.clone())),
        };
        if let Some(blow) = blow {
            world.strike(self.at, blow);
        }
        let stop = match self.ending {
            Ending::Kill => Stop {
                kill: stop.cancel.clone(),
                ..stop
            },
            _ => stop,
        };
        let mut runner = runner(journal);
        if self.ending == Ending::UndoPanics {
            runner.undoer = panicking_undoer;
        }
        let run = RunRef {
            spec: spec.info.clone(),
            id: RUN.into(),
        };
        tokio::select! {
            biased;
            () = dropped.cancelled() => {
                // As the tester does it.
                runner.journal.release_run(RUN);
                None
            }
            verdict = runner.run(spec, run, Begun::default(), stop) => Some(verdict),
        }
    }
}

pub(crate) fn runner(journal: Arc<dyn Journal>) -> Runner {
    Runner {
        client: Client::new(),
        journal,
        exporters: Exporters::default(),
        undoer: catalog::undoer,
        searches: Searches::default(),
        instance: INSTANCE.into(),
    }
}

/// Whatever of ours is alive, the journal owes.
pub(crate) fn all_owed<W: World>(
    world: &W,
    strangers: &BTreeSet<Thing>,
    owed: &[Owed],
) -> Result<(), String> {
    let is_owed = |thing: &Thing| {
        let mut records = owed.iter().map(|owed| &owed.record);
        records.any(|record| world.is_owed_by(thing, record))
    };
    let alive = world.alive();
    match alive
        .iter()
        .find(|thing| !strangers.contains(*thing) && !is_owed(thing))
    {
        Some(lost) => Err(format!("{lost:?} is alive and nobody owes it")),
        None => Ok(()),
    }
}

/// A person forgets what says why it is owed, and is not there; whether there was any.
async fn forgets<W: World>(world: &W, books: &Books, left: &[Owed]) -> bool {
    let alive = world.alive();
    let is_there = |owed: &&Owed| {
        alive
            .iter()
            .any(|thing| world.is_owed_by(thing, &owed.record))
    };
    let mut forgotten = false;
    for owed in left.iter().filter(|owed| says_why(owed) && !is_there(owed)) {
        let journal = books.journal();
        journal.note(owed.id, Note::Settled).await.unwrap();
        forgotten = true;
    }
    forgotten
}

/// Of two things with one name none may be guessed at: they stay owed, with what was inside of
/// what, and the journal says why.
fn loud<W: World>(world: &W, strangers: &BTreeSet<Thing>, left: &[Owed]) -> Result<(), String> {
    all_owed(world, strangers, left)?;
    if left.iter().any(says_why) {
        Ok(())
    } else {
        Err(format!("two of one name, and nobody says so: {left:?}"))
    }
}

pub(crate) fn says_why(owed: &Owed) -> bool {
    owed.last
        .as_ref()
        .is_some_and(|last| last.contains("the name"))
}

/// A sweeper that stops when nothing is owed.
pub(crate) struct Sweep {
    sweeper: Sweeper,
    at_most: Duration,
}

impl Sweep {
    pub(crate) fn new<W: World>(
        journal: Arc<dyn Journal>,
        targets: &BTreeMap<String, Arc<Target>>,
    ) -> Self {
        Self {
            at_most: W::LONG,
            sweeper: Sweeper {
                runner: Arc::new(runner(journal)),
                targets: targets.clone(),
                patience: Patience {
                    settle: W::SETTLE,
                    stuck_after: W::LONG,
                },
                requests: mpsc::channel(1).1,
            },
        }
    }

    /// Stops it also when something is so; says what is left.
    pub(crate) async fn until(self, mut is_so: impl FnMut() -> bool) -> Vec<Owed> {
        let journal = self.sweeper.runner.journal.clone();
        let so = async {
            while !is_so() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::select! {
            left = self.sweeper.finish(self.at_most, None) => left,
            () = so => journal.owed(),
        }
    }
}
