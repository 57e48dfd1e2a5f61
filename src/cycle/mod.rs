//! The cycle: the order of the steps.
//!
//! scan -> inventory -> observe -> plan -> guard -> cluster lock -> backup -> renew -> restart ->
//! verify -> commit or roll back -> report
//!
//! [`NodeState::read`] takes the first three steps, and [`assess`] the steps up to the guard; both
//! write nothing. [`Cycle::execute`] takes the others. Each step needs the result of the one before
//! it, so that none can be skipped. A failure after the backup is rolled back.

mod cluster;
mod node;
pub mod restore;
pub mod restore_etcd;
mod rollout;

use std::collections::BTreeMap;
use std::time::Duration;

use tracing::{info, warn};

use crate::backup::{self, Backup, Purpose};
use crate::config::Settings;
use crate::config::settings::Scope;
use crate::coordinate::{self, ClusterLock};
use crate::events;
use crate::format::text;
use crate::guard::{self, Clearance, Deferral, Trigger};
use crate::host::lock::Lock;
use crate::host::{Host, notify};
use crate::inventory::{self, Inventory};
use crate::model::{Exit, Failure, FailureScope};
use crate::plan::{self, Request};
use crate::renew::issue::{IssuedPair, issue};
use crate::renew::render::replacements;
use crate::report::cycle::{RenewedCredential, Report, Step};
use crate::restart::pending;
use crate::restore::swap;
use crate::scan::{self, Scan};
use crate::transaction::{self, Change, Permit, Recovery, Transaction};
pub use cluster::{clear_marker, view_cluster};
pub use node::NodeState;
use rollout::ReaderImpact;

/// Longest time that a command waits for another kubecertd on this node to end.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The state of the node and the decisions about it. Nothing was written.
#[derive(Debug)]
pub struct Assessment {
    /// The bytes of the node's files.
    pub scan: Scan,
    /// The credentials, CAs and readers.
    pub inventory: Inventory,
    /// The plan, and the permission to carry it out now.
    pub clearance: Clearance,
}

/// The reason that nothing is done now.
#[derive(Debug)]
pub enum ExecutionRefusal {
    /// Another program is renewing, or the clock is in doubt. Holds what was found, for reports.
    Deferred(Box<Deferral>, Box<Inventory>),
    /// The request is not possible.
    Failed(Failure),
}

/// Reads the node, makes a plan, and judges whether it may be carried out now.
pub fn assess(
    host: &Host,
    settings: &Settings,
    request: &Request,
    trigger: Trigger,
) -> Result<Assessment, ExecutionRefusal> {
    let NodeState {
        scan,
        inventory,
        conditions,
    } = NodeState::read(host, settings);
    let plan = plan::make(&inventory, settings, &conditions.running, request).map_err(ExecutionRefusal::Failed)?;
    match guard::check(plan, &inventory, settings, &conditions, trigger) {
        Ok(clearance) => Ok(Assessment {
            scan,
            inventory,
            clearance,
        }),
        Err(deferral) => Err(ExecutionRefusal::Deferred(Box::new(deferral), Box::new(inventory))),
    }
}

impl ExecutionRefusal {
    /// Returns it as a failure of a command.
    pub fn failure(self) -> Failure {
        match self {
            Self::Deferred(deferral, _) => Failure::new(format!("deferred: {}", deferral.reason))
                .hint("kubecertd tries again at the next assessment"),
            Self::Failed(failure) => failure,
        }
    }
}

/// Returns true if a cycle or a restore is under way or was interrupted.
pub fn is_unfinished(host: &Host) -> bool {
    transaction::is_unfinished(host) || swap::is_unfinished(host)
}

/// Takes a backup that no renewal asked for, and archives it.
///
/// # Errors
///
/// Fails if another kubecertd holds the node's lock for longer than [`PATIENCE`], an interrupted
/// run cannot be recovered, or a file cannot be backed up.
pub fn back_up(host: &Host, settings: &Settings, purpose: Purpose<'_>) -> Result<Backup, Failure> {
    let lock = host.lock("backup", PATIENCE)?;
    recover(host, &lock)?;
    let scan = scan::scan(host, settings);
    let inventory = inventory::build(&scan);
    let mut backup = backup::create(host, settings, &scan, &inventory, purpose)?;
    backup.unarchived = backup::archive_all(host, settings);
    Ok(backup)
}

