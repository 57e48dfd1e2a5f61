//! One attempt to restart one reader: the change, the end of the old process, the new process, its
//! health and its proofs. Each wait has a deadline.

use std::fmt;
use std::path::Path;
use std::time::{Duration, Instant};

use tracing::info;

use super::{kubelet_answers, park, static_pod, unit};
use crate::catalog::readers::RestartMethod;
use crate::config::settings::{self, Method};
use crate::events;
use crate::host::{Host, notify};
use crate::inventory::Inventory;
use crate::inventory::readers::Reader;
use crate::model::{Failure, Process};
use crate::plan::readers::ReaderStep;
use crate::verify::probes::{self, Probe};
use crate::verify::{Proof, ProofResult, is_well, prove};

/// Time between two looks at the processes.
const EVERY: Duration = Duration::from_millis(100);

/// Method of one attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AttemptMethod {
    /// Change or park the manifest of a static pod.
    Manifest(Method),
    /// Run `systemctl restart`, or `systemctl reload`.
    Unit { reload: bool },
    /// Run the operator's command.
    Exec,
}

impl AttemptMethod {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Manifest(method) => <&str>::from(method),
            Self::Unit { reload: false } => "restart",
            Self::Unit { reload: true } => "reload",
            Self::Exec => "exec",
        }
    }

    /// Logs the begin of the restart.
    pub(super) fn begins(self, reader: &str) {
        notify::status(&format!("Restarting {reader}"));
        info!(
            message_id = events::RESTARTING,
            action = "restart",
            reader,
            method = self.word(),
            "restarting {reader} ({self})"
        );
    }

    /// Logs the restart, after its proof.
    pub(super) fn is_done(self, reader: &str, seconds: f64) {
        info!(
            message_id = events::RESTARTED,
            action = "restart",
            reader,
            method = self.word(),
            seconds = format_args!("{seconds:.1}"),
            "restarted {reader} ({self}, {seconds:.1} s)"
        );
    }
}

impl fmt::Display for AttemptMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Returns the methods to try, in order. A kubelet that misses a changed manifest
/// (kubernetes/kubernetes#109596, #134908) may still notice that one is gone.
pub(super) fn methods(means: &RestartMethod, configured: Method) -> Vec<AttemptMethod> {
    match means {
        RestartMethod::Pod { .. } if configured == Method::Touch => {
            vec![
                AttemptMethod::Manifest(Method::Touch),
                AttemptMethod::Manifest(Method::Park),
            ]
        }
        RestartMethod::Pod { .. } => vec![AttemptMethod::Manifest(Method::Park)],
        RestartMethod::Unit { reload, .. } => vec![AttemptMethod::Unit { reload: *reload }],
        RestartMethod::Exec { .. } => vec![AttemptMethod::Exec],
    }
}

/// Returns the processes of a reader. Units of another root are not asked, since systemd knows only
/// those of this machine.
pub(super) fn processes(host: &Host, reader: &str, means: &RestartMethod) -> Vec<Process> {
    match means {
        RestartMethod::Pod { .. } => host.processes_in_pods(reader),
        RestartMethod::Unit { unit, .. } if host.is_this_machine() => {
            unit::main_process(host, unit).into_iter().collect()
        }
        RestartMethod::Unit { .. } => Vec::new(),
        RestartMethod::Exec { .. } => host.processes(&[reader]),
    }
}

pub(super) struct Attempt<'a> {
    pub(super) host: &'a Host,
    pub(super) rules: &'a settings::Restart,
    pub(super) reader: &'a Reader,
    pub(super) probes: &'a [Probe],
    pub(super) inventory: &'a Inventory,
}

/// The reason that an attempt failed.
pub(super) enum AttemptFailure {
    /// The reader did not become ready in time. This was missing.
    Deadline(String),
    /// The attempt could not begin.
    Failed(Failure),
    /// The process was asked to end.
    Stopped,
}

