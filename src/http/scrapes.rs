//! When `/metrics` was scraped, so that a stop can wait for one last time.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::watch;
use tokio::time::{Instant, timeout};

/// How much later than expected the next scrape may come.
const SLACK: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub(super) struct Scrapes {
    seen: Mutex<Seen>,
    /// The number of the latest scrape that was finished.
    finished: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Seen {
    /// How many began.
    begun: u64,
    last: Option<(Instant, SystemTime)>,
    /// Between the last few, the latest first. Not only the latest one: of two scrapers that come
    /// right after each other, as a pair of Prometheus does, both are then away for long.
    intervals: [Option<Duration>; 4],
}

impl Scrapes {
    /// A scrape begins: its number.
    pub(super) fn begin(&self) -> u64 {
        let mut seen = self.seen();
        let now = Instant::now();
        let interval = seen.last.map(|(last, _)| now - last);
        seen.intervals.rotate_right(1);
        seen.intervals[0] = interval;
        seen.last = Some((now, crate::text::wall_clock()));
        seen.begun += 1;
        seen.begun
    }

    /// The scrape of this number has its answer, the last byte of it.
    pub(super) fn finish(&self, scrape: u64) {
        self.finished
            .send_modify(|latest| *latest = scrape.max(*latest));
    }

    /// The latest one that was finished.
    #[cfg(test)]
    pub(super) fn finished(&self) -> u64 {
        *self.finished.borrow()
    }

    pub(super) fn last(&self) -> Option<SystemTime> {
        self.seen().last.map(|(_, at)| at)
    }

    /// Waits for one whole scrape that has not begun yet: one that is under way may already have
    /// passed by what was counted just now. Not at all unless somebody comes regularly: whoever
    /// looked once, or is overdue, is not waited for.
    pub(super) async fn wait(&self, at_most: Duration) {
        let (begun, expected) = {
            let seen = self.seen();
            let longest = seen.intervals.iter().flatten().max();
            let next = seen
                .last
                .zip(longest)
                .map(|((last, _), interval)| last + *interval);
            (seen.begun, next)
        };
        let Some(expected) = expected else {
            return;
        };
        let left = (expected + SLACK).saturating_duration_since(Instant::now());
        let at_most = at_most.min(left);
        let mut finished = self.finished.subscribe();
        // Either way there is nothing more to wait for.
        let _ = timeout(at_most, finished.wait_for(|latest| *latest > begun)).await;
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::future::join;

    use super::*;

    async fn waited(scrapes: &Scrapes, at_most: u64) -> Duration {
        let begun = Instant::now();
        scrapes.wait(Duration::from_secs(at_most)).await;
        begun.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_waits_for_one_more_scrape() {
        let seconds = Duration::from_secs;
        let near = |waited: Duration, expected: u64| {
            assert_eq!(waited.as_millis() / 10, u128::from(expected) * 100);
        };
        let scrapes = Scrapes::default();
        near(waited(&scrapes, 30).await, 0);

        // Somebody who looked once is not waited for.
        scrapes.finish(scrapes.begin());
        assert!(scrapes.last().is_some());
        near(waited(&scrapes, 30).await, 0);

        // Fifteen seconds apart: a scraper that lives is back within sixteen.
        tokio::time::advance(seconds(15)).await;
        scrapes.begin();
        tokio::time::advance(seconds(15)).await;
        let under_way = scrapes.begin();
        near(waited(&scrapes, 3).await, 3);
        near(waited(&scrapes, 30).await, 13);
        near(waited(&scrapes, 30).await, 0);
        tokio::time::advance(seconds(14)).await;
        scrapes.begin();
        tokio::time::advance(seconds(15)).await;
        scrapes.begin();

        let next = async {
            scrapes.finish(under_way);
            tokio::time::sleep(seconds(4)).await;
            let next = scrapes.begin();
            tokio::time::sleep(seconds(1)).await;
            scrapes.finish(next);
        };
        near(join(waited(&scrapes, 30), next).await.0, 5);
    }

    #[tokio::test(start_paused = true)]
    async fn a_pair_of_scrapers_is_waited_for() {
        let scrapes = Scrapes::default();
        for _ in 0..3 {
            tokio::time::advance(Duration::from_secs(15)).await;
            scrapes.begin();
            tokio::time::advance(Duration::from_millis(5)).await;
            scrapes.begin();
        }
        assert!(waited(&scrapes, 30).await >= Duration::from_secs(16));
    }
}
