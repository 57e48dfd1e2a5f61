//! Checks of the node: manifests, processes with old credentials, clock, disk and interrupted runs.

use std::time::Duration;

use super::{Evidence, Finding};
use crate::catalog::RenewedBy;
use crate::catalog::readers::{ReloadBehavior, reload_behavior};
use crate::format::text::{bytes, date};
use crate::guard;
use crate::inventory::readers::BadManifest;
use crate::inventory::{Location, State};

/// Tolerance between the start of a process and the change of a file. Both clocks are coarse.
const COARSE: time::Duration = time::Duration::seconds(2);

/// Size of a backup without etcd's data, in bytes: at most 6 MiB of scanned files, and the
/// manifest.
const FILES: u64 = 8 << 20;

/// Finds stray files in the manifests directory, pods with two manifests, and unusable manifests.
pub(super) fn manifests(evidence: &Evidence<'_>) -> Vec<Finding> {
    let found = evidence.inventory.bad_manifests.iter().map(|bad| match bad {
        BadManifest::Unusable(path, reason) => Finding::fault(
            path.display(),
            format!("{reason}: its pod cannot start, or cannot be restarted"),
        )
        .hint("fix the file or move it out of the directory: the kubelet reads every file there"),
        BadManifest::Twice(pod, files) => {
            let files: Vec<_> = files.iter().map(|file| file.display().to_string()).collect();
            let about = files.first().cloned().unwrap_or_default();
            let message = format!(
                "the pod {pod} is in {}: the kubelet runs only one of them",
                files.join(" and ")
            );
            Finding::fault(about, message)
                .hint("move all but one of the files out of the directory, and wait until the pod runs")
        }
        BadManifest::Stray(path) => Finding::warning(
            path.display(),
            "does not have the name of a manifest, but the kubelet reads it anyway",
        )
        .hint(format!("mv {} /root/", path.display())),
    });
    found.collect()
}

/// Finds processes that are older than their credential, and credentials that exist in memory only.
pub(super) fn memory(evidence: &Evidence<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for credential in evidence
        .inventory
        .credentials
        .iter()
        .filter(|c| c.spec.renewed_by == RenewedBy::Us)
    {
        let State::Present(present) = &credential.state else {
            continue;
        };
        let Location::Embedded { file, .. } = &present.location else {
            continue;
        };
        for reader in &credential.spec.readers {
            let version = evidence.inventory.pod(reader).and_then(|pod| pod.version);
            let started = evidence
                .conditions
                .running
                .iter()
                .filter(|running| running.reader == *reader)
                .map(|running| running.started);
            let is_older = started
                .min()
                .filter(|started| *started + COARSE < file.identity.modified);
            let (Some(started), ReloadBehavior::Holds) = (is_older, reload_behavior(reader, version, true)) else {
                continue;
            };
            let message = format!(
                "has run since {}, but {} was written {}: it still uses the old one",
                date(started),
                credential.spec.name,
                date(file.identity.modified)
            );
            let command = match evidence.pending.contains(reader) {
                true => "kubecertd renew".to_owned(),
                false => format!("kubecertd renew {}", credential.spec.name),
            };
            found.push(Finding::warning(reader, message).hint(command));
        }
    }
    let in_memory = evidence
        .plan
        .readers
        .iter()
        .filter(|step| step.reads.is_empty() && step.restarts());
    found.extend(in_memory.map(|step| {
        Finding::note(
            &step.reader,
            format!(
                "still holds the old {}; the next cycle restarts it",
                step.holds.join(", ")
            ),
        )
    }));
    found
}

/// Finds a clock that is not synchronized, or not reliable.
pub(super) fn clock(evidence: &Evidence<'_>) -> Vec<Finding> {
    let now = evidence.plan.at;
    let earliest_plausible = guard::earliest_plausible(evidence.inventory, evidence.conditions);
    if let Some(doubt) = guard::clock_doubt(now, earliest_plausible, evidence.conditions, Duration::ZERO) {
        return vec![Finding::fault("clock", format!("is not reliable: {doubt}")).hint("timedatectl set-ntp true")];
    }
    let is_free = evidence.conditions.synchronized == Some(false);
    let finding = || {
        Finding::warning(
            "clock",
            "is not synchronized: other nodes may reject certificates that a wrong clock made",
        )
        .hint("timedatectl set-ntp true")
    };
    is_free.then(finding).into_iter().collect()
}

/// Finds a disk that is too full for the next backup, without which nothing is renewed.
pub(super) fn space(evidence: &Evidence<'_>) -> Vec<Finding> {
    let directory = evidence.settings.backup.directory.display();
    let needed = evidence.surroundings.database + FILES;
    let short = evidence.surroundings.free.filter(|free| *free < needed);
    let finding = |free| {
        Finding::fault(
            &directory,
            format!("has {} free, but the next backup needs {}", bytes(free), bytes(needed)),
        )
        .hint("free space there, lower [backup] keep and run `kubecertd backup prune`, or set [backup] directory")
    };
    short.map(finding).into_iter().collect()
}

/// Finds directories that a cycle must write to and cannot.
pub(super) fn writable(evidence: &Evidence<'_>) -> Vec<Finding> {
    let found = evidence.surroundings.refused.iter().map(|refused| {
        let directory = refused.directory.display();
        if !refused.by_sandbox {
            return Finding::fault(directory, format!("is not writable: {}", refused.reason))
                .hint("run `kubecertd doctor` as root; check the mount options and `lsattr -d` of the directory");
        }
        let is_home = ["/root", "/home"]
            .iter()
            .any(|home| refused.directory.starts_with(home));
        let lines = if is_home {
            format!("`ProtectHome=tmpfs` and `BindPaths=-{}`", refused.directory.display())
        } else {
            format!("`ReadWritePaths={}`", refused.directory.display())
        };
        Finding::fault(
            directory,
            format!("is not writable for the service: {}", refused.reason),
        )
        .hint(format!(
            "run `systemctl edit kubecertd`, add `[Service]` and {lines}, then run `systemctl restart kubecertd`"
        ))
    });
    found.collect()
}

/// Finds unfinished work of an interrupted run.
pub(super) fn interrupted(evidence: &Evidence<'_>) -> Vec<Finding> {
    let message = "an interrupted run was neither completed nor rolled back";
    let finding = || Finding::fault("kubecertd", message).hint("kubecertd recover");
    evidence.interrupted.then(finding).into_iter().collect()
}
