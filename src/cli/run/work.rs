//! What the daemon does, task by task, on its second thread.

use std::time::{Duration, Instant};

use tracing::{error, info, info_span, warn};

use super::measure::Measured;
use super::tell;
use crate::agenda::{self, Agenda, Moment};
use crate::backup::Purpose;
use crate::config::Settings;
use crate::config::settings::{FirstLook, Schedule};
use crate::coordinate::LockRefusal;
use crate::cycle::{self, Assessment, NotExecuted};
use crate::events;
use crate::format::text;
use crate::host::lock::Lock;
use crate::host::{Host, notify};
use crate::model::{Failure, Timestamp};
use crate::plan::Request;
use crate::report::cycle::Report;
use crate::report::status::{self, Status};
use crate::restart::pending;
use crate::state;

/// A deferred cycle is tried again after this.
const RETRY: time::Duration = time::Duration::MINUTE;

/// A cycle whose turn it is not is tried again after this.
pub(super) const BLOCKED: time::Duration = time::Duration::minutes(5);

/// The name of the status document.
const STATUS_FILE: &str = "status.json";

/// What a cycle takes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    /// Everything that is due.
    All,
    /// What has expired or is urgent, outside of the schedule.
    Urgent,
}

/// One piece of work.
pub(super) enum Task {
    Start,
    Recover,
    Look,
    Cycle(Extent),
    BackUp,
    /// New settings, or what is wrong with them.
    Reload(Result<Box<Settings>, Vec<String>>),
}

/// What is kept between tasks.
pub(super) struct Daemon {
    pub(super) host: Host,
    pub(super) agenda: Agenda,
    /// When sets are taken on their own schedule.
    pub(super) sets: Option<Agenda>,
    /// What comes before anything on the agenda.
    pub(super) at_once: Option<Task>,
    pub(super) settings: Settings,
    pub(super) started: Instant,
    pub(super) kubernetes_was_there: bool,
    pub(super) memory: state::Daemon,
    pub(super) status: Status,
    pub(super) measured: Measured,
    /// What is wrong with the configuration that was read last, if it is not in effect.
    bad_settings: Vec<String>,
    /// What is wrong with the node.
    pub(super) problems: Vec<String>,
}

impl Daemon {
    pub(super) fn new(host: Host, settings: Settings) -> Self {
        Self {
            agenda: new_agenda(&host, &settings, &settings.schedule, None),
            sets: None,
            at_once: None,
            kubernetes_was_there: host.exists(&settings.paths.kubernetes),
            host,
            settings,
            started: Instant::now(),
            memory: state::Daemon::default(),
            status: Status::default(),
            measured: Measured::default(),
            bad_settings: Vec::new(),
            problems: Vec::new(),
        }
    }

    /// Fails only where the daemon cannot start, or has to be started again.
    pub(super) fn perform(&mut self, task: Task) -> Result<(), Failure> {
        match task {
            Task::Start => self.start()?,
            // While another one is at work this is asked every second: there is nothing to publish.
            Task::Recover => {
                if let Err(failure) = self.recover() {
                    warn!("{failure}");
                }
                return Ok(());
            }
            Task::Look => self.look(),
            Task::Cycle(extent) => self.cycle(extent),
            Task::BackUp => self.back_up(),
            Task::Reload(Ok(settings)) => {
                info!(message_id = events::RELOADED, "the configuration was read anew");
                self.settings = *settings;
                self.bad_settings.clear();
                self.plan_ahead();
                self.look();
            }
            Task::Reload(Err(problems)) => self.bad_settings = problems,
        }
        self.call_hooks();
        self.publish(true);
        self.sandbox_is_too_old()
    }

    fn start(&mut self) -> Result<(), Failure> {
        notify::status("Clearing away what an earlier run has left");
        self.recover()?;
        let known = state::daemon(&self.host);
        let is_first = known.is_none();
        self.memory = known.unwrap_or_default();
        let earlier = self.host.read_own(&self.host.state(STATUS_FILE)).ok();
        let earlier = earlier.and_then(|file| serde_json::from_slice::<Status>(&file.bytes).ok());
        if let Some(earlier) = earlier {
            (self.status.last_cycle, self.status.steps) = (earlier.last_cycle, earlier.steps);
            self.status.cycles = earlier.cycles;
        }
        self.plan_ahead();
        self.look();
        if is_first {
            match self.settings.first_look {
                FirstLook::Act => self.at_once = Some(Task::Cycle(Extent::All)),
                FirstLook::Report => tell::first_look(&self.status, self.agenda.next()),
            }
        }
        Ok(())
    }

