//! From a due slot to a run: overlap and capacity become outcomes, permits become tasks.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::{Id, JoinSet};
use tokio::time::Instant;

use super::Work;
use super::permits::{Needs, Permits};
use super::schedule::Due;
use crate::event::{Event, PoolInfo, RunRef, SpecInfo};
use crate::outcome::{Cause, SlotOutcome, Verdict};
use crate::runner::{Begun, Ids, Runner, Stop};
use crate::spec::Scheduled;

/// A run that waits for its permits.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ready {
    lateness: Option<Duration>,
    since: Instant,
}

impl Ready {
    /// Outside a schedule.
    pub(super) fn once() -> Self {
        Self {
            lateness: None,
            since: Instant::now(),
        }
    }
}

enum State {
    Idle,
    Waiting(Ready),
    Running,
}

struct Entry {
    spec: Arc<Scheduled>,
    needs: Needs,
    state: State,
}

/// Places by the names of their pools, which outlive the numbers.
type Held = Vec<(Arc<str>, u32)>;

/// What a task that runs a spec is about.
struct Task {
    spec: Arc<Scheduled>,
    /// Whose run it is; nobody's once the plan has it no more.
    entry: Option<usize>,
    held: Held,
    run: RunRef,
    begun: Instant,
}

/// All pools by name, in the order of their numbers.
struct Pools {
    names: Vec<Arc<str>>,
    numbers: HashMap<Arc<str>, usize>,
}

impl Pools {
    fn new(pools: &[PoolInfo]) -> Self {
        let names: Vec<Arc<str>> = pools.iter().map(|pool| pool.name.as_str().into()).collect();
        let numbers = names.iter().cloned().enumerate();
        Self {
            numbers: numbers.map(|(number, name)| (name, number)).collect(),
            names,
        }
    }

    /// What a spec takes.
    fn needs(&self, spec: &Scheduled) -> Needs {
        let number = |name: String| self.numbers.get(&*name).copied();
        let global = self.names.len().saturating_sub(1);
        let limits = spec.uses.iter();
        let limits =
            limits.filter_map(|(name, places)| Some((number(format!("limit:{name}"))?, *places)));
        Needs {
            // One without a bound of its own has that of all.
            target: number(format!("target:{}", spec.target.name)).unwrap_or(global),
            limits: limits.collect(),
            global,
        }
    }

    fn held(&self, needs: &Needs) -> Held {
        let held = needs.places();
        held.map(|(pool, places)| (self.names[pool].clone(), places))
            .collect()
    }

    /// The same places by number; those of a pool that is gone are gone with it.
    fn held_places(&self, held: &Held) -> Vec<(usize, u32)> {
        let held = held.iter();
        held.filter_map(|(pool, places)| Some((*self.numbers.get(pool)?, *places)))
            .collect()
    }
}

/// Everything that runs or wants to.
pub(super) struct Dispatch {
    runner: Arc<Runner>,
    entries: Vec<Entry>,
    permits: Permits,
    pools: Pools,
    runs: JoinSet<Verdict>,
    tasks: HashMap<Id, Task>,
    ids: Ids,
    stop: Stop,
}

impl Dispatch {
    pub(super) fn new(runner: Arc<Runner>, work: Work, stop: Stop) -> Self {
        let pools = Pools::new(&work.pools);
        Self {
            entries: entries(work.scheduled, &pools),
            permits: Permits::new(&work.pools),
            runner,
            pools,
            runs: JoinSet::new(),
            tasks: HashMap::new(),
            ids: Ids::default(),
            stop,
        }
    }

