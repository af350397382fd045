//! When which spec is due: pure, over durations since an origin. It knows no clock and no task.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use crate::grid::Grid;

/// The due times of many specs: one heap, of which the owner sleeps until the top.
#[derive(Debug, Default)]
pub struct Schedule {
    heap: BinaryHeap<Reverse<(Duration, usize)>>,
    entries: Vec<Entry>,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    grid: Grid,
    /// The next slot that has no outcome yet.
    next: u64,
}

/// A spec whose slot has fallen due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    /// Which, in the order of adding.
    pub entry: usize,
    /// When its latest slot fell due.
    pub slot: Duration,
    /// How many slots before that one have gone by unseen.
    pub missed: u64,
}

impl Schedule {
    /// Adds a spec; entries are numbered from 0.
    pub fn add(&mut self, grid: Grid) {
        self.heap.push(Reverse((grid.slot(0), self.entries.len())));
        self.entries.push(Entry { grid, next: 0 });
    }

    /// Adds a spec that was entry `index` of an earlier schedule with the same origin: its slots
    /// go on where that one left them.
    pub fn carry_on(&mut self, earlier: &Self, index: usize) {
        let Entry { grid, next } = earlier.entries[index];
        let due = Reverse((grid.slot(next), self.entries.len()));
        self.heap.push(due);
        self.entries.push(Entry { grid, next });
    }

    /// The grid of an entry.
    #[must_use]
    pub fn grid(&self, entry: usize) -> Grid {
        self.entries[entry].grid
    }

    /// When the next slot falls due.
    #[must_use]
    pub fn next_due(&self) -> Option<Duration> {
        self.heap.peek().map(|Reverse((due, _))| *due)
    }

    /// Takes one spec that is due by `now`. Everything follows from the grid and `now`: slots are
    /// not counted as they happen, so none can be lost.
    pub fn take_due(&mut self, now: Duration) -> Option<Due> {
        let mut top = self.heap.peek_mut()?;
        let Reverse((due, index)) = *top;
        if due > now {
            return None;
        }
        let entry = &mut self.entries[index];
        let fallen = entry.grid.due_by(now);
        let missed = fallen.saturating_sub(entry.next + 1);
        let slot = entry.grid.slot(fallen.saturating_sub(1));
        entry.next = fallen;
        *top = Reverse((entry.grid.slot(fallen), index));
        Some(Due {
            entry: index,
            slot,
            missed,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// A thousand specs for a simulated day, the loop stalled now and then: every due slot is
    /// taken or missed, and none moves off its grid.
    #[test]
    fn a_day_of_a_thousand_specs_with_stalls_loses_nothing() {
        let day = 86_400 * SECOND;
        let grids: Vec<_> = (0..1000u64)
            .map(|spec| {
                let interval = Duration::from_millis(20_000 + 97 * spec);
                Grid::new(
                    &format!("t/s-{spec}/"),
                    interval,
                    Duration::from_secs(1_790_000_123),
                    Duration::ZERO,
                )
            })
            .collect();
        let mut schedule = Schedule::default();
        for grid in &grids {
            schedule.add(*grid);
        }
        let (mut taken, mut missed) = (vec![0u64; grids.len()], vec![0u64; grids.len()]);
        let mut wakes = 0u64;
        while let Some(due) = schedule.next_due().filter(|due| *due <= day) {
            wakes += 1;
            // Mostly on time; every thousandth wake is late by a minute, every 9,973rd by an hour.
            let stall = match wakes {
                wake if wake % 9973 == 0 => 3600 * SECOND,
                wake if wake % 1000 == 0 => 60 * SECOND,
                _ => Duration::ZERO,
            };
            let now = (due + stall).min(day);
            while let Some(due) = schedule.take_due(now) {
                assert!(due.slot <= now);
                let since = due
                    .slot
                    .checked_sub(grids[due.entry].then)
                    .unwrap_or_default();
                let off = since.as_nanos() % grids[due.entry].interval.as_nanos();
                assert_eq!(off, 0, "slots do not drift");
                taken[due.entry] += 1;
                missed[due.entry] += due.missed;
            }
        }
        assert!(missed.iter().sum::<u64>() > 1000, "the stalls did stall");
        for (index, grid) in grids.iter().enumerate() {
            assert_eq!(taken[index] + missed[index], grid.due_by(day));
        }
    }
}
