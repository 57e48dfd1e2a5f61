//! `kubecertd run`: the daemon.

use std::time::{Duration, Instant};

use tokio::signal::unix::{SignalKind, signal};
use tracing::level_filters::LevelFilter;
use tracing::{error, info, warn};

use super::context::Context;
use crate::agenda::{self, Agenda, Moment, Wake};
use crate::backup::Purpose;
use crate::config::Settings;
use crate::config::settings::Schedule;
use crate::cycle::{self, Look, NotNow};
use crate::format::text;
use crate::guard::Attended;
use crate::host::schedule::Ticker;
use crate::host::{Host, log, notify};
use crate::memory;
use crate::model::{Exit, Failure};
use crate::plan::Request;
use crate::report::cycle::Report;
use crate::restart::pending;

/// A deferred cycle is tried again after this.
const RETRY: time::Duration = time::Duration::MINUTE;

/// Runs until SIGTERM.
pub fn run(context: Context) -> Result<Exit, Failure> {
    log::start(LevelFilter::INFO);
    let settings = context.settings()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Failure::new(format!("cannot start: {e}")))?;
    runtime.block_on(daemon(context.host, settings))?;
    Ok(Exit::Done)
}

async fn daemon(host: Host, settings: Settings) -> Result<(), Failure> {
    let fail = |e| Failure::new(format!("cannot catch signals: {e}"));
    let mut terminated = signal(SignalKind::terminate()).map_err(fail)?;
    let mut interrupted = signal(SignalKind::interrupt()).map_err(fail)?;
    let mut ticker = Ticker::start().await?;
    let started = Instant::now();
    recover(&host)?;
    look(&host, &settings, started);
    let offset = |schedule: &Schedule| {
        let (machine, node) = (host.machine_id(), host.node_name());
        agenda::offset(settings.spread, schedule, &machine, &node, host.now())
    };
    let new = |schedule: &Schedule, last| Agenda::new(schedule.clone(), offset(schedule), last, moment(&host));
    let mut agenda = new(&settings.schedule, None);
    if let Some(wait) = pending::next_try(&pending::read(&host), &settings.windows, host.now()) {
        agenda.retry(host.now(), wait);
    }
    let mut sets = settings.backup.schedule.as_ref().map(|it| new(it, None));
    notify::ready();
    idle(&agenda);
    loop {
        tokio::select! {
            () = ticker.tick() => {}
            _ = terminated.recv() => break,
            _ = interrupted.recv() => break,
        }
        notify::watchdog();
        if cycle::is_unfinished(&host) {
            // A renewal by hand was killed; while it lives, its lock says so.
            if let Err(failure) = recover(&host) {
                warn!("{failure}");
            }
        }
        if let Some(Wake::Cycle) = sets.as_mut().and_then(|sets| sets.wake(moment(&host))) {
            notify::status("Taking a backup");
            in_background(&host, &settings, &mut ticker, take_set).await;
            idle(&agenda);
        }
        match agenda.wake(moment(&host)) {
            None => continue,
            Some(Wake::Look) => look(&host, &settings, started),
            Some(Wake::Cycle) => {
                notify::status("Running a cycle");
                let cycle = move |host: &Host, settings: &Settings| one_cycle(host, settings, started);
                if let Some(wait) = in_background(&host, &settings, &mut ticker, cycle).await.flatten() {
                    agenda.retry(host.now(), wait);
                }
            }
        }
        if host.stop.requested() {
            break;
        }
        idle(&agenda);
    }
    notify::stopping();
    info!("ends");
    Ok(())
}

fn moment(host: &Host) -> Moment {
    Moment {
        now: host.now(),
        uptime: host.uptime(),
    }
}

/// What an earlier process left. While another one is at work, that one takes care of it.
fn recover(host: &Host) -> Result<(), Failure> {
    match host.try_lock("recover")? {
        Some(lock) => cycle::recover(host, &lock)
            .map(drop)
            .inspect_err(|failure| error!("{failure}")),
        None => Ok(()),
    }
}

fn idle(agenda: &Agenda) {
    let next = agenda.next().map_or_else(|| "never".into(), text::date);
    notify::status(&format!("Waiting; the next cycle is at {next}"));
}

