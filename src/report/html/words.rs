//! Words of the page: text from files, times and numbers.

use maud::{Markup, html};

use crate::format::text;
use crate::model::Timestamp;

/// Returns text from files, for example a name or a reason, without control characters and without
/// marks that change the direction of writing (Unicode TR 36, 2.10.1). The templates escape it.
pub fn plain(text: &str) -> String {
    let is_direction = |c| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text::printable(text).replace(is_direction, "\u{fffd}")
}

/// Returns a time for people and for programs.
pub fn instant(at: Timestamp) -> Markup {
    html! { time datetime=(text::rfc3339(at)) { (text::date(at)) } }
}

/// Returns the distance of a time: `in 3 days`, `2 hours ago`. Whole units, rounded towards now.
pub fn away(at: Timestamp, now: Timestamp) -> String {
    let seconds = (at - now).whole_seconds();
    let (count, unit) = match seconds.unsigned_abs() {
        0..60 => return "now".into(),
        s @ 60..7200 => (s / 60, "minute"),
        s @ 7200..172_800 => (s / 3600, "hour"),
        s @ 172_800..63_072_000 => (s / 86_400, "day"),
        s => (s / 31_536_000, "year"),
    };
    let plural = if count == 1 { "" } else { "s" };
    if seconds < 0 {
        format!("{count} {unit}{plural} ago")
    } else {
        format!("in {count} {unit}{plural}")
    }
}

/// Returns a number with its noun: `1 credential`, `3 credentials`.
pub fn count(number: usize, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::Duration;
    use time::macros::datetime;

    #[test]
    fn text_becomes_neither_markup_nor_a_direction() {
        let text = plain("<b a='1' c=\"2\">&\u{1b}[1m\u{202e}x");
        // Attributes stand in double quotes, so that an apostrophe ends none.
        let shown = html! { p title=(text) { (text) } }.into_string();
        let escaped = "&lt;b a='1' c=&quot;2&quot;&gt;&amp;\u{fffd}[1m\u{fffd}x";
        assert_eq!(shown, format!("<p title=\"{escaped}\">{escaped}</p>"));
    }

    #[test]
    fn distances_are_cut_towards_now() {
        let now = datetime!(2027-01-01 00:00 UTC);
        let of = |by: Duration| away(now + by, now);
        assert_eq!(of(Duration::seconds(-59)), "now");
        assert_eq!(of(Duration::seconds(119)), "in 1 minute");
        assert_eq!(of(Duration::hours(47)), "in 47 hours");
        assert_eq!(of(Duration::hours(-71)), "2 days ago");
        assert_eq!(of(Duration::days(365)), "in 365 days");
        assert_eq!(of(Duration::days(3652)), "in 10 years");
    }
}
