//! When to look and when to act. Pure: computed from the cron expression in its real zone; whether a certificate is due is decided
//! elsewhere, from its notAfter.

use std::time::Duration;

use crate::config::settings::Schedule;
use crate::config::window::{self, Window};
use crate::format::digest::sha256;
use crate::model::Timestamp;

/// At least this often the node is looked at, whatever the schedule says and however the clock moves.
const LOOK_EVERY: time::Duration = time::Duration::DAY;

/// A clock that stepped back by more than this makes the next instant be computed anew.
const STEP: time::Duration = time::Duration::MINUTE;

/// The shortest time between two instants of a schedule is that among so many of them.
const INSTANTS: usize = 100;

/// What a tick is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wake {
    /// Look and act.
    Cycle,
    /// Only look.
    Look,
}

/// One reading of the two clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// The wall clock.
    pub now: Timestamp,
    /// Seconds since boot, sleep included; no step of the wall clock moves it.
    pub uptime: i64,
}

/// The next cycle and the last look.
#[derive(Debug)]
pub struct Agenda {
    schedule: Schedule,
    offset: Duration,
    next: Option<Timestamp>,
    /// When it was looked at last, by the clock that nobody can set.
    last_look: i64,
    /// When it is looked at next.
    look_at: Timestamp,
    last_tick: Timestamp,
}

impl Agenda {
    /// Starts at `moment`, when a look has just been taken. Each cycle comes `offset` after its instant. One that was missed since `last`,
    /// when a cycle ended, is caught up `offset` from now.
    pub fn new(schedule: Schedule, offset: Duration, last: Option<Timestamp>, moment: Moment) -> Self {
        let now = moment.now;
        let missed = last
            .and_then(|last| after(&schedule, offset, last.min(now)))
            .filter(|next| *next <= now)
            .map(|_| now + offset);
        let regular = after(&schedule, offset, now);
        Self {
            next: missed.into_iter().chain(regular).min(),
            schedule,
            offset,
            last_look: moment.uptime,
            look_at: now + LOOK_EVERY,
            last_tick: now,
        }
    }

    /// When a cycle acts next.
    pub fn next(&self) -> Option<Timestamp> {
        self.next
    }

    /// When the node is looked at next, at the latest.
    pub fn next_look(&self) -> Timestamp {
        self.next.map_or(self.look_at, |next| next.min(self.look_at))
    }

    /// A look could not be finished: it is taken again after `wait` at the latest.
    pub fn look_again(&mut self, now: Timestamp, wait: time::Duration) {
        self.look_at = self.look_at.min(now + wait);
    }

    /// A cycle was deferred: it is tried again after `wait` at the latest.
    pub fn retry(&mut self, now: Timestamp, wait: time::Duration) {
        let again = now + wait;
        self.next = Some(self.next.map_or(again, |next| next.min(again)));
    }

    /// What is to be done at this tick.
    pub fn wake(&mut self, moment: Moment) -> Option<Wake> {
        let now = moment.now;
        if now < self.last_tick - STEP {
            self.next = after(&self.schedule, self.offset, now);
            self.look_at = self.look_at.min(now + LOOK_EVERY);
        }
        self.last_tick = now;
        let since = time::Duration::seconds(moment.uptime.saturating_sub(self.last_look));
        let wake = if self.next.is_some_and(|next| now >= next) {
            self.next = after(&self.schedule, self.offset, now);
            Wake::Cycle
        } else if now >= self.look_at || since >= LOOK_EVERY {
            Wake::Look
        } else {
            return None;
        };
        self.last_look = moment.uptime;
        self.look_at = now + LOOK_EVERY;
        Some(wake)
    }
}

/// The first instant of a schedule, moved by `offset`, after `now`.
fn after(schedule: &Schedule, offset: Duration, now: Timestamp) -> Option<Timestamp> {
    schedule.next(now - offset).map(|next| next + offset)
}

