//! Text in the page: escaped, with times in words.

use std::fmt::{self, Write as _};

use crate::format::text;
use crate::model::Timestamp;

/// Text from files, for example a name or a reason. No character of it becomes markup, or changes
/// the direction of the text after it.
pub struct Text<'a>(pub &'a str);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in text::printable(self.0).chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                // Marks that change the direction of writing (Unicode TR 36, 2.10.1).
                '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => f.write_char('\u{fffd}')?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

/// Returns a time for people and for programs.
pub fn instant(at: Timestamp) -> String {
    format!("<time datetime=\"{}\">{}</time>", text::rfc3339(at), text::date(at))
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
    fn no_character_of_a_text_is_markup_or_turns_the_direction() {
        let shown = Text("<b a='1' c=\"2\">&\u{1b}[1m\u{202e}x").to_string();
        assert_eq!(
            shown,
            "&lt;b a=&#39;1&#39; c=&quot;2&quot;&gt;&amp;\u{fffd}[1m\u{fffd}x"
        );
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
