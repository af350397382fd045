//! Ids of runs: sorted by time, unique over restarts, short enough for a name, and known again.
//!
//! A name of ours, `INSTANCE-ID`, stands on targets beside names that others gave. What is deleted
//! because of its name alone must not be theirs: the last characters of an id are a check over it
//! and the instance, its time is a likely one, and the name ends there or goes on after a separator.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::spec::prefix;

/// Crockford's base 32 in lower case: no `i`, `l`, `o`, `u`.
const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// Characters of an id: 75 bits.
const LENGTH: usize = 15;

/// Characters of an id before there was a check.
const OLD_LENGTH: usize = 13;

/// The bits of a time, of a counter and of a check.
const COUNTER: u32 = 17;
const CHECK: u32 = 21;

/// What times are counted in: 37 bits of it are 69 years.
const TICK: Duration = Duration::from_millis(16);

/// The beginning of 2026, in seconds: no testerd ran before.
const FIRST: Duration = Duration::from_secs(1_767_225_600);

/// How far the clock that a name was given by may be ahead of ours.
const AHEAD: Duration = Duration::from_secs(600);

/// Makes ids: the time, then a counter that starts at random, so that two processes on one clock
/// tick differ too, then the check.
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
    /// The next id of an instance: 15 characters.
    pub fn next(&self, instance: &str, now: SystemTime) -> String {
        let since = now.duration_since(UNIX_EPOCH + FIRST).unwrap_or_default();
        let ticks = since.as_millis() / TICK.as_millis();
        let count = self.counter.fetch_add(1, Ordering::Relaxed) & ((1 << COUNTER) - 1);
        let bits = (ticks << COUNTER) | u128::from(count);
        let bits = (bits << CHECK) | u128::from(check(instance, bits));
        let digit = |place: usize| char::from(DIGITS[((bits >> (5 * place)) & 31) as usize]);
        (0..LENGTH).rev().map(digit).collect()
    }
}

/// What follows the time and the counter.
fn check(instance: &str, bits: u128) -> u64 {
    let mut hasher = fnv::FnvHasher::default();
    hasher.write(prefix(instance).as_bytes());
    hasher.write(&bits.to_be_bytes());
    let hash = hasher.finish();
    (hash ^ (hash >> CHECK) ^ (hash >> (2 * CHECK))) & ((1 << CHECK) - 1)
}

/// The id in the name of something.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found<'a> {
    pub(super) id: &'a str,
    pub(super) made: SystemTime,
    /// Whether the check is right. Without one it is an old id, or only looks like one.
    pub(super) checked: bool,
}

/// Finds the id of a run of this instance in a name.
pub(super) fn find<'a>(instance: &str, name: &'a str, now: SystemTime) -> Option<Found<'a>> {
    let rest = name.strip_prefix(&prefix(instance))?;
    let ended = |id: &str| {
        let next = rest[id.len()..].chars().next();
        next.is_none_or(|next| "-_.@:/+ ".contains(next))
    };
    let found = |id: &'a str, made: SystemTime, checked: bool| {
        // A clock that was never set gives ids of the first day, and finds them.
        let latest = now.max(UNIX_EPOCH + FIRST) + AHEAD;
        let likely = made >= UNIX_EPOCH + FIRST && made <= latest;
        (likely && ended(id)).then_some(Found { id, made, checked })
    };
    let new = || {
        let id = rest.get(..LENGTH)?;
        let bits = number(id)?;
        let told = bits & ((1 << CHECK) - 1);
        let bits = bits >> CHECK;
        let ticks = u32::try_from(bits >> COUNTER >> 5).ok()?;
        let low = u32::try_from((bits >> COUNTER) & 31).ok()?;
        let made = UNIX_EPOCH + FIRST + TICK * 32 * ticks + TICK * low;
        (u128::from(check(instance, bits)) == told).then(|| found(id, made, true))?
    };
    let old = || {
        let id = rest.get(..OLD_LENGTH)?;
        let millis = u64::try_from(number(id)? >> 22).ok()?;
        found(id, UNIX_EPOCH + Duration::from_millis(millis), false)
    };
    new().or_else(old)
}

