//! The bounded Tester: one task that owns the schedule, the permits and the running runs.
//!
//! Whatever changes them happens in this one loop, so no lock guards a slot's outcome. Each run is
//! a task of its own in a set that the loop owns and awaits.

mod dispatch;
mod permits;
mod schedule;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::{Instant, sleep_until, timeout_at};

pub use permits::{Needs, Permits};
pub use schedule::{Due, Schedule};

use crate::event::{Event, PoolInfo};
use crate::grid::Grid;
use crate::outcome::{SlotOutcome, Verdict};
use crate::runner::{Runner, Stop};
use crate::spec::Scheduled;
use dispatch::{Dispatch, Ready};

/// How long killed teardowns have to notice before their tasks are dropped.
const AFTER_KILL: Duration = Duration::from_millis(500);

/// Told at regular times by the scheduler loop itself, and only while it turns.
pub struct Heartbeat {
    /// How often.
    pub every: Duration,
    /// What to do; must not wait.
    pub beat: Box<dyn Fn() + Send>,
}

/// What the tester runs.
pub struct Tester {
    /// The runner of all runs.
    pub runner: Arc<Runner>,
    /// What is run.
    pub scheduled: Vec<Arc<Scheduled>>,
    /// The pools that runs take places in; the last one is the global pool.
    pub pools: Vec<PoolInfo>,
    /// How it is stopped.
    pub stop: Stop,
}

impl Tester {
    /// Runs every spec at its times until stopped; then cancels what runs and waits for teardowns,
    /// for `grace` at most. Returns how many runs had to be dropped after that.
    pub async fn serve(self, grace: Duration, heartbeat: Option<Heartbeat>) -> usize {
        let origin = Instant::now();
        let epoch = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let mut schedule = Schedule::default();
        let mut specs = Vec::new();
        for spec in &self.scheduled {
            let key = spec.info.identity.to_string();
            let grid = Grid::new(&key, spec.info.interval, epoch, Duration::ZERO);
            schedule.add(grid);
            specs.push((spec.info.clone(), grid));
        }
        let exporters = self.runner.exporters.clone();
        exporters.export(&Event::PlanLoaded {
            specs,
            pools: self.pools.clone(),
            origin: origin.into_std(),
        });
        let mut dispatch =
            Dispatch::new(self.runner, self.scheduled, &self.pools, self.stop.clone());
        let mut next_beat = heartbeat.as_ref().map(|heartbeat| origin + heartbeat.every);
        loop {
            let next_due = schedule.next_due().map(|due| origin + due);
            tokio::select! {
                biased;
                () = self.stop.cancel.cancelled() => break,
                () = at(next_due) => {
                    let now = origin.elapsed();
                    while let Some(due) = schedule.take_due(now) {
                        dispatch.due(due, now);
                    }
                    dispatch.start_ready();
                }
                () = at(next_beat) => {
                    if let (Some(heartbeat), Some(at)) = (&heartbeat, next_beat) {
                        (heartbeat.beat)();
                        next_beat = Some(at.max(Instant::now()) + heartbeat.every);
                    }
                }
                Some(_) = dispatch.ended() => dispatch.start_ready(),
            }
        }
        // Slots that fell due before this instant and were not seen yet still get an outcome.
        let now = origin.elapsed();
        while let Some(due) = schedule.take_due(now) {
            dispatch.outcome(due.entry, SlotOutcome::Missed, due.missed + 1);
        }
        exporters.export(&Event::ScheduleStopped { at: now });
        dispatch.abandon_waiting();
        drain(&mut dispatch, &self.stop, Instant::now() + grace).await
    }

    /// Runs every spec once, bounded, in order; stops early when cancelled. Returns the verdicts
    /// of the runs that began.
    pub async fn run_once(self, grace: Duration) -> Vec<(Arc<Scheduled>, Verdict)> {
        let specs = self.scheduled.clone();
        let origin = Instant::now();
        let never = |spec: &Arc<Scheduled>| {
            let far = Duration::from_secs(u64::from(u32::MAX));
            let grid = Grid {
                first: far,
                then: far,
                interval: spec.info.interval,
            };
            (spec.info.clone(), grid)
        };
        self.runner.exporters.export(&Event::PlanLoaded {
            specs: specs.iter().map(never).collect(),
            pools: self.pools.clone(),
            origin: origin.into_std(),
        });
        let mut dispatch =
            Dispatch::new(self.runner, self.scheduled, &self.pools, self.stop.clone());
        for entry in 0..specs.len() {
            dispatch.wait(entry, Ready::once());
        }
        dispatch.start_ready();
        let mut verdicts = Vec::new();
        while dispatch.is_running() {
            tokio::select! {
                biased;
                () = self.stop.cancel.cancelled() => break,
                Some((entry, verdict)) = dispatch.ended() => {
                    verdicts.push((specs[entry].clone(), verdict));
                    dispatch.start_ready();
                }
            }
        }
        dispatch.forget_waiting();
        let end = Instant::now() + grace;
        while dispatch.is_running() {
            match timeout_at(end, dispatch.ended()).await {
                Ok(Some((entry, verdict))) => verdicts.push((specs[entry].clone(), verdict)),
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
