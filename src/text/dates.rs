//! Dates and durations as people read them.

use std::time::{Duration, SystemTime};

/// The end of the year 9999, the last second that can be written.
const LAST: u64 = 253_402_300_799;

/// What the clock of this machine says, or the nearest moment that can be written: 1970 if it says
/// an earlier one.
#[must_use]
pub fn wall_clock() -> SystemTime {
    within(clock())
}

/// What is wrong with the clock of this machine, if dates cannot be told by it.
#[must_use]
pub fn clock_fault() -> Option<&'static str> {
    fault(clock())
}

#[expect(clippy::disallowed_methods, reason = "the one place that reads it")]
fn clock() -> SystemTime {
    SystemTime::now()
}

fn within(moment: SystemTime) -> SystemTime {
    let last = SystemTime::UNIX_EPOCH + Duration::from_secs(LAST);
    moment.clamp(SystemTime::UNIX_EPOCH, last)
}

fn fault(moment: SystemTime) -> Option<&'static str> {
    match within(moment) {
        same if same == moment => None,
        SystemTime::UNIX_EPOCH => Some("the clock of this machine is before 1970: set it"),
        _ => Some("the clock of this machine is after 9999: set it"),
    }
}

/// The moment so many seconds after 1970 began; what is too late to be written is the last that
/// is not.
#[must_use]
pub fn moment(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds.min(LAST))
}

/// A moment as RFC 3339 has it, in UTC and whole seconds.
#[must_use]
pub fn rfc3339(moment: SystemTime) -> String {
    humantime::format_rfc3339_seconds(within(moment)).to_string()
}

/// A duration in whole days, hours, minutes or seconds.
#[must_use]
pub fn roughly(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (unit, name) = match seconds {
        172_800.. => (86_400, "days"),
        7_200.. => (3_600, "hours"),
        120.. => (60, "minutes"),
        _ => (1, "seconds"),
    };
    format!("{} {name}", seconds / unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_end_with_the_year_9999() {
        assert_eq!(rfc3339(moment(0)), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339(moment(u64::MAX)), "9999-12-31T23:59:59Z");
    }

    #[test]
    fn a_clock_that_tells_no_date_is_told() {
        let day = Duration::from_secs(86_400);
        let epoch = SystemTime::UNIX_EPOCH;
        for (clock, told, words) in [
            (epoch, "1970-01-01T00:00:00Z", None),
            (epoch + 20_000 * day, "2024-10-04T00:00:00Z", None),
            (epoch - day, "1970-01-01T00:00:00Z", Some("before 1970")),
            (
                epoch - 20_000 * day,
                "1970-01-01T00:00:00Z",
                Some("before 1970"),
            ),
            (
                epoch + 3_000_000 * day,
                "9999-12-31T23:59:59Z",
                Some("after 9999"),
            ),
        ] {
            assert_eq!(rfc3339(within(clock)), told);
            assert_eq!(rfc3339(clock), told);
            let fault = fault(clock);
            assert_eq!(fault.is_some(), words.is_some(), "{told}");
            assert!(
                fault
                    .unwrap_or_default()
                    .contains(words.unwrap_or_default())
            );
        }
        assert!(wall_clock() >= epoch);
    }

    #[test]
    fn durations_are_cut_to_what_matters() {
        for (seconds, text) in [
            (0, "0 seconds"),
            (119, "119 seconds"),
            (120, "2 minutes"),
            (7_199, "119 minutes"),
            (172_799, "47 hours"),
            (14 * 86_400 - 1, "13 days"),
        ] {
            assert_eq!(roughly(Duration::from_secs(seconds)), text);
        }
    }
}
