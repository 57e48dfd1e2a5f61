//! State that the daemon keeps between its tasks, and the status that it publishes.

use std::time::Instant;

use tracing::warn;

use super::hooks::HookQueue;
use super::metrics::Metrics;
use crate::config::Settings;
use crate::config::settings::Timetable;
use crate::cycle::ExecutionRefusal;
use crate::events;
use crate::format::text;
use crate::guard::Trigger;
use crate::host::{Host, notify as systemd};
use crate::model::{Failure, Timestamp};
use crate::report::status::{self, Status};
use crate::restart::pending;
use crate::schedule::{self, ClockReading, NodeIdentity, Recurrence, Schedule};
use crate::state;

/// Name of the status document in the state directory.
pub(super) const STATUS_FILE: &str = "status.json";

/// Time after which kubecertd retries a deferred cycle.
pub(super) const DEFERRED_RETRY: time::Duration = time::Duration::MINUTE;

/// Time after which kubecertd retries a cycle that did not get the cluster lock.
pub(super) const BLOCKED_RETRY: time::Duration = time::Duration::minutes(5);

/// Credentials that a cycle renews.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    /// All that are due.
    All,
    /// Those that are urgent or have expired. Such a cycle does not wait for the schedule.
    Urgent,
}

/// One piece of work for the second thread.
pub(super) enum Task {
    Start,
    Recover,
    Assess,
    Cycle(Extent),
    BackUp,
    /// New settings, or the problems with them.
    Reload(Result<Box<Settings>, Vec<String>>),
}

/// State between tasks.
pub(super) struct Daemon {
    pub(super) host: Host,
    pub(super) settings: Settings,
    pub(super) schedule: Schedule,
    /// Task that comes before every job of the schedule.
    pub(super) immediate: Option<Task>,
    pub(super) started: Instant,
    pub(super) kubernetes_was_there: bool,
    /// State that survives a restart of the daemon.
    pub(super) record: state::Daemon,
    pub(super) status: Status,
    pub(super) metrics: Metrics,
    pub(super) hooks: HookQueue,
    /// Problems with the configuration that was read last, if it is not in effect.
    pub(super) config_problems: Vec<String>,
    /// Problems with the node.
    pub(super) problems: Vec<String>,
}

impl Daemon {
    pub(super) fn new(host: Host, settings: Settings) -> Self {
        Self {
            schedule: plan_jobs(&host, &settings, None),
            immediate: None,
            kubernetes_was_there: host.exists(&settings.paths.kubernetes),
            host,
            settings,
            started: Instant::now(),
            record: state::Daemon::default(),
            status: Status::default(),
            metrics: Metrics::default(),
            hooks: HookQueue::default(),
            config_problems: Vec::new(),
            problems: Vec::new(),
        }
    }

    pub(super) fn read_clocks(&self) -> ClockReading {
        read_clocks(&self.host)
    }

    pub(super) fn trigger(&self) -> Trigger {
        Trigger::Scheduled {
            running_for: self.started.elapsed(),
        }
    }

    /// Returns the time until a retry. A doubtful clock gets that long to synchronize.
    pub(super) fn retry_after(&self, not_executed: &ExecutionRefusal) -> time::Duration {
        match not_executed {
            ExecutionRefusal::Deferred(deferral, _) if deferral.doubtful_clock => {
                let wait = self.settings.clock_wait.try_into().unwrap_or(DEFERRED_RETRY);
                wait.max(DEFERRED_RETRY)
            }
            _ => DEFERRED_RETRY,
        }
    }

    /// Plans every job from the settings and from the restarts that are pending.
    pub(super) fn plan_jobs(&mut self) {
        let last = self.record.last_cycle;
        let last = last.and_then(|last| Timestamp::from_unix_timestamp(last).ok());
        self.schedule = plan_jobs(&self.host, &self.settings, last);
        let now = self.host.now();
        if let Some(wait) = pending::next_try(&pending::read(&self.host), &self.settings.windows, now) {
            self.schedule.retry_cycle(now, wait);
        }
    }

    /// Records the result of a step outside of a cycle, and queues the hook for its failure.
    pub(super) fn record_step(&mut self, step: &'static str, failure: Option<&Failure>) {
        let now = self.host.now();
        self.status.step(step, failure.is_none(), now);
        let told = &mut self.record.failed;
        self.hooks.add_step(step, failure, told, &self.host);
    }

    /// Tells `systemctl status` what the daemon waits for.
    pub(super) fn report_idle(&self) {
        let next = self.schedule.next_cycle().map_or_else(|| "never".into(), text::date);
        let mut words = format!(
            "Waiting; the next cycle is at {next}, the next assessment at {}",
            text::date(self.schedule.next_assessment())
        );
        if let Some(problem) = self.config_problems.first() {
            words.push_str(&format!(
                "; the new configuration is invalid and not in effect: {problem}"
            ));
        }
        systemd::status(&words);
    }

    /// Writes the status to the state directory, and a public copy of it to /run; then the metrics.
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
            next_look: Some(text::rfc3339(self.schedule.next_assessment())),
            next_cycle: self.schedule.next_cycle().map(text::rfc3339),
            problems: self.config_problems.iter().chain(&self.problems).cloned().collect(),
            ..self.status.clone()
        };
        self.status = status;
        self.status.waits_for(&pending::read(host));
        let written = serde_json::to_vec_pretty(&self.status)
            .map_err(|e| Failure::new(format!("cannot write the status: {e}")))
            .and_then(|json| {
                state::record_daemon(host, &self.record)?;
                host.write_state(STATUS_FILE, &json)?;
                host.publish(STATUS_FILE, &json)
            });
        if let Err(failure) = written {
            warn!(message_id = events::WARNING, "{failure}");
        }
        self.metrics.write(host, &self.settings, &self.status);
    }
}

fn plan_jobs(host: &Host, settings: &Settings, last_cycle: Option<Timestamp>) -> Schedule {
    let recur = |timetable: &Timetable| {
        let (machine_id, name) = (host.machine_id(), host.node_name());
        let node = NodeIdentity {
            machine_id: &machine_id,
            name: &name,
        };
        Recurrence {
            timetable: timetable.clone(),
            offset: schedule::offset(settings.spread, timetable, node, host.now()),
        }
    };
    let backup = settings.backup.schedule.as_ref().map(recur);
    Schedule::new(recur(&settings.schedule), backup, last_cycle, read_clocks(host))
}

fn read_clocks(host: &Host) -> ClockReading {
    ClockReading {
        now: host.now(),
        uptime: host.uptime(),
    }
}
