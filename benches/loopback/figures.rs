//! Many times as a few figures.

use std::time::Duration;

/// Times, shortest first, in seconds; a difference may be negative.
pub(crate) struct Figures(Vec<f64>);

impl Figures {
    pub(crate) fn new(seconds: impl IntoIterator<Item = f64>) -> Self {
        let mut seconds: Vec<_> = seconds.into_iter().collect();
        seconds.sort_by(f64::total_cmp);
        Self(seconds)
    }

    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// The value below which that share of all lies, in milliseconds; none of nothing.
    pub(crate) fn millis(&self, percent: usize) -> f64 {
        let last = self.0.len().saturating_sub(1);
        let at = (self.0.len() * percent / 100).min(last);
        self.0.get(at).map_or(f64::NAN, |seconds| seconds * 1e3)
    }

    /// The same for each of these, in columns.
    pub(crate) fn columns(&self, percents: &[usize]) -> String {
        let column = |percent: &usize| format!("{:>9.3}", self.millis(*percent));
        percents.iter().map(column).collect()
    }
}

/// As a number of milliseconds, for titles.
pub(crate) fn millis(time: Duration) -> String {
    format!("{} ms", time.as_millis())
}
