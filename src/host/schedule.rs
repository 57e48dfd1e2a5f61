//! The ticker of the daemon.
//!
//! tokio-cron-scheduler ticks and nothing more: it stores a zone's offset when a job is made and so fires an hour off after a
//! change of daylight saving time (measured with 0.15.1). What a tick means is decided in [`crate::agenda`].

use tokio::sync::mpsc;
use tokio_cron_scheduler::{Job, JobScheduler};

use crate::model::Failure;

/// Ticks once a second for as long as it lives.
pub struct Ticker {
    ticks: mpsc::Receiver<()>,
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
        Ok(Self { ticks, _engine: engine })
    }

    /// Waits for the next tick.
    pub async fn tick(&mut self) {
        if self.ticks.recv().await.is_none() {
            // The engine ended, which it does only with the process.
            std::future::pending::<()>().await;
        }
    }
}
