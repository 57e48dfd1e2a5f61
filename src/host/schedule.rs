//! The ticker of the daemon.
//!
//! tokio-cron-scheduler ticks and nothing more: it stores a zone's offset when a job is made and so fires an hour off after a
//! change of daylight saving time (measured with 0.15.1). What a tick means is decided in [`crate::agenda`].

use std::time::Duration;

use tokio::sync::mpsc;
use tokio_cron_scheduler::{Job, JobScheduler};

use crate::model::Failure;

/// Ticks once a second for as long as it lives: by the wall clock and, where that stands or steps back, by the monotonic one.
pub struct Ticker {
    ticks: mpsc::Receiver<()>,
    heartbeat: tokio::time::Interval,
    _engine: JobScheduler,
}

impl Ticker {
    /// Starts ticking.
    pub async fn start() -> Result<Self, Failure> {
        let fail = |e| Failure::new(format!("cannot start the schedule: {e}"));
        let (send, ticks) = mpsc::channel(1);
        let engine = JobScheduler::new().await.map_err(fail)?;
        let job = Job::new("* * * * * *", move |_, _| {
            // A full channel holds a tick already.
            let _ = send.try_send(());
        });
        engine.add(job.map_err(fail)?).await.map_err(fail)?;
        engine.start().await.map_err(fail)?;
        Ok(Self {
            ticks,
            heartbeat: tokio::time::interval(Duration::from_secs(1)),
            _engine: engine,
        })
    }

    /// Waits for the next tick.
    pub async fn tick(&mut self) {
        // The engine compares with the wall clock, so it is silent after a step back; the watchdog must not be.
        tokio::select! {
            Some(()) = self.ticks.recv() => {}
            _ = self.heartbeat.tick() => {}
        }
    }
}
