//! What the daemon does when it looks: it reads, says and remembers what there is, and changes nothing.

use std::path::PathBuf;

use tracing::warn;

use super::tell;
use super::work::{BLOCKED, Daemon, Extent, Task};
use crate::config::settings::CoordinationMode;
use crate::coordinate::ClusterView;
use crate::cycle::{self, Assessment, NotExecuted};
use crate::guard::Trigger;
use crate::host::{STATE, notify};
use crate::inventory::Inventory;
use crate::model::Failure;
use crate::plan::{Plan, Request, directories};
use crate::report::notices::{self, Kind};
use crate::state;

impl Daemon {
    /// Reads, says what the plan is, changes nothing.
    pub(super) fn look(&mut self) {
        notify::status("Looking at the certificates");
        match self.see() {
            Ok(look) => {
                if look.clearance.plan().is_urgent(&self.settings) {
                    self.at_once = Some(Task::Cycle(Extent::Urgent));
                }
            }
            Err(not_now) => {
                if matches!(&not_now, NotExecuted::Deferred(deferred, _) if deferred.doubtful_clock) {
                    self.agenda.look_again(self.host.now(), self.wait(&not_now));
                }
                self.defer("nothing is done yet", not_now);
            }
        }
    }

    /// Says why nothing is done now, and keeps it as the first of the problems.
    pub(super) fn defer(&mut self, what: &str, not_now: NotExecuted) {
        let line = tell::deferred(what, not_now);
        self.problems.insert(0, line);
    }

    pub(super) fn attended(&self) -> Trigger {
        Trigger::Scheduled {
            running_for: self.started.elapsed(),
        }
    }

    /// Reads, says and remembers what the plan is; also where it may not be carried out now.
    pub(super) fn see(&mut self) -> Result<Assessment, NotExecuted> {
        let attended = self.attended();
        let look = cycle::assess(&self.host, &self.settings, &Request::DUE, attended);
        let (inventory, plan, doubtful) = match &look {
            Ok(look) => (&look.inventory, look.clearance.plan(), look.clearance.doubtful_clock),
            Err(NotExecuted::Deferred(deferred, inventory)) => (&**inventory, &deferred.plan, deferred.doubtful_clock),
            Err(NotExecuted::Failed(_)) => return look,
        };
        // So that the next one notices a jump of the clock.
        if let Err(failure) = state::record_assessment(&self.host, self.host.now(), doubtful) {
            warn!("{failure}");
        }
        self.looked(&look);
        let mut all = notices::of(inventory, plan, &self.settings);
        if look.is_err() && doubtful {
            // By such a clock nobody is told that something has expired.
            all.retain(|notice| notice.kind == Kind::Fault);
        }
        let before = std::mem::take(&mut self.problems);
        self.problems = all.iter().map(ToString::to_string).collect();
        for (directory, reason) in self.not_writable(inventory, plan) {
            let line = tell::not_writable(&directory, &reason, &before);
            self.problems.push(line);
        }
        let kubernetes = &self.settings.paths.kubernetes;
        let is_there = self.host.exists(kubernetes);
        if !is_there {
            self.problems.push(format!("there is no {} yet", kubernetes.display()));
        }
        tell::plan(plan, kubernetes, is_there);
        let unsaid = notices::unsaid(all, &mut self.memory.told, self.host.now());
        unsaid.iter().for_each(tell::notice);
        self.noticed(&unsaid);
        self.status.looked(plan);
        let seen = cycle::view_cluster(&self.host, &self.settings, inventory);
        let has_others =
            self.settings.coordination.mode != CoordinationMode::Off && state::members(&self.host).len() > 1;
        if has_others && seen.as_ref().is_none_or(ClusterView::has_markers) {
            // The others wait for this node, or may be; of another's mark it is said when it goes.
            self.agenda.look_again(self.host.now(), BLOCKED);
        }
        self.status.coordinates(seen, self.host.now());
        look
    }

    /// Directories that a cycle would write to and cannot: asked at every look, since a directory that is made anew is read-only to a service whose
    /// sandbox was made before it.
    fn not_writable(&self, inventory: &Inventory, plan: &Plan) -> Vec<(PathBuf, String)> {
        let mut directories = directories::written(plan, inventory, &self.settings);
        directories.insert(STATE.into());
        directories.extend(self.settings.metrics.textfile_directory.clone());
        let refused = directories.into_iter();
        refused
            .filter_map(|directory| {
                let reason = self.host.cannot_write(&directory)?;
                Some((directory, reason))
            })
            .collect()
    }

    /// A sandbox that was made before the directory of the PKI was is read-only there for the life of the process: systemd makes a new one.
    pub(super) fn sandbox_is_too_old(&self) -> Result<(), Failure> {
        let kubernetes = &self.settings.paths.kubernetes;
        if self.kubernetes_was_there || !self.host.exists(kubernetes) || self.host.cannot_write(kubernetes).is_none() {
            return Ok(());
        }
        let directory = kubernetes.display();
        Err(Failure::new(format!(
            "cannot write to {directory}, which was made after the service had started: ends, to be started again"
        )))
    }
}
