//! After the files are in place: bring the readers to them, prove it, and close the transaction; or put everything back, readers included.

use std::path::PathBuf;
use std::time::Duration;

use tracing::{info, warn};

use super::cluster::may_restart;
use crate::catalog::readers::{APISERVER, ETCD};
use crate::config::Settings;
use crate::coordinate::ClusterLock;
use crate::host::{Host, notify};
use crate::inventory::{self, Inventory};
use crate::model::{Exit, Failure};
use crate::plan::Plan;
use crate::plan::readers::ReaderStep;
use crate::report::cycle::Report;
use crate::restart::park;
use crate::restart::pending::{self, PendingRestart};
use crate::restart::{self, Baseline, Rollout, Urgency};
use crate::scan;
use crate::transaction::Transaction;
use crate::verify::{Proof, ProofResult, probes, prove};

/// How long a server may refuse a renewed credential before that is a failure.
const REFUSED: Duration = Duration::from_secs(30);

/// What a change means for the readers, gathered before it.
pub(super) struct Change {
    /// The credentials that change.
    names: Vec<String>,
    /// Their readers.
    steps: Vec<ReaderStep>,
    /// The manifests of the readers and of who is asked about them; none: they change too.
    manifests: Option<Vec<PathBuf>>,
    before: Baseline,
    urgency: Urgency,
    /// Why what was there before is nothing to go back to.
    no_way_back: Option<&'static str>,
}

/// What became of it, and why it failed.
pub(super) type RolloutResult = (Rollout, Option<Failure>);

impl Change {
    /// What carrying this plan out means.
    pub(super) fn of(host: &Host, settings: &Settings, inventory: &Inventory, plan: &Plan) -> Self {
        let ends: Vec<_> = plan.renewals().filter_map(|(item, _)| item.expires).collect();
        let steps: Vec<_> = plan
            .readers
            .iter()
            .filter(|step| !step.reads.is_empty())
            .cloned()
            .collect();
        Self {
            names: plan.renewals().map(|(item, _)| item.name.clone()).collect(),
            before: restart::baseline(host, inventory, &steps),
            manifests: Some(manifests(inventory, &steps)),
            steps,
            urgency: if plan.is_urgent(settings) {
                Urgency::Urgent
            } else {
                Urgency::Calm
            },
            no_way_back: ends
                .iter()
                .any(|end| *end < inventory.at)
                .then_some("the old ones have expired"),
        }
    }

    /// What restoring these credentials, and whatever else the steps hold, means. Readers that are not well are no reason to wait.
    pub(super) fn of_restore(host: &Host, inventory: &Inventory, names: Vec<String>, steps: Vec<ReaderStep>) -> Self {
        let before = restart::baseline(host, inventory, &steps);
        let was_well = before.all_were_well();
        Self {
            names,
            steps,
            manifests: None,
            before,
            urgency: Urgency::Urgent,
            no_way_back: (!was_well).then_some("the node was not well before"),
        }
    }

    /// What has to be restarted should this process die before it is done.
    pub(super) fn to_be_restarted(&self, host: &Host) -> Vec<PendingRestart> {
        self.pending(host, &self.steps)
    }

    fn pending(&self, host: &Host, steps: &[ReaderStep]) -> Vec<PendingRestart> {
        let restarts = steps.iter().filter(|step| step.restarts());
        restarts
            .map(|step| PendingRestart::new(host, step, self.before.processes(&step.reader)))
            .collect()
    }
}

fn manifests(inventory: &Inventory, steps: &[ReaderStep]) -> Vec<PathBuf> {
    let is_asked =
        |component: &str| [ETCD, APISERVER].contains(&component) || steps.iter().any(|step| step.reader == component);
    let pods = inventory.pods.iter().filter(|pod| is_asked(&pod.manifest.component));
    pods.map(|pod| pod.file.real.clone()).collect()
}

fn scan_again(host: &Host, settings: &Settings, change: &Change) -> Inventory {
    let manifests = change.manifests.as_deref();
    inventory::build(&scan::scan_again(host, settings, &change.names, manifests))
}

