//! The order of the steps. Each takes what the one before returned, so that none can be skipped:
//!
//! scan -> inventory -> observe -> plan -> guard
//!   -> coordinate -> backup -> renew -> restart -> verify -> report
//!
//! [`NodeState::read`] takes the first three steps, [`assess`] goes on to the guard, and [`execute`]
//! carries the assessment out. A failure after the backup is rolled back.

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
use crate::inventory::{self, Inventory, State};
use crate::model::{Exit, Failure, FailureScope};
use crate::plan::{self, Request};
use crate::renew::issue::{IssuedPair, issue};
use crate::renew::render::replacements;
use crate::report::cycle::{RenewedCredential, Report, Step};
use crate::restart::pending;
use crate::restore::swap;
use crate::scan::{self, Scan};
use crate::transaction::{self, Recovery, Transaction};
pub use cluster::{clear_marker, view_cluster};
pub use node::NodeState;
use rollout::Change;

/// How long a verb waits for another kubecertd to end.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// What was seen and decided; nothing was written.
#[derive(Debug)]
pub struct Assessment {
    /// The bytes.
    pub scan: Scan,
    /// The credentials.
    pub inventory: Inventory,
    /// What is to be done, and that it may be done now.
    pub clearance: Clearance,
}

/// Why nothing is done now.
#[derive(Debug)]
pub enum NotExecuted {
    /// Somebody else is at work, or the clock is doubted: the reason, and what was seen.
    Deferred(Box<Deferral>, Box<Inventory>),
    /// The request does not make sense.
    Failed(Failure),
}

/// Looks at the node and decides.
pub fn assess(
    host: &Host,
    settings: &Settings,
    request: &Request,
    trigger: Trigger,
) -> Result<Assessment, NotExecuted> {
    let NodeState {
        scan,
        inventory,
        conditions,
    } = NodeState::read(host, settings);
    let plan = plan::make(&inventory, settings, &conditions.running, request).map_err(NotExecuted::Failed)?;
    match guard::check(plan, &inventory, settings, &conditions, trigger) {
        Ok(clearance) => Ok(Assessment {
            scan,
            inventory,
            clearance,
        }),
        Err(deferred) => Err(NotExecuted::Deferred(Box::new(deferred), Box::new(inventory))),
    }
}

/// Finishes or undoes what an ended process left, before anything else is done under the lock.
pub fn recover(host: &Host, lock: &Lock) -> Result<Recovery, Failure> {
    // Before etcd's manifest comes back: it must find its data.
    if let Some(said) = swap::recover(host)? {
        warn!(message_id = events::RECOVERED, "{said}");
    }
    let recovered = transaction::recover(host, lock)?;
    match &recovered {
        Recovery::Nothing => {}
        Recovery::Finished => warn!(
            message_id = events::RECOVERED,
            "an interrupted cycle was finished: all its files were in place"
        ),
        Recovery::Undone(left) if left.is_empty() => warn!(
            message_id = events::RECOVERED,
            "an interrupted cycle was undone: the old files are back"
        ),
        Recovery::Undone(left) => warn!(
            message_id = events::RECOVERED,
            "an interrupted cycle was undone, but for files that somebody else changed: {}",
            left.join(", ")
        ),
    }
    Ok(recovered)
}

/// Whether something is under way, or was interrupted.
pub fn is_unfinished(host: &Host) -> bool {
    transaction::is_unfinished(host) || swap::is_unfinished(host)
}

/// Takes a backup that no renewal asked for, and seals it.
pub fn back_up(host: &Host, settings: &Settings, purpose: Purpose<'_>) -> Result<Backup, Failure> {
    let lock = host.lock("backup", PATIENCE)?;
    recover(host, &lock)?;
    let scan = scan::scan(host, settings);
    let inventory = inventory::build(&scan);
    let mut taken = backup::create(host, settings, &scan, &inventory, purpose)?;
    taken.unarchived = backup::archive_all(host, settings);
    Ok(taken)
}

/// Carries a look out, once it is this node's turn. Where another node had to be waited for, it is looked `reassess`.
pub fn execute(
    host: &Host,
    settings: &Settings,
    lock: &Lock,
    request: &Request,
    trigger: Trigger,
    assessment: Assessment,
    reassess: impl FnOnce() -> Result<Assessment, NotExecuted>,
) -> Report {
    let (cluster_lock, assessment) = match cluster::acquire(host, settings, trigger, assessment, reassess) {
        Ok(taken) => taken,
        Err(it) => {
            let (blocked, assessment) = *it;
            let mut report = report_on(&assessment, request);
            report.pending = pending::read(host);
            report.block(blocked);
            return report;
        }
    };
    let mut report = report_on(&assessment, request);
    report.warnings.extend(cluster_lock.warnings.iter().cloned());
    let earlier = pending::read(host);
    report.failure = renew(host, settings, (lock, &cluster_lock), assessment, &mut report).err();
    if report.failure.is_none() && settings.restart.scope != Scope::Never {
        rollout::restart_pending(host, settings, &cluster_lock, earlier, &mut report);
    } else {
        report.pending.extend(earlier);
    }
    let left = report.plan.copies_left_behind();
    let left: Vec<_> = left
        .map(|(copy, reason)| format!("{} stays as it is: {reason}", copy.path.display()))
        .collect();
    report.warnings.extend(left);
    let needs_a_person = report.exit() == Exit::NotPutBack;
    report.warnings.extend(cluster::end(host, cluster_lock, needs_a_person));
    if !transaction::is_unfinished(host) {
        let unarchived = backup::archive_all(host, settings);
        report.warnings.extend(unarchived.iter().map(Failure::to_string));
    }
    report
}

