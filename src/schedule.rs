//! Schedule of the daemon: computes when each of its jobs runs next. Pure.
//!
//! kubecertd evaluates the cron expressions in their time zones, so that jobs keep their wall-clock
//! hour over changes of daylight saving time. The plan decides if a certificate is due, from its
//! notAfter. `cli::run::jobs` hands the instants to the scheduler that fires the jobs.

use std::time::Duration;

use strum::VariantArray;

use crate::config::settings::Timetable;
use crate::config::window::{self, Window};
use crate::format::digest::sha256;
use crate::model::Timestamp;

/// Longest time between two assessments, by a clock that cannot be set.
const ASSESS_EVERY: time::Duration = time::Duration::DAY;

/// Smallest difference between the two clocks that counts as a step of the wall clock.
const STEP: time::Duration = time::Duration::MINUTE;

/// Number of upcoming runs to inspect for the shortest interval.
const RUNS_TO_INSPECT: usize = 100;

/// A job of the daemon. Jobs that are due at the same time run in the order of the variants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, VariantArray)]
pub enum Job {
    /// A backup of `[backup] schedule`.
    Backup,
    /// A cycle of `schedule`.
    Renewal,
    /// A cycle that was deferred, or restarts that are pending.
    Retry,
    /// An assessment alone.
    Assessment,
}

/// One reading of the two clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockReading {
    /// The wall clock.
    pub now: Timestamp,
    /// Seconds since boot, including sleep. Setting the wall clock does not change it.
    pub uptime: i64,
}

/// A timetable as this node follows it.
#[derive(Debug, Clone)]
pub struct Recurrence {
    /// The configured instants.
    pub timetable: Timetable,
    /// Time after each instant at which this node acts.
    pub offset: Duration,
}

impl Recurrence {
    /// Returns the first run after `now`, or `None` if there is none.
    fn after(&self, now: Timestamp) -> Option<Timestamp> {
        self.timetable.next(now - self.offset).map(|next| next + self.offset)
    }
}

/// Next run of every job.
#[derive(Debug)]
pub struct Schedule {
    renewal: Recurrence,
    backup: Option<Recurrence>,
    next_renewal: Option<Timestamp>,
    next_backup: Option<Timestamp>,
    retry: Option<Timestamp>,
    assessment: Timestamp,
    /// Uptime at the last assessment.
    last_assessment: i64,
    last_reading: ClockReading,
}

impl Schedule {
    /// Starts a schedule at `reading`, right after an assessment.
    ///
    /// If a renewal was missed since `last_cycle` ended, it runs after its offset from now.
    pub fn new(
        renewal: Recurrence,
        backup: Option<Recurrence>,
        last_cycle: Option<Timestamp>,
        reading: ClockReading,
    ) -> Self {
        let now = reading.now;
        let missed = last_cycle
            .and_then(|last| renewal.after(last.min(now)))
            .filter(|next| *next <= now)
            .map(|_| now + renewal.offset);
        Self {
            next_renewal: missed.into_iter().chain(renewal.after(now)).min(),
            next_backup: backup.as_ref().and_then(|backup| backup.after(now)),
            retry: None,
            assessment: now + ASSESS_EVERY,
            last_assessment: reading.uptime,
            last_reading: reading,
            renewal,
            backup,
        }
    }

    /// Returns the next run of a job, or `None` if it is not planned.
    pub fn next(&self, job: Job) -> Option<Timestamp> {
        match job {
            Job::Backup => self.next_backup,
            Job::Renewal => self.next_renewal,
            Job::Retry => self.retry,
            Job::Assessment => Some(self.assessment),
        }
    }

    /// Returns the start of the next cycle, regular or retried.
    pub fn next_cycle(&self) -> Option<Timestamp> {
        self.next_renewal.into_iter().chain(self.retry).min()
    }

    /// Returns the latest time of the next assessment. Every cycle begins with one.
    pub fn next_assessment(&self) -> Timestamp {
        self.next_cycle()
            .map_or(self.assessment, |next| next.min(self.assessment))
    }

