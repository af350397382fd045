//! The real program as a child process, against the rig and a real Prometheus: what the parts
//! promise one by one, tried on the whole.
//!
//! Nothing here is judged by a clock: what is waited for is asked for again and again, up to a
//! limit that only a broken program reaches. What was counted is compared with the rig's books.

mod accounts;
mod boards;
pub(crate) mod child;
mod daemon;
mod floods;
mod memory;
mod page;
mod prometheus;
mod reloads;
mod rough;
mod showcase;
mod surface;
mod watched;

use std::time::{Duration, Instant};

/// How long anything may take to come true on a machine that has much else to do.
const WITHIN: Duration = Duration::from_secs(40);

/// Looks again and again until there is something to see.
pub(crate) fn eventually<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    seen(look).unwrap_or_else(|| panic!("in {WITHIN:?} it never came to: {what}"))
}

/// The same, for those who have more to say when it never is.
#[expect(
    clippy::disallowed_methods,
    reason = "a pause of the test's own thread, which has no runtime"
)]
pub(crate) fn seen<T>(mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + WITHIN;
    loop {
        let seen = look();
        if seen.is_some() || Instant::now() > end {
            return seen;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