fn report_on(assessment: &Assessment, request: &Request) -> Report {
    let mut warnings = assessment.clearance.warnings.clone();
    let bad = assessment.inventory.bad_manifests.iter();
    warnings.extend(bad.map(|bad| format!("manifests: {bad}")));
    Report::new(request.clone(), assessment.clearance.plan().clone(), warnings)
}

/// Backs up, carries the plan out, and brings the readers to it. What concerns one credential alone keeps that one from being renewed and no
/// other. A failure before the end leaves the node as it was.
fn renew(
    host: &Host,
    settings: &Settings,
    (lock, cluster_lock): (&Lock, &ClusterLock),
    assessment: Assessment,
    report: &mut Report,
) -> Result<(), Failure> {
    let Assessment {
        scan,
        inventory,
        mut clearance,
    } = assessment;
    if clearance.plan().renewals().next().is_none() {
        return Ok(());
    }
    report.step = Some(Step::Backup);
    notify::status("Backing up");
    let backup = backup::create(host, settings, &scan, &inventory, Purpose::Renewal(&clearance))?;
    drop(scan);
    info!(message_id = events::BACKED_UP, backup = %backup.directory.display(), "backed up");
    report.backup = Some(backup.directory.clone());
    report.warnings.extend(backup.warnings.iter().cloned());
    if let Err(blocked) = coordinate::confirm(host, settings, &inventory, cluster_lock) {
        let failure = blocked.failure();
        report.block(blocked);
        return Err(failure);
    }
    report.step = Some(Step::Renew);
    let (transaction, change) = loop {
        match carry_out(
            host,
            settings,
            (lock, cluster_lock),
            &inventory,
            &clearance,
            &backup,
            report,
        ) {
            Ok(installed) => break installed,
            Err(failure) => match &failure.scope {
                FailureScope::Credential(name)
                    if failure.exit == Exit::Failed && clearance.exclude(one(name, &failure)) =>
                {
                    report.plan = clearance.plan().clone();
                    if clearance.plan().renewals().next().is_none() {
                        return Ok(());
                    }
                }
                _ => return Err(failure),
            },
        }
    };
    // The readers are judged by a look of their own, and two looks at once are held by nobody.
    drop(inventory);
    report.step = Some(Step::Restart);
    let (outcome, failure) = rollout::roll_out(host, settings, cluster_lock, transaction, &change);
    report.add(outcome);
    match failure {
        None => Ok(()),
        Some(failure) => {
            if failure.exit == Exit::Failed {
                report.renewed.clear();
            }
            Err(failure)
        }
    }
}

fn one(name: &str, failure: &Failure) -> BTreeMap<String, String> {
    BTreeMap::from([(name.to_owned(), failure.message.clone())])
}

/// Issues and installs.
fn carry_out<'a>(
    host: &'a Host,
    settings: &Settings,
    (lock, cluster_lock): (&'a Lock, &ClusterLock),
    inventory: &Inventory,
    clearance: &Clearance,
    backup: &Backup,
    report: &mut Report,
) -> Result<(Transaction<'a>, Change), Failure> {
    host.check_stop()?;
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
    host.check_stop()?;

    let change = Change::of(host, settings, inventory, clearance.plan());
    let renewed: Vec<_> = issued.iter().filter_map(|new| renewed(inventory, new)).collect();
    let replacements = replacements(inventory, clearance, issued)?;
    let transaction = transaction::install(
        host,
        lock,
        cluster_lock,
        backup,
        replacements,
        change.to_be_restarted(host),
    )?;
    info!("installed {names}");
    report.renewed = renewed;
    Ok((transaction, change))
}

fn renewed(inventory: &Inventory, new: &IssuedPair) -> Option<RenewedCredential> {
    let credential = inventory.credential(&new.name)?;
    let State::Present(present) = &credential.state else {
        return None;
    };
    let old = &present.certificate;
    Some(RenewedCredential::new(
        &new.name,
        credential.spec.storage.path().to_owned(),
        (&old.serial, old.validity.not_after),
        (&new.serial, new.not_after),
    ))
}

impl NotExecuted {
    /// As a failure for people.
    pub fn failure(self) -> Failure {
        match self {
            Self::Deferred(deferred, _) => Failure::new(format!("not now: {}", deferred.reason))
                .hint("it is tried reassess at the next assessment"),
            Self::Failed(failure) => failure,
        }
    }
}