/// Brings the readers to what was installed, proves it and commits. On a failure the old files come back, and the readers to them; but never
/// back to what was not good either.
pub(super) fn roll_out(
    host: &Host,
    settings: &Settings,
    cluster_lock: &ClusterLock,
    transaction: Transaction<'_>,
    change: &Change,
) -> RolloutResult {
    let inventory = scan_again(host, settings, change);
    let broken = change.names.iter().find_map(|name| broken(&inventory, name));
    let (mut outcome, failure) = match broken {
        Some(reason) => (Rollout::default(), Some(Failure::new(reason))),
        None => {
            let may_begin = |reader: Option<&str>| may_restart(host, settings, cluster_lock, &inventory, reader);
            let before = (&change.before, change.urgency);
            restart::restart_readers(host, settings, &inventory, &change.steps, before, &may_begin)
        }
    };
    outcome.proven.extend(unknown_readers(&inventory, change));
    let failure = failure.or_else(|| people(host, &inventory, change, &mut outcome).err());
    let Some(failure) = failure else {
        close(transaction, &mut outcome);
        return (outcome, None);
    };
    if let Some(reason) = change.no_way_back {
        let done = |step: &&ReaderStep| outcome.restarted.iter().all(|done| done.reader != step.reader);
        let left: Vec<_> = change.steps.iter().filter(done).cloned().collect();
        outcome.pending = change.pending(host, &left);
        close(transaction, &mut outcome);
        let failure = failure
            .hint(format!(
                "the new files stay, since {reason}; see what the reader says in its log, and run it again"
            ))
            .exit(Exit::NotPutBack);
        return (outcome, Some(failure));
    }
    drop(inventory);
    warn!("{failure}; putting the old files back");
    roll_back(host, settings, transaction, change, outcome, failure)
}

/// What is wrong with a pair on disk that should be good.
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

/// Readers that should be here and are not: their manifests are missing, broken, or there twice.
fn unknown_readers(inventory: &Inventory, change: &Change) -> Vec<ProofResult> {
    let is_known = |reader: &String| change.steps.iter().any(|step| step.reader == *reader);
    let credentials = inventory
        .credentials
        .iter()
        .filter(|c| change.names.contains(&c.spec.name));
    let unknown = credentials.flat_map(|credential| {
        let readers = credential.spec.readers.iter().filter(|reader| !is_known(reader));
        readers.map(|reader| ProofResult {
            reader: Some(reader.clone()),
            credential: credential.spec.name.clone(),
            proof: Proof::Pending,
            note: Some(format!("there is no manifest of {reader} that can be used")),
        })
    });
    unknown.collect()
}

/// What people and tools log in with: kubecertd logs in itself, where an API server runs.
fn people(host: &Host, inventory: &Inventory, change: &Change, outcome: &mut Rollout) -> Result<(), Failure> {
    let questions = probes::of_people(inventory, &change.names);
    if host.processes(&[APISERVER]).is_empty() {
        let note = format!("{APISERVER} does not run");
        outcome.proven.extend(questions.into_iter().map(|probe| ProofResult {
            reader: None,
            credential: probe.credential,
            proof: Proof::Pending,
            note: Some(note.clone()),
        }));
        return Ok(());
    }
    notify::status("Proving that what was renewed lets people in");
    let proven = prove(host, None, &questions, REFUSED);
    outcome
        .proven
        .extend(proven.map_err(|reason| Failure::new(format!("cannot use what was renewed: {reason}")))?);
    Ok(())
}