/// How long after each instant of the schedule this node acts: always the same, in whole seconds, within `spread` and within half of the
/// shortest time between two instants. By machine-id and name, since cloned machines have one machine-id.
pub fn offset(spread: Duration, schedule: &Schedule, machine_id: &str, node: &str, now: Timestamp) -> Duration {
    let instants = std::iter::successors(schedule.next(now), |at| schedule.next(*at));
    let instants: Vec<_> = instants.take(INSTANTS).collect();
    let gaps = instants.windows(2).filter_map(|two| (two[1] - two[0]).try_into().ok());
    let shortest: Duration = gaps.min().unwrap_or(Duration::MAX);
    let within = spread.min(shortest / 2).as_secs();
    let hash = sha256(format!("{machine_id}\n{node}").as_bytes());
    let number = u64::from_str_radix(&hash[..16], 16).unwrap_or(0);
    Duration::from_secs(number.checked_rem(within).unwrap_or(0))
}

/// Until when what is not urgent waits for a maintenance window; none: it need not.
pub fn waits_until(windows: &[Window], now: Timestamp) -> Option<Timestamp> {
    if window::is_open(windows, now) {
        None
    } else {
        window::next(windows, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Settings;
    use crate::config::file::Source;
    use time::macros::datetime;

    const HOUR: Duration = Duration::from_secs(3600);

    fn schedule(cron: &str, zone: &str) -> Schedule {
        let mut problems = Vec::new();
        let text = format!("schedule = \"{cron}\"\ntimezone = \"{zone}\"\n");
        let source = Source::parse("t".into(), text, &mut problems);
        let settings = Settings::check(&[source], &mut problems);
        assert!(problems.is_empty(), "{problems:?}");
        settings.schedule
    }

    /// Both clocks go alike.
    fn at(now: Timestamp) -> Moment {
        Moment {
            now,
            uptime: now.unix_timestamp(),
        }
    }

    fn agenda(cron: &str, zone: &str, now: Timestamp) -> Agenda {
        Agenda::new(schedule(cron, zone), Duration::ZERO, None, at(now))
    }

    #[test]
    fn a_cycle_stays_at_its_wall_clock_hour_over_daylight_saving_time() {
        // Dublin goes to summer time on 2027-03-28 at 01:00 UTC and back on 2027-10-31.
        let mut a = agenda("0 0 3 * * *", "Europe/Dublin", datetime!(2027-03-27 00:00 UTC));
        assert_eq!(a.next(), Some(datetime!(2027-03-27 03:00 UTC)));
        assert_eq!(a.wake(at(datetime!(2027-03-27 03:00:01 UTC))), Some(Wake::Cycle));
        assert_eq!(a.next(), Some(datetime!(2027-03-28 02:00 UTC)));
    }

    #[test]
    fn a_slot_that_was_slept_over_is_caught_up_once() {
        let mut a = agenda("0 17 3 * * *", "UTC", datetime!(2027-01-01 00:00 UTC));
        assert_eq!(a.wake(at(datetime!(2027-01-04 12:00 UTC))), Some(Wake::Cycle));
        assert_eq!(a.wake(at(datetime!(2027-01-04 12:00:01 UTC))), None);
    }

    #[test]
    fn a_clock_that_steps_back_does_not_silence_the_schedule() {
        let mut a = agenda("0 0 * * * *", "UTC", datetime!(2027-06-01 00:30 UTC));
        assert_eq!(a.wake(at(datetime!(2027-01-01 00:30 UTC))), None);
        assert_eq!(a.wake(at(datetime!(2027-01-01 01:00 UTC))), Some(Wake::Cycle));
    }

    #[test]
    fn the_node_is_looked_at_daily_even_where_the_schedule_is_yearly() {
        let mut a = agenda("0 0 0 1 1 *", "UTC", datetime!(2027-06-01 00:00 UTC));
        assert_eq!(a.wake(at(datetime!(2027-06-01 23:59:59 UTC))), None);
        assert_eq!(a.wake(at(datetime!(2027-06-02 00:00 UTC))), Some(Wake::Look));
        assert_eq!(a.wake(at(datetime!(2027-06-02 00:00:01 UTC))), None);
    }

    #[test]
    fn a_wall_clock_that_is_set_back_again_and_again_does_not_put_off_the_daily_look() {
        let now = datetime!(2027-06-01 00:00 UTC);
        let mut a = agenda("0 0 0 1 1 *", "UTC", now);
        let mut looks = 0;
        for hour in 1..=72 {
            let uptime = now.unix_timestamp() + hour * 3600;
            let wake = a.wake(Moment { now, uptime });
            looks += usize::from(wake == Some(Wake::Look));
            assert!(a.next_look() <= now + time::Duration::DAY);
        }
        assert_eq!(looks, 3);
    }

    #[test]
    fn nodes_act_at_their_own_moment_within_the_spread_and_always_at_the_same() {
        let (daily, now) = (schedule("0 17 3 * * *", "UTC"), datetime!(2027-06-01 00:00 UTC));
        let of = |node: &str| offset(HOUR, &daily, "0123456789abcdef", node, now);
        let all: Vec<_> = (0..200).map(|n| of(&format!("cp-{n}"))).collect();
        assert_eq!(of("cp-7"), all[7]);
        assert!(all.iter().all(|offset| *offset < HOUR));
        let halves = all.iter().filter(|offset| **offset < HOUR / 2).count();
        assert!((70..=130).contains(&halves), "{halves} of 200 in the first half hour");
        assert_ne!(
            of("cp-1"),
            offset(HOUR, &daily, "fedcba", "cp-1", now),
            "another machine"
        );
        assert_eq!(offset(Duration::ZERO, &daily, "m", "n", now), Duration::ZERO);
        let mut a = Agenda::new(daily, HOUR / 2, None, at(now));
        assert_eq!(a.next(), Some(datetime!(2027-06-01 03:47 UTC)));
        assert_eq!(a.wake(at(datetime!(2027-06-01 03:47 UTC))), Some(Wake::Cycle));
        assert_eq!(a.next(), Some(datetime!(2027-06-02 03:47 UTC)));
    }

    #[test]
    fn a_spread_is_cut_to_half_of_the_shortest_time_between_two_cycles() {
        let now = datetime!(2027-06-01 00:00 UTC);
        let twice = schedule("0 0 9,10 * * *", "UTC");
        let most = (0..500)
            .map(|n| offset(24 * HOUR, &twice, "m", &format!("n{n}"), now))
            .max();
        assert!(most.is_some_and(|most| most < HOUR / 2 && most > HOUR / 3), "{most:?}");
        assert_eq!(
            offset(HOUR, &schedule("*/2 * * * * *", "UTC"), "m", "n", now),
            Duration::ZERO
        );
    }

    #[test]
    fn an_instant_that_was_missed_while_the_daemon_did_not_run_is_caught_up_after_the_offset() {
        let new = |last, now| Agenda::new(schedule("0 17 3 * * *", "UTC"), HOUR / 2, last, at(now)).next();
        let now = datetime!(2027-06-05 12:00 UTC);
        assert_eq!(
            new(Some(datetime!(2027-06-01 03:48 UTC)), now),
            Some(datetime!(2027-06-05 12:30 UTC))
        );
        let regular = Some(datetime!(2027-06-06 03:47 UTC));
        assert_eq!(
            new(Some(datetime!(2027-06-05 03:47 UTC)), now),
            regular,
            "it was not missed"
        );
        assert_eq!(new(None, now), regular, "there was none yet");
        assert_eq!(
            new(Some(datetime!(2028-01-01 00:00 UTC)), now),
            regular,
            "by a clock that ran ahead"
        );
        assert_eq!(
            new(Some(datetime!(2027-06-01 03:48 UTC)), datetime!(2027-06-05 03:30 UTC)),
            Some(datetime!(2027-06-05 03:47 UTC)),
            "the regular one is earlier"
        );
    }
}
