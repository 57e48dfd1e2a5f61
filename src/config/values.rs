//! Single values: parses text, and names the allowed values in every error.

use std::path::PathBuf;
use std::time::Duration;

use croner::Cron;
use jiff::civil::Time;
use jiff::tz::{TimeZone, TimeZoneDatabase};
use strum::VariantArray;

use crate::format::text;

pub(super) fn cron(text: &str) -> Result<(Cron, String), String> {
    let fields = match text.split_whitespace().count() {
        5 => format!("0 {text}"),
        // croner would take a seventh field for a year, and a year ends.
        7.. => return Err(format!("`{text}` is not a cron schedule: it has more than six fields")),
        _ => text.to_owned(),
    };
    let parsed = croner::parser::CronParser::builder()
        .seconds(croner::parser::Seconds::Required)
        // croner 3 accepted `/10` and `5/10`, so that they stay valid.
        .sloppy_ranges(true)
        .build()
        .parse(&fields)
        .map_err(|e| {
            format!(
                "`{text}` is not a cron schedule ({e}); six fields with seconds first, or five without, \
                 for example `0 17 3 * * *`"
            )
        })?;
    Ok((parsed, text.to_owned()))
}

/// Parses the exact IANA name of a time zone.
///
/// jiff's database is built into the program, so a node needs no zone files. jiff itself ignores
/// case and takes `Etc/Unknown` for UTC.
pub(super) fn time_zone(name: &str) -> Result<TimeZone, String> {
    let zone = TimeZoneDatabase::bundled().get(name).ok();
    zone.filter(|zone| zone.iana_name() == Some(name))
        .ok_or_else(|| format!("no time zone `{name}`, give an IANA name such as Europe/Berlin"))
}

/// Parses a time of day, `HH:MM`.
pub(super) fn time_of_day(text: &str) -> Result<Time, String> {
    Time::strptime("%H:%M", text).map_err(|_| format!("`{text}` is not a time of day, for example `02:30`"))
}

pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let parsed = humantime::parse_duration(text)
        .map_err(|e| format!("`{text}` is not a duration ({e}); for example `30d` or `12h`"))?;
    // X.509 dates end in the year 9999 (RFC 5280, 4.1.2.5). A century is far below that, and far
    // above any use.
    if parsed < Duration::from_secs(60) || parsed > Duration::from_secs(100 * 366 * 86_400) {
        return Err(format!("`{text}` is not between 1m and 100 years"));
    }
    Ok(parsed)
}

/// Parses a duration between these numbers of seconds.
pub(super) fn seconds(given: &str, least: u64, most: u64) -> Result<Duration, String> {
    let parsed = humantime::parse_duration(given)
        .map_err(|e| format!("`{given}` is not a duration ({e}); for example `30s`"))?;
    let allowed = Duration::from_secs(least)..=Duration::from_secs(most);
    let [least, most] = [allowed.start(), allowed.end()].map(|end| text::duration(*end));
    let message = || format!("`{given}` is not between {least} and {most}");
    allowed.contains(&parsed).then_some(parsed).ok_or_else(message)
}

/// Parses a duration as [`duration`] does, or `0s`.
pub(super) fn duration_or_none(text: &str) -> Result<Duration, String> {
    if text == "0s" {
        Ok(Duration::ZERO)
    } else {
        duration(text).map_err(|e| format!("{e}, nor `0s`"))
    }
}

/// Returns the variant whose word is `text`.
pub(super) fn one_of<T: VariantArray + Copy + Into<&'static str>>(text: &str) -> Result<T, String> {
    let words: Vec<&str> = T::VARIANTS.iter().map(|variant| (*variant).into()).collect();
    let at = words.iter().position(|word| *word == text);
    at.map(|at| T::VARIANTS[at])
        .ok_or_else(|| format!("`{text}` is not one of {}", words.join(", ")))
}

/// Parses `https://HOST:PORT`, without anything after it.
pub(super) fn endpoint(text: &str) -> Result<String, String> {
    let address = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let parts = address.and_then(|address| address.rsplit_once(':'));
    let is_host = |c: char| c.is_ascii_alphanumeric() || "-.:[]".contains(c);
    match parts {
        Some((host, port)) if !host.is_empty() && host.chars().all(is_host) && port.parse::<u16>().is_ok() => {
            Ok(text.to_owned())
        }
        _ => Err(format!(
            "`{text}` is not an endpoint; for example `https://10.0.0.11:2379`"
        )),
    }
}

pub(super) fn path(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    if !path.is_absolute() || path.components().any(|c| c == std::path::Component::ParentDir) || text.contains('\0') {
        return Err(format!("`{text}` is not an absolute path without `..`"));
    }
    Ok(path)
}

pub(super) fn path_or_auto(text: &str) -> Result<Option<PathBuf>, String> {
    if text == "auto" {
        return Ok(None);
    }
    path(text).map(Some).map_err(|e| format!("{e}, nor `auto`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_zone_is_known_by_its_exact_name() {
        for name in ["UTC", "Europe/Berlin", "Asia/Calcutta", "US/Eastern", "Etc/GMT+3"] {
            let zone = time_zone(name).unwrap();
            assert_eq!(zone.iana_name(), Some(name));
        }
        for name in ["utc", "europe/berlin", "Etc/Unknown", "Europe/Nowhere", ""] {
            assert!(time_zone(name).is_err(), "{name}");
        }
    }

    #[test]
    fn the_program_knows_every_time_zone_without_files() {
        let database = TimeZoneDatabase::bundled();
        let all: Vec<_> = database.available().collect();
        let unknown: Vec<_> = all.iter().filter(|name| time_zone(name.as_str()).is_err()).collect();
        assert!(unknown.is_empty(), "{unknown:?}");
        assert!(all.len() > 590, "{} zones", all.len());
    }

    #[test]
    fn a_step_without_a_range_stays_a_schedule() {
        for text in ["0 5/10 * * * *", "0 /10 * * * *", "*/5 * * * *"] {
            assert!(cron(text).is_ok(), "{text}");
        }
    }
}
