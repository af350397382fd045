//! One histogram as plain counts, which can be fitted to another ladder without losing any.

use std::sync::Arc;
use std::time::Duration;

/// Bounds that many histograms share, ascending, in seconds.
pub(super) type Bounds = Arc<[f64]>;

/// Durations, counted by size.
#[derive(Debug)]
pub(super) struct Histogram {
    bounds: Bounds,
    /// One for each bound; not cumulative.
    counts: Vec<u64>,
    /// Longer than the last bound.
    above: u64,
    sum: Duration,
}

impl Histogram {
    pub(super) fn new(bounds: &Bounds) -> Self {
        Self {
            bounds: Arc::clone(bounds),
            counts: vec![0; bounds.len()],
            above: 0,
            sum: Duration::ZERO,
        }
    }

    pub(super) fn observe(&mut self, duration: Duration) {
        let seconds = duration.as_secs_f64();
        let at = self.bounds.partition_point(|bound| *bound < seconds);
        *self.counts.get_mut(at).unwrap_or(&mut self.above) += 1;
        self.sum = self.sum.saturating_add(duration);
    }

    /// Takes on the ladder of a new plan. Ladders differ only in their length, so the counts below
    /// both ends stay as they are; bounds that go give their counts to `+Inf`, and new bounds begin
    /// with what was counted below them. Only what was longer than the old ladder, and so longer
    /// than every deadline of the old plan, stays in `+Inf` where a new bound could tell more.
    pub(super) fn fit(&mut self, bounds: &Bounds) {
        self.above += self.counts.iter().skip(bounds.len()).sum::<u64>();
        self.counts.resize(bounds.len(), 0);
        self.bounds = Arc::clone(bounds);
    }

    /// Each bound, and how many were no longer.
    pub(super) fn buckets(&self) -> impl Iterator<Item = (f64, u64)> {
        let mut below = 0;
        self.bounds
            .iter()
            .zip(&self.counts)
            .map(move |(bound, count)| {
                below += count;
                (*bound, below)
            })
    }

    pub(super) fn count(&self) -> u64 {
        self.counts.iter().sum::<u64>() + self.above
    }

    pub(super) fn sum(&self) -> Duration {
        self.sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cumulative(histogram: &Histogram) -> Vec<u64> {
        let buckets = histogram.buckets().map(|(_, count)| count);
        buckets.chain([histogram.count()]).collect()
    }

    #[test]
    fn bounds_belong_to_their_bucket() {
        let mut histogram = Histogram::new(&Bounds::from([0.25, 0.5]));
        for millis in [0, 250, 251, 500, 501] {
            histogram.observe(Duration::from_millis(millis));
        }
        assert_eq!(cumulative(&histogram), [2, 4, 5]);
        assert_eq!(histogram.sum(), Duration::from_millis(1502));
    }

    #[test]
    fn a_new_ladder_loses_nothing() {
        let (short, long) = (Bounds::from([0.25, 0.5]), Bounds::from([0.25, 0.5, 1.5]));
        let mut histogram = Histogram::new(&short);
        for millis in [100, 400, 800] {
            histogram.observe(Duration::from_millis(millis));
        }
        histogram.fit(&long);
        assert_eq!(cumulative(&histogram), [1, 2, 2, 3]);
        histogram.observe(Duration::from_secs(1));
        assert_eq!(cumulative(&histogram), [1, 2, 3, 4]);
        histogram.fit(&short);
        assert_eq!(cumulative(&histogram), [1, 2, 4]);
    }
}
