//! The rollout: after the files are in place, the readers start to use them and prove it. Then the
//! transaction is committed; or the old files come back, and the readers to them.

use std::path::PathBuf;
use std::time::Duration;

use tracing::{info, warn};

use super::Cycle;
use crate::catalog::readers::{APISERVER, ETCD};
use crate::coordinate::ClusterLock;
use crate::host::{Host, notify};
use crate::inventory::{self, Inventory};
use crate::model::{Exit, Failure};
use crate::plan::Plan;
use crate::plan::readers::ReaderStep;
use crate::report::cycle::Report;
use crate::restart::pending::{self, PendingRestart};
use crate::restart::{self, Baseline, ReaderRestarts, Rollout, Urgency, park};
use crate::scan;
use crate::transaction::Transaction;
use crate::verify::{Proof, ProofResult, probes, prove};

/// Longest time that a server may refuse a renewed credential before that is a failure.
const REFUSED: Duration = Duration::from_secs(30);

/// The impact of a change on the readers, gathered before the change.
pub(super) struct ReaderImpact {
    /// Names of the credentials that change.
    names: Vec<String>,
    /// The steps for their readers.
    steps: Vec<ReaderStep>,
    /// The manifests of the readers and of the components that are probed about them. `None` means
    /// all manifests, since they change too.
    manifests: Option<Vec<PathBuf>>,
    baseline: Baseline,
    urgency: Urgency,
    /// The reason that the old state is not worth going back to.
    no_way_back: Option<&'static str>,
}

impl ReaderImpact {
    /// Returns the impact of a plan.
    pub(super) fn of_plan(cycle: &Cycle<'_>, inventory: &Inventory, plan: &Plan) -> Self {
        let steps: Vec<_> = plan
            .readers
            .iter()
            .filter(|step| !step.reads.is_empty())
            .cloned()
            .collect();
        let mut ends = plan.renewals().filter_map(|(item, _)| item.expires);
        Self {
            names: plan.renewals().map(|(item, _)| item.name.clone()).collect(),
            baseline: restart::baseline(cycle.host, inventory, &steps),
            manifests: Some(manifests(inventory, &steps)),
            steps,
            urgency: if plan.is_urgent(cycle.settings) {
                Urgency::Urgent
            } else {
                Urgency::Calm
            },
            no_way_back: ends
                .any(|end| end < inventory.at)
                .then_some("the old ones have expired"),
        }
    }

    /// Returns the impact of restoring these credentials and everything else that the steps cache.
    /// Unhealthy readers are not a reason to wait.
    pub(super) fn of_restore(
        cycle: &Cycle<'_>,
        inventory: &Inventory,
        names: Vec<String>,
        steps: Vec<ReaderStep>,
    ) -> Self {
        let baseline = restart::baseline(cycle.host, inventory, &steps);
        let was_healthy = baseline.all_were_healthy();
        Self {
            names,
            steps,
            manifests: None,
            baseline,
            urgency: Urgency::Urgent,
            no_way_back: (!was_healthy).then_some("the node was unhealthy before"),
        }
    }

    /// Returns the restarts that would be left if this process died.
    pub(super) fn restarts(&self, host: &Host) -> Vec<PendingRestart> {
        self.pending(host, &self.steps)
    }

    fn pending(&self, host: &Host, steps: &[ReaderStep]) -> Vec<PendingRestart> {
        let restarts = steps.iter().filter(|step| step.restarts());
        restarts
            .map(|step| PendingRestart::new(host, step, self.baseline.processes(&step.reader)))
            .collect()
    }

    fn scan(&self, cycle: &Cycle<'_>) -> Inventory {
        let manifests = self.manifests.as_deref();
        inventory::build(&scan::scan_again(cycle.host, cycle.settings, &self.names, manifests))
    }
}

fn manifests(inventory: &Inventory, steps: &[ReaderStep]) -> Vec<PathBuf> {
    let is_probed =
        |component: &str| [ETCD, APISERVER].contains(&component) || steps.iter().any(|step| step.reader == component);
    let pods = inventory.pods.iter();
    pods.filter(|pod| is_probed(&pod.manifest.component))
        .map(|pod| pod.file.real.clone())
        .collect()
}

