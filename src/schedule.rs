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
mod tests;