impl Attempt<'_> {
    /// Restarts the reader, and returns the proofs and the seconds that it took. `with` is parked
    /// together with a parked manifest. `meanwhile` runs once the old process is gone, before the
    /// manifest comes back.
    pub(super) fn around(
        &self,
        by: AttemptMethod,
        with: Option<&Path>,
        meanwhile: impl FnOnce() -> Result<(), Failure>,
    ) -> Result<(Vec<ProofResult>, f64), AttemptFailure> {
        let old = self.processes();
        let begun = Instant::now();
        let limit = self.rules.timeout;
        let host = self.host;
        let done = match (&self.reader.means, by) {
            (RestartMethod::Pod { manifest }, AttemptMethod::Manifest(Method::Park)) => {
                self.parked(manifest, with, &old, begun + limit, meanwhile)?;
                Ok(())
            }
            (RestartMethod::Pod { manifest }, _) => static_pod::touch(host, manifest),
            (RestartMethod::Unit { unit, reload }, _) => unit::restart(host, unit, *reload, limit),
            (RestartMethod::Exec { command }, _) => unit::exec(host, &self.reader.name, command, limit),
        };
        done.map_err(AttemptFailure::Failed)?;
        let is_same_process = by == AttemptMethod::Unit { reload: true };
        let deadline = Instant::now() + self.rules.timeout;
        let proven = self.wait(if is_same_process { &[] } else { &old }, begun, deadline)?;
        Ok((proven, begun.elapsed().as_secs_f64()))
    }

    fn parked(
        &self,
        manifest: &Path,
        with: Option<&Path>,
        old: &[Process],
        deadline: Instant,
        meanwhile: impl FnOnce() -> Result<(), Failure>,
    ) -> Result<(), AttemptFailure> {
        let all = || std::iter::once(manifest).chain(with);
        let gone = all()
            .try_for_each(|one| park::park(self.host, one))
            .map_err(AttemptFailure::Failed)
            .and_then(|()| self.wait_until_gone(old, deadline));
        let done = gone.and_then(|()| meanwhile().map_err(AttemptFailure::Failed));
        // The manifests come back in any case, in the reverse order. One that does not come back
        // does not stop the others.
        let back = all().collect::<Vec<_>>().into_iter().rev();
        let back = back.map(|one| park::unpark(self.host, one).map_err(AttemptFailure::Failed));
        back.fold(done, |done, one| done.and(one))
    }

    fn processes(&self) -> Vec<Process> {
        processes(self.host, &self.reader.name, &self.reader.means)
    }

    fn wait_until_gone(&self, old: &[Process], deadline: Instant) -> Result<(), AttemptFailure> {
        let begun = Instant::now();
        loop {
            let left = self.left(old, &self.processes(), begun)?;
            if left == 0 {
                return Ok(());
            }
            self.pause(deadline, || "the old process still runs".into())?;
        }
    }

    /// Returns the number of old processes that are left. After the grace period they are killed.
    fn left(&self, old: &[Process], now: &[Process], begun: Instant) -> Result<usize, AttemptFailure> {
        let left: Vec<_> = old.iter().filter(|old| now.contains(old)).collect();
        let is_pod = matches!(self.reader.means, RestartMethod::Pod { .. });
        if is_pod
            && begun.elapsed() >= self.rules.grace
            && !left.is_empty()
            && kubelet_answers(self.host, self.inventory)
        {
            for process in &left {
                if self.host.kill(process).map_err(AttemptFailure::Failed)? {
                    info!(
                        "ended the old {} (pid {}), which had not ended in time",
                        process.program, process.pid
                    );
                }
            }
        }
        Ok(left.len())
    }

    /// Waits until the old processes are gone, a new one is healthy, and everything is proven.
    fn wait(&self, old: &[Process], begun: Instant, deadline: Instant) -> Result<Vec<ProofResult>, AttemptFailure> {
        let health = probes::health(self.reader);
        loop {
            let now = self.processes();
            let missing = if self.left(old, &now, begun)? > 0 {
                "the old process still runs".into()
            } else if !old.is_empty() && now.is_empty() {
                "no new process runs".into()
            } else if let Some(Err(reason)) = health.as_ref().map(|health| is_well(self.host, health)) {
                reason
            } else {
                let left = deadline.saturating_duration_since(Instant::now());
                match prove(self.host, Some(&self.reader.name), self.probes, left) {
                    Ok(proven) => return Ok(proven),
                    Err(reason) => reason,
                }
            };
            self.pause(deadline, || missing)?;
        }
    }

    fn pause(&self, deadline: Instant, missing: impl FnOnce() -> String) -> Result<(), AttemptFailure> {
        if self.host.stop.requested() {
            return Err(AttemptFailure::Stopped);
        }
        if Instant::now() >= deadline {
            return Err(AttemptFailure::Deadline(missing()));
        }
        std::thread::sleep(EVERY);
        Ok(())
    }
}

/// Replaces a weak proof by the restart itself: a new process has read the new credential. After a
/// reload the process is the same one.
pub(super) fn as_restarted(step: &ReaderStep, method: AttemptMethod, proven: ProofResult) -> ProofResult {
    let held = step.holds.contains(&proven.credential) && method != AttemptMethod::Unit { reload: true };
    match proven.proof {
        Proof::Assumed | Proof::Accepted if held => ProofResult {
            proof: Proof::Restarted,
            note: None,
            ..proven
        },
        _ => proven,
    }
}
