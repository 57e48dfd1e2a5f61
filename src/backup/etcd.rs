//! etcd's part of a backup: a snapshot over its API; where that does not answer, a copy of its data directory, which says that it is one.

use std::path::Path;

use tracing::info;

use super::places::apart;
use super::stored::{Etcd, EtcdKind, MemberOf, Payload, SNAPSHOT, Snapshot};
use super::{archive, places};
use crate::config::Settings;
use crate::etcd::connect;
use crate::etcd::member::{MemberConfig, known};
use crate::format::snapshot::Trailer;
use crate::format::text::bytes;
use crate::host::Host;
use crate::host::copy::CopySummary;
use crate::host::etcd::{Member, Status};
use crate::host::progress::Progress;
use crate::host::stream::NewFile;
use crate::inventory::Inventory;
use crate::model::Failure;

/// What a backup got of etcd's data.
#[derive(Default)]
pub(super) struct EtcdCapture {
    /// For its list; none where no etcd belongs to the node.
    pub(super) etcd: Option<Etcd>,
    /// The snapshot's file.
    pub(super) payload: Option<Payload>,
    /// What a person should know.
    pub(super) warning: Option<String>,
}

/// Takes etcd's part into the backup `directory`, whose plain files are in `files`.
///
/// A copy of the data directory is made only where the API does not answer. A snapshot that fails is a failure: a copy in its place
/// would hide it.
pub(super) fn take(
    host: &Host,
    settings: &Settings,
    inventory: &Inventory,
    directory: &Path,
    files: &Path,
    copied: &mut Vec<CopySummary>,
) -> Result<EtcdCapture, Failure> {
    let known = known(inventory, settings);
    let because = match connect(host, &known) {
        Ok((member, status)) => return snapshot(host, settings, directory, member, &status),
        Err(because) => because,
    };
    if known.data.is_none() {
        let is_elsewhere = inventory.etcd_is_external || !settings.etcd.endpoints.is_empty();
        let etcd = is_elsewhere.then(|| Etcd::none(EtcdKind::Missing, Some(because.clone())));
        let warning = is_elsewhere.then(|| format!("the backup has nothing of etcd, which runs elsewhere: {because}"));
        return Ok(EtcdCapture {
            etcd,
            payload: None,
            warning,
        });
    }
    copy(host, &known, directory, files, copied, because)
}

fn snapshot(
    host: &Host,
    settings: &Settings,
    directory: &Path,
    mut member: Member,
    status: &Status,
) -> Result<EtcdCapture, Failure> {
    enough_space(host, directory, status.db_size)?;
    let endpoint = member.endpoint.clone();
    let mut trailer = Trailer::default();
    let mut progress = Progress::of("snapshot of etcd", status.db_size);
    let ((), payload) = archive::write(host, settings, directory, SNAPSHOT, |out, path| {
        member.snapshot(|piece| {
            host.check_stop()?;
            trailer.update(piece);
            progress.add(piece.len());
            out.write_all(piece).map_err(|e| NewFile::failed(path, &e))
        })
    })?;
    let whole = trailer.check();
    let size = whole.map_err(|reason| Failure::new(format!("cannot use the snapshot from {endpoint}: it {reason}")))?;
    progress.end();
    let snapshot = Snapshot {
        file: payload.file.clone(),
        size,
        revision: status.revision,
        member: format!("{:x}", status.member),
        cluster: format!("{:x}", status.cluster),
        members: members_of(status),
        version: status.version.clone(),
        endpoint,
    };
    info!(
        bytes = size,
        revision = snapshot.revision,
        member = %snapshot.member,
        cluster = %snapshot.cluster,
        "etcd's snapshot is whole: {}, revision {}, its checksum is right",
        bytes(size),
        snapshot.revision
    );
    Ok(EtcdCapture {
        etcd: Some(Etcd {
            snapshot: Some(snapshot),
            ..Etcd::none(EtcdKind::Snapshot, None)
        }),
        payload: Some(payload),
        warning: None,
    })
}

/// The members of the cluster, as a running member names them.
pub fn members_of(status: &Status) -> Vec<MemberOf> {
    let members = status.members.iter().map(|(name, peer_urls)| MemberOf {
        name: name.clone(),
        peer_urls: peer_urls.clone(),
    });
    members.collect()
}

/// The data directory, with its size known before.
fn copy(
    host: &Host,
    known: &MemberConfig,
    directory: &Path,
    files: &Path,
    copied: &mut Vec<CopySummary>,
    because: String,
) -> Result<EtcdCapture, Failure> {
    let data = known.data.clone().unwrap_or_default();
    let real = match host.resolve(&data) {
        Ok(found) if host.exists(&found.real) => found.real,
        _ if !known.is_meant => {
            return Ok(EtcdCapture::default());
        }
        _ => {
            return Err(Failure::new(format!(
                "cannot copy etcd's data: {because}, and {} is not there",
                data.display()
            )));
        }
    };
    apart(files, &real)?;
    let size = places::size(host, &real);
    enough_space(host, directory, size)?;
    let kind = match host.running("etcd") {
        Some(_) => EtcdKind::ColdCopyOfARunningMember,
        None => EtcdKind::CopyOfAStoppedMember,
    };
    let before = copied.len();
    let mut progress = Progress::of("copy of etcd's data", size);
    host.copy(&real, files, copied, &mut progress).inspect_err(|_| {
        copied.truncate(before);
        // Half of it would look like all of it, and may be what filled the disk.
        let _ = host.remove_tree(&files.join(real.strip_prefix("/").unwrap_or(&real)));
    })?;
    progress.end();
    info!("etcd's data directory was copied ({}): {because}", kind.words());
    let warning = (kind == EtcdKind::ColdCopyOfARunningMember)
        .then(|| format!("the backup has no snapshot of etcd but a {}: {because}", kind.words()));
    Ok(EtcdCapture {
        etcd: Some(Etcd {
            data: Some(real),
            ..Etcd::none(kind, Some(because))
        }),
        payload: None,
        warning,
    })
}

/// Fails before a disk is filled that etcd may share.
fn enough_space(host: &Host, directory: &Path, size: u64) -> Result<(), Failure> {
    // A running member grows while it is read.
    let needed = size + size / 20;
    match host.free_space(directory) {
        Some(free) if free < needed => Err(Failure::new(format!(
            "cannot back up etcd's data to {}: it needs {}, and {} are free",
            directory.parent().unwrap_or(directory).display(),
            bytes(needed),
            bytes(free)
        ))
        .hint("free space there, keep fewer backups ([backup] keep), or set [backup] directory")),
        _ => Ok(()),
    }
}
