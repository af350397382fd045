//! Ids of runs: sorted by time, unique over restarts, short enough for a name.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

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

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    use std::time::Duration;

    #[test]
    fn ids_are_unique_and_sorted_by_time() {
        let ids = Ids::default();
        let now = SystemTime::now();
        let many: HashSet<_> = (0..10_000).map(|_| ids.next(now)).collect();
        assert_eq!(many.len(), 10_000);
        let later = ids.next(now + Duration::from_millis(1));
        assert!(many.iter().all(|id| id.len() == 13 && *id < later));
    }
}