impl Cycle<'_> {
    /// Makes the readers use what was installed, proves it and commits. A failure rolls everything
    /// back, readers included; but never back to credentials that were not good either.
    ///
    /// # Errors
    ///
    /// Returns the failure with exit code 1 after a complete rollback, otherwise with 3.
    pub(super) fn roll_out(
        &self,
        cluster_lock: &ClusterLock,
        transaction: Transaction<'_>,
        impact: &ReaderImpact,
        rollout: &mut Rollout,
    ) -> Result<(), Failure> {
        let inventory = impact.scan(self);
        let done = self.restart_and_prove(cluster_lock, &inventory, impact, rollout);
        let Err(failure) = done else {
            close(transaction, rollout);
            return Ok(());
        };
        if let Some(reason) = impact.no_way_back {
            let is_left = |step: &&ReaderStep| rollout.restarted.iter().all(|done| done.reader != step.reader);
            let left: Vec<_> = impact.steps.iter().filter(is_left).cloned().collect();
            rollout.pending = impact.pending(self.host, &left);
            close(transaction, rollout);
            return Err(failure
                .hint(format!(
                    "the new files stay because {reason}; read the component's log, then run `kubecertd renew` again"
                ))
                .exit(Exit::RollbackFailed));
        }
        drop(inventory);
        warn!("{failure}; rolling back");
        Err(self.roll_back(transaction, impact, rollout, failure))
    }

    fn restart_and_prove(
        &self,
        cluster_lock: &ClusterLock,
        inventory: &Inventory,
        impact: &ReaderImpact,
        rollout: &mut Rollout,
    ) -> Result<(), Failure> {
        let broken = impact.names.iter().find_map(|name| broken(inventory, name));
        let done = match broken {
            Some(reason) => Err(Failure::new(reason)),
            None => ReaderRestarts {
                host: self.host,
                settings: self.settings,
                inventory,
                baseline: &impact.baseline,
                urgency: impact.urgency,
                may_begin: &|attempt| self.may_restart(cluster_lock, inventory, attempt),
            }
            .run(&impact.steps, rollout),
        };
        rollout.proofs.extend(unknown_readers(inventory, impact));
        done?;
        prove_logins(self.host, inventory, impact, rollout)
    }

    /// Puts the old files back and makes the readers use them. Returns the failure that caused it,
    /// or a worse one.
    fn roll_back(
        &self,
        transaction: Transaction<'_>,
        impact: &ReaderImpact,
        rollout: &mut Rollout,
        failure: Failure,
    ) -> Failure {
        notify::status("Rolling back");
        let attempted = std::mem::take(&mut rollout.attempted);
        let warnings = std::mem::take(&mut rollout.warnings);
        *rollout = Rollout {
            warnings,
            ..Rollout::default()
        };
        let failure = transaction.roll_back(failure);
        if failure.exit == Exit::RollbackFailed {
            return failure;
        }
        let but = |second: &Failure| format!("{failure}; the old files are back, but {second}");
        if let Err(parked) = park::recover(self.host) {
            let message = but(&parked);
            return Failure { message, ..parked };
        }
        // A reader that was not touched still caches the old credential.
        let was_touched = |step: &&ReaderStep| !step.restarts() || attempted.contains(&step.reader);
        let now = |step: &ReaderStep| ReaderStep {
            until: None,
            ..step.clone()
        };
        let steps: Vec<_> = impact.steps.iter().filter(was_touched).map(now).collect();
        let restarts = ReaderRestarts {
            host: self.host,
            settings: self.settings,
            inventory: &impact.scan(self),
            baseline: &impact.baseline,
            urgency: Urgency::Urgent,
            // A rollback does not wait for other nodes.
            may_begin: &|_| Ok(()),
        };
        match restarts.run(&steps, rollout) {
            Ok(()) => {
                info!("rolled back: the old files are back, and the components use them");
                failure
            }
            Err(second) => Failure::new(but(&second))
                .hint("read the component's log (crictl ps -a, crictl logs), then run `systemctl status kubelet`")
                .exit(Exit::RollbackFailed),
        }
    }

    /// Does the restarts that an earlier cycle left, and those of processes whose own certificate,
    /// made at their start, ends soon. A restart that fails stays recorded and rolls nothing back.
    pub(super) fn restart_pending(
        &self,
        cluster_lock: &ClusterLock,
        earlier: Vec<PendingRestart>,
        report: &mut Report,
    ) {
        let steps = report.plan.readers.iter().filter(|step| step.reads.is_empty()).cloned();
        let mut restarts: Vec<(ReaderStep, Option<PendingRestart>)> = earlier
            .into_iter()
            .map(|pending| (pending.step.clone(), Some(pending)))
            .collect();
        restarts.extend(steps.map(|step| (step, None)));
        let rollout = &mut report.rollout;
        let is_done = |reader: &str| {
            rollout.restarted.iter().any(|done| done.reader == reader)
                || rollout.pending.iter().any(|pending| pending.step.reader == reader)
        };
        restarts.retain(|(step, _)| !is_done(&step.reader));
        if !restarts.is_empty() {
            let inventory = inventory::build(&scan::scan_again(self.host, self.settings, &[], None));
            for (step, recorded) in restarts {
                let restart = Restart { step, recorded };
                self.restart_one(cluster_lock, &inventory, restart, rollout);
            }
        }
        if let Err(failure) = pending::record(self.host, &rollout.pending) {
            rollout.warnings.push(failure.to_string());
        }
    }

    fn restart_one(&self, cluster_lock: &ClusterLock, inventory: &Inventory, restart: Restart, rollout: &mut Rollout) {
        let Restart { step, recorded } = restart;
        let only = std::slice::from_ref(&step);
        let baseline = restart::baseline(self.host, inventory, only);
        let processes = baseline.processes(&step.reader);
        if recorded.as_ref().is_some_and(|old| old.is_done(self.host, processes)) {
            info!("{} was restarted meanwhile", step.reader);
            return;
        }
        // Nothing more can be done about a manifest that was changed already.
        let is_changed = |old: &&PendingRestart| old.touched && !baseline.can_restart(&old.step.means);
        if let Some(recorded) = recorded.as_ref().filter(is_changed) {
            rollout.pending.push(recorded.clone());
            return;
        }
        let mut one = Rollout::default();
        let restarts = ReaderRestarts {
            host: self.host,
            settings: self.settings,
            inventory,
            baseline: &baseline,
            urgency: Urgency::Calm,
            may_begin: &|attempt| self.may_restart(cluster_lock, inventory, attempt),
        };
        if let Err(failure) = restarts.run(only, &mut one) {
            one.warnings.push(failure.to_string());
            one.pending = vec![PendingRestart::new(self.host, &step, processes)];
        }
        if let (Some(recorded), Some(pending)) = (recorded, one.pending.first_mut()) {
            // A restart is measured against the processes that ran when it was first recorded.
            (pending.before, pending.boot_id) = (recorded.before, recorded.boot_id);
        }
        rollout.append(one);
    }
}

