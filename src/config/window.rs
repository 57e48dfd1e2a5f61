//! Maintenance windows: when a restart that may wait is carried out.

use std::time::Duration;

use super::zone::Zone;
use chrono::{DateTime, Datelike as _, Days, NaiveTime, TimeZone as _, Utc, Weekday};

use crate::model::Timestamp;

/// The names of the days, as the configuration writes them, from Monday.
pub const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/// `[[window]]`: opens at the same wall-clock time on the named days.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// On which days it opens, from Monday.
    pub days: [bool; 7],
    /// When it opens, in [`Self::zone`].
    pub start: NaiveTime,
    /// How long it stays open, at most a day.
    pub length: Duration,
    /// The zone of [`Self::start`]. Default: that of the schedule.
    pub zone: Zone,
}

impl Window {
    fn opens_on(&self, day: Weekday) -> bool {
        self.days[day.num_days_from_monday() as usize]
    }

    /// When it opens around `now`: yesterday to a week ahead, in order. A start that a change to summer time skips is an hour later; one that
    /// a change back repeats is the first of the two.
    fn openings(&self, now: Timestamp) -> impl Iterator<Item = Timestamp> {
        let now = DateTime::<Utc>::from_timestamp(now.unix_timestamp(), 0).unwrap_or_default();
        let yesterday = now
            .with_timezone(&self.zone)
            .date_naive()
            .checked_sub_days(Days::new(1));
        let days = (0..=8).filter_map(move |n| yesterday?.checked_add_days(Days::new(n)));
        days.filter(|day| self.opens_on(day.weekday())).filter_map(|day| {
            let local = day.and_time(self.start);
            let opens = self.zone.from_local_datetime(&local).earliest().or_else(|| {
                self.zone
                    .from_local_datetime(&(local + chrono::TimeDelta::hours(1)))
                    .earliest()
            })?;
            Timestamp::from_unix_timestamp(opens.timestamp()).ok()
        })
    }
}

/// Whether one of them is open. Without any, it is always time.
pub fn is_open(windows: &[Window], now: Timestamp) -> bool {
    let is_in = |window: &Window| {
        window
            .openings(now)
            .any(|opens| opens <= now && now < opens + window.length)
    };
    windows.is_empty() || windows.iter().any(is_in)
}

/// When the next one opens after `now`.
pub fn next(windows: &[Window], now: Timestamp) -> Option<Timestamp> {
    let all = windows.iter().flat_map(|window| window.openings(now));
    all.filter(|opens| *opens > now).min()
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    fn window(days: &[usize], start: (u32, u32), hours: u64, zone: Zone) -> Window {
        Window {
            days: std::array::from_fn(|day| days.contains(&day)),
            start: NaiveTime::from_hms_opt(start.0, start.1, 0).unwrap(),
            length: Duration::from_secs(hours * 3600),
            zone,
        }
    }

    #[test]
    fn a_window_over_midnight_belongs_to_the_day_on_which_it_opens() {
        // 2027-01-02 is a Saturday.
        let saturday = [window(&[5], (23, 0), 3, Zone::UTC)];
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
            "without windows it is always time"
        );
    }

    #[test]
    fn a_window_keeps_its_wall_clock_time_over_daylight_saving_time() {
        let daily = [window(
            &[0, 1, 2, 3, 4, 5, 6],
            (1, 30),
            1,
            "Europe/Berlin".parse().unwrap(),
        )];
        assert_eq!(
            next(&daily, datetime!(2027-01-01 12:00 UTC)),
            Some(datetime!(2027-01-02 00:30 UTC))
        );
        assert_eq!(
            next(&daily, datetime!(2027-07-01 12:00 UTC)),
            Some(datetime!(2027-07-01 23:30 UTC))
        );
        // Berlin has no 02:30 on 2027-03-28.
        let skipped = [window(&[6], (2, 30), 1, "Europe/Berlin".parse().unwrap())];
        assert_eq!(
            next(&skipped, datetime!(2027-03-27 12:00 UTC)),
            Some(datetime!(2027-03-28 01:30 UTC))
        );
    }
}