    /// Makes the agenda anew.
    fn plan_ahead(&mut self) {
        let (host, settings) = (&self.host, &self.settings);
        let last = self.memory.last_cycle;
        let last = last.and_then(|last| Timestamp::from_unix_timestamp(last).ok());
        self.agenda = new_agenda(host, settings, &settings.schedule, last);
        let sets = settings.backup.schedule.as_ref();
        self.sets = sets.map(|schedule| new_agenda(host, settings, schedule, None));
        let now = host.now();
        if let Some(wait) = pending::next_try(&pending::read(host), &settings.windows, now) {
            self.agenda.retry(now, wait);
        }
    }

    /// What an earlier process left. While another one is at work, that one takes care of it.
    fn recover(&self) -> Result<(), Failure> {
        match self.host.try_lock("recover")? {
            Some(lock) => cycle::recover(&self.host, &lock)
                .inspect(|_| cycle::clear_marker(&self.host, &self.settings, &lock))
                .map(drop)
                .inspect_err(|failure| error!(message_id = events::NOT_RECOVERED, "{failure}")),
            None => Ok(()),
        }
    }

    fn cycle(&mut self, extent: Extent) {
        let id = self.host.now_exact();
        let _span = info_span!("cycle", cycle_id = %id).entered();
        notify::status("Running a cycle");
        let (host, settings) = (self.host.clone(), self.settings.clone());
        let lock = match host.lock("scheduled cycle", Duration::ZERO) {
            Ok(lock) => lock,
            Err(failure) => {
                warn!(message_id = events::DEFERRED, reason = %failure, "no cycle now: {failure}");
                return self.again(extent, RETRY);
            }
        };
        if let Err(failure) = cycle::recover(&host, &lock) {
            self.came_to("cycle", Some(&failure));
            return error!(message_id = events::NOT_RECOVERED, "no cycle now: {failure}");
        }
        let mut look = match self.see() {
            Ok(look) => look,
            Err(not_now) => {
                self.again(extent, self.wait(&not_now));
                return self.defer("no cycle now", not_now);
            }
        };
        let opens = agenda::waits_until(&settings.windows, host.now());
        let reason = match (extent, opens) {
            (Extent::All, None) => None,
            (Extent::All, Some(opens)) => Some(format!("it waits for the maintenance window of {}", text::date(opens))),
            (Extent::Urgent, _) => Some("it is not urgent, and waits for the next cycle of the schedule".into()),
        };
        let defer = reason.clone().filter(|reason| look.clearance.defer(&settings, reason));
        if let Some(reason) = &defer {
            info!("what is not urgent is left: {reason}");
            self.status.looked(look.clearance.plan());
        }
        let report = self.act(&lock, look, reason.as_ref());
        drop(lock);
        if let Some(blocked) = &report.blocked {
            self.status.stepped(&report, host.now());
            return self.blocked(blocked, extent);
        }
        (self.status.coordination.blocked, self.status.coordination.blocked_by) = (None, None);
        self.done(&report, &id);
        if !report.renewed.is_empty() {
            // What is known is what is there now.
            if let (Ok(mut look), Some(reason)) = (self.see(), &defer) {
                look.clearance.defer(&settings, reason);
                self.status.looked(look.clearance.plan());
            }
        }
        if let (Extent::All, Some(_), Some(opens)) = (extent, &defer, opens) {
            // One reading: a moment too early the window would be closed.
            let now = host.now();
            self.agenda.retry(now, opens - now);
        } else if extent == Extent::All {
            self.memory.last_cycle = Some(host.now().unix_timestamp());
        }
    }

    /// Carries a look out; `defer` is why what is not urgent waits.
    fn act(&mut self, lock: &Lock, look: Assessment, defer: Option<&String>) -> Report {
        let (host, settings, attended) = (self.host.clone(), self.settings.clone(), self.attended());
        cycle::execute(&host, &settings, lock, &Request::DUE, attended, look, || {
            let mut look = self.see()?;
            if let Some(reason) = defer {
                look.clearance.defer(&settings, reason);
            }
            Ok(look)
        })
    }

    /// It is not this node's turn.
    fn blocked(&mut self, blocked: &LockRefusal, extent: Extent) {
        let coordination = &mut self.status.coordination;
        coordination.blocked_by = Some(blocked.cause.word().to_owned());
        let before = coordination.blocked.replace(blocked.reason.clone());
        if before.as_ref() != Some(&blocked.reason) {
            tell::blocked(blocked);
        }
        let now = self.host.now();
        let opens = blocked.until.map(|until| until - now);
        self.again(extent, opens.map_or(BLOCKED, |opens| opens.min(BLOCKED)));
    }

