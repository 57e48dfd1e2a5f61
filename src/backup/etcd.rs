//! etcd's part of a backup: a snapshot over its API. If the API does not answer, a copy of its data
//! directory, which the manifest calls a copy.

use std::path::Path;

use tracing::info;

use super::places::apart;
use super::stored::{Etcd, EtcdKind, FILES, MemberOf, Payload, SNAPSHOT, Snapshot};
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

/// The result of backing up etcd's data.
#[derive(Default)]
pub(super) struct EtcdCapture {
    /// Entry in the manifest. `None` if the node has no etcd.
    pub(super) etcd: Option<Etcd>,
    /// File of the snapshot.
    pub(super) payload: Option<Payload>,
    /// Warning for the operator.
    pub(super) warning: Option<String>,
}

/// The unfinished backup that etcd's data goes to.
pub(super) struct Target<'a> {
    pub(super) host: &'a Host,
    pub(super) settings: &'a Settings,
    /// Directory of the backup.
    pub(super) directory: &'a Path,
    /// The files that were copied to it.
    pub(super) copied: &'a mut Vec<CopySummary>,
}

impl Target<'_> {
    /// Backs up etcd's data.
    ///
    /// The data directory is copied only if the API does not answer. A snapshot that fails is a
    /// failure: a copy in its place would hide it.
    pub(super) fn back_up(&mut self, inventory: &Inventory) -> Result<EtcdCapture, Failure> {
        let known = known(inventory, self.settings);
        let because = match connect(self.host, &known) {
            Ok((member, status)) => return snapshot(self.host, self.settings, self.directory, member, &status),
            Err(because) => because,
        };
        if known.data.is_some() {
            return self.copy(&known, because);
        }
        let is_elsewhere = inventory.etcd_is_external || !self.settings.etcd.endpoints.is_empty();
        let etcd = is_elsewhere.then(|| Etcd::none(EtcdKind::Missing, Some(because.clone())));
        let warning = is_elsewhere.then(|| format!("the backup has no data of etcd, which runs elsewhere: {because}"));
        Ok(EtcdCapture {
            etcd,
            payload: None,
            warning,
        })
    }

    /// Copies the data directory, after a check of its size.
    fn copy(&mut self, known: &MemberConfig, because: String) -> Result<EtcdCapture, Failure> {
        let (host, files) = (self.host, self.directory.join(FILES));
        let data = known.data.clone().unwrap_or_default();
        let real = match host.resolve(&data) {
            Ok(found) if host.exists(&found.real) => found.real,
            _ if !known.is_meant => {
                return Ok(EtcdCapture::default());
            }
            _ => {
                return Err(Failure::new(format!(
                    "cannot copy etcd's data: {because}, and {} does not exist",
                    data.display()
                )));
            }
        };
        apart(&files, &real)?;
        let size = places::size(host, &real);
        enough_space(host, self.directory, size)?;
        let kind = match host.running("etcd") {
            Some(_) => EtcdKind::ColdCopyOfARunningMember,
            None => EtcdKind::CopyOfAStoppedMember,
        };
        let before = self.copied.len();
        let mut progress = Progress::of("copy of etcd's data", size);
        host.copy(&real, &files, self.copied, &mut progress).inspect_err(|_| {
            self.copied.truncate(before);
            // Half a copy would look like a whole one, and may be what filled the disk.
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
        "verified etcd's snapshot: {}, revision {}",
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

/// Returns the members of the cluster, as a running member names them.
pub fn members_of(status: &Status) -> Vec<MemberOf> {
    let members = status.members.iter().map(|(name, peer_urls)| MemberOf {
        name: name.clone(),
        peer_urls: peer_urls.clone(),
    });
    members.collect()
}

/// Fails if the backup would fill a disk that etcd may share.
fn enough_space(host: &Host, directory: &Path, size: u64) -> Result<(), Failure> {
    // A running member grows while it is read.
    let needed = size + size / 20;
    match host.free_space(directory) {
        Some(free) if free < needed => Err(Failure::new(format!(
            "cannot back up etcd's data to {}: it needs {}, but only {} are free",
            directory.parent().unwrap_or(directory).display(),
            bytes(needed),
            bytes(free)
        ))
        .hint("free space there, lower [backup] keep and run `kubecertd backup prune`, or set [backup] directory")),
        _ => Ok(()),
    }
}
