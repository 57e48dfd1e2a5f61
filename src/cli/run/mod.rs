//! `kubecertd run`: the daemon. This thread hears signals and ticks, and feeds the watchdog; a second one does the work ([`work`]), one task
//! after the other, and is the only one that writes.

mod look;
mod measure;
mod tell;
mod work;

use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;
use tracing::level_filters::LevelFilter;
use tracing::{error, info};

use super::context::Context;
use crate::agenda::Wake;
use crate::config::Settings;
use crate::cycle;
use crate::events;
use crate::host::{Host, log, notify};
use crate::model::{Exit, Failure};
use work::{Daemon, Extent, Task};

/// systemd is asked to wait so much longer while what it waits for goes on.
const LONGER: Duration = Duration::from_secs(30);

/// Runs until SIGTERM. SIGHUP reads the configuration anew.
pub fn run(context: Context) -> Result<Exit, Failure> {
    log::start(LevelFilter::INFO);
    let settings = context.settings()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(1)
        .build()
        .map_err(|e| Failure::new(format!("cannot start: {e}")))?;
    runtime.block_on(daemon(context, settings))?;
    Ok(Exit::Done)
}

/// What a signal asks for.
enum Heard {
    End,
    Reload,
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn catch() -> Result<Self, Failure> {
        let catch = |kind| signal(kind).map_err(|e| Failure::new(format!("cannot catch signals: {e}")));
        Ok(Self {
            terminate: catch(SignalKind::terminate())?,
            interrupt: catch(SignalKind::interrupt())?,
            hangup: catch(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> Heard {
        tokio::select! {
            _ = self.terminate.recv() => Heard::End,
            _ = self.interrupt.recv() => Heard::End,
            _ = self.hangup.recv() => Heard::Reload,
        }
    }
}

/// A task that is under way takes the daemon with it, and gives it back.
type Worker = JoinHandle<Result<Daemon, Failure>>;

fn begin(mut daemon: Daemon, task: Task) -> Worker {
    tokio::task::spawn_blocking(move || daemon.perform(task).map(|()| daemon))
}

async fn end(worker: &mut Option<Worker>) -> Result<Daemon, Failure> {
    match worker {
        Some(worker) => worker
            .await
            .map_err(|e| Failure::new(format!("cannot go on: the work ended early: {e}")))?,
        None => std::future::pending().await,
    }
}

/// What systemd knows of us.
#[derive(PartialEq)]
enum Phase {
    Starting,
    Up,
    Ending,
}

async fn daemon(context: Context, settings: Settings) -> Result<(), Failure> {
    let mut signals = Signals::catch()?;
    // By the monotonic clock: the watchdog is fed whatever the wall clock does.
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut watch = Watch::new(&context.host);
    let mut phase = Phase::Starting;
    let mut reload = None;
    let mut idle = None;
    let mut worker = Some(begin(Daemon::new(context.host.clone(), settings), Task::Start));
    loop {
        tokio::select! {
            _ = ticks.tick() => watch.feed(worker.is_some(), &phase),
            heard = signals.next() => match heard {
                Heard::End => {
                    phase = Phase::Ending;
                    notify::stopping();
                }
                Heard::Reload => reload = Some(read_anew(&context, &phase)),
            },
            done = end(&mut worker) => {
                worker = None;
                let daemon = done?;
                if phase == Phase::Starting {
                    phase = Phase::Up;
                    notify::ready();
                    info!(message_id = events::READY, "ready");
                }
                daemon.say_idle();
                idle = Some(daemon);
            }
        }
        let Some(mut daemon) = idle.take() else { continue };
        if phase == Phase::Ending {
            daemon.publish(false);
            break;
        }
        match reload.take().map(Task::Reload).or_else(|| next_task(&mut daemon)) {
            Some(task) => worker = Some(begin(daemon, task)),
            None => idle = Some(daemon),
        }
    }
    info!(message_id = events::ENDED, "ends");
    Ok(())
}

/// What is to be done now.
fn next_task(daemon: &mut Daemon) -> Option<Task> {
    if cycle::is_unfinished(&daemon.host) {
        // A renewal by hand was killed; while it lives, its lock says so.
        return Some(Task::Recover);
    }
    if let Some(task) = daemon.at_once.take() {
        return Some(task);
    }
    let moment = work::moment(&daemon.host);
    if let Some(Wake::Cycle) = daemon.sets.as_mut().and_then(|sets| sets.wake(moment)) {
        return Some(Task::BackUp);
    }
    daemon.agenda.wake(moment).map(|wake| match wake {
        Wake::Cycle => Task::Cycle(Extent::All),
        Wake::Look => Task::Look,
    })
}

/// Reads the configuration that SIGHUP asks for; a bad one changes nothing, one line a problem. systemd is told that this is over at once: the
/// task that is under way goes on as it began.
fn read_anew(context: &Context, phase: &Phase) -> Result<Box<Settings>, Vec<String>> {
    if *phase == Phase::Up {
        notify::reloading();
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
        notify::ready();
    }
    read
}

/// Feeds systemd's watchdog: while a task is under way, only as long as it goes on.
struct Watch {
    host: Host,
    seen: u64,
}

impl Watch {
    fn new(host: &Host) -> Self {
        Self {
            host: host.clone(),
            seen: host.stop.pulse(),
        }
    }

    fn feed(&mut self, is_busy: bool, phase: &Phase) {
        let pulse = self.host.stop.pulse();
        if !is_busy || pulse != self.seen {
            notify::watchdog();
            if *phase != Phase::Up {
                notify::extend(LONGER);
            }
        }
        self.seen = pulse;
    }
}