/// A restart that is not part of a renewal.
struct Restart {
    step: ReaderStep,
    /// The record of the cycle that left it. `None` for a process whose own certificate ends soon.
    recorded: Option<PendingRestart>,
}

/// Returns what is wrong with an installed pair.
fn broken(inventory: &Inventory, name: &str) -> Option<String> {
    match inventory.present(name) {
        Some(present) => present
            .key
            .as_ref()
            .err()
            .map(|reason| format!("cannot use the renewed {name}: {reason}")),
        None => Some(format!("cannot use the renewed {name}: it cannot be read back")),
    }
}

/// Returns a pending proof for each reader whose manifest is missing, broken, or there twice.
fn unknown_readers(inventory: &Inventory, impact: &ReaderImpact) -> Vec<ProofResult> {
    let is_known = |reader: &String| impact.steps.iter().any(|step| step.reader == *reader);
    let credentials = inventory
        .credentials
        .iter()
        .filter(|c| impact.names.contains(&c.spec.name));
    let unknown = credentials.flat_map(|credential| {
        let readers = credential.spec.readers.iter().filter(|reader| !is_known(reader));
        readers.map(|reader| ProofResult {
            reader: Some(reader.clone()),
            credential: credential.spec.name.clone(),
            proof: Proof::Pending,
            note: Some(format!("{reader} has no usable manifest")),
        })
    });
    unknown.collect()
}

/// Logs in with the credentials of people and tools, if an API server runs.
fn prove_logins(
    host: &Host,
    inventory: &Inventory,
    impact: &ReaderImpact,
    rollout: &mut Rollout,
) -> Result<(), Failure> {
    let probes = probes::of_people(inventory, &impact.names);
    if host.processes(&[APISERVER]).is_empty() {
        let note = format!("{APISERVER} does not run");
        rollout.proofs.extend(probes.into_iter().map(|probe| ProofResult {
            reader: None,
            credential: probe.credential,
            proof: Proof::Pending,
            note: Some(note.clone()),
        }));
        return Ok(());
    }
    notify::status("Verifying that people can log in with renewed credentials");
    let proofs = prove(host, None, &probes, REFUSED)
        .map_err(|reason| Failure::new(format!("cannot log in with a renewed credential: {reason}")))?;
    rollout.proofs.extend(proofs);
    Ok(())
}

/// Commits. Everything is in place: a file that cannot be cleared away is not a failure, since the
/// next `recover` removes it.
fn close(transaction: Transaction<'_>, rollout: &mut Rollout) {
    if let Err(failure) = transaction.commit(rollout.pending.clone()) {
        rollout
            .warnings
            .push(format!("{failure}; `kubecertd recover` will clear it away"));
    }
}
