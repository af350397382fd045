//! Dates and durations as people read them.

use std::time::{Duration, SystemTime};

/// The end of the year 9999, the last second that can be written.
const LAST: u64 = 253_402_300_799;

/// The moment so many seconds after 1970 began; what is too late to be written is the last that
/// is not.
#[must_use]
pub fn moment(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds.min(LAST))
}

/// A moment as RFC 3339 has it, in UTC and whole seconds.
#[must_use]
pub fn rfc3339(moment: SystemTime) -> String {
    humantime::format_rfc3339_seconds(moment).to_string()
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
