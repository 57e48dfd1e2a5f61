//! The axis of the page and the bars on it, as SVG with positions in per cent of its width.

use maud::{Markup, html};
use time::{Duration, Month};

use super::LINE;
use super::row::{Row, State};
use super::words::plain;
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
    pub fn grid(&self) -> Markup {
        let ticks = self.ticks().into_iter().map(|(at, _)| ("tick", Some(at)));
        let marks = [("window", self.window), ("cycle", self.cycle), ("now", Some(self.now))];
        let lines = ticks
            .chain(marks)
            .filter_map(|(class, at)| Some((class, percent(self.place(at.filter(|at| !self.is_beyond(*at))?)))));
        html! {
            svg class="defs" width="0" height="0" aria-hidden="true" {
                defs {
                    symbol id="grid" {
                        @for (class, x) in lines {
                            line class=(class) x1=(x) x2=(x) y1="0" y2="100%" {}
                        }
                    }
                    pattern id="hatch" width="6" height="6" patternUnits="userSpaceOnUse"
                        patternTransform="rotate(45)" {
                        rect class="gap" width="2.5" height="6" {}
                    }
                }
            }
            (LINE)
        }
    }

    /// Returns the names of the months above the bars. Labels that would overlap are left out.
    pub fn head(&self) -> Markup {
        let mut free = PAST + 5.0;
        let mut labels = Vec::new();
        for (at, words) in self.ticks() {
            let x = self.place(at);
            if x < free || x > 98.0 {
                continue;
            }
            free = x + 5.6;
            let class = words.starts_with(char::is_numeric).then_some("year");
            labels.push((class, percent(x), words));
        }
        html! {
            svg class="axis" width="100%" height="20" aria-hidden="true" {
                text class="today" x=(percent(PAST)) y="14" { "now" }
                @for (class, x, words) in labels {
                    text class=[class] x=(x) y="14" { (words) }
                }
            }
        }
    }

    /// Returns the bar of a row: solid until it is due, and light from there to its end. A due one
    /// is solid to its end.
    pub fn bar(&self, row: &Row) -> Markup {
        html! {
            svg class="row" role="img" aria-label=(plain(&self.label(row))) {
                use href="#grid" width="100%" height="100%" {}
                @if let Some(end) = row.expires { (self.parts(row, end)) }
            }
        }
    }

    fn parts(&self, row: &Row, end: Timestamp) -> Markup {
        let start = self.place(self.now);
        let whole = if end < self.now {
            Span {
                from: 1.0,
                to: start - 0.5,
            }
        } else {
            Span {
                from: start,
                to: self.place(end),
            }
        };
        let due = row.due.filter(|due| *due > self.now && !self.is_beyond(*due));
        html! {
            (whole.rect("bar"))
            @if let Some(due) = due { (Span { from: self.place(due), ..whole }.rect("light")) }
            @if matches!(row.state, State::Blocked | State::Expired) { (whole.rect("hatch")) }
            @if self.is_beyond(end) {
                // A nested picture puts the arrow, which has a fixed size, at the end of a bar with
                // a relative width.
                svg x=(percent(whole.to)) y="50%" { path class="bar" d="M0 0 L10 7 L0 14 Z" {} }
            }
        }
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

/// A part of the axis, in per cent of its width.
#[derive(Clone, Copy)]
struct Span {
    from: f64,
    to: f64,
}

impl Span {
    fn rect(self, class: &str) -> Markup {
        let (x, width) = (percent(self.from), percent((self.to - self.from).max(THINNEST)));
        html! { rect class=(class) x=(x) y="50%" width=(width) height=(BAR) {} }
    }
}

fn percent(share: f64) -> String {
    format!("{share:.2}%")
}
