//! How long and whether: the deadline and cancellation of a subtree, only ever narrowed.

use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// What a leaf is raced against.
#[derive(Debug, Clone)]
pub(super) struct Limits {
    /// When they began: what they are raced against is measured from here.
    pub(super) begun: Instant,
    pub(super) deadline: Instant,
    pub(super) cancel: CancellationToken,
}

impl Limits {
    /// From now on, for `timeout`.
    pub(super) fn from_now(timeout: Duration, cancel: &CancellationToken) -> Self {
        let begun = Instant::now();
        Self {
            begun,
            deadline: begun + timeout,
            cancel: cancel.clone(),
        }
    }

    /// The same, but no longer than `timeout` from now.
    pub(super) fn within(&self, timeout: Option<Duration>) -> Self {
        let begun = Instant::now();
        let own = timeout.map_or(self.deadline, |timeout| begun + timeout);
        Self {
            begun,
            deadline: self.deadline.min(own),
            cancel: self.cancel.clone(),
        }
    }
}
