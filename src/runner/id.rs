//! Ids of runs: sorted by time, unique over restarts, short enough for a name.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Crockford's base 32 in lower case: no `i`, `l`, `o`, `u`.
const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// Makes ids: 42 bits of milliseconds since the Unix epoch, then 22 bits of a counter that starts
/// at random, so that two processes on one clock tick differ too.
#[derive(Debug)]
pub struct Ids {
    counter: AtomicU64,
}

impl Default for Ids {
    fn default() -> Self {
        Self {
            counter: AtomicU64::new(RandomState::new().build_hasher().finish()),
        }
    }
}

impl Ids {
    /// The next id: 13 characters.
    pub fn next(&self, now: SystemTime) -> String {
        let millis = now
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_millis();
        let millis = u64::try_from(millis).unwrap_or(u64::MAX);
        let count = self.counter.fetch_add(1, Ordering::Relaxed) & 0x3f_ffff;
        let bits = (millis << 22) | count;
        let digit = |place: u32| char::from(DIGITS[((bits >> (5 * place)) & 31) as usize]);
        (0..13).rev().map(digit).collect()
    }
}

/// When an id was made, if the text begins with one.
#[must_use]
pub(super) fn made_at(text: &str) -> Option<SystemTime> {
    let value = |byte: u8| DIGITS.iter().position(|digit| *digit == byte);
    let mut bits: u64 = 0;
    for byte in text.bytes().take(13) {
        bits = (bits << 5) | value(byte)? as u64;
    }
    let complete = text.len() >= 13;
    complete.then(|| UNIX_EPOCH + Duration::from_millis(bits >> 22))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn ids_are_unique_and_sorted_by_time() {
        let ids = Ids::default();
        let now = SystemTime::now();
        let many: HashSet<_> = (0..10_000).map(|_| ids.next(now)).collect();
        assert_eq!(many.len(), 10_000);
        let age = now
            .duration_since(made_at(&ids.next(now)).unwrap())
            .unwrap();
        assert!(age < Duration::from_millis(1));
        assert_eq!(made_at("short"), None);
        let later = ids.next(now + Duration::from_millis(1));
        assert!(many.iter().all(|id| id.len() == 13 && *id < later));
    }
}
