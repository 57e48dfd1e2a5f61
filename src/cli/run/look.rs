//! What the daemon does when it looks: it reads, says and remembers what there is, and changes nothing.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use tracing::warn;

use super::tell;
use super::work::{BLOCKED, Daemon, Extent, Task};
use crate::config::settings::CoordinationMode;
use crate::coordinate::Seen;
use crate::cycle::{self, Look, NotNow};
use crate::guard::Attended;
use crate::host::{STATE, notify};
use crate::memory;
use crate::model::Failure;
use crate::plan::Request;
use crate::report::notices;

impl Daemon {
    /// Reads, says what the plan is, changes nothing.
    pub(super) fn look(&mut self) {
        notify::status("Looking at the certificates");
        match self.see() {
            Ok(look) => {
                if look.cleared.plan().is_urgent(self.settings.urgent_before) {
                    self.at_once = Some(Task::Cycle(Extent::Urgent));
                }
            }
            Err(not_now) => {
                if matches!(&not_now, NotNow::Deferred(deferred) if deferred.doubtful_clock) {
                    self.agenda.look_again(self.host.now(), self.wait(&not_now));
                }
                self.problems = vec![tell::deferred("nothing is decided yet", not_now)];
            }
        }
    }

    pub(super) fn attended(&self) -> Attended {
        Attended::Unattended {
            running_for: self.started.elapsed(),
        }
    }

    pub(super) fn see(&mut self) -> Result<Look, NotNow> {
        let attended = self.attended();
        let look = cycle::look(&self.host, &self.settings, &Request::DUE, attended);
        // So that the next one notices a jump of the clock.
        let doubtful = match &look {
            Ok(look) => look.cleared.doubtful_clock,
            Err(NotNow::Deferred(deferred)) => deferred.doubtful_clock,
            Err(NotNow::Failed(_)) => false,
        };
        if let Err(failure) = memory::record_look(&self.host, self.host.now(), doubtful) {
            warn!("{failure}");
        }
        let look = look?;
        let plan = look.cleared.plan();
        let all = notices::of(&look.inventory, plan, &self.settings);
        let before = std::mem::take(&mut self.problems);
        self.problems = all.iter().map(tell::words).collect();
        for (folder, reason) in self.not_writable(&look) {
            let line = tell::not_writable(&folder, &reason, &before);
            self.problems.push(line);
        }
        let kubernetes = &self.settings.paths.kubernetes;
        let is_there = self.host.exists(kubernetes);
        if !is_there {
            self.problems.push(format!("there is no {} yet", kubernetes.display()));
        }
        tell::plan(plan, kubernetes, is_there);
        for notice in notices::unsaid(all, &mut self.memory.told, self.host.now()) {
            tell::notice(&notice);
        }
        self.status.looked(plan);
        let seen = cycle::look_at_cluster(&self.host, &self.settings, &look.inventory);
        let has_others =
            self.settings.coordination.mode != CoordinationMode::Off && memory::members(&self.host).len() > 1;
        if has_others && seen.as_ref().is_none_or(Seen::has_mark_of_this_node) {
            // The others wait for this node, or may be.
            self.agenda.look_again(self.host.now(), BLOCKED);
        }
        self.status.coordinates(seen, self.host.now());
        Ok(look)
    }

    /// Folders that a cycle would write to and cannot: asked at every look, since a folder that is made anew is read-only to a service whose
    /// sandbox was made before it.
    fn not_writable(&self, look: &Look) -> Vec<(PathBuf, String)> {
        let items = look.cleared.plan().items.iter();
        let files = items
            .filter(|item| item.due.is_some())
            .map(|item| item.path.as_path())
            .chain(look.inventory.pods.iter().map(|pod| pod.file.real.as_path()));
        let folders = files.filter_map(Path::parent).chain([
            Path::new(STATE),
            &self.settings.backup.directory,
            &self.settings.paths.kubernetes,
        ]);
        let folders: BTreeSet<_> = folders.collect();
        let refused = folders.into_iter();
        refused
            .filter_map(|folder| Some((folder.to_owned(), self.host.cannot_write(folder)?)))
            .collect()
    }

    /// A sandbox that was made before the folder of the PKI was is read-only there for the life of the process: systemd makes a new one.
    pub(super) fn sandbox_is_too_old(&self) -> Result<(), Failure> {
        let kubernetes = &self.settings.paths.kubernetes;
        if self.kubernetes_was_there || !self.host.exists(kubernetes) || self.host.cannot_write(kubernetes).is_none() {
            return Ok(());
        }
        let folder = kubernetes.display();
        Err(Failure::new(format!(
            "cannot write to {folder}, which was made after the service had started: ends, to be started again"
        )))
    }
}
