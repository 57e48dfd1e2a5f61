//! `kubecertd run`: the daemon.
//!
//! The first thread waits for signals, for the scheduler and for the watchdog's timer. A second one
//! performs one task after the other ([`worker`]), and alone writes files.

mod assess;
mod daemon;
mod execute;
mod hooks;
mod jobs;
mod metrics;
mod notify;
mod worker;

use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;
use tracing::level_filters::LevelFilter;
use tracing::{error, info};

use super::context::Context;
use crate::config::Settings;
use crate::cycle;
use crate::events;
use crate::host::stop::{Request, Signals};
use crate::host::{Host, log, notify as systemd};
use crate::model::{Exit, Failure};
use crate::schedule::Job;
use daemon::{Daemon, Extent, Task};
use jobs::Jobs;

/// Time by which systemd extends its deadlines while starting or ending makes progress.
const EXTENSION: Duration = Duration::from_secs(30);

/// Runs until SIGTERM. SIGHUP reloads the configuration.
///
/// # Errors
/// The configuration is invalid, or the daemon cannot start or continue.
pub fn run(context: Context) -> Result<Exit, Failure> {
    log::start(LevelFilter::INFO);
    let settings = context.settings()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(1)
        .build()
        .map_err(|e| Failure::new(format!("cannot start: {e}")))?;
    runtime.block_on(event_loop(context, settings))?;
    Ok(Exit::Done)
}

/// Task on the second thread. It owns the daemon and gives it back.
type Worker = JoinHandle<Result<Daemon, Failure>>;

fn begin(mut daemon: Daemon, task: Task) -> Worker {
    tokio::task::spawn_blocking(move || daemon.perform(task).map(|()| daemon))
}

async fn end(worker: &mut Option<Worker>) -> Result<Daemon, Failure> {
    match worker {
        Some(worker) => worker
            .await
            .map_err(|e| Failure::new(format!("cannot continue: the worker thread panicked: {e}")))?,
        None => std::future::pending().await,
    }
}

/// State of the service as systemd knows it.
#[derive(PartialEq)]
enum Phase {
    Starting,
    Up,
    Ending,
}

async fn event_loop(context: Context, settings: Settings) -> Result<(), Failure> {
    let signals = Signals::listen(&context.host.stop);
    let mut signals = signals.map_err(|e| Failure::new(format!("cannot catch signals: {e}")))?;
    let mut jobs = Jobs::start().await?;
    // A monotonic timer: it feeds the watchdog and follows the wall clock, however that is set.
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut watchdog = Watchdog::new(&context.host);
    let mut phase = Phase::Starting;
    let mut reload = None;
    let mut due = Due::default();
    let mut idle = None;
    let mut worker = Some(begin(Daemon::new(context.host.clone(), settings), Task::Start));
    loop {
        tokio::select! {
            _ = ticks.tick() => {
                watchdog.feed(worker.is_some(), &phase);
                due.has_ticked = true;
            }
            () = jobs.fire() => due.has_fired = true,
            request = signals.next() => match request {
                Request::End => {
                    phase = Phase::Ending;
                    systemd::stopping();
                }
                Request::Reload => reload = Some(read_settings(&context, &phase)),
            },
            done = end(&mut worker) => {
                worker = None;
                let daemon = done?;
                if phase == Phase::Starting {
                    phase = Phase::Up;
                    systemd::ready();
                    info!(message_id = events::READY, "ready");
                }
                daemon.report_idle();
                idle = Some(daemon);
            }
        }
        let Some(mut daemon) = idle.take() else { continue };
        if phase == Phase::Ending {
            daemon.publish(false);
            break;
        }
        match reload
            .take()
            .map(Task::Reload)
            .or_else(|| next_task(&mut daemon, &mut due))
        {
            Some(task) => worker = Some(begin(daemon, task)),
            None => {
                jobs.arm(&daemon.schedule, daemon.host.now()).await?;
                idle = Some(daemon);
            }
        }
    }
    info!(message_id = events::ENDED, "stopped");
    Ok(())
}

/// Events since the last task began.
#[derive(Default)]
struct Due {
    /// A second has passed.
    has_ticked: bool,
    /// A job has fired. Stays true until no job is due any more.
    has_fired: bool,
}

/// Returns the next task, or `None` if the daemon waits for its jobs.
fn next_task(daemon: &mut Daemon, due: &mut Due) -> Option<Task> {
    if std::mem::take(&mut due.has_ticked) && cycle::is_unfinished(&daemon.host) {
        // A manual renewal was killed. While one runs, its lock keeps the task from acting.
        return Some(Task::Recover);
    }
    if let Some(task) = daemon.immediate.take() {
        return Some(task);
    }
    let reading = daemon.read_clocks();
    daemon.schedule.follow_clock(reading);
    let job = due.has_fired.then(|| daemon.schedule.due(reading)).flatten();
    due.has_fired = job.is_some();
    job.map(|job| match job {
        Job::Backup => Task::BackUp,
        Job::Renewal | Job::Retry => Task::Cycle(Extent::All),
        Job::Assessment => Task::Assess,
    })
}

/// Reads the configuration that SIGHUP asks to reload, and logs each problem with it.
///
/// systemd learns at once that the reload is over: a running task continues with its old settings.
fn read_settings(context: &Context, phase: &Phase) -> Result<Box<Settings>, Vec<String>> {
    if *phase == Phase::Up {
        systemd::reloading();
    }
    let read = context.settings().map(Box::new).map_err(|failure| {
        let problems: Vec<_> = failure.message.lines().map(str::to_owned).collect();
        for problem in &problems {
            error!(
                message_id = events::NOT_RELOADED,
                "the new configuration is not used: {problem}"
            );
        }
        problems
    });
    if *phase == Phase::Up {
        systemd::ready();
    }
    read
}

/// Feeds systemd's watchdog. During a task it does so only while the task makes progress.
struct Watchdog {
    host: Host,
    last_pulse: u64,
}

impl Watchdog {
    fn new(host: &Host) -> Self {
        Self {
            host: host.clone(),
            last_pulse: host.stop.pulse(),
        }
    }

    fn feed(&mut self, is_busy: bool, phase: &Phase) {
        let pulse = self.host.stop.pulse();
        if !is_busy || pulse != self.last_pulse {
            systemd::watchdog();
            if *phase != Phase::Up {
                systemd::extend(EXTENSION);
            }
        }
        self.last_pulse = pulse;
    }
}
