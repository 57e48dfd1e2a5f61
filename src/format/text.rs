//! Text for people: dates, durations, tables.

use std::time::Duration;

use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

use crate::model::Timestamp;

const KUBEADM: &[BorrowedFormatItem<'_>] = format_description!("[month repr:short] [day], [year] [hour]:[minute] UTC");
const RFC3339: &[BorrowedFormatItem<'_>] = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z");

/// Returns `Nov 23, 2027 18:43 UTC`, kubeadm's format.
pub fn date(at: Timestamp) -> String {
    at.format(KUBEADM).unwrap_or_default()
}

/// Returns text from a file that is safe to show: one line, without control characters (which steer
/// terminals and forge lines of a log), and of limited length.
pub fn printable(text: &str) -> String {
    const LONGEST: usize = 300;
    let clean = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    let mut out: String = text.chars().take(LONGEST).map(clean).collect();
    if text.chars().nth(LONGEST).is_some() {
        out.push('\u{2026}');
    }
    out
}

/// Returns `a, b, c`. Of more than thirty names it counts the rest, since people read the result.
pub fn list(names: &[&str]) -> String {
    const SHOWN: usize = 30;
    match names.len().saturating_sub(SHOWN) {
        0 => names.join(", "),
        more => format!("{} and {more} more", names[..SHOWN].join(", ")),
    }
}

/// Returns `2027-11-23T18:43:08Z`.
pub fn rfc3339(at: Timestamp) -> String {
    at.format(RFC3339).unwrap_or_default()
}

/// Parses the output of [`rfc3339`].
pub fn parse_rfc3339(text: &str) -> Option<Timestamp> {
    Some(time::PrimitiveDateTime::parse(text, RFC3339).ok()?.assume_utc())
}

/// Returns a size in the largest unit of 1024 that keeps a digit before the point: `128.4 MiB`.
pub fn bytes(count: u64) -> String {
    let mut value = count as f64;
    let mut units = ["B", "KiB", "MiB", "GiB", "TiB"].into_iter();
    let mut unit = units.next().unwrap_or_default();
    for next in units {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
        unit = next;
    }
    if unit == "B" {
        format!("{count} B")
    } else {
        format!("{value:.1} {unit}")
    }
}

/// Returns a size as a whole number of the largest unit that fits: `20GiB`.
pub fn exact_bytes(count: u64) -> String {
    let mut value = count;
    let mut units = ["B", "KiB", "MiB", "GiB", "TiB"].into_iter();
    while value > 0 && value.is_multiple_of(1024) && units.len() > 1 {
        value /= 1024;
        units.next();
    }
    format!("{value}{}", units.next().unwrap_or_default())
}

/// Parses the output of [`exact_bytes`], with or without a blank before the unit: `20GiB`, `500
/// MiB`.
pub fn parse_bytes(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let power = match text[digits.len()..].trim() {
        "B" => 0,
        "KiB" => 1,
        "MiB" => 2,
        "GiB" => 3,
        "TiB" => 4,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(1024_u64.pow(power))
}

/// Returns a time left in its largest unit, as `duration.ShortHumanDuration` of kubernetes
/// `apimachinery` prints it; `<invalid>` for the past.
pub fn residual(left: time::Duration) -> String {
    let seconds = left.whole_seconds();
    match seconds {
        ..-1 => "<invalid>".into(),
        -1 => "0s".into(),
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..86_400 => format!("{}h", seconds / 3600),
        86_400..31_536_000 => format!("{}d", seconds / 86_400),
        _ => format!("{}y", seconds / 31_536_000),
    }
}

/// Returns `30d`, `1d 12h`, `90s`: days, hours, minutes and seconds, which the configuration can
/// read.
pub fn duration(of: Duration) -> String {
    let mut left = of.as_secs();
    let mut parts = Vec::new();
    for (unit, seconds) in [("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)] {
        if left >= seconds {
            parts.push(format!("{}{unit}", left / seconds));
            left %= seconds;
        }
    }
    if parts.is_empty() { "0s".into() } else { parts.join(" ") }
}

/// Returns a table as Go's `tabwriter` formats it with minimum width 10 and three blanks between
/// columns. All cells except a row's last are padded.
pub fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = rows
            .iter()
            .filter(|row| column + 1 < row.len())
            .map(|row| row[column].chars().count() + 3);
        cells.max().unwrap_or(0).max(10)
    };
    let widths: Vec<_> = (0..columns).map(width).collect();
    let mut out = String::new();
    for row in rows {
        for (column, cell) in row.iter().enumerate() {
            out.push_str(cell);
            if column + 1 < row.len() {
                out.extend(std::iter::repeat_n(' ', widths[column] - cell.chars().count()));
            }
        }
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn residual_times_are_short_human_durations() {
        let of = |seconds| residual(time::Duration::seconds(seconds));
        assert_eq!(
            [of(-2), of(-1), of(59), of(3599), of(86_399)],
            ["<invalid>", "0s", "59s", "59m", "23h"]
        );
        assert_eq!([of(86_400), of(31_535_999), of(31_536_000)], ["1d", "364d", "1y"]);
    }

    #[test]
    fn of_many_names_thirty_are_listed() {
        assert_eq!(list(&["a", "b"]), "a, b");
        assert!(list(&["a"; 32]).ends_with("a, a and 2 more"));
    }

    #[test]
    fn bytes_have_binary_units() {
        assert_eq!(
            [bytes(0), bytes(1023), bytes(1536), bytes(128 << 20)],
            ["0 B", "1023 B", "1.5 KiB", "128.0 MiB"]
        );
        assert_eq!(
            [parse_bytes("20GiB"), parse_bytes("500 MiB")],
            [Some(20 << 30), Some(500 << 20)]
        );
        assert_eq!(
            [
                parse_bytes("20"),
                parse_bytes("GiB"),
                parse_bytes("99999999TiB"),
                parse_bytes("1GB")
            ],
            [None; 4]
        );
    }

    #[test]
    fn durations_read_back_as_they_were() {
        for text in ["30d", "365d", "1d 12h", "1m 30s"] {
            assert_eq!(duration(humantime::parse_duration(text).unwrap()), text);
        }
    }
}
