//! Everything that can happen, as pure data, and the trait of those who want to know.
//!
//! An event carries all that an exporter needs, so none ever asks back. The runner and the tester
//! know only this file of the exporters; the exporters know only this file of them.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::grid::Grid;
use crate::outcome::{Failure, SlotOutcome, Verdict};

/// What a scheduled spec is called: the run labels.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Identity {
    /// The target's name.
    pub target: String,
    /// The spec's name.
    pub spec: String,
    /// The variant, empty when the spec has no matrix and the probe no `as`.
    pub variant: String,
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.target, self.spec)?;
        if !self.variant.is_empty() {
            write!(f, "/{}", self.variant)?;
        }
        Ok(())
    }
}

/// Where in a run a step stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Phase {
    /// The setup of a wrapper suite.
    Setup,
    /// A step of a sequence suite.
    Body,
    /// Undoing what a resource made.
    Teardown,
}

impl Phase {
    /// The word used as the `phase` label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Setup => "setup",
            Self::Body => "body",
            Self::Teardown => "teardown",
        }
    }
}

/// What exporters must know of one step before it ever runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepInfo {
    /// Its name, unique in the spec.
    pub name: Arc<str>,
    /// Setup or body; a resource also has a teardown.
    pub phase: Phase,
    /// Whether it changes the target and is undone.
    pub is_resource: bool,
    /// Whether it may be tried more than once.
    pub may_retry: bool,
    /// Whether its attempts speak HTTP, so that they have HTTP phases.
    pub speaks_http: bool,
}

/// When a run is judged failing and healthy again: `fail_after = "2 of 3"`, `recover_after = 2`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StateRule {
    /// Failing once this many …
    pub fails: u32,
    /// … of this many latest runs failed.
    pub of: u32,
    /// Healthy again after this many passes in a row.
    pub recover_after: u32,
}

impl Default for StateRule {
    fn default() -> Self {
        Self {
            fails: 1,
            of: 1,
            recover_after: 1,
        }
    }
}

/// What exporters know of a scheduled spec.
#[derive(Debug, Clone, PartialEq)]
pub struct SpecInfo {
    /// Target, spec and variant.
    pub identity: Identity,
    /// The spec's tags, sorted.
    pub tags: Vec<String>,
    /// What it is for, for people.
    pub description: String,
    /// The probe that selected it.
    pub probe: String,
    /// From one slot to the next.
    pub interval: Duration,
    /// The deadline of the body of one run.
    pub timeout: Duration,
    /// The longest of all its deadlines, teardowns and steps that always run included.
    pub longest: Duration,
    /// How much longer than its deadline a run may take: its teardowns, and steps that always run.
    pub overtime: Duration,
    /// The wanted availability, 0 to 1.
    pub objective: Option<f64>,
    /// When its state changes.
    pub state: StateRule,
    /// Its steps in tree order.
    pub steps: Vec<StepInfo>,
    /// The kinds of resources it makes.
    pub kinds: Vec<&'static str>,
    /// Whether HTTP phases are exported.
    pub http_phases: bool,
}

/// One run, as events name it.
#[derive(Debug, Clone)]
pub struct RunRef {
    /// What is run.
    pub spec: Arc<SpecInfo>,
    /// Its id, sorted by time, unique over restarts.
    pub id: Arc<str>,
}

impl RunRef {
    /// The trace that its requests belong to, as `traceparent` has it.
    #[must_use]
    pub fn trace_id(&self) -> String {
        trace_id(&self.id)
    }
}

/// The W3C trace id of a run: made from its id, so that who knows one of them knows the other.
#[must_use]
pub fn trace_id(run: &str) -> String {
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, run.as_bytes());
    let bytes = hash.as_ref()[..16].iter();
    let digits = bytes.flat_map(|byte| [byte >> 4, byte & 15]);
    digits
        .filter_map(|digit| char::from_digit(digit.into(), 16))
        .collect()
}

/// Where the time of one HTTP attempt went; of a dialog over TCP, what came before the talk. What did
/// not take place is absent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HttpPhases {
    /// Name resolution.
    pub resolve: Option<Duration>,
    /// The TCP handshake.
    pub connect: Option<Duration>,
    /// The TLS handshake, also one in the middle of a dialog.
    pub tls: Option<Duration>,
    /// From the start of sending the request to the response head.
    pub first_byte: Option<Duration>,
    /// From the response head to the end of the body; absent where the body is listened to for as
    /// long as the listener likes.
    pub transfer: Option<Duration>,
}

impl HttpPhases {
    /// The phases that took place, by their `http_phase` label.
    pub fn taken(&self) -> impl Iterator<Item = (&'static str, Duration)> {
        Self::LABELS
            .into_iter()
            .zip([
                self.resolve,
                self.connect,
                self.tls,
                self.first_byte,
                self.transfer,
            ])
            .filter_map(|(label, duration)| Some((label, duration?)))
    }

    /// The `http_phase` labels.
    pub const LABELS: [&'static str; 5] = ["resolve", "connect", "tls", "first_byte", "transfer"];
}

/// How a step ended.
#[derive(Debug, Clone)]
pub struct StepEnd {
    /// The step.
    pub step: Arc<str>,
    /// Where it stands.
    pub phase: Phase,
    /// What went wrong, if anything did.
    pub failure: Option<Failure>,
    /// From the first attempt to the last; waits of retry and poll included.
    pub duration: Duration,
    /// How often it was tried because an attempt failed.
    pub retries: u32,
    /// The HTTP attempts it made.
    pub http: Vec<HttpPhases>,
    /// A failure that does not fail the run (`allow_failure`).
    pub allowed: bool,
}

/// The first failing leaf of a run, in tree order.
#[derive(Debug, Clone)]
pub struct FailedStep {
    /// The step.
    pub step: Arc<str>,
    /// Where it stands.
    pub phase: Phase,
    /// What went wrong.
    pub failure: Failure,
}

/// How undoing one resource ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TeardownResult {
    /// Undone, or gone already.
    Done,
    /// Failed; the journal still owes it.
    Failed,
    /// Not certain yet (an ambiguous create was not found); the journal still owes it.
    Owed,
}