    /// Plans a cycle `wait` from `now`, unless an earlier retry is planned.
    pub fn retry_cycle(&mut self, now: Timestamp, wait: time::Duration) {
        self.retry = Some(earlier(self.retry, now + wait));
    }

    /// Plans an assessment `wait` from `now`, unless an earlier one is planned.
    pub fn retry_assessment(&mut self, now: Timestamp, wait: time::Duration) {
        self.assessment = self.assessment.min(now + wait);
    }

    /// Corrects the plan after a step of the wall clock.
    ///
    /// A step back makes every job wait for the old instant. Jobs of a timetable run at its next
    /// instant by the new time; a delay shrinks by the step, so that it does not grow by it. A step
    /// forward needs no correction: what it skipped is due. The time between two assessments never
    /// exceeds a day of uptime, however often the wall clock is set.
    pub fn follow_clock(&mut self, reading: ClockReading) {
        let ClockReading { now, uptime } = reading;
        let last = std::mem::replace(&mut self.last_reading, reading);
        let drift = (now - last.now) - time::Duration::seconds(uptime.saturating_sub(last.uptime));
        if drift < -STEP {
            self.next_renewal = self.renewal.after(now);
            self.next_backup = self.backup.as_ref().and_then(|backup| backup.after(now));
            self.retry = self.retry.map(|retry| retry + drift);
            self.assessment += drift;
        }
        if uptime.saturating_sub(self.last_assessment) >= ASSESS_EVERY.whole_seconds() {
            self.assessment = self.assessment.min(now);
        }
    }

    /// Returns a job that is due and plans its next run. A job that was missed runs once.
    pub fn due(&mut self, reading: ClockReading) -> Option<Job> {
        self.follow_clock(reading);
        let now = reading.now;
        let is_due = |job: &Job| self.next(*job).is_some_and(|next| now >= next);
        let job = Job::VARIANTS.iter().copied().find(is_due)?;
        if job == Job::Backup {
            self.next_backup = self.backup.as_ref().and_then(|backup| backup.after(now));
            return Some(job);
        }
        if job != Job::Assessment {
            // One cycle serves both.
            self.next_renewal = self.renewal.after(now);
            self.retry = None;
        }
        self.last_assessment = reading.uptime;
        self.assessment = now + ASSESS_EVERY;
        Some(job)
    }
}

fn earlier(planned: Option<Timestamp>, at: Timestamp) -> Timestamp {
    planned.map_or(at, |planned| planned.min(at))
}

/// A node, as its place within the spread depends on it.
#[derive(Debug, Clone, Copy)]
pub struct NodeIdentity<'a> {
    /// Id of the machine. Cloned machines share one.
    pub machine_id: &'a str,
    /// Name of the node.
    pub name: &'a str,
}

/// Returns the time after each instant of the timetable at which a node acts, in whole seconds.
///
/// The result is always the same for a node. It is less than `spread`, and less than half of the
/// shortest interval between two instants.
pub fn offset(spread: Duration, timetable: &Timetable, node: NodeIdentity<'_>, now: Timestamp) -> Duration {
    let instants = std::iter::successors(timetable.next(now), |at| timetable.next(*at));
    let instants: Vec<_> = instants.take(RUNS_TO_INSPECT).collect();
    let intervals = instants.windows(2).filter_map(|two| (two[1] - two[0]).try_into().ok());
    let shortest: Duration = intervals.min().unwrap_or(Duration::MAX);
    let within = spread.min(shortest / 2).as_secs();
    let hash = sha256(format!("{}\n{}", node.machine_id, node.name).as_bytes());
    let number = u64::from_str_radix(&hash[..16], 16).unwrap_or(0);
    Duration::from_secs(number.checked_rem(within).unwrap_or(0))
}