    /// Other work takes the place of this. What runs goes on to its end, with the places it has;
    /// who waits goes on waiting, in the same order, unless it is no part of the work any more.
    pub(super) fn renew(&mut self, work: Work) {
        self.runner.client.forget_roots();
        let pools = Pools::new(&work.pools);
        let mut permits = Permits::new(&work.pools);
        let mut entries = entries(work.scheduled, &pools);
        let known: HashMap<_, _> = entries
            .iter()
            .enumerate()
            .map(|(index, entry)| (entry.spec.info.identity.clone(), index))
            .collect();
        for task in self.tasks.values_mut() {
            permits.hold(pools.held_places(&task.held));
            task.entry = known.get(&task.run.spec.identity).copied();
            if let Some(entry) = task.entry {
                entries[entry].state = State::Running;
            }
        }
        for waiting in self.permits.queue() {
            let Entry { spec, state, .. } = &self.entries[waiting];
            let State::Waiting(ready) = state else {
                continue;
            };
            match known.get(&spec.info.identity) {
                Some(entry) => {
                    permits.wait(*entry, entries[*entry].needs.clone());
                    entries[*entry].state = State::Waiting(*ready);
                }
                None => self.outcome(waiting, SlotOutcome::SkippedCapacity, 1),
            }
        }
        (self.entries, self.permits, self.pools) = (entries, permits, pools);
    }

    /// Tells how all pools are used, after what was told of them before may be wrong.
    pub(super) fn tell_all_pools(&self) {
        self.tell_pools((0..self.pools.names.len()).map(|pool| (pool, 0)));
    }

    /// What still runs though it is no part of the work any more.
    pub(super) fn retiring(&self) -> impl Iterator<Item = &Arc<SpecInfo>> {
        let gone = self.tasks.values().filter(|task| task.entry.is_none());
        gone.map(|task| &task.run.spec)
    }

    /// A slot fell due: it runs, waits, or is skipped; one that waited until now is skipped.
    pub(super) fn due(&mut self, due: Due, now: Duration) {
        if due.missed > 0 {
            self.outcome(due.entry, SlotOutcome::Missed, due.missed);
        }
        if let State::Running = self.entries[due.entry].state {
            self.outcome(due.entry, SlotOutcome::SkippedOverlap, 1);
            return;
        }
        let ready = Ready {
            lateness: Some(now.saturating_sub(due.slot)),
            since: Instant::now(),
        };
        if let State::Waiting(_) = self.entries[due.entry].state {
            // The new slot takes the place of the old one in the queue: whoever is often due would
            // otherwise always be the last.
            self.outcome(due.entry, SlotOutcome::SkippedCapacity, 1);
            self.entries[due.entry].state = State::Waiting(ready);
        } else {
            self.wait(due.entry, ready);
        }
    }

    /// Queues an entry for its permits.
    pub(super) fn wait(&mut self, entry: usize, ready: Ready) {
        let Entry { needs, state, .. } = &mut self.entries[entry];
        *state = State::Waiting(ready);
        self.permits.wait(entry, needs.clone());
        self.tell_pools_of(entry);
    }

    /// Starts everybody who can have permits now.
    pub(super) fn start_ready(&mut self) {
        for entry in self.permits.grant() {
            let state = std::mem::replace(&mut self.entries[entry].state, State::Running);
            let State::Waiting(ready) = state else {
                continue;
            };
            if ready.lateness.is_some() {
                self.outcome(entry, SlotOutcome::Run, 1);
            }
            self.tell_pools_of(entry);
            self.start(entry, ready);
        }
    }

    fn start(&mut self, entry: usize, ready: Ready) {
        let spec = self.entries[entry].spec.clone();
        let run = RunRef {
            spec: spec.info.clone(),
            id: self
                .ids
                .next(&self.runner.instance, crate::text::wall_clock())
                .into(),
        };
        let begun = Begun {
            lateness: ready.lateness,
            queue_wait: ready.since.elapsed(),
        };
        let (runner, task_run) = (self.runner.clone(), run.clone());
        // Each run has a token of its own below the common one.
        let stop = Stop {
            cancel: self.stop.cancel.child_token(),
            kill: self.stop.kill.child_token(),
        };
        let task = Task {
            spec: spec.clone(),
            entry: Some(entry),
            held: self.pools.held(&self.entries[entry].needs),
            run,
            begun: Instant::now(),
        };
        let handle = self
            .runs
            .spawn(async move { runner.run(&spec, task_run, begun, stop).await });
        self.tasks.insert(handle.id(), task);
    }

