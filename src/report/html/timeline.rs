//! The one axis of the page and the bar of a row on it, as SVG whose places are shares of its width.

use time::{Duration, Month};

use super::row::{Row, State};
use super::words::Text;
use crate::format::text;
use crate::model::Timestamp;

/// Left of now there is this much room (per cent) for what has expired.
const PAST: f64 = 4.0;
/// Right of the last day there is this much for the arrow of what goes on.
const BEYOND: f64 = 3.0;
/// No bar is thinner, so that an end in an hour is seen.
const THINNEST: f64 = 0.7;

/// The shortest axis: what ends in days lies apart from what ends in weeks.
const SHORTEST: Duration = Duration::days(45);
/// The longest: a kubeadm leaf of a year and the month after it. What is beyond gets an arrow.
const LONGEST: Duration = Duration::days(396);

/// The height of a bar in CSS pixels; it is centred by the style.
const BAR: u32 = 14;

/// From now to the last day that is drawn.
pub struct Axis {
    now: Timestamp,
    length: Duration,
    /// When the next cycle acts.
    pub cycle: Option<Timestamp>,
    /// When the next maintenance window opens.
    pub window: Option<Timestamp>,
}

impl Axis {
    /// As long as it must be for the last of `ends` that is no more than a year away.
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

    /// Where an instant is, per cent of the width; what is out of the axis is at its edge.
    fn place(&self, at: Timestamp) -> f64 {
        let share = (at - self.now).as_seconds_f64() / self.length.as_seconds_f64();
        PAST + share.clamp(0.0, 1.0) * (100.0 - PAST - BEYOND)
    }

    /// The first days of months; of weeks (Mondays) where the axis is short.
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

    /// What every row refers to: the lines of the ticks and the instants that count.
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

    /// The months over the bars. Labels that would run into one another are left out.
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

    /// The bar of a row: solid until it is due, light from there to its end; solid to its end once it is due.
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
                // A nested picture puts the arrow, which has a size of its own, at the end of what has a share of the width.
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
