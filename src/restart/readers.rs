//! The restart of several readers, in order.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::time::Duration;

use tracing::info;

use super::attempt::{self, Attempt, AttemptFailure, as_restarted};
use super::pending::PendingRestart;
use super::{Baseline, RestartResult, Rollout, Urgency, reader, static_pod};
use crate::catalog::readers::{APISERVER, ETCD, KUBELET, RestartMethod};
use crate::config::Settings;
use crate::config::settings::{Method, Scope};
use crate::config::window;
use crate::host::{Host, notify};
use crate::inventory::Inventory;
use crate::inventory::readers::Reader;
use crate::model::Failure;
use crate::plan::readers::ReaderStep;
use crate::verify::probes::{self, Probe};
use crate::verify::{Proof, ProofResult, prove};

/// Longest time that a reader which reloads its files may show the old certificate. Older
/// kube-apiservers poll their files once a minute.
const RELOAD_TIME: Duration = Duration::from_secs(90);

/// Reason of a restart that was interrupted.
const STOPPED: &str = "kubecertd was asked to stop";

/// An attempt to restart a reader that is about to begin.
#[derive(Debug, Clone, Copy)]
pub struct RestartAttempt<'a> {
    /// The program.
    pub reader: &'a str,
    /// This is the first attempt, so that the reader still runs.
    pub is_first: bool,
}

/// Everything that a restart of readers works with.
pub struct ReaderRestarts<'a> {
    /// The node.
    pub host: &'a Host,
    /// The settings.
    pub settings: &'a Settings,
    /// The node's credentials and readers, read after the change.
    pub inventory: &'a Inventory,
    /// The readers before the change.
    pub baseline: &'a Baseline,
    /// The price of leaving a reader alone.
    pub urgency: Urgency,
    /// Called before each attempt; a failure ends the restarts.
    pub may_begin: &'a dyn Fn(RestartAttempt<'_>) -> Result<(), Failure>,
}

impl ReaderRestarts<'_> {
    /// Makes every reader use the credentials of `inventory`, and appends the results to `rollout`.
    ///
    /// # Errors
    ///
    /// Returns the failure of the first reader that cannot be restarted or does not use the new
    /// credentials. The readers before it stay in `rollout`.
    pub fn run(&self, steps: &[ReaderStep], rollout: &mut Rollout) -> Result<(), Failure> {
        let sequence = Sequence {
            restarts: self,
            kubelet: Cell::new(self.baseline.kubelet),
            begun: RefCell::default(),
        };
        sequence.run(steps, rollout)
    }
}

/// The restarts while they are carried out.
struct Sequence<'a> {
    restarts: &'a ReaderRestarts<'a>,
    /// The baseline's kubelet, or one that was restarted with its new credential since: with an
    /// expired one it starts and ends again and again.
    kubelet: Cell<bool>,
    /// The readers that an attempt was announced for.
    begun: RefCell<BTreeSet<String>>,
}