impl TeardownResult {
    /// Every result.
    pub const ALL: [Self; 3] = [Self::Done, Self::Failed, Self::Owed];

    /// The word used as the `result` label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Owed => "owed",
        }
    }
}

/// What is owed of one kind on one target, and in no run's hands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwedInfo {
    /// The target's name.
    pub target: String,
    /// The kind of resource.
    pub kind: String,
    /// How many.
    pub count: u64,
    /// How many of them have been owed for so long that a person should look.
    pub stuck: u64,
    /// When the oldest was armed.
    pub oldest: SystemTime,
}

/// One bounded thing that runs take places in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolInfo {
    /// `global`, `target:NAME` or `limit:NAME`.
    pub name: String,
    /// How many places it has.
    pub limit: u32,
    /// How many places of the global pool are kept for a target; see
    /// [`fair_share`](crate::contract::fair_share). 0 for all other pools.
    pub share: u32,
}

/// Everything that can happen.
#[derive(Debug, Clone)]
pub enum Event {
    /// A plan is running from now on; what is not in it any more is gone.
    PlanLoaded {
        /// All scheduled specs, and when each is due.
        specs: Vec<(Arc<SpecInfo>, Grid)>,
        /// All pools.
        pools: Vec<PoolInfo>,
        /// The monotonic instant that the grids count from.
        origin: std::time::Instant,
        /// Since when these are the grids, after the origin: what fell due by then is accounted for.
        since: Duration,
    },
    /// The configuration was read again.
    ConfigRead {
        /// Whether it is the one that is running now.
        accepted: bool,
        /// When.
        at: SystemTime,
    },
    /// Scheduling has stopped: no slot falls due any more.
    ScheduleStopped {
        /// When, since the origin.
        at: Duration,
    },
    /// Due slots got their outcome.
    SlotsEnded {
        /// Whose.
        spec: Arc<SpecInfo>,
        /// Which.
        outcome: SlotOutcome,
        /// How many.
        count: u64,
    },
    /// A pool changed.
    PoolChanged {
        /// Its name, see [`PoolInfo`].
        pool: Arc<str>,
        /// Places taken.
        in_use: u32,
        /// Runs that wait for a place in it.
        waiting: u32,
    },
    /// A run began.
    RunStarted {
        /// Which.
        run: RunRef,
        /// How late the scheduler was; absent outside a schedule.
        lateness: Option<Duration>,
        /// How long it waited for its permits.
        queue_wait: Duration,
    },
    /// An attempt failed and the step tries again.
    AttemptFailed {
        /// Which run.
        run: RunRef,
        /// Which step.
        step: Arc<str>,
        /// Which attempt, from 1.
        attempt: u32,
        /// Why.
        failure: Failure,
    },
    /// A step was performed.
    StepFinished {
        /// Which run.
        run: RunRef,
        /// How.
        end: StepEnd,
    },
    /// A step was not performed.
    StepSkipped {
        /// Which run.
        run: RunRef,
        /// Which step.
        step: Arc<str>,
        /// Why not, for people.
        why: Arc<str>,
    },
    /// A resource was undone, or is still owed.
    TeardownFinished {
        /// Which run.
        run: RunRef,
        /// The kind of resource.
        kind: String,
        /// How.
        result: TeardownResult,
    },
    /// The sweeper tried to undo something that was handed over.
    Swept {
        /// The target's name.
        target: String,
        /// The kind of resource.
        kind: String,
        /// How it ended.
        result: TeardownResult,
        /// What went wrong, if anything did.
        why: Option<String>,
    },
    /// A search by name did not find what had certainly been made: what it does not find is no
    /// longer believed to be gone.
    SearchIsBlind {
        /// The target's name.
        target: String,
        /// The kind of resource.
        kind: String,
        /// The search, for people.
        search: String,
    },
    /// What is owed has changed: everything that no run holds, by target and kind.
    OwedChanged {
        /// All of it; what is not in it is owed no more.
        owed: Vec<OwedInfo>,
    },
    /// A run ended.
    RunFinished {
        /// Which.
        run: RunRef,
        /// How.
        verdict: Verdict,
        /// The first failing leaf.
        failed: Option<FailedStep>,
        /// From its start to the end of its teardown.
        duration: Duration,
        /// When it ended.
        at: SystemTime,
    },
}

/// Somebody who wants to know what happens. Called at once, in the caller: an exporter that does
/// more than touch memory has a bounded queue of its own and counts what it drops.
pub trait Exporter: Send + Sync {
    /// Takes note of one event. Never waits.
    fn export(&self, event: &Event);
}

/// All exporters, in the order in which they are told.
#[derive(Clone, Default)]
pub struct Exporters(Arc<[Arc<dyn Exporter>]>);

impl Exporters {
    /// These exporters.
    #[must_use]
    pub fn new(exporters: Vec<Arc<dyn Exporter>>) -> Self {
        Self(exporters.into())
    }

    /// Tells each of them.
    pub fn export(&self, event: &Event) {
        for exporter in self.0.iter() {
            exporter.export(event);
        }
    }
}
