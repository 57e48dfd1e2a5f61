//! Restores a backup:
//!
//! backup -> verify -> compare -> backup of the current files -> transaction -> restart -> report
//!
//! A restore is a transaction like a renewal: `recover` finishes it or rolls it back after an
//! interruption, and a failure rolls everything back.

use std::path::PathBuf;

use tracing::{info, warn};

use super::Cycle;
use super::rollout::ReaderImpact;
use crate::backup::stored::StoredBackup;
use crate::backup::{self, Purpose};
use crate::catalog::Storage;
use crate::catalog::readers::{KUBELET, RestartMethod};
use crate::config::Settings;
use crate::config::settings::Scope;
use crate::coordinate::ClusterLock;
use crate::host::Host;
use crate::inventory::{self, Credential, Inventory};
use crate::model::{Exit, Failure};
use crate::plan::readers::ReaderStep;
use crate::report::restore::Report;
use crate::restore::{Part, Restoration, plan};
use crate::scan::{self, Scan};
use crate::transaction::{self, Change, Permit};

/// Files below the kubernetes directory that a component caches from its start on, so that a
/// restored one is used only after a restart. In the order of restarts.
const HOLDS: [(&str, &[&str]); 4] = [
    ("etcd", &["pki/etcd/ca.crt"]),
    ("kube-apiserver", &["pki/etcd/ca.crt", "pki/sa.key", "pki/sa.pub"]),
    (
        "kube-controller-manager",
        &["controller-manager.conf", "pki/ca.crt", "pki/ca.key", "pki/sa.key"],
    ),
    ("kube-scheduler", &["scheduler.conf"]),
];

/// Returns the report of a restore that would be done. Writes nothing.
pub fn assess(host: &Host, settings: &Settings, source: &StoredBackup, parts: &[Part]) -> Result<Report, Failure> {
    let plan = RestorePlan::make(host, settings, source, parts)?;
    Ok(Report::of(&plan.restoration, &plan.steps))
}

/// A restore that was planned.
struct RestorePlan {
    scan: Scan,
    inventory: Inventory,
    restoration: Restoration,
    steps: Vec<ReaderStep>,
}

impl RestorePlan {
    fn make(host: &Host, settings: &Settings, source: &StoredBackup, parts: &[Part]) -> Result<Self, Failure> {
        let scan = scan::scan(host, settings);
        let restoration = plan(host, settings, &scan, source, parts)?;
        let inventory = inventory::build(&scan);
        let steps = steps(settings, &inventory, &restoration);
        Ok(Self {
            scan,
            inventory,
            restoration,
            steps,
        })
    }
}

impl Cycle<'_> {
    /// Restores these parts of a backup, or all of it if none is named.
    ///
    /// # Errors
    ///
    /// A failure leaves the node as it was, unless its exit code is 3.
    pub fn restore(&self, source: &StoredBackup, parts: &[Part]) -> Result<Report, Failure> {
        let plan = RestorePlan::make(self.host, self.settings, source, parts)?;
        let mut report = Report::of(&plan.restoration, &plan.steps);
        if report.changes.is_empty() {
            return Ok(report);
        }
        let cluster_lock = self.lock_cluster_for_restore(&plan.inventory);
        report.rollout.warnings.extend(cluster_lock.warnings.iter().cloned());
        let done = self.restore_files(&cluster_lock, source, plan, &mut report);
        let needs_operator = done.as_ref().is_err_and(|failure| failure.exit == Exit::RollbackFailed);
        report
            .rollout
            .warnings
            .extend(self.release_cluster(cluster_lock, needs_operator));
        if let Err(failure) = done {
            for warning in &report.rollout.warnings {
                warn!("{warning}");
            }
            return Err(failure);
        }
        report.done = true;
        let failures = backup::archive_all(self.host, self.settings);
        report.rollout.warnings.extend(failures.iter().map(Failure::to_string));
        Ok(report)
    }

    fn restore_files(
        &self,
        cluster_lock: &ClusterLock,
        source: &StoredBackup,
        plan: RestorePlan,
        report: &mut Report,
    ) -> Result<(), Failure> {
        let RestorePlan {
            scan,
            inventory,
            restoration,
            steps,
        } = plan;
        let replaced = restoration.replaced();
        let purpose = Purpose::Restore {
            id: &source.id,
            replaced: &replaced,
        };
        let backup = backup::create(self.host, self.settings, &scan, &inventory, purpose)?;
        info!(backup = %backup.directory.display(), "backed up what is there now");
        report.backup = Some(backup.directory.clone());
        report.rollout.warnings.extend(backup.warnings.iter().cloned());
        let names = credentials(&inventory, &restoration);
        let impact = ReaderImpact::of_restore(self, &inventory, names, steps);
        let permit = Permit {
            host: self.host,
            lock: self.lock,
            cluster_lock,
            backup: &backup,
        };
        let change = Change {
            tree: restoration.tree,
            files: restoration.files,
            restarts: impact.restarts(self.host),
        };
        let transaction = transaction::install(permit, change)?;
        info!("restored {} paths from {}", report.changes.len(), source.id);
        self.roll_out(cluster_lock, transaction, &impact, &mut report.rollout)
    }
}

/// Returns the credentials that are restored.
fn credentials(inventory: &Inventory, restoration: &Restoration) -> Vec<String> {
    let is_restored = |credential: &&Credential| match &credential.spec.storage {
        Storage::Pair { certificate, key } => restoration.has(certificate) || restoration.has(key),
        Storage::Kubeconfig { path } => restoration.has(path),
    };
    inventory
        .credentials
        .iter()
        .filter(is_restored)
        .map(|credential| credential.spec.name.clone())
        .collect()
}

/// Returns the steps for the readers of restored files. The kubelet restarts a pod whose manifest
/// is restored.
fn steps(settings: &Settings, inventory: &Inventory, restoration: &Restoration) -> Vec<ReaderStep> {
    let names = credentials(inventory, restoration);
    let place = |name: &str| -> PathBuf {
        match name.strip_prefix("pki/") {
            Some(name) => settings.paths.pki.join(name),
            None => settings.paths.kubernetes.join(name),
        }
    };
    let all = inventory.readers.iter().map(|reader| {
        let held = HOLDS
            .iter()
            .filter(|(name, _)| *name == reader.name)
            .flat_map(|(_, held)| held.iter());
        let mut holds: Vec<String> = held
            .filter(|name| restoration.has(&place(name)))
            .map(|name| (*name).to_owned())
            .collect();
        if reader.name == KUBELET
            && restoration
                .changes
                .iter()
                .any(|c| c.path.starts_with(&settings.paths.kubelet))
        {
            holds.push(settings.paths.kubelet.display().to_string());
        }
        let comes_anew = matches!(&reader.means, RestartMethod::Pod { manifest } if restoration.has(manifest));
        if comes_anew || settings.restart.scope == Scope::Never {
            holds.clear();
        }
        let of_reader = inventory
            .credentials
            .iter()
            .filter(|c| c.spec.readers.contains(&reader.name));
        ReaderStep {
            reader: reader.name.clone(),
            means: reader.means.clone(),
            reads: of_reader
                .map(|c| c.spec.name.clone())
                .filter(|name| names.contains(name))
                .collect(),
            holds,
            until: None,
        }
    });
    all.filter(|step| !step.reads.is_empty() || step.restarts()).collect()
}