impl Sequence<'_> {
    fn run(&self, steps: &[ReaderStep], rollout: &mut Rollout) -> Result<(), Failure> {
        let inner = self.parked_together(steps);
        for step in steps.iter().filter(|step| Some(*step) != inner) {
            let inner = inner.filter(|_| step.reader == APISERVER);
            self.one(step, inner, rollout)?;
        }
        Ok(())
    }

    /// Returns etcd's step if etcd is parked while the API server is. A kubelet that reports etcd's
    /// new pod to an API server without etcd waits half a minute for the answer (measured on 1.20);
    /// without an API server it does not wait.
    fn parked_together<'s>(&self, steps: &'s [ReaderStep]) -> Option<&'s ReaderStep> {
        let parks = |name: &str| {
            let step = steps.iter().find(|step| step.reader == name && step.restarts())?;
            let is_pod = matches!(step.means, RestartMethod::Pod { .. });
            let reader = reader(self.restarts.inventory, step)?;
            (is_pod && self.waits(step).is_none() && self.cannot(reader).is_none()).then_some(step)
        };
        let rules = &self.restarts.settings.restart;
        let both = parks(ETCD).filter(|_| parks(APISERVER).is_some());
        both.filter(|_| rules.method == Method::Park && rules.scope != Scope::Never)
    }

    /// Makes one reader use its credentials. `inner` is a step that is taken while this reader is
    /// parked.
    fn one(&self, step: &ReaderStep, inner: Option<&ReaderStep>, rollout: &mut Rollout) -> Result<(), Failure> {
        let ReaderRestarts {
            host,
            settings,
            inventory,
            ..
        } = self.restarts;
        // Another process restored or removed its manifest.
        let Some(reader) = reader(inventory, step) else {
            self.warn_and_postpone(step, format!("{} is no longer known here", step.reader), rollout);
            return Ok(());
        };
        if host.stop.requested() {
            self.warn_and_postpone(step, STOPPED.into(), rollout);
            return Ok(());
        }
        if let Some(reason) = self.waits(step) {
            info!("{} is restarted later: {reason}", step.reader);
            self.postpone(step, reason, rollout);
            return Ok(());
        }
        let probes = probes::of_reader(inventory, reader, &step.reads);
        if !step.restarts() && self.has_reloaded(step, reader, &probes, rollout) {
            return Ok(());
        }
        if settings.restart.scope == Scope::Never {
            self.postpone(step, "[restart] scope is never".into(), rollout);
            return Ok(());
        }
        match self.cannot(reader) {
            Some(reason) => self.touch_for_later(step, reason, rollout),
            None => self.restart(step, reader, &probes, inner, rollout),
        }
    }

    /// Waits until a reader that reloads its files uses the new ones. Returns false if it has to be
    /// restarted.
    fn has_reloaded(&self, step: &ReaderStep, reader: &Reader, probes: &[Probe], rollout: &mut Rollout) -> bool {
        let host = self.restarts.host;
        if !self.runs(reader) {
            self.postpone(step, format!("{} does not run", step.reader), rollout);
            return true;
        }
        notify::status(&format!("Verifying that {} uses its renewed credentials", step.reader));
        let limit = RELOAD_TIME.min(self.restarts.settings.restart.timeout);
        match prove(host, Some(&step.reader), probes, limit) {
            Ok(proofs) => {
                rollout.proofs.extend(proofs);
                true
            }
            Err(_) if host.stop.requested() => {
                self.warn_and_postpone(step, STOPPED.into(), rollout);
                true
            }
            Err(stale) => {
                rollout.warnings.push(format!(
                    "{} did not reload its renewed credentials: {stale}",
                    step.reader
                ));
                false
            }
        }
    }

    /// Postpones the restart of a reader that cannot be restarted now. The manifest of a static pod
    /// is changed all the same: a kubelet that comes back then starts the pod again.
    fn touch_for_later(&self, step: &ReaderStep, reason: String, rollout: &mut Rollout) -> Result<(), Failure> {
        let RestartMethod::Pod { manifest } = &step.means else {
            self.warn_and_postpone(step, reason, rollout);
            return Ok(());
        };
        if self.kubelet.get() {
            self.warn_and_postpone(step, reason, rollout);
            return Ok(());
        }
        self.announce(&step.reader)?;
        static_pod::touch(self.restarts.host, manifest)?;
        rollout.attempted.push(step.reader.clone());
        self.warn_and_postpone(step, reason, rollout);
        let pending = rollout.pending.iter_mut();
        pending
            .filter(|pending| pending.step.reader == step.reader)
            .for_each(|pending| pending.touched = true);
        Ok(())
    }

    fn announce(&self, reader: &str) -> Result<(), Failure> {
        let is_first = self.begun.borrow_mut().insert(reader.to_owned());
        (self.restarts.may_begin)(RestartAttempt { reader, is_first })
    }

    /// Returns the reason to wait with a restart that would be possible now.
    fn waits(&self, step: &ReaderStep) -> Option<String> {
        let now = self.restarts.host.now();
        let may_wait = step.restarts() && step.until.is_some_and(|until| now < until);
        (may_wait && !window::is_open(&self.restarts.settings.windows, now))
            .then(|| "no maintenance window is open".into())
    }

    fn runs(&self, reader: &Reader) -> bool {
        !attempt::processes(self.restarts.host, &reader.name, &reader.means).is_empty()
            || self.restarts.urgency == Urgency::Urgent && self.cannot(reader).is_none()
    }

    /// Returns the reason that a reader cannot be restarted now.
    fn cannot(&self, reader: &Reader) -> Option<String> {
        let name = &reader.name;
        match &reader.means {
            RestartMethod::Pod { .. } if !self.kubelet.get() => {
                return Some(format!("{name} cannot be restarted: the kubelet does not respond"));
            }
            RestartMethod::Unit { .. } | RestartMethod::Exec { .. } if !self.restarts.host.is_this_machine() => {
                return Some(format!("{name} cannot be restarted: it belongs to another root"));
            }
            _ => {}
        }
        let state = self.restarts.baseline.readers.get(name);
        let state = state.filter(|_| self.restarts.urgency == Urgency::Calm)?;
        if let Some(reason) = &state.unhealthy {
            return Some(format!("{name} is not restarted: it was unhealthy before ({reason})"));
        }
        let is_pod = matches!(reader.means, RestartMethod::Pod { .. });
        (is_pod && state.processes.is_empty()).then(|| format!("{name} is not restarted: it did not run before"))
    }

    /// Restarts a reader, by one method after the other, until it uses its new credentials.
    fn restart(
        &self,
        step: &ReaderStep,
        reader: &Reader,
        probes: &[Probe],
        mut inner: Option<&ReaderStep>,
        rollout: &mut Rollout,
    ) -> Result<(), Failure> {
        let mut last = String::new();
        for method in attempt::methods(&step.means, self.restarts.settings.restart.method) {
            for step in inner.into_iter().chain([step]) {
                self.announce(&step.reader)?;
            }
            method.begins(&step.reader);
            let inner = inner.take();
            let done = self
                .attempt(reader, probes)
                .around(method, manifest(inner), || match inner {
                    Some(inner) => self.one(inner, None, rollout),
                    None => Ok(()),
                });
            // A pod whose manifest could not be changed has not been touched. A failed command may
            // have done anything.
            let is_pod = matches!(step.means, RestartMethod::Pod { .. });
            if inner.is_some() || !is_pod || !matches!(done, Err(AttemptFailure::Failed(_))) {
                rollout.attempted.push(step.reader.clone());
            }
            match done {
                Ok((proofs, seconds)) => {
                    self.kubelet.set(self.kubelet.get() || step.reader == KUBELET);
                    method.is_done(&step.reader, seconds);
                    rollout.restarted.push(RestartResult {
                        reader: step.reader.clone(),
                        means: step.means.clone(),
                        method: method.word(),
                        seconds,
                    });
                    let proofs = proofs.into_iter().map(|proof| as_restarted(step, method, proof));
                    rollout.proofs.extend(proofs);
                    return Ok(());
                }
                Err(AttemptFailure::Stopped) => {
                    self.warn_and_postpone(step, STOPPED.into(), rollout);
                    return Ok(());
                }
                Err(AttemptFailure::Failed(failure)) => return Err(failure),
                Err(AttemptFailure::Deadline(reason)) => {
                    let warning = format!("{} did not become ready ({method}): {reason}", step.reader);
                    rollout.warnings.push(warning);
                    last = reason;
                }
            }
        }
        Err(Failure::new(format!(
            "cannot make {} use its renewed credentials: {last}",
            step.reader
        )))
    }

    fn attempt<'s>(&'s self, reader: &'s Reader, probes: &'s [Probe]) -> Attempt<'s> {
        Attempt {
            host: self.restarts.host,
            inventory: self.restarts.inventory,
            rules: &self.restarts.settings.restart,
            reader,
            probes,
        }
    }

    fn warn_and_postpone(&self, step: &ReaderStep, reason: String, rollout: &mut Rollout) {
        rollout.warnings.push(reason.clone());
        self.postpone(step, reason, rollout);
    }

    /// Records the restart and the proofs of a reader as still to come.
    fn postpone(&self, step: &ReaderStep, reason: String, rollout: &mut Rollout) {
        if step.restarts() {
            let processes = self.restarts.baseline.processes(&step.reader);
            let pending = PendingRestart::new(self.restarts.host, step, processes);
            rollout.pending.push(pending);
        }
        rollout.proofs.extend(step.reads.iter().map(|credential| ProofResult {
            reader: Some(step.reader.clone()),
            credential: credential.clone(),
            proof: Proof::Pending,
            note: Some(reason.clone()),
        }));
    }
}

fn manifest(step: Option<&ReaderStep>) -> Option<&std::path::Path> {
    match &step?.means {
        RestartMethod::Pod { manifest } => Some(manifest),
        RestartMethod::Unit { .. } | RestartMethod::Exec { .. } => None,
    }
}
