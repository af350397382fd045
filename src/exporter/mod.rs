//! Who is told what happens: metrics at once, the others through a bounded queue each.
//!
//! An exporter knows events and nothing of what makes them.

pub mod debounce;
pub mod history;
pub mod log;
pub mod metrics;
pub mod queue;
pub mod report;
pub mod terminal;

#[cfg(test)]
pub(crate) mod sample;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What a panic left behind is counters: they are as good as before.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A duration for people: `0.4 ms`, `412 ms`, `12.3 s`, `2m 3s`.
pub(crate) fn brief(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    if seconds < 0.01 {
        format!("{:.1} ms", seconds * 1e3)
    } else if seconds < 1.0 {
        format!("{:.0} ms", seconds * 1e3)
    } else if seconds < 100.0 {
        format!("{seconds:.1} s")
    } else {
        humantime::format_duration(Duration::from_secs(duration.as_secs())).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_brief() {
        for (millis, text) in [
            (0.4, "0.4 ms"),
            (412.2, "412 ms"),
            (12_345.0, "12.3 s"),
            (123_400.0, "2m 3s"),
        ] {
            assert_eq!(brief(Duration::from_secs_f64(millis / 1e3)), text);
        }
    }
}
