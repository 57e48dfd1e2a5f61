//! Maintenance windows: the times at which kubecertd carries out restarts that may wait.

use std::time::Duration;

use jiff::civil::{Time, Weekday};
use jiff::tz::TimeZone;
use jiff::{Span, Zoned};

use crate::model::Timestamp;

/// Names of the weekdays in the configuration, from Monday.
pub const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/// One `[[window]]`, which opens at the same wall-clock time on each of its days.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// Days on which the window opens, from Monday.
    pub days: [bool; 7],
    /// Wall-clock time in [`Self::zone`] at which the window opens.
    pub start: Time,
    /// Time for which the window stays open, at most a day.
    pub length: Duration,
    /// Time zone of [`Self::start`]. Default: the time zone of the schedule.
    pub zone: TimeZone,
}

impl Window {
    fn opens_on(&self, day: Weekday) -> bool {
        usize::try_from(day.to_monday_zero_offset()).is_ok_and(|day| self.days[day])
    }

    /// Lists the openings from yesterday to a week ahead, in order.
    ///
    /// If a change to summer time skips the start, the window opens later by the length of the gap.
    /// If a change back repeats the start, the window opens at the first of the two.
    fn openings(&self, now: Timestamp) -> impl Iterator<Item = Timestamp> {
        let today = zoned(now, &self.zone).map(|now| now.date());
        let days = (-1..=8).filter_map(move |n| today?.checked_add(Span::new().days(n)).ok());
        days.filter(|day| self.opens_on(day.weekday())).filter_map(|day| {
            let opens = self.zone.to_ambiguous_timestamp(day.to_datetime(self.start));
            Timestamp::from_unix_timestamp(opens.compatible().ok()?.as_second()).ok()
        })
    }
}

/// Returns the time in a zone, or `None` beyond the year 9999.
pub(super) fn zoned(at: Timestamp, zone: &TimeZone) -> Option<Zoned> {
    let at = jiff::Timestamp::from_second(at.unix_timestamp()).ok()?;
    Some(at.to_zoned(zone.clone()))
}

/// Returns true if one of the windows is open, or if none is configured.
pub fn is_open(windows: &[Window], now: Timestamp) -> bool {
    let is_in = |window: &Window| {
        window
            .openings(now)
            .any(|opens| opens <= now && now < opens + window.length)
    };
    windows.is_empty() || windows.iter().any(is_in)
}

/// Returns the time after `now` at which the next window opens.
pub fn next(windows: &[Window], now: Timestamp) -> Option<Timestamp> {
    let all = windows.iter().flat_map(|window| window.openings(now));
    all.filter(|opens| *opens > now).min()
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    /// Hour and minute.
    type Start = (i8, i8);

    fn window(days: &[usize], start: Start, hours: u64, zone: TimeZone) -> Window {
        Window {
            days: std::array::from_fn(|day| days.contains(&day)),
            start: Time::constant(start.0, start.1, 0, 0),
            length: Duration::from_secs(hours * 3600),
            zone,
        }
    }

    fn berlin() -> TimeZone {
        crate::config::values::time_zone("Europe/Berlin").unwrap()
    }

    #[test]
    fn a_window_over_midnight_belongs_to_the_day_on_which_it_opens() {
        // 2027-01-02 is a Saturday.
        let saturday = [window(&[5], (23, 0), 3, TimeZone::UTC)];
        assert!(!is_open(&saturday, datetime!(2027-01-02 22:59 UTC)));
        assert!(is_open(&saturday, datetime!(2027-01-02 23:00 UTC)));
        assert!(is_open(&saturday, datetime!(2027-01-03 01:59 UTC)));
        assert!(!is_open(&saturday, datetime!(2027-01-03 02:00 UTC)));
        assert_eq!(
            next(&saturday, datetime!(2027-01-02 23:00 UTC)),
            Some(datetime!(2027-01-09 23:00 UTC))
        );
        assert!(
            is_open(&[], datetime!(2027-01-02 22:59 UTC)),
            "without windows, any time is right"
        );
    }

    #[test]
    fn a_window_keeps_its_wall_clock_time_over_daylight_saving_time() {
        let daily = [window(&[0, 1, 2, 3, 4, 5, 6], (1, 30), 1, berlin())];
        assert_eq!(
            next(&daily, datetime!(2027-01-01 12:00 UTC)),
            Some(datetime!(2027-01-02 00:30 UTC))
        );
        assert_eq!(
            next(&daily, datetime!(2027-07-01 12:00 UTC)),
            Some(datetime!(2027-07-01 23:30 UTC))
        );
        // Berlin has no 02:30 on 2027-03-28.
        let skipped = [window(&[6], (2, 30), 1, berlin())];
        assert_eq!(
            next(&skipped, datetime!(2027-03-27 12:00 UTC)),
            Some(datetime!(2027-03-28 01:30 UTC))
        );
    }
}
