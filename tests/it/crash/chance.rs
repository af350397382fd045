//! Chance from a seed, and how long is waited by it.

use std::time::Duration;

/// Chance, from a seed.
pub(super) struct Chance(pub(super) u64);

impl Chance {
    /// Below `bound`.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        // splitmix64
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (x ^ (x >> 31)) % bound
    }
}

/// A number that is told from outside.
pub(super) fn number(variable: &str, default: u64) -> u64 {
    let given = std::env::var(variable).ok();
    given.map_or(default, |text| text.parse().expect(variable))
}

#[expect(
    clippy::disallowed_methods,
    reason = "when to kill is left to chance, which is the test"
)]
pub(super) fn pause(duration: Duration) {
    std::thread::sleep(duration);
}