/// Returns when the next maintenance window opens, or `None` if one is open or none is configured.
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

    fn timetable(cron: &str, zone: &str) -> Timetable {
        let mut problems = Vec::new();
        let text = format!("schedule = \"{cron}\"\ntimezone = \"{zone}\"\n");
        let source = Source::parse("t".into(), text, &mut problems);
        let settings = Settings::check(&[source], &mut problems);
        assert!(problems.is_empty(), "{problems:?}");
        settings.schedule
    }

    fn every(cron: &str, zone: &str, offset: Duration) -> Recurrence {
        let timetable = timetable(cron, zone);
        Recurrence { timetable, offset }
    }

    /// Reads both clocks of a machine whose wall clock was never set.
    fn at(now: Timestamp) -> ClockReading {
        let uptime = now.unix_timestamp();
        ClockReading { now, uptime }
    }

    /// Reads both clocks of a machine whose wall clock was set by `step`.
    fn stepped(now: Timestamp, step: time::Duration) -> ClockReading {
        let uptime = (now - step).unix_timestamp();
        ClockReading { now, uptime }
    }

    fn schedule(cron: &str, zone: &str, now: Timestamp) -> Schedule {
        Schedule::new(every(cron, zone, Duration::ZERO), None, None, at(now))
    }

    #[test]
    fn a_cycle_keeps_its_wall_clock_hour_in_spring() {
        // Dublin changes to summer time on 2027-03-28 at 01:00 UTC.
        let mut s = schedule("0 0 3 * * *", "Europe/Dublin", datetime!(2027-03-27 00:00 UTC));
        assert_eq!(s.next_cycle(), Some(datetime!(2027-03-27 03:00 UTC)));
        assert_eq!(s.due(at(datetime!(2027-03-27 03:00:01 UTC))), Some(Job::Renewal));
        assert_eq!(s.next_cycle(), Some(datetime!(2027-03-28 02:00 UTC)));
    }

    #[test]
    fn a_cycle_keeps_its_wall_clock_hour_in_autumn() {
        // Dublin changes back on 2027-10-31 at 01:00 UTC.
        let mut s = schedule("0 0 3 * * *", "Europe/Dublin", datetime!(2027-10-30 00:00 UTC));
        assert_eq!(s.due(at(datetime!(2027-10-30 02:00 UTC))), Some(Job::Renewal));
        assert_eq!(s.next_cycle(), Some(datetime!(2027-10-31 03:00 UTC)));
        assert_eq!(s.due(at(datetime!(2027-10-31 03:00 UTC))), Some(Job::Renewal));
        assert_eq!(s.next_cycle(), Some(datetime!(2027-11-01 03:00 UTC)));
    }

    #[test]
    fn a_cycle_in_a_skipped_or_repeated_hour_runs_once() {
        let mut s = schedule("0 30 1 * * *", "Europe/Dublin", datetime!(2027-03-28 00:00 UTC));
        let runs = |s: &mut Schedule, from: Timestamp| {
            let minutes = (0..12 * 60).map(|n| at(from + time::Duration::minutes(n)));
            minutes.filter(|minute| s.due(*minute).is_some()).count()
        };
        assert_eq!(runs(&mut s, datetime!(2027-03-28 00:00 UTC)), 1);
        let mut s = schedule("0 30 1 * * *", "Europe/Dublin", datetime!(2027-10-31 00:00 UTC));
        assert_eq!(runs(&mut s, datetime!(2027-10-31 00:00 UTC)), 1);
    }

    #[test]
    fn cycles_that_were_slept_over_are_caught_up_once() {
        let mut s = schedule("0 17 3 * * *", "UTC", datetime!(2027-01-01 00:00 UTC));
        assert_eq!(s.due(at(datetime!(2027-01-04 12:00 UTC))), Some(Job::Renewal));
        assert_eq!(s.due(at(datetime!(2027-01-04 12:00:01 UTC))), None);
    }

    #[test]
    fn a_step_back_does_not_silence_the_schedule() {
        let mut s = schedule("0 0 * * * *", "UTC", datetime!(2027-06-01 00:30 UTC));
        let step = datetime!(2027-01-01 00:30 UTC) - datetime!(2027-06-01 00:30 UTC);
        assert_eq!(s.due(stepped(datetime!(2027-01-01 00:30 UTC), step)), None);
        assert_eq!(s.next_cycle(), Some(datetime!(2027-01-01 01:00 UTC)));
        assert_eq!(
            s.due(stepped(datetime!(2027-01-01 01:00 UTC), step)),
            Some(Job::Renewal)
        );
    }

    #[test]
    fn a_step_back_during_a_long_cycle_is_noticed() {
        let mut s = schedule("0 0 * * * *", "UTC", datetime!(2027-06-01 00:30 UTC));
        assert_eq!(s.due(at(datetime!(2027-06-01 01:00 UTC))), Some(Job::Renewal));
        // The cycle took 59 minutes; meanwhile somebody set the clock back by half an hour.
        s.follow_clock(stepped(datetime!(2027-06-01 01:29 UTC), time::Duration::minutes(-30)));
        assert_eq!(s.next_cycle(), Some(datetime!(2027-06-01 02:00 UTC)));
        s.follow_clock(stepped(datetime!(2027-06-01 00:10 UTC), time::Duration::minutes(-110)));
        assert_eq!(s.next_cycle(), Some(datetime!(2027-06-01 01:00 UTC)));
    }

    #[test]
    fn a_step_back_does_not_delay_a_retry() {
        let now = datetime!(2027-06-01 12:00 UTC);
        let mut s = schedule("0 0 0 1 1 *", "UTC", now);
        s.retry_cycle(now, time::Duration::minutes(5));
        let back = time::Duration::hours(-3);
        s.follow_clock(stepped(now + back, back));
        assert_eq!(s.next(Job::Retry), Some(datetime!(2027-06-01 09:05 UTC)));
        assert_eq!(s.due(stepped(datetime!(2027-06-01 09:05 UTC), back)), Some(Job::Retry));
        assert_eq!(s.next(Job::Retry), None, "one run");
    }

    #[test]
    fn a_step_back_moves_the_backup_to_the_new_time() {
        let now = datetime!(2027-06-01 12:00 UTC);
        let [renewal, backup] = ["0 0 0 1 1 *", "0 0 18 * * *"].map(|cron| every(cron, "UTC", Duration::ZERO));
        let mut s = Schedule::new(renewal, Some(backup), None, at(now));
        assert_eq!(s.next(Job::Backup), Some(datetime!(2027-06-01 18:00 UTC)));
        let back = -time::Duration::days(2);
        s.follow_clock(stepped(now + back, back));
        assert_eq!(s.next(Job::Backup), Some(datetime!(2027-05-30 18:00 UTC)));
        assert_eq!(s.due(stepped(datetime!(2027-05-30 18:00 UTC), back)), Some(Job::Backup));
        assert_eq!(s.next(Job::Backup), Some(datetime!(2027-05-31 18:00 UTC)));
    }

    #[test]
    fn a_step_forward_makes_what_it_skipped_due_once() {
        let now = datetime!(2027-06-01 12:00 UTC);
        let mut s = schedule("0 17 3 * * *", "UTC", now);
        let ahead = time::Duration::days(12);
        let reading = stepped(now + ahead, ahead);
        assert_eq!(s.due(reading), Some(Job::Renewal));
        assert_eq!(s.due(reading), None);
        assert_eq!(s.next_cycle(), Some(datetime!(2027-06-14 03:17 UTC)));
    }

    #[test]
    fn the_node_is_assessed_daily_even_if_the_schedule_is_yearly() {
        let mut s = schedule("0 0 0 1 1 *", "UTC", datetime!(2027-06-01 00:00 UTC));
        assert_eq!(s.due(at(datetime!(2027-06-01 23:59:59 UTC))), None);
        assert_eq!(s.due(at(datetime!(2027-06-02 00:00 UTC))), Some(Job::Assessment));
        assert_eq!(s.due(at(datetime!(2027-06-02 00:00:01 UTC))), None);
    }

    #[test]
    fn a_clock_set_back_again_and_again_does_not_delay_assessments() {
        let now = datetime!(2027-06-01 00:00 UTC);
        for minutes in [60, 1] {
            let mut s = schedule("0 0 0 1 1 *", "UTC", now);
            let mut assessments = 0;
            for n in 1..=72 * 60 / minutes {
                let uptime = now.unix_timestamp() + n * minutes * 60;
                let job = s.due(ClockReading { now, uptime });
                assessments += usize::from(job == Some(Job::Assessment));
                assert!(s.next_assessment() <= now + time::Duration::DAY);
            }
            assert_eq!(assessments, 3, "every {minutes} minutes");
        }
    }

    #[test]
    fn nodes_act_at_their_own_time_within_the_spread_and_keep_it() {
        let (daily, now) = (timetable("0 17 3 * * *", "UTC"), datetime!(2027-06-01 00:00 UTC));
        let of = |machine_id: &str, name: &str| offset(HOUR, &daily, NodeIdentity { machine_id, name }, now);
        let all: Vec<_> = (0..200).map(|n| of("0123456789abcdef", &format!("cp-{n}"))).collect();
        assert_eq!(of("0123456789abcdef", "cp-7"), all[7]);
        assert!(all.iter().all(|offset| *offset < HOUR));
        let halves = all.iter().filter(|offset| **offset < HOUR / 2).count();
        assert!((70..=130).contains(&halves), "{halves} of 200 in the first half hour");
        assert_ne!(all[1], of("fedcba", "cp-1"), "another machine");
        let (machine_id, name) = ("m", "n");
        let node = NodeIdentity { machine_id, name };
        assert_eq!(offset(Duration::ZERO, &daily, node, now), Duration::ZERO);
        let recurrence = Recurrence {
            timetable: daily,
            offset: HOUR / 2,
        };
        let mut s = Schedule::new(recurrence, None, None, at(now));
        assert_eq!(s.next_cycle(), Some(datetime!(2027-06-01 03:47 UTC)));
        assert_eq!(s.due(at(datetime!(2027-06-01 03:17 UTC))), None);
        assert_eq!(s.due(at(datetime!(2027-06-01 03:47 UTC))), Some(Job::Renewal));
        assert_eq!(s.next_cycle(), Some(datetime!(2027-06-02 03:47 UTC)));
    }

    #[test]
    fn a_spread_is_at_most_half_of_the_shortest_interval() {
        let now = datetime!(2027-06-01 00:00 UTC);
        let twice = timetable("0 0 9,10 * * *", "UTC");
        let of = |spread: Duration, timetable: &Timetable, name: &str| {
            let machine_id = "m";
            offset(spread, timetable, NodeIdentity { machine_id, name }, now)
        };
        let most = (0..500).map(|n| of(24 * HOUR, &twice, &format!("n{n}"))).max();
        assert!(most.is_some_and(|most| most < HOUR / 2 && most > HOUR / 3), "{most:?}");
        assert_eq!(of(HOUR, &timetable("*/2 * * * * *", "UTC"), "n"), Duration::ZERO);
    }

    #[test]
    fn a_missed_cycle_runs_after_the_offset() {
        let next = |last, now| {
            let recurrence = every("0 17 3 * * *", "UTC", HOUR / 2);
            Schedule::new(recurrence, None, last, at(now)).next_cycle()
        };
        let now = datetime!(2027-06-05 12:00 UTC);
        assert_eq!(
            next(Some(datetime!(2027-06-01 03:48 UTC)), now),
            Some(datetime!(2027-06-05 12:30 UTC))
        );
        let regular = Some(datetime!(2027-06-06 03:47 UTC));
        let cases = [
            (Some(datetime!(2027-06-05 03:47 UTC)), "it was not missed"),
            (None, "there was none yet"),
            (Some(datetime!(2028-01-01 00:00 UTC)), "by a clock that ran ahead"),
        ];
        for (last, why) in cases {
            assert_eq!(next(last, now), regular, "{why}");
        }
        assert_eq!(
            next(Some(datetime!(2027-06-01 03:48 UTC)), datetime!(2027-06-05 03:30 UTC)),
            Some(datetime!(2027-06-05 03:47 UTC)),
            "the regular one is earlier"
        );
    }
}
