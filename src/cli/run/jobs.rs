//! Jobs of the daemon in the hands of tokio-cron-scheduler.
//!
//! [`Schedule`] computes the instants; the scheduler holds one one-shot job for each and fires it.
//! It knows nothing of time zones then, and a slow job never overlaps with itself: [`Jobs::arm`]
//! hands it the next instant after the run. docs/decisions/0001-tokio-cron-scheduler.md says why.
//!
//! The scheduler compares the wall clock with the instant of a job twice a second, so a step back
//! silences a job. The daemon calls [`Schedule::follow_clock`] and [`Jobs::arm`] every
//! second of a monotonic timer: that replaces each job whose instant has changed.

use std::time::Duration;

use strum::VariantArray as _;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::timeout;
use tokio_cron_scheduler::{Job as ScheduledJob, JobScheduler, JobSchedulerError};

use crate::model::{Failure, Timestamp};
use crate::schedule::{Job, Schedule};

/// Longest time for the scheduler to take or drop a job. It answers within a millisecond.
const DEADLINE: Duration = Duration::from_secs(5);

/// Number of messages that the scheduler's channels hold. Four jobs need less.
const CHANNEL: usize = 32;

/// Time after the instant of a job at which a job that has not fired counts as lost.
const LOST_AFTER: time::Duration = time::Duration::seconds(5);

/// A job that the scheduler holds.
struct ArmedJob {
    at: Timestamp,
    job: ScheduledJob,
}

/// The scheduler and the jobs that it holds.
pub(super) struct Jobs {
    scheduler: JobScheduler,
    armed: [Option<ArmedJob>; Job::VARIANTS.len()],
    /// Ids of the jobs that have fired.
    fired: UnboundedReceiver<u128>,
    sender: UnboundedSender<u128>,
}

impl Jobs {
    /// Starts the scheduler on the current runtime, without any job.
    ///
    /// # Errors
    /// The scheduler does not start.
    pub(super) async fn start() -> Result<Self, Failure> {
        let start = async {
            let scheduler = JobScheduler::new_with_channel_size(CHANNEL).await?;
            scheduler.start().await?;
            Ok(scheduler)
        };
        let (sender, fired) = unbounded_channel();
        Ok(Self {
            scheduler: within_deadline("start the scheduler", start).await?,
            armed: Default::default(),
            fired,
            sender,
        })
    }

    /// Waits until a job fires. Ask [`Schedule::due`] whether it is still due.
    pub(super) async fn fire(&mut self) {
        // `self` holds a sender, so that the channel never closes.
        let Some(id) = self.fired.recv().await else { return };
        for slot in &mut self.armed {
            slot.take_if(|armed| armed.job.guid().as_u128() == id);
        }
    }

    /// Hands the scheduler every job whose next run differs from the one that it holds.
    ///
    /// A job that it should have fired by now counts as lost and is handed over again.
    ///
    /// # Errors
    /// The scheduler does not answer. The daemon ends then, and systemd starts it again.
    pub(super) async fn arm(&mut self, schedule: &Schedule, now: Timestamp) -> Result<(), Failure> {
        for (slot, job) in self.armed.iter_mut().zip(Job::VARIANTS.iter().copied()) {
            let next = schedule.next(job);
            let is_current = |armed: &ArmedJob| Some(armed.at) == next && now < armed.at + LOST_AFTER;
            if slot.as_ref().is_some_and(is_current) {
                continue;
            }
            if let Some(old) = slot.take() {
                let id = old.job.guid();
                within_deadline("drop a job", self.scheduler.remove(&id)).await?;
            }
            if let Some(at) = next {
                let job = one_shot(at, self.sender.clone()).map_err(|e| failure("create a job", &e))?;
                within_deadline("schedule a job", self.scheduler.add(job.clone())).await?;
                *slot = Some(ArmedJob { at, job });
            }
        }
        Ok(())
    }
}

/// Makes a job that sends its id at an instant, once.
fn one_shot(at: Timestamp, sender: UnboundedSender<u128>) -> Result<ScheduledJob, JobSchedulerError> {
    let mut job = ScheduledJob::new_one_shot(Duration::ZERO, move |id, _| {
        // The receiver is gone only when the daemon ends.
        let _ = sender.send(id.as_u128());
    })?;
    // The library would add a duration to its own reading of the clock, and may be a second off.
    let mut data = job.job_data()?;
    let seconds = at.unix_timestamp() + i64::from(at.nanosecond() > 0);
    // 0 means that the job never runs again.
    data.next_tick = u64::try_from(seconds).unwrap_or(0).max(1);
    job.set_job_data(data)?;
    Ok(job)
}

