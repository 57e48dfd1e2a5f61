//! Putting a set back:
//!
//! set -> verify -> compare -> backup of what is there -> transaction -> restart -> report
//!
//! It is a transaction like a renewal: interrupted, it is undone or finished by `recover`; failed, everything is put back.

use std::path::PathBuf;

use tracing::info;

use crate::backup::set::Set;
use crate::backup::{self, Purpose};
use crate::config::Settings;
use crate::host::Host;
use crate::host::lock::Lock;
use crate::inventory::{self, Inventory};
use crate::model::Failure;
use crate::report::restore::Report;
use crate::restart::pending::Pending;
use crate::restart::static_pod;
use crate::restore::{Part, Restoration, plan};
use crate::scan;
use crate::transaction::{self, Transaction};

/// What a component holds in memory from its start on, below the kubernetes folder: a restored one is used after a restart only.
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
pub fn look(host: &Host, settings: &Settings, set: &Set, parts: &[Part]) -> Result<Report, Failure> {
    let scan = scan::look(host, settings);
    let restoration = plan(host, settings, &scan, set, parts)?;
    let inventory = inventory::take(&scan);
    let restarts = restarts(settings, &inventory, &restoration);
    Ok(Report::of(&restoration, restarts, settings))
}

/// Restores these parts of a set (all of them where none is named). A failure leaves the node as it was.
pub fn act(host: &Host, settings: &Settings, lock: &Lock, set: &Set, parts: &[Part]) -> Result<Report, Failure> {
    let scan = scan::look(host, settings);
    let restoration = plan(host, settings, &scan, set, parts)?;
    let inventory = inventory::take(&scan);
    let restarts = restarts(settings, &inventory, &restoration);
    let mut report = Report::of(&restoration, restarts.clone(), settings);
    if report.changes.is_empty() {
        return Ok(report);
    }
    let replaced = restoration.replaced();
    let purpose = Purpose::Restore {
        id: &set.id,
        replaced: &replaced,
    };
    let backup = backup::take(host, settings, &scan, &inventory, purpose)?;
    info!(backup = %backup.folder.display(), "backed up what is there now");
    report.backup = Some(backup.folder.clone());
    report.warnings.extend(backup.warnings.iter().cloned());
    let Restoration { files, tree, .. } = restoration;
    let transaction = transaction::install_tree(host, lock, &backup, tree, files, restarts.clone())?;
    info!("restored {} paths from {}", report.changes.len(), set.id);
    use_them(host, transaction, restarts, &mut report)?;
    report.done = true;
    report
        .warnings
        .extend(backup::seal(host, settings).iter().map(Failure::to_string));
    Ok(report)
}

/// Brings the processes to what was restored.
fn use_them(
    host: &Host,
    transaction: Transaction<'_>,
    restarts: Vec<Pending>,
    report: &mut Report,
) -> Result<(), Failure> {
    let mut left = Vec::new();
    for restart in restarts {
        match static_pod::touch(host, &restart.manifest) {
            Ok(()) => info!(manifest = %restart.manifest.display(), "restarted {}", restart.reader),
            // The files are what was asked for; they are not taken back because a manifest cannot be edited.
            Err(failure) => {
                report.warnings.push(failure.to_string());
                left.push(restart);
            }
        }
    }
    report.restarts.retain(|restart| !left.contains(restart));
    if let Err(failure) = transaction.commit(left) {
        report
            .warnings
            .push(format!("{failure}; `kubecertd recover` will clear it away"));
    }
    Ok(())
}

/// The static pods that hold something restored in memory. A pod whose manifest is restored too is made anew by the kubelet.
fn restarts(settings: &Settings, inventory: &Inventory, restoration: &Restoration) -> Vec<Pending> {
    let place = |name: &str| -> PathBuf {
        match name.strip_prefix("pki/") {
            Some(name) => settings.paths.pki.join(name),
            None => settings.paths.kubernetes.join(name),
        }
    };
    let holders = HOLDS.iter().filter_map(|(reader, held)| {
        let pod = inventory.pods.iter().find(|pod| pod.manifest.component == *reader)?;
        let because: Vec<_> = held.iter().filter(|name| restoration.has(&place(name))).collect();
        (!because.is_empty() && !restoration.has(&pod.file.real)).then(|| Pending {
            reader: (*reader).to_owned(),
            manifest: pod.file.real.clone(),
            because: because.into_iter().map(|name| (*name).to_owned()).collect(),
        })
    });
    holders.collect()
}
