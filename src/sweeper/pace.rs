//! How soon a record is tried again: all in running time of this process, never by the wall clock.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use tokio::time::Instant;

/// The pause after the first failure; it doubles.
const FIRST: Duration = Duration::from_secs(1);

/// After so many failures in a row nobody waits for it any longer.
const HOPELESS: u32 = 4;

/// The longest pause.
const LONGEST: Duration = Duration::from_secs(60);

/// One record's tries.
#[derive(Debug)]
pub(super) struct Pace {
    since: Instant,
    next: Instant,
    failures: u32,
    /// Failures since it was last not found.
    in_a_row: u32,
    /// When the last try began.
    tried: Instant,
    not_found_since: Option<Instant>,
}

impl Default for Pace {
    fn default() -> Self {
        let now = Instant::now();
        Self {
            since: now,
            next: now,
            failures: 0,
            in_a_row: 0,
            tried: now,
            not_found_since: None,
        }
    }
}

impl Pace {
    /// Whether it may be tried.
    pub(super) fn is_due(&self) -> bool {
        self.next <= Instant::now()
    }

    /// A try begins.
    pub(super) fn begin(&mut self) {
        self.tried = Instant::now();
    }

    /// How long this process has known it.
    pub(super) fn age(&self) -> Duration {
        self.since.elapsed()
    }

    /// For how long it has certainly not been there: from the end of the first try that did not
    /// find it to the beginning of the last. An answer says nothing of the time it took to come.
    pub(super) fn not_found_for(&self) -> Duration {
        self.not_found_since
            .map(|since| self.tried.saturating_duration_since(since))
            .unwrap_or_default()
    }

    /// It was not found: once more in a while, and for certain when it may be believed.
    pub(super) fn not_found(&mut self, left: Duration) {
        self.not_found_since.get_or_insert_with(Instant::now);
        self.in_a_row = 0;
        self.pause();
        self.next = self.next.min(Instant::now() + left);
    }

    /// It failed, or could not be tried.
    pub(super) fn failed(&mut self) {
        // Whatever was not found before must be looked for anew.
        self.not_found_since = None;
        self.in_a_row += 1;
        self.pause();
    }

    /// Whether it fails so often that whoever waits for it need not wait longer.
    pub(super) fn keeps_failing(&self) -> bool {
        self.in_a_row >= HOPELESS
    }

    /// Somebody asked for it.
    pub(super) fn now(&mut self) {
        self.next = Instant::now();
    }

    fn pause(&mut self) {
        let pause = FIRST
            .saturating_mul(1 << self.failures.min(10))
            .min(LONGEST);
        self.failures += 1;
        // A quarter of it at random, so that the records of one crash do not come back together.
        let random = RandomState::new().hash_one(self.failures) % 256;
        let random = u32::try_from(random).unwrap_or_default();
        self.next = Instant::now() + pause - pause.mul_f64(f64::from(random) / 1024.0);
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_slow_answer_proves_nothing_about_the_time_it_took() {
        let second = Duration::from_secs(1);
        let mut pace = Pace::default();
        let try_once = async |pace: &mut Pace| {
            pace.begin();
            advance(10 * second).await;
            pace.not_found_for()
        };
        assert_eq!(try_once(&mut pace).await, Duration::ZERO);
        pace.not_found(30 * second);
        advance(25 * second).await;
        assert_eq!(try_once(&mut pace).await, 25 * second);
        pace.not_found(5 * second);
        advance(5 * second).await;
        assert!(pace.is_due());
        assert!(try_once(&mut pace).await >= 30 * second);
    }
}
