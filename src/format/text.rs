//! Words for people: dates, durations, tables.

use std::time::Duration;

use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

use crate::model::Timestamp;

const KUBEADM: &[BorrowedFormatItem<'_>] = format_description!("[month repr:short] [day], [year] [hour]:[minute] UTC");
const RFC3339: &[BorrowedFormatItem<'_>] = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z");

/// `Nov 23, 2027 18:43 UTC`, kubeadm's format.
pub fn date(at: Timestamp) -> String {
    at.format(KUBEADM).unwrap_or_default()
}

/// `2027-11-23T18:43:08Z`.
pub fn rfc3339(at: Timestamp) -> String {
    at.format(RFC3339).unwrap_or_default()
}

/// Whether a text is what [`rfc3339`] gives.
pub fn is_rfc3339(text: &str) -> bool {
    time::PrimitiveDateTime::parse(text, RFC3339).is_ok()
}

/// The largest unit alone, as `duration.ShortHumanDuration` of kubernetes `apimachinery` prints it; `<invalid>` for the past.
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

/// `30d`, `1d 12h`, `90s`: days, hours, minutes and seconds, which the configuration reads back.
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

/// A table as Go's `tabwriter` sets it with minimum width 10 and three blanks between columns: every cell but a row's last is padded.
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
    fn durations_read_back_as_they_were() {
        for text in ["30d", "365d", "1d 12h", "1m 30s"] {
            assert_eq!(duration(humantime::parse_duration(text).unwrap()), text);
        }
    }
}
