//! One disturbed run, what the journal must owe after it, and the sweep that must end it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use testerd::catalog;
use testerd::client::Client;
use testerd::config::Patience;
use testerd::event::{Exporters, RunRef};
use testerd::journal::{DiskJournal, Journal, MemoryJournal, Owed};
use testerd::outcome::Verdict;
use testerd::runner::{Begun, Runner, Stop};
use testerd::spec::{Scheduled, Target};
use testerd::sweeper::Sweeper;
use tokio::sync::mpsc;

use super::endings::{Ending, each_step, let_panic, panicking_undoer};
use super::refusing::Refusing;
use crate::plans::compile;
use crate::rig::{Blow, Rig};

/// How long a step of a disturbed run may take.
pub(super) const PATIENT: Duration = Duration::from_millis(300);

/// How long "not found" must hold. The late effects wait for a look, not for a time.
const SETTLE: Duration = Duration::from_millis(150);

/// Far longer than any sweep: only what is stuck is left by it.
const LONG: Duration = Duration::from_secs(20);

pub(super) const INSTANCE: &str = "unwind";
pub(super) const RUN: &str = "01j0000000abc";

/// One spec, or one variant of it.
pub(super) struct Subject {
    pub(super) spec: String,
    pub(super) leaves: usize,
    specs: String,
    index: usize,
}

impl Subject {
    /// Everything in a text.
    pub(super) fn all(specs: &str) -> Vec<Self> {
        let (all, _) = plan(specs, "http://127.0.0.1:1");
        let subject = |(index, mut spec): (usize, Scheduled)| {
            let mut leaves = 0;
            each_step(&mut spec.case, &mut |_| leaves += 1);
            Self {
                spec: spec.info.identity.spec.clone(),
                leaves,
                specs: specs.to_owned(),
                index,
            }
        };
        all.into_iter().enumerate().map(subject).collect()
    }

    /// The spec on this rig, each step and teardown with this deadline.
    pub(super) fn on(
        &self,
        rig: &Rig,
        patient: Duration,
    ) -> (Scheduled, BTreeMap<String, Arc<Target>>) {
        let (mut all, targets) = plan(&self.specs, &rig.url());
        let mut spec = all.swap_remove(self.index);
        each_step(&mut spec.case, &mut |step| {
            step.timeout = Some(patient);
            step.retry.delay = step.retry.delay.min(Duration::from_millis(10));
            step.poll = step.poll.map(|every| every.min(Duration::from_millis(10)));
            if let testerd::spec::Work::Acquire {
                teardown_timeout, ..
            } = &mut step.work
            {
                *teardown_timeout = patient;
            }
        });
        (spec, targets)
    }
}

fn plan(specs: &str, endpoint: &str) -> (Vec<Scheduled>, BTreeMap<String, Arc<Target>>) {
    let config = format!(
        "[tester]\ninstance = \"{INSTANCE}\"\n\
         [target.rig]\ntype = \"http\"\nendpoint = \"{endpoint}\"\n\
         [target.rig.vars]\nuser = \"ann\"\n\
         [[probe]]\nname = \"all\"\ntarget = \"rig\"\ninterval = \"1h\"\nnames = [\"*\"]\n\
         # --- specs.toml\n{specs}"
    );
    let plan = compile(&config).unwrap_or_else(|problems| panic!("{problems:#?}"));
    let targets = plan.settings.target_map();
    let alone = |spec| Arc::into_inner(spec).unwrap();
    (plan.scheduled.into_iter().map(alone).collect(), targets)
}

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
        let journal = DiskJournal::open(folder.path(), 100, "a sweep").unwrap();
        if strip(journal.owed()) != before || !journal.damaged().is_empty() {
            return Err("the journal reads otherwise after a restart".into());
        }
        Ok(Self::Disk(folder, Arc::new(journal)))
    }
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
pub(super) struct Ran {
    /// Absent if it was dropped.
    pub(super) verdict: Option<Verdict>,
    /// What it sent.
    pub(super) requests: Vec<String>,
    /// How often it wrote to the journal.
    pub(super) writes: usize,
}

/// One run with one ending.
pub(super) struct Trial {
    subject: Arc<Subject>,
    ending: Ending,
    /// The request that is struck, the step that panics, or the write that is refused.
    at: usize,
    on_disk: bool,
}

impl Trial {
    pub(super) fn new(subject: &Arc<Subject>, ending: Ending, at: usize) -> Self {
        let all = super::STRUCK.iter();
        let place = all.clone().position(|known| *known == ending);
        Self {
            subject: subject.clone(),
            ending,
            at,
            // Each ending and each place meets both journals.
            on_disk: (at + place.unwrap_or_default()).is_multiple_of(2),
        }
    }

    /// Runs, looks, heals, sweeps and looks again; the error is the promise that was broken.
    pub(super) async fn run(&self) -> Result<Ran, String> {
        let rig = Rig::start();
        let mut said = Vec::new();
        let ran = self.run_on(&rig, &mut said).await;
        ran.map_err(|wrong| {
            format!(
                "{}: {:?} at {}: {wrong}\n  {}\n  requests: {:?}",
                self.subject.spec,
                self.ending,
                self.at,
                said.join("\n  "),
                rig.log()
            )
        })
    }

