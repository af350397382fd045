//! From a due slot to a run: overlap and capacity become outcomes, permits become tasks.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::task::{Id, JoinSet};
use tokio::time::Instant;

use super::permits::{Needs, Permits};
use super::schedule::Due;
use crate::event::{Event, PoolInfo, RunRef};
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

/// What a task that runs a spec is about.
struct Task {
    entry: usize,
    run: RunRef,
    begun: Instant,
}

/// Everything that runs or wants to.
pub(super) struct Dispatch {
    runner: Arc<Runner>,
    entries: Vec<Entry>,
    permits: Permits,
    pools: Vec<Arc<str>>,
    runs: JoinSet<Verdict>,
    tasks: HashMap<Id, Task>,
    ids: Ids,
    stop: Stop,
}

impl Dispatch {
    pub(super) fn new(
        runner: Arc<Runner>,
        scheduled: Vec<Arc<Scheduled>>,
        pools: &[PoolInfo],
        stop: Stop,
    ) -> Self {
        let indices: HashMap<_, _> = pools
            .iter()
            .enumerate()
            .map(|(index, pool)| (pool.name.as_str(), index))
            .collect();
        let entries = scheduled.into_iter().map(|spec| {
            let limits = spec
                .uses
                .iter()
                .map(|(name, places)| (format!("limit:{name}"), *places));
            let target = (format!("target:{}", spec.target.name), 1);
            let pools = limits.chain([target, ("global".to_owned(), 1)]);
            let needs = pools.filter_map(|(pool, places)| Some((*indices.get(&*pool)?, places)));
            Entry {
                needs: needs.collect(),
                spec,
                state: State::Idle,
            }
        });
        Self {
            entries: entries.collect(),
            permits: Permits::new(pools),
            runner,
            pools: pools.iter().map(|pool| pool.name.as_str().into()).collect(),
            runs: JoinSet::new(),
            tasks: HashMap::new(),
            ids: Ids::default(),
            stop,
        }
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
        self.tell_pools(entry);
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
            self.tell_pools(entry);
            self.start(entry, ready);
        }
    }

    fn start(&mut self, entry: usize, ready: Ready) {
        let spec = self.entries[entry].spec.clone();
        let run = RunRef {
            spec: spec.info.clone(),
            id: self.ids.next(SystemTime::now()).into(),
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
        let handle = self
            .runs
            .spawn(async move { runner.run(&spec, task_run, begun, stop).await });
        self.tasks.insert(
            handle.id(),
            Task {
                entry,
                run,
                begun: Instant::now(),
            },
        );
    }

    /// Waits for a run to end and gives its places back. `None` when nothing runs.
    pub(super) async fn ended(&mut self) -> Option<(usize, Verdict)> {
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
                at: SystemTime::now(),
            });
            verdict
        });
        let entry = &mut self.entries[task.entry];
        entry.state = State::Idle;
        self.permits.release(&entry.needs);
        self.tell_pools(task.entry);
        Some((task.entry, verdict))
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
        for entry in 0..self.entries.len() {
            if let State::Waiting(_) = self.entries[entry].state {
                self.entries[entry].state = State::Idle;
                self.permits.give_up(entry);
                self.tell_pools(entry);
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

    fn tell_pools(&self, entry: usize) {
        for (pool, _) in &self.entries[entry].needs {
            let (in_use, waiting) = self.permits.usage(*pool);
            self.runner.exporters.export(&Event::PoolChanged {
                pool: self.pools[*pool].clone(),
                in_use,
                waiting,
            });
        }
    }
}
