//! When the slots of a scheduled spec fall due: pure arithmetic, nothing is counted as it happens.
//!
//! Times are durations since the schedule's origin, a monotonic instant. Slot 0 is the first run
//! after a start; slot n is `then + (n - 1) · interval`.

use std::hash::Hasher;
use std::time::Duration;

/// No spec waits longer than this for its first run after a start.
pub const FIRST_WITHIN: Duration = Duration::from_secs(60);

/// The due times of one scheduled spec.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grid {
    /// The first run after the start.
    pub first: Duration,
    /// The first slot of the grid proper: half an interval or more after `first`.
    pub then: Duration,
    /// From one slot to the next.
    pub interval: Duration,
}

impl Grid {
    /// The grid of the spec called `key`, for a schedule whose origin is `epoch` after the Unix
    /// epoch, from `now` after the origin on.
    ///
    /// The grid proper is anchored to the epoch with a phase from a hash of the key, so restarts
    /// and reloads do not move it; the same hash spreads the first runs.
    #[must_use]
    pub fn new(key: &str, interval: Duration, epoch: Duration, now: Duration) -> Self {
        let interval = interval.max(Duration::from_millis(1));
        let mut hasher = fnv::FnvHasher::default();
        hasher.write(key.as_bytes());
        let share = fraction(hasher.finish());
        let phase = interval.mul_f64(share);
        let first = now + interval.min(FIRST_WITHIN).mul_f64(share);
        let past = (epoch + first).as_nanos() % interval.as_nanos();
        let past = Duration::from_nanos(u64::try_from(past).unwrap_or(u64::MAX));
        let ahead = (phase + interval).saturating_sub(past);
        let ahead = match ahead.checked_sub(interval) {
            Some(rest) if !rest.is_zero() => rest,
            _ => ahead,
        };
        // A slot right behind the first run would only be an overlap.
        let ahead = if ahead < interval / 2 {
            ahead + interval
        } else {
            ahead
        };
        Self {
            first,
            then: first + ahead,
            interval,
        }
    }

    /// A grid without any slot: for what runs outside a schedule, or will not run again.
    #[must_use]
    pub fn never(interval: Duration) -> Self {
        // Beyond every uptime, and far from where durations overflow.
        let far = Duration::from_secs(u64::from(u32::MAX));
        Self {
            first: far,
            then: far,
            interval,
        }
    }

    /// How many slots have fallen due by `now`.
    #[must_use]
    pub fn due_by(&self, now: Duration) -> u64 {
        if now < self.first {
            return 0;
        }
        match now.checked_sub(self.then) {
            None => 1,
            Some(since) => {
                let further = since.as_nanos() / self.interval.as_nanos();
                2 + u64::try_from(further).unwrap_or(u64::MAX - 2)
            }
        }
    }

    /// When slot `index` falls due.
    #[must_use]
    pub fn slot(&self, index: u64) -> Duration {
        let Some(further) = index.checked_sub(1) else {
            return self.first;
        };
        let nanos = u128::from(further) * self.interval.as_nanos();
        self.then
            + Duration::new(
                u64::try_from(nanos / 1_000_000_000).unwrap_or(u64::MAX / 2),
                u32::try_from(nanos % 1_000_000_000).unwrap_or(0),
            )
    }
}

/// Spreads similar keys over [0, 1): the high bits of FNV alone hardly differ between `a-1` and
/// `a-2`, so they are mixed once more (the finaliser of splitmix64).
fn fraction(hash: u64) -> f64 {
    let mixed = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    let high = u32::try_from((mixed ^ (mixed >> 31)) >> 32).unwrap_or(0);
    f64::from(high) / (f64::from(u32::MAX) + 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DAY: Duration = Duration::from_secs(86_400);

    #[test]
    fn the_grid_is_the_same_after_a_restart() {
        let interval = Duration::from_secs(3600);
        let epoch = Duration::from_secs(1_790_000_000);
        let before = Grid::new("staging/session/", interval, epoch, Duration::ZERO);
        let gone = Duration::from_secs(12_345);
        let after = Grid::new("staging/session/", interval, epoch + gone, Duration::ZERO);
        let phase =
            |grid: &Grid, epoch: Duration| (epoch + grid.then).as_nanos() % interval.as_nanos();
        assert_eq!(phase(&before, epoch), phase(&after, epoch + gone));
    }

    #[test]
    fn similar_names_are_spread_evenly() {
        let minute = Duration::from_secs(60);
        let mut tenths = [0; 10];
        for spec in 0..1000 {
            let grid = Grid::new(&format!("t/spec-{spec}/"), minute, DAY, Duration::ZERO);
            tenths[usize::try_from(grid.first.as_millis() / 6000).unwrap()] += 1;
        }
        assert!(
            tenths.iter().all(|tenth| (70..=130).contains(tenth)),
            "{tenths:?}"
        );
    }

    proptest! {
        #[test]
        fn slots_are_counted_as_they_fall(
            key in "[a-z]{1,8}", interval in 100u64..10_000_000, epoch in 0u64..4_000_000_000,
            now in 0u64..1_000_000, elapsed in 0u64..100_000_000,
        ) {
            let millis = Duration::from_millis;
            let grid = Grid::new(&key, millis(interval), Duration::from_secs(epoch), millis(now));
            prop_assert!(grid.first >= millis(now));
            prop_assert!(grid.first <= millis(now) + FIRST_WITHIN);
            prop_assert!(grid.then >= grid.first + grid.interval / 2);
            prop_assert!(grid.then <= grid.first + grid.interval * 3 / 2);
            let due = grid.due_by(millis(elapsed));
            if let Some(last) = due.checked_sub(1) {
                prop_assert!(grid.slot(last) <= millis(elapsed));
            }
            prop_assert!(grid.slot(due) > millis(elapsed));
        }
    }
}