    async fn run_on(&self, rig: &Rig, said: &mut Vec<String>) -> Result<Ran, String> {
        let patient = match self.ending {
            Ending::Nothing => LONG,
            _ => PATIENT,
        };
        let (mut spec, targets) = self.subject.on(rig, patient);
        let strangers = seed_strangers(rig);
        if let Ending::Panic(when) = self.ending {
            let mut at = 0;
            each_step(&mut spec.case, &mut |step| {
                if at == self.at {
                    let_panic(step, when);
                }
                at += 1;
            });
        }
        let books = Books::open(self.on_disk);
        let journal = Arc::new(Refusing {
            inner: books.journal(),
            writes: AtomicUsize::new(0),
            refuses: match self.ending {
                Ending::Unwritable(lasting) => Some((self.at, lasting)),
                _ => None,
            },
        });
        let verdict = self.perform(&spec, rig, journal.clone()).await;
        let writes = journal.writes.load(Ordering::Relaxed);
        drop(journal);
        let requests = rig.log();
        said.push(format!("verdict {verdict:?}"));

        let owed = books.journal().owed();
        said.extend(owed.iter().map(|owed| format!("owed {owed:?}")));
        if let Some(held) = owed.iter().find(|owed| owed.held) {
            return Err(format!("record {} is still held", held.id.0));
        }
        all_owed(&rig.alive(), &strangers, &owed)?;

        rig.heal_all();
        let books = books.reopened()?;
        let sweep = Sweep::new(books.journal(), &targets);
        let mut left = sweep.until(|| is_stuck(rig, &books.journal())).await;
        said.extend(left.iter().map(|owed| format!("left {owed:?}")));
        if !twins(rig).is_empty() {
            said.push("a person takes one of two away".into());
            loud(rig, &strangers, &left)?;
            for name in twins(rig) {
                rig.take_away(&name);
            }
            left = Sweep::new(books.journal(), &targets).until(|| false).await;
        }
        if !left.is_empty() {
            return Err(format!("still owed: {left:?}"));
        }
        if rig.alive() != strangers.iter().cloned().collect::<Vec<_>>() {
            return Err(format!("alive at the end: {:?}", rig.alive()));
        }
        let created = rig.created();
        if let Some(theirs) = rig.deleted().iter().find(|name| !created.contains(name)) {
            return Err(format!("{theirs} was deleted and is not ours"));
        }
        Ok(Ran {
            verdict,
            requests,
            writes,
        })
    }

    async fn perform(
        &self,
        spec: &Scheduled,
        rig: &Rig,
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
            rig.strike(self.at, blow);
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

pub(super) fn runner(journal: Arc<dyn Journal>) -> Runner {
    Runner {
        client: Client::new(),
        journal,
        exporters: Exporters::default(),
        undoer: catalog::undoer,
        instance: INSTANCE.into(),
    }
}

/// Things of others with names like ours.
pub(super) fn seed_strangers(rig: &Rig) -> BTreeSet<String> {
    let names = [
        format!("{INSTANCE}-{RUN}-"),
        format!("{INSTANCE}-{RUN}-outer-of-somebody"),
        format!("{INSTANCE}-01j0000000abb"),
        format!("extra-{RUN}-not"),
        INSTANCE.to_owned(),
    ];
    for name in &names {
        rig.seed(name);
    }
    names.into()
}

/// Whatever of ours is alive, the journal owes by its name.
pub(super) fn all_owed(
    alive: &[String],
    strangers: &BTreeSet<String>,
    owed: &[Owed],
) -> Result<(), String> {
    let undos: Vec<_> = owed
        .iter()
        .map(|owed| owed.record.undo.arguments["find"]["matches"].to_string())
        .collect();
    let is_owed = |name: &str| {
        undos
            .iter()
            .any(|undo| undo.contains(&format!("\"{name}\"")))
    };
    match alive
        .iter()
        .find(|name| !strangers.contains(*name) && !is_owed(name))
    {
        Some(lost) => Err(format!("{lost} is alive and nobody owes it")),
        None => Ok(()),
    }
}

/// Names that were made twice, and of which something is alive.
fn twins(rig: &Rig) -> Vec<String> {
    let created = rig.created();
    let twice = |name: &String| created.iter().filter(|made| *made == name).count() > 1;
    let alive: BTreeSet<_> = rig.alive().into_iter().filter(twice).collect();
    alive.into_iter().collect()
}

/// Of two things with one name none may be guessed at: they stay owed, with what was inside of
/// what, and the journal says why.
fn loud(rig: &Rig, strangers: &BTreeSet<String>, left: &[Owed]) -> Result<(), String> {
    all_owed(&rig.alive(), strangers, left)?;
    if left.iter().any(says_why) {
        Ok(())
    } else {
        Err(format!("two of one name, and nobody says so: {left:?}"))
    }
}

pub(super) fn says_why(owed: &Owed) -> bool {
    owed.last
        .as_ref()
        .is_some_and(|last| last.contains("the name"))
}

fn is_stuck(rig: &Rig, journal: &Arc<dyn Journal>) -> bool {
    !twins(rig).is_empty() && journal.owed().iter().any(says_why)
}

/// A sweeper that stops when nothing is owed.
pub(super) struct Sweep(Sweeper);

impl Sweep {
    pub(super) fn new(journal: Arc<dyn Journal>, targets: &BTreeMap<String, Arc<Target>>) -> Self {
        Self(Sweeper {
            runner: Arc::new(runner(journal)),
            targets: targets.clone(),
            patience: Patience {
                settle: SETTLE,
                stuck_after: LONG,
            },
            requests: mpsc::channel(1).1,
        })
    }

    /// Stops it also when something is so; says what is left.
    pub(super) async fn until(self, mut is_so: impl FnMut() -> bool) -> Vec<Owed> {
        let journal = self.0.runner.journal.clone();
        let so = async {
            while !is_so() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::select! {
            left = self.0.finish(LONG, None) => left,
            () = so => journal.owed(),
        }
    }
}