async fn within_deadline<T>(
    act: &str,
    answer: impl Future<Output = Result<T, JobSchedulerError>>,
) -> Result<T, Failure> {
    match timeout(DEADLINE, answer).await {
        Ok(answer) => answer.map_err(|e| failure(act, &e)),
        Err(_) => Err(Failure::new(format!("cannot {act}: the scheduler does not answer"))),
    }
}

fn failure(act: &str, error: &JobSchedulerError) -> Failure {
    Failure::new(format!("cannot {act}: {error:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Settings;
    use crate::schedule::{ClockReading, Recurrence};

    /// Longest time for a due job to fire: the scheduler looks twice a second.
    const SOON: Duration = Duration::from_millis(1500);

    fn now() -> Timestamp {
        Timestamp::now_utc()
    }

    /// A schedule whose only cycles are retries.
    fn yearly() -> Schedule {
        let settings = Settings::check(&[], &mut Vec::new());
        let renewal = Recurrence {
            timetable: settings.schedule,
            offset: Duration::ZERO,
        };
        let reading = ClockReading { now: now(), uptime: 0 };
        Schedule::new(renewal, None, None, reading)
    }

    fn run(test: impl Future<Output = Result<(), Failure>>) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(test).unwrap();
    }

    async fn fires(jobs: &mut Jobs) -> bool {
        timeout(SOON, jobs.fire()).await.is_ok()
    }

    fn retry_in(schedule: &mut Schedule, seconds: i64) {
        schedule.retry_cycle(now(), time::Duration::seconds(seconds));
    }

    #[test]
    fn a_job_fires_once_at_its_instant() {
        run(async {
            let (mut jobs, mut schedule) = (Jobs::start().await?, yearly());
            retry_in(&mut schedule, 2);
            jobs.arm(&schedule, now()).await?;
            let at = schedule.next(Job::Retry).unwrap();
            timeout(DEADLINE, jobs.fire()).await.expect("it fires");
            assert!(now() >= at, "{} is before {at}", now());
            assert!(now() < at + SOON, "{} is long after {at}", now());
            assert!(!fires(&mut jobs).await, "it fired twice");
            Ok(())
        });
    }

    #[test]
    fn a_job_that_moves_fires_at_its_new_instant_only() {
        run(async {
            let (mut jobs, mut schedule) = (Jobs::start().await?, yearly());
            retry_in(&mut schedule, 3600);
            jobs.arm(&schedule, now()).await?;
            assert!(!fires(&mut jobs).await);
            retry_in(&mut schedule, 0);
            jobs.arm(&schedule, now()).await?;
            assert!(fires(&mut jobs).await, "the old instant holds");
            Ok(())
        });
    }

    #[test]
    fn a_job_that_a_step_back_moved_fires_by_the_new_time() {
        run(async {
            let (mut jobs, mut schedule) = (Jobs::start().await?, yearly());
            // The clock was an hour ahead when the retry was planned.
            let ahead = now() + time::Duration::HOUR;
            schedule.follow_clock(ClockReading { now: ahead, uptime: 0 });
            schedule.retry_cycle(ahead, time::Duration::ZERO);
            jobs.arm(&schedule, now()).await?;
            assert!(!fires(&mut jobs).await, "the clock is an hour before it");
            schedule.follow_clock(ClockReading { now: now(), uptime: 0 });
            jobs.arm(&schedule, now()).await?;
            assert!(fires(&mut jobs).await, "silent after a step back");
            Ok(())
        });
    }

    #[test]
    fn a_job_that_the_scheduler_lost_is_armed_again() {
        run(async {
            let (mut jobs, mut schedule) = (Jobs::start().await?, yearly());
            retry_in(&mut schedule, 0);
            jobs.arm(&schedule, now()).await?;
            let lost = jobs.armed.iter().flatten().map(|armed| armed.job.guid());
            for id in lost.collect::<Vec<_>>() {
                jobs.scheduler.remove(&id).await.unwrap();
            }
            jobs.arm(&schedule, now()).await?;
            assert!(!fires(&mut jobs).await, "it is lost");
            jobs.arm(&schedule, now() + LOST_AFTER).await?;
            assert!(fires(&mut jobs).await, "lost for good");
            Ok(())
        });
    }
}