    /// Says and remembers what a cycle did.
    fn done(&mut self, report: &Report, id: &str) {
        tell::report(report);
        self.acted(report);
        let now = self.host.now();
        self.status.did(status::Cycle {
            at: text::rfc3339(now),
            id: id.to_owned(),
            outcome: report.outcome().to_owned(),
            exit: report.exit() as u8,
            summary: report.summary(),
        });
        if let Some(wait) = pending::next_try(&report.pending, &self.settings.windows, now) {
            self.agenda.retry(now, wait);
        }
    }

    /// A cycle that was put off is tried again; an urgent one begins with a look.
    fn again(&mut self, extent: Extent, wait: time::Duration) {
        match extent {
            Extent::All => self.agenda.retry(self.host.now(), wait),
            Extent::Urgent => self.agenda.look_again(self.host.now(), wait),
        }
    }

    /// A clock that is doubted gets the time that a synchronisation is given.
    pub(super) fn wait(&self, not_now: &NotExecuted) -> time::Duration {
        match not_now {
            NotExecuted::Deferred(deferred, _) if deferred.doubtful_clock => {
                self.settings.clock_wait.try_into().unwrap_or(RETRY).max(RETRY)
            }
            _ => RETRY,
        }
    }

    /// Takes the backup that `[backup] schedule` wants. One that fails is tried again at the next time of the schedule.
    fn back_up(&mut self) {
        notify::status("Taking a backup");
        let taken = cycle::back_up(&self.host, &self.settings, Purpose::Scheduled);
        self.came_to("backup", taken.as_ref().err());
        match taken {
            Ok(taken) => {
                for warning in &taken.warnings {
                    warn!(message_id = events::WARNING, "{warning}");
                }
                for failure in &taken.unarchived {
                    error!(message_id = events::WARNING, "{failure}");
                }
                info!(message_id = events::BACKED_UP, backup = %taken.directory.display(), "backed up on schedule");
            }
            Err(failure) => error!(message_id = events::NOT_BACKED_UP, "no scheduled backup: {failure}"),
        }
    }

    /// What `systemctl status` shows between two tasks.
    pub(super) fn say_idle(&self) {
        let next = self.agenda.next().map_or_else(|| "never".into(), text::date);
        let mut words = format!(
            "Waiting; the next cycle is at {next}, the next look at {}",
            text::date(self.agenda.next_look())
        );
        if let Some(problem) = self.bad_settings.first() {
            words.push_str(&format!("; the new configuration is bad and not in effect: {problem}"));
        }
        notify::status(&words);
    }

    /// Leaves what it knows in the state directory and, for everybody, in /run.
    pub(super) fn publish(&mut self, is_running: bool) {
        let host = &self.host;
        let pid = std::process::id();
        let status = Status {
            version: status::VERSION,
            written: text::rfc3339(host.now()),
            node: host.node_name(),
            daemon: status::Daemon {
                running: is_running,
                pid,
                started_ticks: host.started_ticks(pid).unwrap_or_default(),
            },
            next_look: Some(text::rfc3339(self.agenda.next_look())),
            next_cycle: self.agenda.next().map(text::rfc3339),
            problems: self.bad_settings.iter().chain(&self.problems).cloned().collect(),
            ..self.status.clone()
        };
        self.status = status;
        self.status.waits_for(&pending::read(host));
        let written = serde_json::to_vec_pretty(&self.status)
            .map_err(|e| Failure::new(format!("cannot write the status: {e}")))
            .and_then(|json| {
                state::record_daemon(host, &self.memory)?;
                host.write_state(STATUS_FILE, &json)?;
                host.publish(STATUS_FILE, &json)
            });
        if let Err(failure) = written {
            warn!(message_id = events::WARNING, "{failure}");
        }
        self.measure();
    }
}

fn new_agenda(host: &Host, settings: &Settings, schedule: &Schedule, last: Option<Timestamp>) -> Agenda {
    let offset = agenda::offset(
        settings.spread,
        schedule,
        &host.machine_id(),
        &host.node_name(),
        host.now(),
    );
    Agenda::new(schedule.clone(), offset, last, moment(host))
}

pub(super) fn moment(host: &Host) -> Moment {
    Moment {
        now: host.now(),
        uptime: host.uptime(),
    }
}