/// Finishes or rolls back what an interrupted process left. It comes before everything else that is
/// done under the node's lock.
///
/// # Errors
///
/// Fails if the old files cannot be restored, or the new ones not be completed.
pub fn recover(host: &Host, lock: &Lock) -> Result<Recovery, Failure> {
    // etcd must find its data before its manifest comes back.
    if let Some(message) = swap::recover(host)? {
        warn!(message_id = events::RECOVERED, "{message}");
    }
    let recovery = transaction::recover(host, lock)?;
    match &recovery {
        Recovery::Nothing => {}
        Recovery::Finished => warn!(
            message_id = events::RECOVERED,
            "an interrupted cycle was finished: all its files were in place"
        ),
        Recovery::Undone(left) if left.is_empty() => warn!(
            message_id = events::RECOVERED,
            "an interrupted cycle was rolled back: the old files are back"
        ),
        Recovery::Undone(left) => warn!(
            message_id = events::RECOVERED,
            "an interrupted cycle was rolled back, except for files that another program changed: {}",
            left.join(", ")
        ),
    }
    Ok(recovery)
}

/// Everything that a change of the node works with. Holding one proves that this process has the
/// node's lock.
#[derive(Clone, Copy)]
pub struct Cycle<'a> {
    /// The node.
    pub host: &'a Host,
    /// The settings.
    pub settings: &'a Settings,
    /// The lock of this node.
    pub lock: &'a Lock,
}

