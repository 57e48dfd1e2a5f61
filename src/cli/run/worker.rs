//! Tasks of the second thread, except assessments and cycles: start, recovery, backup and reload.

use tracing::{error, info, warn};

use super::daemon::{Daemon, Extent, STATUS_FILE, Task};
use super::notify;
use crate::backup::Purpose;
use crate::config::settings::FirstLook;
use crate::cycle;
use crate::events;
use crate::host::notify as systemd;
use crate::model::Failure;
use crate::report::status::Status;
use crate::state;

impl Daemon {
    /// Performs a task, calls the hooks and publishes the status.
    ///
    /// # Errors
    /// The daemon cannot start, or systemd has to start it again.
    pub(super) fn perform(&mut self, task: Task) -> Result<(), Failure> {
        match task {
            Task::Start => self.start()?,
            // Every second while another process runs a cycle; the status stays the same.
            Task::Recover => {
                if let Err(failure) = self.recover() {
                    warn!("{failure}");
                }
                return Ok(());
            }
            Task::Assess => self.assess(),
            Task::Cycle(extent) => self.cycle(extent),
            Task::BackUp => self.back_up(),
            Task::Reload(Ok(settings)) => {
                info!(message_id = events::RELOADED, "configuration reloaded");
                self.settings = *settings;
                self.config_problems.clear();
                self.plan_jobs();
                self.assess();
            }
            Task::Reload(Err(problems)) => self.config_problems = problems,
        }
        self.hooks.call(&self.host, &self.settings.hooks, &mut self.status);
        self.publish(true);
        self.check_sandbox()
    }

    fn start(&mut self) -> Result<(), Failure> {
        systemd::status("Cleaning up after an earlier run");
        self.recover()?;
        let record = state::daemon(&self.host);
        let is_first = record.is_none();
        self.record = record.unwrap_or_default();
        let earlier = self.host.read_own(&self.host.state(STATUS_FILE)).ok();
        let earlier = earlier.and_then(|file| serde_json::from_slice::<Status>(&file.bytes).ok());
        if let Some(earlier) = earlier {
            self.status.last_cycle = earlier.last_cycle;
            self.status.steps = earlier.steps;
            self.status.cycles = earlier.cycles;
        }
        self.plan_jobs();
        self.assess();
        if is_first {
            match self.settings.first_look {
                FirstLook::Act => self.immediate = Some(Task::Cycle(Extent::All)),
                FirstLook::Report => notify::first_assessment(&self.status, self.schedule.next_cycle()),
            }
        }
        Ok(())
    }

    /// Finishes or rolls back what an interrupted process left. A running process does so itself.
    fn recover(&self) -> Result<(), Failure> {
        match self.host.try_lock("recover")? {
            Some(lock) => cycle::recover(&self.host, &lock)
                .inspect(|_| cycle::clear_marker(&self.host, &self.settings, &lock))
                .map(drop)
                .inspect_err(|failure| error!(message_id = events::NOT_RECOVERED, "{failure}")),
            None => Ok(()),
        }
    }

    /// Takes the backup of `[backup] schedule`. After a failure, the next backup comes on schedule.
    fn back_up(&mut self) {
        systemd::status("Taking a backup");
        let taken = cycle::back_up(&self.host, &self.settings, Purpose::Scheduled);
        self.record_step("backup", taken.as_ref().err());
        match taken {
            Ok(taken) => {
                for warning in &taken.warnings {
                    warn!(message_id = events::WARNING, "{warning}");
                }
                for failure in &taken.unarchived {
                    error!(message_id = events::WARNING, "{failure}");
                }
                let backup = taken.directory.display();
                info!(message_id = events::BACKED_UP, %backup, "backed up on schedule");
            }
            Err(failure) => error!(message_id = events::NOT_BACKED_UP, "scheduled backup failed: {failure}"),
        }
    }

    /// Checks that the sandbox is not older than the directory of the PKI.
    ///
    /// # Errors
    /// The directory is new and read-only for this process. systemd has to start another one.
    fn check_sandbox(&self) -> Result<(), Failure> {
        let kubernetes = &self.settings.paths.kubernetes;
        if self.kubernetes_was_there || !self.host.exists(kubernetes) || self.host.cannot_write(kubernetes).is_none() {
            return Ok(());
        }
        let directory = kubernetes.display();
        Err(Failure::new(format!(
            "cannot write to {directory}, which was made after the service had started; systemd restarts kubecertd"
        )))
    }
}
