//! `kubecertd run`: the daemon.

use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tracing::level_filters::LevelFilter;
use tracing::{error, info, warn};

use super::context::Context;
use crate::config::Settings;
use crate::cycle::{self, Look, NotNow};
use crate::guard::Attended;
use crate::host::schedule::{Agenda, Ticker, Wake};
use crate::host::{Host, log, notify};
use crate::model::{Exit, Failure};
use crate::plan::Request;
use crate::report::cycle::Report;
use crate::report::text;

/// Runs until SIGTERM.
pub fn run(context: Context) -> Result<Exit, Failure> {
    log::start(LevelFilter::INFO);
    let settings = context.settings().inspect_err(|failure| error!("{failure}"))?;
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
    recover(&host)?;
    look(&host, &settings);
    let mut agenda = Agenda::new(settings.schedule.clone(), host.now());
    notify::ready();
    idle(&agenda);
    loop {
        tokio::select! {
            () = ticker.tick() => {}
            _ = terminated.recv() => break,
            _ = interrupted.recv() => break,
        }
        notify::watchdog();
        match agenda.wake(host.now()) {
            None => continue,
            Some(Wake::Look) => look(&host, &settings),
            Some(Wake::Cycle) => cycle_in_background(&host, &settings, &mut ticker).await,
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
fn look(host: &Host, settings: &Settings) {
    notify::status("Looking at the certificates");
    match cycle::look(host, settings, &Request::DUE, Attended::Unattended) {
        Ok(look) => log_plan(&look),
        Err(not_now) => warn!("{}", not_now.failure()),
    }
}

fn log_plan(look: &Look) {
    let plan = look.cleared.plan();
    let names: Vec<_> = plan.renewals().map(|(item, _)| item.name.as_str()).collect();
    let next = plan.items.iter().filter_map(|item| Some((item.due?, &item.name))).min();
    match (names.is_empty(), next) {
        (false, _) => info!("due: {}", names.join(", ")),
        (true, Some((due, name))) => info!("nothing is due; the first will be {name} on {}", text::date(due)),
        (true, None) => info!("there are no certificates to renew on this node"),
    }
    for item in plan.faults() {
        warn!(certificate = %item.name, "{} needs attention: {:?}", item.name, item.decision);
    }
}

/// Runs a cycle on a thread of its own, so that the watchdog is fed and SIGTERM is heard meanwhile.
async fn cycle_in_background(host: &Host, settings: &Settings, ticker: &mut Ticker) {
    notify::status("Running a cycle");
    let (worker_host, worker_settings) = (host.clone(), settings.clone());
    let mut worker = tokio::task::spawn_blocking(move || one_cycle(&worker_host, &worker_settings));
    loop {
        tokio::select! {
            done = &mut worker => {
                if let Err(e) = done {
                    error!("the cycle ended early: {e}");
                }
                return;
            }
            () = ticker.tick() => notify::watchdog(),
        }
    }
}

fn one_cycle(host: &Host, settings: &Settings) {
    let run = || -> Result<Report, Failure> {
        let lock = host.lock("scheduled cycle", Duration::ZERO)?;
        cycle::recover(host, &lock)?;
        let look = cycle::look(host, settings, &Request::DUE, Attended::Unattended).map_err(NotNow::failure)?;
        log_plan(&look);
        Ok(cycle::act(host, settings, &lock, &Request::DUE, look))
    };
    match run() {
        Ok(report) => {
            for warning in &report.warnings {
                warn!("{warning}");
            }
            match report.exit() {
                Exit::Done => info!("cycle: {}", report.summary()),
                Exit::Partly => warn!("cycle: {}", report.summary()),
                _ => error!("cycle: {}", report.summary()),
            }
        }
        Err(failure) => warn!("no cycle now: {failure}"),
    }
}
