//! Assessments of the daemon: it reads the node, logs and records the result, and changes nothing.

use std::path::PathBuf;

use tracing::warn;

use super::daemon::{BLOCKED_RETRY, Daemon, Extent, Task};
use super::notify;
use crate::config::settings::CoordinationMode;
use crate::coordinate::ClusterView;
use crate::cycle::{self, Assessment, ExecutionRefusal};
use crate::host::{STATE, notify as systemd};
use crate::inventory::Inventory;
use crate::plan::{Plan, Request, directories};
use crate::report::notices::{self, Kind, Notice};
use crate::state;

impl Daemon {
    /// Assesses the node. If something is urgent, a cycle follows at once.
    pub(super) fn assess(&mut self) {
        systemd::status("Assessing the certificates");
        match self.record_assessment() {
            Ok(assessment) => {
                if assessment.clearance.plan().is_urgent(&self.settings) {
                    self.immediate = Some(Task::Cycle(Extent::Urgent));
                }
            }
            Err(not_executed) => {
                if matches!(&not_executed, ExecutionRefusal::Deferred(deferral, _) if deferral.doubtful_clock) {
                    let wait = self.retry_after(&not_executed);
                    self.schedule.retry_assessment(self.host.now(), wait);
                }
                self.defer("", not_executed);
            }
        }
    }

    /// Logs why kubecertd defers `what`, and keeps the line as the first of the problems.
    pub(super) fn defer(&mut self, what: &str, not_executed: ExecutionRefusal) {
        let line = notify::deferred(what, not_executed);
        self.problems.insert(0, line);
    }

    /// Assesses the node, and logs and records the plan, also if it may not be executed now.
    pub(super) fn record_assessment(&mut self) -> Result<Assessment, ExecutionRefusal> {
        let result = cycle::assess(&self.host, &self.settings, &Request::DUE, self.trigger());
        let now = self.host.now();
        let was_read = !matches!(result, Err(ExecutionRefusal::Failed(_)));
        self.status.step("look", was_read, now);
        let (inventory, plan, doubtful) = match &result {
            Ok(ready) => (&ready.inventory, ready.clearance.plan(), ready.clearance.doubtful_clock),
            Err(ExecutionRefusal::Deferred(deferral, inventory)) => {
                (&**inventory, &deferral.plan, deferral.doubtful_clock)
            }
            Err(ExecutionRefusal::Failed(_)) => return result,
        };
        self.status.step("guard", result.is_ok(), now);
        // The next assessment compares its clock with this one.
        if let Err(failure) = state::record_assessment(&self.host, now, doubtful) {
            warn!("{failure}");
        }
        if self.settings.metrics.textfile_directory.is_some() {
            self.metrics.record(inventory, plan);
        }
        let mut all = notices::of(inventory, plan, &self.settings);
        if result.is_err() && doubtful {
            // An untrusted clock does not prove that a certificate has expired.
            all.retain(|notice| notice.kind == Kind::Fault);
        }
        self.record_problems(inventory, plan, &all);
        let unsaid = notices::unsaid(all, &mut self.record.told, now);
        unsaid.iter().for_each(notify::notice);
        self.hooks.add_notices(&unsaid, &self.host);
        self.status.looked(plan);
        self.record_cluster(inventory);
        result
    }

    /// Keeps the problems that the status shows, and logs those that are new.
    fn record_problems(&mut self, inventory: &Inventory, plan: &Plan, notices: &[Notice]) {
        let before = std::mem::take(&mut self.problems);
        self.problems = notices.iter().map(ToString::to_string).collect();
        for (directory, reason) in self.read_only_directories(inventory, plan) {
            let line = notify::not_writable(&directory, &reason, &before);
            self.problems.push(line);
        }
        let kubernetes = &self.settings.paths.kubernetes;
        let exists = self.host.exists(kubernetes);
        if !exists {
            self.problems.push(format!("there is no {} yet", kubernetes.display()));
        }
        notify::plan(plan, kubernetes, exists);
    }

    /// Records what etcd knows of the other nodes.
    fn record_cluster(&mut self, inventory: &Inventory) {
        let view = cycle::view_cluster(&self.host, &self.settings, inventory);
        let has_others =
            self.settings.coordination.mode != CoordinationMode::Off && state::members(&self.host).len() > 1;
        if has_others && view.as_ref().is_none_or(ClusterView::has_markers) {
            // The next assessment shows when the marker is gone, or when etcd answers.
            self.schedule.retry_assessment(self.host.now(), BLOCKED_RETRY);
        }
        self.status.coordinates(view, self.host.now());
    }

    /// Returns the directories that a cycle would write to and cannot, with the reasons.
    ///
    /// Every assessment checks them: a directory that is made again is read-only to a service whose
    /// sandbox is older.
    fn read_only_directories(&self, inventory: &Inventory, plan: &Plan) -> Vec<(PathBuf, String)> {
        let mut directories = directories::written(plan, inventory, &self.settings);
        directories.insert(STATE.into());
        directories.extend(self.settings.metrics.textfile_directory.clone());
        let all = directories.into_iter();
        all.filter_map(|directory| {
            let reason = self.host.cannot_write(&directory)?;
            Some((directory, reason))
        })
        .collect()
    }
}
