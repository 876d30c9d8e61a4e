//! Wall-clock time as people and the log write it: microseconds since the epoch, ISO 8601 in UTC, ages such as `2h`.

use std::time::{SystemTime, UNIX_EPOCH};

const SECOND: i64 = 1_000_000;
const DAY: i64 = 86_400 * SECOND;

/// Microseconds since the epoch, UTC.
pub fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

/// `2026-01-31T12:34:56.789Z`
pub fn iso(micros: i64) -> String {
    let (year, month, day) = civil(micros.div_euclid(DAY));
    let within = micros.rem_euclid(DAY);
    let (seconds, millis) = (within / SECOND, within % SECOND / 1000);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}

/// A date, a date with a time (UTC unless it has an offset), or an age (`90s`, `30m`, `2h`, `7d`, `2w`) before now.
pub fn parse(text: &str) -> Option<i64> {
    if let Some((at, unit)) = text.char_indices().last()
        && let Some(seconds) = [('s', 1), ('m', 60), ('h', 3600), ('d', 86_400), ('w', 604_800)]
            .iter()
            .find_map(|(name, seconds)| (*name == unit).then_some(*seconds))
    {
        let age: i64 = text[..at].parse().ok().filter(|count| *count >= 0)?;
        return now().checked_sub(age.checked_mul(seconds)?.checked_mul(SECOND)?);
    }
    let (date, time) = match text.split_once(['T', ' ']) {
        Some((date, time)) => (date, Some(time)),
        None => (text, None),
    };
    let mut parts = date.splitn(3, '-').map(|part| part.parse::<i64>().ok());
    let (year, month, day) = (parts.next()??, parts.next()??, parts.next()??);
    let days = days(year, month, day);
    if civil(days) != (year, month, day) {
        return None;
    }
    Some(days * DAY + time.map_or(Some(0), time_of_day)?)
}

fn time_of_day(text: &str) -> Option<i64> {
    let (time, offset) = match text.find(['Z', '+', '-']) {
        Some(at) if &text[at..] == "Z" => (&text[..at], 0),
        Some(at) => {
            let sign = if text.as_bytes()[at] == b'-' { -1 } else { 1 };
            let (hours, minutes) = text[at + 1..].split_once(':').unwrap_or((&text[at + 1..], "0"));
            (&text[..at], sign * (number(hours, 24)? * 3600 + number(minutes, 60)? * 60))
        }
        None => (text, 0),
    };
    let mut parts = time.splitn(3, ':');
    let (hour, minute) = (number(parts.next()?, 24)?, number(parts.next()?, 60)?);
    let second: f64 =
        parts.next().unwrap_or("0").parse().ok().filter(|second| (0.0..60.0).contains(second))?;
    #[expect(clippy::cast_possible_truncation, reason = "below 60 million")]
    let micros = (second * 1e6).round() as i64;
    Some((hour * 3600 + minute * 60 - offset) * SECOND + micros)
}

fn number(text: &str, below: i64) -> Option<i64> {
    text.parse().ok().filter(|number| (0..below).contains(number))
}

/// Year, month, day of a day since the epoch, in the proleptic Gregorian calendar (Howard Hinnant's `civil_from_days`).
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year + era * 400 + i64::from(month <= 2), month, day)
}

/// The inverse of `civil`.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_and_read() {
        assert_eq!(iso(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(iso(951_782_399_999_999), "2000-02-28T23:59:59.999Z");
        assert_eq!(iso(1_709_164_800_000_000), "2024-02-29T00:00:00.000Z");
        assert_eq!(parse("2024-02-29"), Some(1_709_164_800_000_000));
        assert_eq!(parse("2024-02-29T02:30+02:30"), Some(1_709_164_800_000_000));
        assert_eq!(parse("2000-02-28T23:59:59.5Z").map(iso).as_deref(), Some("2000-02-28T23:59:59.500Z"));
        assert!(parse("2h").is_some_and(|then| (now() - then - 7200 * SECOND).abs() < SECOND));
        for wrong in ["", "s", "-2h", "yesterday", "2024-02-30", "2024-01-01T25:00", "2024", "ä"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
