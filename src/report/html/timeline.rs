//! The axis of the page and the bars on it, as SVG with positions in per cent of its width.

use time::{Duration, Month};

use super::row::{Row, State};
use super::words::Text;
use crate::format::text;
use crate::model::Timestamp;

/// Space to the left of now for expired certificates, in per cent.
const PAST: f64 = 4.0;
/// Space to the right of the last day for arrows, in per cent.
const BEYOND: f64 = 3.0;
/// Smallest width of a bar, in per cent, so that an end within an hour is visible.
const THINNEST: f64 = 0.7;

/// Length of the shortest axis: days must be distinguishable from weeks.
const SHORTEST: Duration = Duration::days(45);
/// Length of the longest axis: a kubeadm leaf of a year, and a month. Later ends get an arrow.
const LONGEST: Duration = Duration::days(396);

/// Height of a bar in CSS pixels, which the style centers.
const BAR: u32 = 14;

/// Time from now to the last day of the axis.
pub struct Axis {
    now: Timestamp,
    length: Duration,
    /// Time of the next cycle.
    pub cycle: Option<Timestamp>,
    /// Time when the next maintenance window opens.
    pub window: Option<Timestamp>,
}

impl Axis {
    /// Returns an axis that reaches the last of `ends` within a year.
    pub fn new(now: Timestamp, ends: impl Iterator<Item = Timestamp>) -> Self {
        let near = ends.map(|end| -> Duration { end - now }).filter(|left| *left < LONGEST);
        let longest: Duration = near.max().unwrap_or(LONGEST);
        let length: Duration = longest + longest / 16;
        Self {
            now,
            length: length.clamp(SHORTEST, LONGEST),
            cycle: None,
            window: None,
        }
    }

    fn is_beyond(&self, at: Timestamp) -> bool {
        at - self.now > self.length
    }

    /// Returns the position of a time, in per cent of the width. Times outside of the axis are at
    /// its edge.
    fn place(&self, at: Timestamp) -> f64 {
        let share = (at - self.now).as_seconds_f64() / self.length.as_seconds_f64();
        PAST + share.clamp(0.0, 1.0) * (100.0 - PAST - BEYOND)
    }

    /// Returns the first days of months, or of weeks (Mondays) on a short axis.
    fn ticks(&self) -> Vec<(Timestamp, String)> {
        let is_short = self.length < Duration::days(120);
        let midnight = self.now.replace_time(time::Time::MIDNIGHT);
        let days = (1..=self.length.whole_days()).map(|n| midnight + Duration::days(n));
        let is_tick = |day: &Timestamp| {
            if is_short {
                day.weekday() == time::Weekday::Monday
            } else {
                day.day() == 1
            }
        };
        let label = |day: Timestamp| {
            let month = &day.month().to_string()[..3];
            let words = match (is_short, day.month()) {
                (true, _) => format!("{month} {}", day.day()),
                (false, Month::January) => day.year().to_string(),
                (false, _) => month.to_owned(),
            };
            (day, words)
        };
        days.filter(is_tick).map(label).collect()
    }

    /// Returns the lines that all rows refer to: the ticks and the important times.
    pub fn grid(&self) -> String {
        let line = |class: &str, at: Timestamp| {
            let x = self.place(at);
            format!("<line class=\"{class}\" x1=\"{x:.2}%\" x2=\"{x:.2}%\" y1=\"0\" y2=\"100%\"/>")
        };
        let ticks = self.ticks().into_iter().map(|(at, _)| line("tick", at));
        let marks = [("window", self.window), ("cycle", self.cycle), ("now", Some(self.now))];
        let marks = marks
            .into_iter()
            .filter_map(|(class, at)| Some(line(class, at.filter(|at| !self.is_beyond(*at))?)));
        let lines: String = ticks.chain(marks).collect();
        format!(
            "<svg class=\"defs\" width=\"0\" height=\"0\" aria-hidden=\"true\"><defs><symbol id=\"grid\">{lines}</symbol>\
             <pattern id=\"hatch\" width=\"6\" height=\"6\" patternUnits=\"userSpaceOnUse\" patternTransform=\"rotate(45)\">\
             <rect class=\"gap\" width=\"2.5\" height=\"6\"/></pattern></defs></svg>\n"
        )
    }

    /// Returns the names of the months above the bars. Labels that would overlap are left out.
    pub fn head(&self) -> String {
        let mut free = PAST + 5.0;
        let mut labels = format!("<text class=\"today\" x=\"{PAST:.2}%\" y=\"14\">now</text>");
        for (at, words) in self.ticks() {
            let x = self.place(at);
            if x < free || x > 98.0 {
                continue;
            }
            free = x + 5.6;
            let class = if words.starts_with(char::is_numeric) {
                " class=\"year\""
            } else {
                ""
            };
            labels.push_str(&format!("<text{class} x=\"{x:.2}%\" y=\"14\">{words}</text>"));
        }
        format!("<svg class=\"axis\" width=\"100%\" height=\"20\" aria-hidden=\"true\">{labels}</svg>")
    }

    /// Returns the bar of a row: solid until it is due, and light from there to its end. A due one
    /// is solid to its end.
    pub fn bar(&self, row: &Row) -> String {
        let rect = |class: &str, (from, to): (f64, f64)| {
            let width = (to - from).max(THINNEST);
            format!("<rect class=\"{class}\" x=\"{from:.2}%\" y=\"50%\" width=\"{width:.2}%\" height=\"{BAR}\"/>")
        };
        let mut drawn = String::from("<use href=\"#grid\" width=\"100%\" height=\"100%\"/>");
        if let Some(end) = row.expires {
            let start = self.place(self.now);
            let whole = if end < self.now {
                (1.0, start - 0.5)
            } else {
                (start, self.place(end))
            };
            drawn.push_str(&rect("bar", whole));
            if let Some(due) = row.due.filter(|due| *due > self.now && !self.is_beyond(*due)) {
                drawn.push_str(&rect("light", (self.place(due), whole.1)));
            }
            if matches!(row.state, State::Blocked | State::Expired) {
                drawn.push_str(&rect("hatch", whole));
            }
            if self.is_beyond(end) {
                // A nested picture puts the arrow, which has a fixed size, at the end of a bar with
                // a relative width.
                let x = whole.1;
                drawn.push_str(&format!(
                    "<svg x=\"{x:.2}%\" y=\"50%\"><path class=\"bar\" d=\"M0 0 L10 7 L0 14 Z\"/></svg>"
                ));
            }
        }
        format!(
            "<svg class=\"row\" role=\"img\" aria-label=\"{}\">{drawn}</svg>",
            Text(&self.label(row))
        )
    }

    fn label(&self, row: &Row) -> String {
        let when = match row.expires {
            None => "no end is known".to_owned(),
            Some(end) if end < self.now => format!("expired {}", text::date(end)),
            Some(end) => format!("ends {}", text::date(end)),
        };
        let due = row.due.filter(|due| *due > self.now).map(text::date);
        let due = due.map_or_else(String::new, |due| format!(", due from {due}"));
        format!("{}: {when}{due}", row.name)
    }
}