    /// Waits for a run to end and gives its places back. `None` when nothing runs.
    pub(super) async fn ended(&mut self) -> Option<(Arc<Scheduled>, Verdict)> {
        let ended = self.runs.join_next_with_id().await?;
        let (id, verdict) = match ended {
            Ok((id, verdict)) => (id, Ok(verdict)),
            Err(error) if error.is_cancelled() => (error.id(), Err(Cause::Cancelled)),
            // The runner itself panicked, a bug of ours.
            Err(error) => (error.id(), Err(Cause::Panic)),
        };
        let task = self.tasks.remove(&id)?;
        let verdict = verdict.unwrap_or_else(|cause| {
            // It could not tell its own end any more: every run still ends exactly once, and what
            // it had made is the sweeper's.
            self.runner.journal.release_run(&task.run.id);
            let verdict = Verdict::Inconclusive(cause);
            self.runner.exporters.export(&Event::RunFinished {
                run: task.run,
                verdict,
                failed: None,
                duration: task.begun.elapsed(),
                at: crate::text::wall_clock(),
            });
            verdict
        });
        if let Some(entry) = task.entry {
            self.entries[entry].state = State::Idle;
        }
        let places = self.pools.held_places(&task.held);
        self.permits.release(places.iter().copied());
        self.tell_pools(places);
        Some((task.spec, verdict))
    }

    /// Whether anything runs.
    pub(super) fn is_running(&self) -> bool {
        !self.runs.is_empty()
    }

    /// Stopping: slots that wait will not run, and say so.
    pub(super) fn abandon_waiting(&mut self) {
        for entry in 0..self.entries.len() {
            if let State::Waiting(_) = self.entries[entry].state {
                self.outcome(entry, SlotOutcome::SkippedCapacity, 1);
            }
        }
        self.forget_waiting();
    }

    /// Nobody waits any more.
    pub(super) fn forget_waiting(&mut self) {
        self.permits.forget_waiting();
        for entry in 0..self.entries.len() {
            if let State::Waiting(_) = self.entries[entry].state {
                self.entries[entry].state = State::Idle;
                self.tell_pools_of(entry);
            }
        }
    }

    /// Drops every run that is still going. Returns how many there were; each is told as cancelled.
    pub(super) async fn drop_all(&mut self) -> usize {
        let dropped = self.runs.len();
        self.runs.abort_all();
        // One that ended in this very moment has told so itself.
        while self.ended().await.is_some() {}
        dropped
    }

    /// Tells the outcome of due slots.
    pub(super) fn outcome(&self, entry: usize, outcome: SlotOutcome, count: u64) {
        self.runner.exporters.export(&Event::SlotsEnded {
            spec: self.entries[entry].spec.info.clone(),
            outcome,
            count,
        });
    }

    fn tell_pools_of(&self, entry: usize) {
        self.tell_pools(self.entries[entry].needs.places());
    }

    fn tell_pools(&self, places: impl IntoIterator<Item = (usize, u32)>) {
        for (pool, _) in places {
            let (in_use, waiting) = self.permits.usage(pool);
            self.runner.exporters.export(&Event::PoolChanged {
                pool: self.pools.names[pool].clone(),
                in_use,
                waiting,
            });
        }
    }
}

fn entries(scheduled: Vec<Arc<Scheduled>>, pools: &Pools) -> Vec<Entry> {
    let entries = scheduled.into_iter();
    let entries = entries.map(|spec| Entry {
        needs: pools.needs(&spec),
        spec,
        state: State::Idle,
    });
    entries.collect()
}
