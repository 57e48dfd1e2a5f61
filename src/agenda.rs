//! When to look and when to act. Pure: computed from the cron expression in its real zone; whether a certificate is due is decided
//! elsewhere, from its notAfter.

use crate::config::settings::Schedule;
use crate::model::Timestamp;

/// At least this often the node is looked at, whatever the schedule says and however the clock moves.
const LOOK_EVERY: time::Duration = time::Duration::DAY;

/// A clock that stepped back by more than this makes the next instant be computed anew.
const STEP: time::Duration = time::Duration::MINUTE;

/// What a tick is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wake {
    /// Look and act.
    Cycle,
    /// Only look.
    Look,
}

/// The next cycle and the last look.
#[derive(Debug)]
pub struct Agenda {
    schedule: Schedule,
    next: Option<Timestamp>,
    last_look: Timestamp,
    last_tick: Timestamp,
}

impl Agenda {
    /// Starts at `now`, when a look has just been taken.
    pub fn new(schedule: Schedule, now: Timestamp) -> Self {
        Self {
            next: schedule.next(now),
            schedule,
            last_look: now,
            last_tick: now,
        }
    }

    /// When a cycle acts next.
    pub fn next(&self) -> Option<Timestamp> {
        self.next
    }

    /// A cycle was deferred: it is tried again after `wait` at the latest.
    pub fn retry(&mut self, now: Timestamp, wait: time::Duration) {
        let again = now + wait;
        self.next = Some(self.next.map_or(again, |next| next.min(again)));
    }

    /// What is to be done at this tick.
    pub fn wake(&mut self, now: Timestamp) -> Option<Wake> {
        if now < self.last_tick - STEP {
            self.next = self.schedule.next(now);
            self.last_look = self.last_look.min(now);
        }
        self.last_tick = now;
        let wake = if self.next.is_some_and(|next| now >= next) {
            self.next = self.schedule.next(now);
            Wake::Cycle
        } else if now - self.last_look >= LOOK_EVERY {
            Wake::Look
        } else {
            return None;
        };
        self.last_look = now;
        Some(wake)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::file::Source;
    use crate::config::settings::Settings;
    use time::macros::datetime;

    fn agenda(cron: &str, zone: &str, now: Timestamp) -> Agenda {
        let mut problems = Vec::new();
        let text = format!("schedule = \"{cron}\"\ntimezone = \"{zone}\"\n");
        let source = Source::parse("t".into(), text, &mut problems);
        let settings = Settings::check(&[source], &mut problems);
        assert!(problems.is_empty(), "{problems:?}");
        Agenda::new(settings.schedule, now)
    }

    #[test]
    fn a_cycle_stays_at_its_wall_clock_hour_over_daylight_saving_time() {
        // Dublin goes to summer time on 2027-03-28 at 01:00 UTC and back on 2027-10-31.
        let mut a = agenda("0 0 3 * * *", "Europe/Dublin", datetime!(2027-03-27 00:00 UTC));
        assert_eq!(a.next(), Some(datetime!(2027-03-27 03:00 UTC)));
        assert_eq!(a.wake(datetime!(2027-03-27 03:00:01 UTC)), Some(Wake::Cycle));
        assert_eq!(a.next(), Some(datetime!(2027-03-28 02:00 UTC)));
    }

    #[test]
    fn a_slot_that_was_slept_over_is_caught_up_once() {
        let mut a = agenda("0 17 3 * * *", "UTC", datetime!(2027-01-01 00:00 UTC));
        assert_eq!(a.wake(datetime!(2027-01-04 12:00 UTC)), Some(Wake::Cycle));
        assert_eq!(a.wake(datetime!(2027-01-04 12:00:01 UTC)), None);
    }

    #[test]
    fn a_clock_that_steps_back_does_not_silence_the_schedule() {
        let mut a = agenda("0 0 * * * *", "UTC", datetime!(2027-06-01 00:30 UTC));
        assert_eq!(a.wake(datetime!(2027-01-01 00:30 UTC)), None);
        assert_eq!(a.wake(datetime!(2027-01-01 01:00 UTC)), Some(Wake::Cycle));
    }

    #[test]
    fn the_node_is_looked_at_daily_even_where_the_schedule_is_yearly() {
        let mut a = agenda("0 0 0 1 1 *", "UTC", datetime!(2027-06-01 00:00 UTC));
        assert_eq!(a.wake(datetime!(2027-06-01 23:59:59 UTC)), None);
        assert_eq!(a.wake(datetime!(2027-06-02 00:00 UTC)), Some(Wake::Look));
        assert_eq!(a.wake(datetime!(2027-06-02 00:00:01 UTC)), None);
    }
}
