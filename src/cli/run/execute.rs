//! A cycle of the daemon: it renews what is due, or only what is urgent, and plans the next one.

use std::time::Duration;

use tracing::{error, info, info_span, warn};

use super::daemon::{BLOCKED_RETRY, DEFERRED_RETRY, Daemon, Extent};
use super::notify;
use crate::coordinate::LockRefusal;
use crate::cycle::{self, Assessment, Cycle};
use crate::events;
use crate::format::text;
use crate::host::lock::Lock;
use crate::host::notify as systemd;
use crate::plan::Request;
use crate::report::cycle::Report;
use crate::report::status;
use crate::restart::pending;
use crate::schedule;

impl Daemon {
    pub(super) fn cycle(&mut self, extent: Extent) {
        let id = self.host.now_exact();
        let _span = info_span!("cycle", cycle_id = %id).entered();
        systemd::status("Running a cycle");
        let (host, settings) = (self.host.clone(), self.settings.clone());
        let lock = match host.lock("scheduled cycle", Duration::ZERO) {
            Ok(lock) => lock,
            Err(failure) => {
                warn!(message_id = events::DEFERRED, reason = %failure, "cycle deferred: {failure}");
                return self.retry(extent, DEFERRED_RETRY);
            }
        };
        if let Err(failure) = cycle::recover(&host, &lock) {
            self.record_step("cycle", Some(&failure));
            return error!(message_id = events::NOT_RECOVERED, "cycle failed: {failure}");
        }
        let mut assessment = match self.record_assessment() {
            Ok(assessment) => assessment,
            Err(not_executed) => {
                self.retry(extent, self.retry_after(&not_executed));
                return self.defer("cycle ", not_executed);
            }
        };
        let opens = schedule::waits_until(&settings.windows, host.now());
        let reason = match (extent, opens) {
            (Extent::All, None) => None,
            (Extent::All, Some(opens)) => Some(format!("it waits for the maintenance window of {}", text::date(opens))),
            (Extent::Urgent, _) => Some("it is not urgent, and waits for the next cycle of the schedule".into()),
        };
        let deferral = reason
            .clone()
            .filter(|reason| assessment.clearance.defer(&settings, reason));
        if let Some(reason) = &deferral {
            info!("deferred what is not urgent: {reason}");
            self.status.looked(assessment.clearance.plan());
        }
        let report = self.execute(&lock, assessment, reason.as_ref());
        drop(lock);
        if let Some(refusal) = &report.blocked {
            self.status.stepped(&report, host.now());
            return self.record_refusal(refusal, extent);
        }
        self.status.coordination.blocked = None;
        self.status.coordination.blocked_by = None;
        self.record_cycle(&report, &id);
        if !report.renewed.is_empty() {
            // The status shows the new certificates.
            if let (Ok(mut assessment), Some(reason)) = (self.record_assessment(), &deferral) {
                assessment.clearance.defer(&settings, reason);
                self.status.looked(assessment.clearance.plan());
            }
        }
        if let (Extent::All, Some(_), Some(opens)) = (extent, &deferral, opens) {
            // One reading of the clock: a moment too early the window would be closed.
            let now = host.now();
            self.schedule.retry_cycle(now, opens - now);
        } else if extent == Extent::All {
            self.record.last_cycle = Some(host.now().unix_timestamp());
        }
    }

    /// Executes an assessment. Credentials that are not urgent wait for `reason`, if there is one.
    fn execute(&mut self, lock: &Lock, assessment: Assessment, reason: Option<&String>) -> Report {
        let (host, settings, trigger) = (self.host.clone(), self.settings.clone(), self.trigger());
        let cycle = Cycle {
            host: &host,
            settings: &settings,
            lock,
        };
        cycle.execute(&Request::DUE, trigger, assessment, || {
            let mut assessment = self.record_assessment()?;
            if let Some(reason) = reason {
                assessment.clearance.defer(&settings, reason);
            }
            Ok(assessment)
        })
    }

    /// Records that the cluster lock was refused, logs a new reason, and plans a retry.
    fn record_refusal(&mut self, refusal: &LockRefusal, extent: Extent) {
        let coordination = &mut self.status.coordination;
        coordination.blocked_by = Some(<&str>::from(refusal.cause).to_owned());
        let before = coordination.blocked.replace(refusal.reason.clone());
        if before.as_ref() != Some(&refusal.reason) {
            notify::refusal(refusal);
        }
        let now = self.host.now();
        let wait = refusal.until.map(|until| until - now);
        self.retry(extent, wait.map_or(BLOCKED_RETRY, |wait| wait.min(BLOCKED_RETRY)));
    }

    /// Logs and records the result of a cycle, and plans the restarts that are pending.
    fn record_cycle(&mut self, report: &Report, id: &str) {
        notify::report(report);
        let now = self.host.now();
        self.status.stepped(report, now);
        let told = &mut self.record.failed;
        self.hooks.add_cycle(report, told, &self.host);
        self.status.did(status::Cycle {
            at: text::rfc3339(now),
            id: id.to_owned(),
            outcome: report.outcome().to_owned(),
            exit: report.exit() as u8,
            summary: report.summary(),
        });
        if let Some(wait) = pending::next_try(&report.rollout.pending, &self.settings.windows, now) {
            self.schedule.retry_cycle(now, wait);
        }
    }

    /// Plans a retry of a cycle. An urgent cycle begins with an assessment.
    fn retry(&mut self, extent: Extent, wait: time::Duration) {
        match extent {
            Extent::All => self.schedule.retry_cycle(self.host.now(), wait),
            Extent::Urgent => self.schedule.retry_assessment(self.host.now(), wait),
        }
    }
}