impl Cycle<'_> {
    /// Carries an assessment out. If another node had the cluster lock first, `reassess` is called
    /// after the wait, and its assessment is carried out instead.
    pub fn execute(
        &self,
        request: &Request,
        trigger: Trigger,
        assessment: Assessment,
        reassess: impl FnOnce() -> Result<Assessment, ExecutionRefusal>,
    ) -> Report {
        let earlier = pending::read(self.host);
        let (cluster_lock, assessment) = match self.lock_cluster(trigger, assessment, &earlier, reassess) {
            Ok(locked) => locked,
            Err(refused) => {
                let (refusal, assessment) = *refused;
                let mut report = report_on(&assessment, request);
                report.rollout.pending = earlier;
                report.block(refusal);
                return report;
            }
        };
        let mut report = report_on(&assessment, request);
        report.rollout.warnings.extend(cluster_lock.warnings.iter().cloned());
        report.failure = self.renew(&cluster_lock, assessment, &mut report).err();
        if report.failure.is_none() && self.settings.restart.scope != Scope::Never {
            self.restart_pending(&cluster_lock, earlier, &mut report);
        } else {
            report.rollout.pending.extend(earlier);
        }
        self.finish(cluster_lock, &mut report);
        report
    }

    /// Backs up, renews what the plan says, and restarts the readers. A failure leaves the node as
    /// it was, unless its exit code says otherwise.
    fn renew(&self, cluster_lock: &ClusterLock, assessment: Assessment, report: &mut Report) -> Result<(), Failure> {
        let Assessment {
            scan,
            inventory,
            mut clearance,
        } = assessment;
        if clearance.plan().is_empty() {
            return Ok(());
        }
        report.step = Some(Step::Backup);
        let backup = self.back_up(&scan, &inventory, &clearance, report)?;
        drop(scan);
        if let Err(refusal) = coordinate::confirm(self.host, self.settings, &inventory, cluster_lock) {
            let failure = refusal.failure();
            report.block(refusal);
            return Err(failure);
        }
        report.step = Some(Step::Renew);
        let permit = Permit {
            host: self.host,
            lock: self.lock,
            cluster_lock,
            backup: &backup,
        };
        let Some((transaction, impact)) = self.install_all(permit, &inventory, &mut clearance, report)? else {
            return Ok(());
        };
        // The readers are judged by a scan of their own, and memory holds one scan at a time.
        drop(inventory);
        report.step = Some(Step::Restart);
        self.roll_out(cluster_lock, transaction, &impact, &mut report.rollout)
            .inspect_err(|failure| {
                if failure.exit == Exit::Failed {
                    report.renewed.clear();
                }
            })
    }

    fn back_up(
        &self,
        scan: &Scan,
        inventory: &Inventory,
        clearance: &Clearance,
        report: &mut Report,
    ) -> Result<Backup, Failure> {
        notify::status("Backing up");
        let backup = backup::create(self.host, self.settings, scan, inventory, Purpose::Renewal(clearance))?;
        info!(message_id = events::BACKED_UP, backup = %backup.directory.display(), "backed up");
        report.backup = Some(backup.directory.clone());
        report.rollout.warnings.extend(backup.warnings.iter().cloned());
        Ok(backup)
    }

    /// Issues and installs the new pairs. A credential whose own file cannot be replaced is taken
    /// out of the plan, and the others are tried again. Returns `None` if none is left.
    fn install_all<'p>(
        &self,
        permit: Permit<'p>,
        inventory: &Inventory,
        clearance: &mut Clearance,
        report: &mut Report,
    ) -> Result<Option<(Transaction<'p>, ReaderImpact)>, Failure> {
        while !clearance.plan().is_empty() {
            let failure = match self.install(permit, inventory, clearance, report) {
                Ok(installed) => return Ok(Some(installed)),
                Err(failure) => failure,
            };
            let FailureScope::Credential(name) = &failure.scope else {
                return Err(failure);
            };
            let reasons = BTreeMap::from([(name.clone(), failure.message.clone())]);
            if failure.exit != Exit::Failed || !clearance.exclude(reasons) {
                return Err(failure);
            }
            report.plan = clearance.plan().clone();
        }
        Ok(None)
    }

    /// Issues new pairs for everything in the plan and puts them in place.
    fn install<'p>(
        &self,
        permit: Permit<'p>,
        inventory: &Inventory,
        clearance: &Clearance,
        report: &mut Report,
    ) -> Result<(Transaction<'p>, ReaderImpact), Failure> {
        self.host.check_stop()?;
        let due: Vec<_> = clearance
            .plan()
            .renewals()
            .map(|(item, _)| item.name.as_str())
            .collect();
        notify::status(&format!("Renewing {}", text::list(&due)));
        let issued = issue(inventory, clearance)?;
        let names: Vec<_> = issued.iter().map(|new| new.name.as_str()).collect();
        let names = text::list(&names);
        info!("issued {names}");
        self.host.check_stop()?;

        let impact = ReaderImpact::of_plan(self, inventory, clearance.plan());
        let renewed: Vec<_> = issued.iter().filter_map(|new| renewed(inventory, new)).collect();
        let change = Change {
            files: replacements(inventory, clearance, issued)?,
            restarts: impact.restarts(self.host),
            ..Change::default()
        };
        let transaction = transaction::install(permit, change)?;
        info!("installed {names}");
        report.renewed = renewed;
        Ok((transaction, impact))
    }

    /// Gives the cluster lock back, and archives the backups that no transaction needs any more.
    fn finish(&self, cluster_lock: ClusterLock, report: &mut Report) {
        let left = report.plan.copies_left_behind();
        let left: Vec<_> = left
            .map(|(copy, reason)| format!("{} is not updated: {reason}", copy.path.display()))
            .collect();
        report.rollout.warnings.extend(left);
        let needs_operator = report.exit() == Exit::RollbackFailed;
        report
            .rollout
            .warnings
            .extend(self.release_cluster(cluster_lock, needs_operator));
        if !transaction::is_unfinished(self.host) {
            let failures = backup::archive_all(self.host, self.settings);
            report.rollout.warnings.extend(failures.iter().map(Failure::to_string));
        }
    }
}

fn report_on(assessment: &Assessment, request: &Request) -> Report {
    let mut warnings = assessment.clearance.warnings.clone();
    let bad = assessment.inventory.bad_manifests.iter();
    warnings.extend(bad.map(|bad| format!("manifests: {bad}")));
    Report::new(request.clone(), assessment.clearance.plan().clone(), warnings)
}

fn renewed(inventory: &Inventory, new: &IssuedPair) -> Option<RenewedCredential> {
    let credential = inventory.credential(&new.name)?;
    let old = &inventory.present(&new.name)?.certificate;
    Some(RenewedCredential {
        name: new.name.clone(),
        path: credential.spec.storage.path().to_owned(),
        old_serial: old.serial.to_string(),
        new_serial: new.serial.to_string(),
        old_end: text::rfc3339(old.validity.not_after),
        new_end: text::rfc3339(new.not_after),
    })
}
