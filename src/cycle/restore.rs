//! Putting a backup back:
//!
//! set -> verify -> compare -> backup of what is there -> transaction -> restart -> report
//!
//! It is a transaction like a renewal: interrupted, it is undone or finished by `recover`; failed, everything is put back.

use std::path::PathBuf;

use tracing::{info, warn};

use super::cluster;
use super::rollout::{Change, roll_out};
use crate::backup::stored::StoredBackup;
use crate::backup::{self, Purpose};
use crate::catalog::Storage;
use crate::catalog::readers::{KUBELET, RestartMethod};
use crate::config::Settings;
use crate::config::settings::Scope;
use crate::coordinate::ClusterLock;
use crate::host::Host;
use crate::host::lock::Lock;
use crate::inventory::{self, Credential, Inventory};
use crate::model::{Exit, Failure};
use crate::plan::readers::ReaderStep;
use crate::report::restore::Report;
use crate::restore::{Part, Restoration, plan};
use crate::scan::{self, Scan};
use crate::transaction;

/// What a component holds in memory from its start on, below the kubernetes directory: a restored one is used after a restart only.
/// In the order of restarts.
const HOLDS: [(&str, &[&str]); 4] = [
    ("etcd", &["pki/etcd/ca.crt"]),
    ("kube-apiserver", &["pki/etcd/ca.crt", "pki/sa.key", "pki/sa.pub"]),
    (
        "kube-controller-manager",
        &["controller-manager.conf", "pki/ca.crt", "pki/ca.key", "pki/sa.key"],
    ),
    ("kube-scheduler", &["scheduler.conf"]),
];

/// What a restore would change. Nothing is written.
pub fn assess(host: &Host, settings: &Settings, source: &StoredBackup, parts: &[Part]) -> Result<Report, Failure> {
    let scan = scan::scan(host, settings);
    let restoration = plan(host, settings, &scan, source, parts)?;
    let inventory = inventory::build(&scan);
    let steps = steps(settings, &inventory, &restoration);
    Ok(Report::of(&restoration, &steps))
}

/// Restores these parts of a backup (all of them where none is named). A failure leaves the node as it was.
pub fn execute(
    host: &Host,
    settings: &Settings,
    lock: &Lock,
    source: &StoredBackup,
    parts: &[Part],
) -> Result<Report, Failure> {
    let scan = scan::scan(host, settings);
    let restoration = plan(host, settings, &scan, source, parts)?;
    let inventory = inventory::build(&scan);
    let steps = steps(settings, &inventory, &restoration);
    let mut report = Report::of(&restoration, &steps);
    if report.changes.is_empty() {
        return Ok(report);
    }
    let cluster_lock = cluster::acquire_for_restore(host, settings, &inventory);
    report.warnings.extend(cluster_lock.warnings.iter().cloned());
    let done = carry_out(
        host,
        settings,
        (lock, &cluster_lock),
        source,
        (scan, inventory, restoration, steps),
        &mut report,
    );
    let needs_a_person = done.as_ref().is_err_and(|failure| failure.exit == Exit::NotPutBack);
    report.warnings.extend(cluster::end(host, cluster_lock, needs_a_person));
    if let Err(failure) = done {
        for warning in &report.warnings {
            warn!("{warning}");
        }
        return Err(failure);
    }
    report.done = true;
    report
        .warnings
        .extend(backup::archive_all(host, settings).iter().map(Failure::to_string));
    Ok(report)
}

type Seen = (Scan, Inventory, Restoration, Vec<ReaderStep>);

fn carry_out(
    host: &Host,
    settings: &Settings,
    (lock, cluster_lock): (&Lock, &ClusterLock),
    source: &StoredBackup,
    (scan, inventory, restoration, steps): Seen,
    report: &mut Report,
) -> Result<(), Failure> {
    let replaced = restoration.replaced();
    let purpose = Purpose::Restore {
        id: &source.id,
        replaced: &replaced,
    };
    let backup = backup::create(host, settings, &scan, &inventory, purpose)?;
    info!(backup = %backup.directory.display(), "backed up what is there now");
    report.backup = Some(backup.directory.clone());
    report.warnings.extend(backup.warnings.iter().cloned());
    let change = Change::of_restore(host, &inventory, credentials(&inventory, &restoration), steps);
    let Restoration { files, tree, .. } = restoration;
    let transaction = transaction::install_tree(
        host,
        (lock, cluster_lock),
        &backup,
        tree,
        files,
        change.to_be_restarted(host),
    )?;
    info!("restored {} paths from {}", report.changes.len(), source.id);
    let (outcome, failure) = roll_out(host, settings, cluster_lock, transaction, &change);
    report.add(outcome);
    failure.map_or(Ok(()), Err)
}

/// The credentials that are restored.
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

/// The readers of what is restored. A pod whose manifest is restored too is made anew by the kubelet.
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