/// Reads, logs the plan, changes nothing.
fn look(host: &Host, settings: &Settings, started: Instant) {
    notify::status("Looking at the certificates");
    let look = cycle::look(host, settings, &Request::DUE, unattended(started));
    remember(host, &look);
    match look {
        Ok(look) => log_plan(&look),
        Err(not_now) => warn!("{}", not_now.failure()),
    }
}

fn unattended(started: Instant) -> Attended {
    Attended::Unattended {
        running_for: started.elapsed(),
    }
}

/// Records the look, so that the next one notices a jump of the clock.
fn remember(host: &Host, look: &Result<Look, NotNow>) {
    let doubtful = match look {
        Ok(look) => look.cleared.doubtful_clock,
        Err(NotNow::Deferred(deferred)) => deferred.doubtful_clock,
        Err(NotNow::Failed(_)) => false,
    };
    if let Err(failure) = memory::record_look(host, host.now(), doubtful) {
        warn!("{failure}");
    }
}

fn log_plan(look: &Look) {
    let plan = look.cleared.plan();
    let names: Vec<_> = plan.renewals().map(|(item, _)| item.name.as_str()).collect();
    let next = plan.items.iter().filter_map(|item| Some((item.due?, &item.name))).min();
    match (names.is_empty(), next) {
        (false, _) => info!("due: {}", text::list(&names)),
        (true, Some((due, name))) => info!("nothing is due; the first will be {name} on {}", text::date(due)),
        (true, None) => info!("there are no certificates to renew on this node"),
    }
    for item in plan.faults() {
        let (_, reason) = item.decision.words();
        warn!(certificate = %item.name, "{} needs attention: {reason}", item.name);
    }
}

/// Works on a thread of its own, so that the watchdog is fed and SIGTERM is heard meanwhile. Gives nothing where it ended early.
async fn in_background<T: Send + 'static>(
    host: &Host,
    settings: &Settings,
    ticker: &mut Ticker,
    work: impl FnOnce(&Host, &Settings) -> T + Send + 'static,
) -> Option<T> {
    let (host, settings) = (host.clone(), settings.clone());
    let mut worker = tokio::task::spawn_blocking(move || work(&host, &settings));
    loop {
        tokio::select! {
            done = &mut worker => return done.inspect_err(|e| error!("the work ended early: {e}")).ok(),
            () = ticker.tick() => notify::watchdog(),
        }
    }
}

/// Takes the set that `[backup] schedule` wants. One that fails is tried again at the next time of the schedule.
fn take_set(host: &Host, settings: &Settings) {
    match cycle::back_up(host, settings, Purpose::Scheduled) {
        Ok(taken) => {
            for warning in &taken.warnings {
                warn!("{warning}");
            }
            for failure in &taken.unsealed {
                error!("{failure}");
            }
            info!(backup = %taken.folder.display(), "backed up on schedule");
        }
        Err(failure) => error!("no scheduled backup: {failure}"),
    }
}

/// Gives after which time it is tried again, if it was deferred or has left a restart.
fn one_cycle(host: &Host, settings: &Settings, started: Instant) -> Option<time::Duration> {
    let lock = match host.lock("scheduled cycle", Duration::ZERO) {
        Ok(lock) => lock,
        Err(failure) => {
            warn!("no cycle now: {failure}");
            return Some(RETRY);
        }
    };
    if let Err(failure) = cycle::recover(host, &lock) {
        error!("no cycle now: {failure}");
        return None;
    }
    let look = cycle::look(host, settings, &Request::DUE, unattended(started));
    remember(host, &look);
    match look {
        Ok(look) => {
            log_plan(&look);
            let report = cycle::act(host, settings, &lock, &Request::DUE, look);
            log_report(&report);
            pending::next_try(&report.pending, &settings.windows, host.now())
        }
        Err(not_now) => {
            // A clock that is doubted gets the time that a synchronisation is given.
            let doubted = matches!(&not_now, NotNow::Deferred(deferred) if deferred.doubtful_clock);
            let wait = if doubted {
                settings.clock_wait.try_into().unwrap_or(RETRY)
            } else {
                RETRY
            };
            warn!("no cycle now: {}", not_now.failure());
            Some(wait.max(RETRY))
        }
    }
}

fn log_report(report: &Report) {
    for warning in &report.warnings {
        warn!("{warning}");
    }
    match report.exit() {
        Exit::Done => info!("cycle: {}", report.summary()),
        Exit::Partly => warn!("cycle: {}", report.summary()),
        _ => error!("cycle: {}", report.summary()),
    }
}
