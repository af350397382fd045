//! Which spec has which grid: the schedule of one plan, and how the next plan takes it over.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use tokio::time::Instant;

use super::dispatch::Dispatch;
use super::schedule::Schedule;
use crate::event::{Event, PoolInfo, SpecInfo};
use crate::grid::Grid;
use crate::spec::Scheduled;

/// When the schedule began, by both clocks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    pub(super) origin: Instant,
    epoch: Duration,
}

impl Clock {
    pub(super) fn start() -> Self {
        Self {
            origin: Instant::now(),
            epoch: crate::text::wall_clock()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default(),
        }
    }

    fn grid(&self, spec: &SpecInfo, now: Duration) -> Grid {
        Grid::new(&spec.identity.to_string(), spec.interval, self.epoch, now)
    }
}

/// The schedule of one plan.
pub(super) struct Timetable {
    clock: Clock,
    /// Since when it holds, after the origin.
    since: Duration,
    /// In the order of the schedule's entries.
    specs: Vec<Arc<SpecInfo>>,
    pub(super) schedule: Schedule,
}

impl Timetable {
    /// The first one.
    pub(super) fn new(clock: Clock, scheduled: &[Arc<Scheduled>]) -> Self {
        let nothing = Self {
            clock,
            since: Duration::ZERO,
            specs: Vec::new(),
            schedule: Schedule::default(),
        };
        nothing.next(Duration::ZERO, scheduled)
    }

    /// The one of the next plan. Who was there before at the same interval keeps its grid and what
    /// is due next; all others begin like after a start.
    pub(super) fn next(&self, now: Duration, scheduled: &[Arc<Scheduled>]) -> Self {
        let before: HashMap<_, _> = self
            .specs
            .iter()
            .enumerate()
            .map(|(entry, spec)| ((&spec.identity, spec.interval), entry))
            .collect();
        let mut schedule = Schedule::default();
        for spec in scheduled {
            match before.get(&(&spec.info.identity, spec.info.interval)) {
                Some(entry) => schedule.carry_on(&self.schedule, *entry),
                None => schedule.add(self.clock.grid(&spec.info, now)),
            }
        }
        Self {
            clock: self.clock,
            since: now,
            specs: scheduled.iter().map(|spec| spec.info.clone()).collect(),
            schedule,
        }
    }

    /// Hands over everything that is due by now, and says when that was.
    pub(super) fn take_due(&mut self, dispatch: &mut Dispatch) -> Duration {
        let now = self.clock.origin.elapsed();
        while let Some(due) = self.schedule.take_due(now) {
            dispatch.due(due, now);
        }
        now
    }

    /// The plan for those who want to know. Whoever is gone but for a last run is still in it, so
    /// that this run ends among the counts in which it began; nothing of it falls due any more.
    pub(super) fn told(&self, dispatch: &Dispatch, pools: &[PoolInfo]) -> Event {
        let specs = self.specs.iter().cloned().enumerate();
        let specs = specs.map(|(entry, spec)| (spec, self.schedule.grid(entry)));
        let retiring = dispatch.retiring().cloned();
        let retiring = retiring.map(|spec| (Grid::never(spec.interval), spec));
        let retiring = retiring.map(|(grid, spec)| (spec, grid));
        Event::PlanLoaded {
            specs: specs.chain(retiring).collect(),
            pools: pools.to_vec(),
            origin: self.clock.origin.into_std(),
            since: self.since,
        }
    }
}
