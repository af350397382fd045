//! Dates as the manager reads and writes them. When anything happens is no affair of this file.

use std::time::{Duration, SystemTime};

/// As in answers: ISO 8601 in UTC with microseconds and an offset.
pub(super) fn written(time: SystemTime) -> String {
    let text = humantime::format_rfc3339_micros(time).to_string();
    format!("{}+00:00", text.trim_end_matches('Z'))
}

/// As Python prints one: with a space in the middle.
pub(super) fn printed(time: SystemTime) -> String {
    written(time).replace('T', " ")
}

/// A `Date` header: the time, and its day in its own time zone as `20260102`.
pub(super) fn read(text: &str) -> Option<(SystemTime, String)> {
    let iso = plain(text).unwrap_or_else(|| text.to_owned());
    let (local, ahead, offset) = split_zone(&iso);
    let time = humantime::parse_rfc3339_weak(local).ok()?;
    let time = if ahead {
        time.checked_sub(offset)?
    } else {
        time.checked_add(offset)?
    };
    let day: String = iso.get(..10)?.split('-').collect();
    Some((time, day))
}

/// `Sun, 22 Nov 2026 19:40:06 GMT` → `2026-11-22 19:40:06`.
fn plain(text: &str) -> Option<String> {
    const MONTHS: &str = "JanFebMarAprMayJunJulAugSepOctNovDec";
    let mut words = text.split_once(", ")?.1.split(' ');
    let (day, month, year, clock) = (words.next()?, words.next()?, words.next()?, words.next()?);
    let month = MONTHS.find(month)? / 3 + 1;
    Some(format!("{year}-{month:02}-{day:0>2} {clock}"))
}

/// The text without its zone, whether the zone is ahead of UTC, and by how much it differs.
fn split_zone(text: &str) -> (&str, bool, Duration) {
    let bare = text.strip_suffix('Z').unwrap_or(text);
    let zone = bare
        .len()
        .checked_sub(6)
        .and_then(|at| bare.split_at_checked(at));
    let parsed = zone.and_then(|(local, zone)| {
        let (hours, minutes) = zone.get(1..)?.split_once(':')?;
        let minutes = hours.parse::<u64>().ok()? * 60 + minutes.parse::<u64>().ok()?;
        let ahead = zone.starts_with('+');
        (ahead || zone.starts_with('-')).then(|| (local, ahead, Duration::from_secs(minutes * 60)))
    });
    parsed.unwrap_or((bare, true, Duration::ZERO))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_formats_that_clients_send_are_read() {
        let noon = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_348_800);
        for (text, day) in [
            ("2026-11-22T12:00:00+00:00", "20261122"),
            ("2026-11-22T12:00:00Z", "20261122"),
            ("2026-11-22T12:00:00", "20261122"),
            ("2026-11-23T01:30:00+13:30", "20261123"),
            ("2026-11-21T23:00:00-13:00", "20261121"),
            ("Sun, 22 Nov 2026 12:00:00 GMT", "20261122"),
        ] {
            assert_eq!(read(text), Some((noon, day.to_owned())), "{text}");
        }
        let (exact, _) = read("2026-11-22T12:00:00.678901+00:00").unwrap();
        assert_eq!(written(exact), "2026-11-22T12:00:00.678901+00:00");
        assert_eq!(printed(exact), "2026-11-22 12:00:00.678901+00:00");
        for text in ["", "soon", "2026-11-22", "+00:00", "Sun, 22"] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
