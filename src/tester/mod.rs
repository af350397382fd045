//! The bounded Tester: one task that owns the schedule, the permits and the running runs.
//!
//! Whatever changes them happens in this one loop, so no lock guards a slot's outcome. Each run is
//! a task of its own in a set that the loop owns and awaits.

mod dispatch;
mod permits;
mod schedule;
mod timetable;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout_at};

pub use permits::{Needs, Permits};
pub use schedule::{Due, Schedule};

use crate::event::{Event, PoolInfo};
use crate::grid::Grid;
use crate::outcome::{SlotOutcome, Verdict};
use crate::runner::{Runner, Stop};
use crate::spec::Scheduled;
use dispatch::{Dispatch, Ready};
use timetable::{Clock, Timetable};

/// How long killed teardowns have to notice before their tasks are dropped.
const AFTER_KILL: Duration = Duration::from_millis(500);

/// Told at regular times by the scheduler loop itself, and only while it turns.
pub struct Heartbeat {
    /// How often.
    pub every: Duration,
    /// What to do; must not wait.
    pub beat: Box<dyn Fn() + Send>,
}

/// What is run, and in what bounds.
#[derive(Clone, Default)]
pub struct Work {
    /// What is run.
    pub scheduled: Vec<Arc<Scheduled>>,
    /// The pools that runs take places in; the last one is the global pool.
    pub pools: Vec<PoolInfo>,
}

/// The tester.
pub struct Tester {
    /// The runner of all runs.
    pub runner: Arc<Runner>,
    /// What it begins with.
    pub work: Work,
    /// What takes the place of the work while it serves.
    pub next: mpsc::Receiver<Work>,
    /// How it is stopped.
    pub stop: Stop,
}

impl Tester {
    /// Runs every spec at its times until stopped; then cancels what runs and waits for teardowns,
    /// for `grace` at most. Returns how many runs had to be dropped after that.
    pub async fn serve(mut self, grace: Duration, heartbeat: Option<Heartbeat>) -> usize {
        let clock = Clock::start();
        let mut timetable = Timetable::new(clock, &self.work.scheduled);
        let exporters = self.runner.exporters.clone();
        let mut pools = self.work.pools.clone();
        let mut dispatch = Dispatch::new(self.runner, self.work, self.stop.clone());
        exporters.export(&timetable.told(&dispatch, &pools));
        let mut next_beat = heartbeat
            .as_ref()
            .map(|heartbeat| clock.origin + heartbeat.every);
        // Whether what was told last holds specs that only end their last run.
        let mut retiring = false;
        loop {
            let next_due = timetable.schedule.next_due().map(|due| clock.origin + due);
            tokio::select! {
                biased;
                () = self.stop.cancel.cancelled() => break,
                () = at(next_due) => {
                    timetable.take_due(&mut dispatch);
                    dispatch.start_ready();
                }
                () = at(next_beat) => {
                    if let (Some(heartbeat), Some(at)) = (&heartbeat, next_beat) {
                        (heartbeat.beat)();
                        next_beat = Some(at.max(Instant::now()) + heartbeat.every);
                    }
                }
                Some(work) = self.next.recv() => {
                    // What fell due until now is the old plan's, and has its outcome there.
                    let now = timetable.take_due(&mut dispatch);
                    timetable = timetable.next(now, &work.scheduled);
                    pools.clone_from(&work.pools);
                    dispatch.renew(work);
                    retiring = dispatch.retiring().next().is_some();
                    exporters.export(&timetable.told(&dispatch, &pools));
                    dispatch.tell_all_pools();
                    dispatch.start_ready();
                }
                Some(_) = dispatch.ended() => {
                    dispatch.start_ready();
                    if retiring && dispatch.retiring().next().is_none() {
                        retiring = false;
                        exporters.export(&timetable.told(&dispatch, &pools));
                    }
                }
            }
        }
        // Slots that fell due before this instant and were not seen yet still get an outcome.
        let now = clock.origin.elapsed();
        while let Some(due) = timetable.schedule.take_due(now) {
            dispatch.outcome(due.entry, SlotOutcome::Missed, due.missed + 1);
        }
        exporters.export(&Event::ScheduleStopped { at: now });
        dispatch.abandon_waiting();
        drain(&mut dispatch, &self.stop, Instant::now() + grace).await
    }

    /// Runs every spec once, bounded, in order; stops early when cancelled. Returns the verdicts
    /// of the runs that began.
    pub async fn run_once(mut self, grace: Duration) -> Vec<(Arc<Scheduled>, Verdict)> {
        // Nobody comes later whom places had to be kept for.
        for pool in &mut self.work.pools {
            pool.share = 0;
        }
        let never = |spec: &Arc<Scheduled>| (spec.info.clone(), Grid::never(spec.info.interval));
        let specs: Vec<_> = self.work.scheduled.iter().map(never).collect();
        let count = specs.len();
        self.runner.exporters.export(&Event::PlanLoaded {
            specs,
            pools: self.work.pools.clone(),
            origin: Instant::now().into_std(),
            since: Duration::ZERO,
        });
        let mut dispatch = Dispatch::new(self.runner, self.work, self.stop.clone());
        for entry in 0..count {
            dispatch.wait(entry, Ready::once());
        }
        dispatch.start_ready();
        let mut verdicts = Vec::new();
        while dispatch.is_running() {
            tokio::select! {
                biased;
                () = self.stop.cancel.cancelled() => break,
                Some(ended) = dispatch.ended() => {
                    verdicts.push(ended);
                    dispatch.start_ready();
                }
            }
        }
        dispatch.forget_waiting();
        let end = Instant::now() + grace;
        while dispatch.is_running() {
            match timeout_at(end, dispatch.ended()).await {
                Ok(Some(ended)) => verdicts.push(ended),
                Ok(None) => break,
                Err(_) => {
                    self.stop.kill.cancel();
                    drain(&mut dispatch, &self.stop, Instant::now()).await;
                }
            }
        }
        verdicts
    }
}

/// Waits for what runs; at `end` teardowns are cut short, and what still runs a moment later is
/// dropped: the journal owes it. Returns how many were dropped.
async fn drain(dispatch: &mut Dispatch, stop: &Stop, end: Instant) -> usize {
    for end in [end, end.max(Instant::now()) + AFTER_KILL] {
        while dispatch.is_running() {
            if timeout_at(end, dispatch.ended()).await.is_err() {
                break;
            }
        }
        stop.kill.cancel();
    }
    dispatch.drop_all().await
}

/// Sleeps until then, or for ever.
async fn at(instant: Option<Instant>) {
    match instant {
        Some(instant) => sleep_until(instant).await,
        None => std::future::pending().await,
    }
}