fn number(text: &str) -> Option<u128> {
    let digit = |byte: u8| DIGITS.iter().position(|digit| *digit == byte);
    text.bytes().try_fold(0, |bits, byte| {
        Some((bits << 5) | u128::try_from(digit(byte)?).ok()?)
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    /// A day in which this was written, so that no test depends on another.
    fn now() -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_796_000_000)
    }

    #[test]
    fn ids_are_unique_and_sorted_by_time() {
        let ids = Ids::default();
        let many: HashSet<_> = (0..10_000).map(|_| ids.next("lab", now())).collect();
        assert_eq!(many.len(), 10_000);
        let later = ids.next("lab", now() + TICK);
        assert!(many.iter().all(|id| id.len() == LENGTH && *id < later));
    }

    #[test]
    fn a_name_of_ours_is_known_again() {
        let ids = Ids::default();
        for instance in ["ci", "ci-2", "t0123456", "a-very-long-name-of-24-c"] {
            for end in [
                "",
                "-a",
                "_a",
                ".txt",
                "@example.com",
                "/x",
                ":1",
                " (copy)",
            ] {
                let id = ids.next(instance, now());
                let name = format!("{instance}-{id}{end}");
                let found = find(instance, &name, now()).expect("it is ours");
                assert!(found.checked && found.id == id, "{name}");
                let age = now().duration_since(found.made).unwrap();
                assert!(age < TICK, "{age:?}");
                // Neither another instance's, whichever of the two names begins with the other,
                // nor one that goes on as no template of ours does.
                for other in ["ci", "ci-2", "ci-", "c", "t0123456", "lab"] {
                    let taken = find(other, &name, now()).is_some();
                    assert_eq!(taken, other == instance, "{name} and {other}");
                }
                assert_eq!(
                    find(instance, &format!("{instance}-{id}x{end}"), now()),
                    None
                );
                assert_eq!(find(instance, &format!("x{name}"), now()), None);
            }
        }
        assert!(40 >= "a-very-long-name-of-24-c-".len() + LENGTH);
    }

    #[test]
    fn one_wrong_character_is_noticed() {
        let ids = Ids::default();
        let mut taken = 0;
        for _ in 0..200 {
            let id = ids.next("ci", now());
            for place in 0..LENGTH {
                for digit in DIGITS.iter().map(|digit| char::from(*digit)) {
                    let change = |(at, old)| if at == place { digit } else { old };
                    let changed: String = id.chars().enumerate().map(change).collect();
                    let name = format!("ci-{changed}");
                    let found = find("ci", &name, now());
                    taken += usize::from(changed != id && found.is_some());
                }
            }
        }
        assert!(taken <= 2, "{taken} of 93,000");
    }

    #[test]
    fn an_old_name_is_perhaps_ours() {
        // Of September 2026, without a check.
        let old = "6gc8m3c01anan";
        for (name, perhaps) in [
            (format!("ci-{old}"), true),
            (format!("ci-{old}-data"), true),
            (format!("ci-{old}0"), false),
            (format!("ci-{old}00"), false),
            ("ci-0000000000000".to_owned(), false),
            ("ci-zzzzzzzzzzzzz".to_owned(), false),
            ("ci-6gc8m3c01ana".to_owned(), false),
            ("ci-".to_owned(), false),
            ("ci".to_owned(), false),
            ("ci-ünïcödé-ünïcödé".to_owned(), false),
        ] {
            let found = find("ci", &name, now());
            assert_eq!(found.is_some(), perhaps, "{name}");
            assert!(found.is_none_or(|found| !found.checked), "{name}");
        }
        // Not before it was made.
        let before = UNIX_EPOCH + Duration::from_secs(1_789_000_000);
        assert_eq!(find("ci", &format!("ci-{old}"), before), None);
    }

    #[test]
    fn ids_of_a_clock_that_was_never_set_are_found() {
        let (ids, year) = (Ids::default(), Duration::from_secs(365 * 86_400));
        for clock in [UNIX_EPOCH, UNIX_EPOCH + year, UNIX_EPOCH + 55 * year] {
            let (one, two) = (ids.next("ci", clock), ids.next("ci", clock));
            assert_ne!(one, two);
            // Also when it was set in the meantime; until then nothing is old.
            for later in [clock, clock + year, now()] {
                let name = format!("ci-{one}");
                let found = find("ci", &name, later).unwrap();
                assert_eq!((found.made, found.checked), (UNIX_EPOCH + FIRST, true));
            }
        }
    }

    /// A million names that others give after the same prefix: hashes, ids of git, uuids, ULIDs,
    /// times, and random texts of just the right length.
    #[test]
    fn no_name_of_others_is_taken() {
        // Numbers that look random and are the same each time.
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut next = || {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            mixed ^ (mixed >> 31)
        };
        let millis = now().duration_since(UNIX_EPOCH).unwrap().as_millis();
        let base32 = |mut bits: u128, length: usize| -> String {
            let mut text = Vec::new();
            for _ in 0..length {
                text.push(DIGITS[usize::try_from(bits & 31).unwrap()]);
                bits >>= 5;
            }
            text.reverse();
            String::from_utf8(text).unwrap()
        };
        for round in 0..1_000_000_u64 {
            let (a, b) = (next(), next());
            let both = (u128::from(a) << 64) | u128::from(b);
            let text = match round % 10 {
                0 => format!("{a:016x}"),
                1 => format!("{both:032x}"),
                2 => format!("{:015x}", a >> 4),
                3 => format!("{:07x}", a >> 36),
                4 => uuid::Uuid::from_u128(both).to_string(),
                // A ULID of these days, whole and cut.
                5 => base32((millis << 80) | (both >> 48), 26),
                6 => base32((millis << 80) | (both >> 48), 26)[..LENGTH].to_owned(),
                7 => (millis + u128::from(a >> 40)).to_string(),
                _ => base32(both, LENGTH),
            };
            let name = format!("ci-{text}");
            let found = find("ci", &name, now());
            assert!(found.is_none_or(|found| !found.checked), "{name}");
        }
    }
}