fn roll_back(
    host: &Host,
    settings: &Settings,
    transaction: Transaction<'_>,
    change: &Change,
    mut outcome: Rollout,
    failure: Failure,
) -> RolloutResult {
    notify::status("Putting everything back");
    let attempted = std::mem::take(&mut outcome.attempted);
    let failure = transaction.roll_back(failure);
    let mut back = Rollout {
        warnings: outcome.warnings,
        ..Rollout::default()
    };
    if failure.exit == Exit::NotPutBack {
        return (back, Some(failure));
    }
    let but = |second: &Failure| format!("{failure}; the old files are back, but: {second}");
    if let Err(parked) = park::recover(host) {
        let message = but(&parked);
        return (back, Some(Failure { message, ..parked }));
    }
    // Who was not touched still has the old credential in memory.
    let has_moved = |step: &&ReaderStep| !step.restarts() || attempted.contains(&step.reader);
    let now = |step: &ReaderStep| ReaderStep {
        until: None,
        ..step.clone()
    };
    let steps: Vec<_> = change.steps.iter().filter(has_moved).map(now).collect();
    let (again, second) = restart::restart_readers(
        host,
        settings,
        &scan_again(host, settings, change),
        &steps,
        (&change.before, Urgency::Urgent),
        // Going back waits for nobody.
        &|_| Ok(()),
    );
    back.add(again);
    let failure = match second {
        None => {
            info!("the old files are back, and their readers use them");
            failure
        }
        Some(second) => Failure::new(but(&second))
            .hint("see what the reader says in its log (crictl ps -a, crictl logs), then `systemctl status kubelet`")
            .exit(Exit::NotPutBack),
    };
    (back, Some(failure))
}

/// Everything is in place: what cannot be cleared away is no failure, and the next recover does it.
fn close(transaction: Transaction<'_>, outcome: &mut Rollout) {
    if let Err(failure) = transaction.commit(outcome.pending.clone()) {
        outcome
            .warnings
            .push(format!("{failure}; `kubecertd recover` will clear it away"));
    }
}

/// Restarts that an earlier cycle left, and those of processes that have held a certificate of their own in memory for too long. One that
/// fails stays recorded, and is no reason to put anything back.
pub(super) fn restart_pending(
    host: &Host,
    settings: &Settings,
    cluster_lock: &ClusterLock,
    earlier: Vec<PendingRestart>,
    report: &mut Report,
) {
    let is_done = |reader: &str| {
        let restarted = report.restarted.iter().map(|done| &done.reader);
        restarted
            .chain(report.pending.iter().map(|left| &left.reader))
            .any(|done| done == reader)
    };
    let memory = report.plan.readers.iter().filter(|step| step.reads.is_empty()).cloned();
    let mut steps: Vec<(ReaderStep, Option<PendingRestart>)> =
        earlier.into_iter().map(|old| (old.step(), Some(old))).collect();
    steps.extend(memory.map(|step| (step, None)));
    steps.retain(|(step, _)| !is_done(&step.reader));
    let inventory = if steps.is_empty() {
        None
    } else {
        Some(inventory::build(&scan::scan_again(host, settings, &[], None)))
    };
    for (step, recorded) in steps {
        let Some(inventory) = &inventory else { break };
        let only = std::slice::from_ref(&step);
        let before = restart::baseline(host, inventory, only);
        if recorded
            .as_ref()
            .is_some_and(|old| old.is_done(host, before.processes(&step.reader)))
        {
            info!("{} was restarted meanwhile", step.reader);
            continue;
        }
        // Nobody could do more about a manifest that was changed already.
        let is_changed = |old: &&PendingRestart| old.touched && !before.has_means(&old.means);
        if let Some(recorded) = recorded.as_ref().filter(is_changed) {
            report.pending.push(recorded.clone());
            continue;
        }
        let may_begin = |reader: Option<&str>| may_restart(host, settings, cluster_lock, inventory, reader);
        let (mut outcome, failure) =
            restart::restart_readers(host, settings, inventory, only, (&before, Urgency::Calm), &may_begin);
        if let Some(failure) = failure {
            report.warnings.push(failure.to_string());
            outcome.pending = vec![PendingRestart::new(host, &step, before.processes(&step.reader))];
        }
        if let (Some(recorded), Some(left)) = (recorded, outcome.pending.first_mut()) {
            // What it is measured by is what ran when it was first recorded.
            (left.before, left.boot_id) = (recorded.before, recorded.boot_id);
        }
        report.add(outcome);
    }
    if let Err(failure) = pending::record(host, &report.pending) {
        report.warnings.push(failure.to_string());
    }
}
