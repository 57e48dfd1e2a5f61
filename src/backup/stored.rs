//! The format of a backup on disk. `manifest.json` lists the contents of `files/` and the other
//! files of the backup. A stable interface.
//!
//! A compressed or encrypted backup has `files.tar.zst`, `files.tar.enc` or `files.tar.zst.enc` in
//! place of `files/`, with the same paths in it, and etcd's snapshot with the same endings. The
//! manifest of every backup stays readable.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use serde::{Deserialize, Serialize};

use crate::format::text::printable;
use crate::host::Host;
use crate::host::copy::{CopySummary, What};
use crate::model::{Attributes, ReadError};

/// Name of the manifest of a backup.
pub const MANIFEST: &str = "manifest.json";
/// Directory in a backup that holds every file at its absolute path.
pub const FILES: &str = "files";
/// Name of the archive that takes the place of [`FILES`], without the endings for compression and
/// encryption.
pub const ARCHIVE: &str = "files.tar";
/// Name of etcd's snapshot, without these endings.
pub const SNAPSHOT: &str = "etcd-snapshot.db";
/// Name of the file that says what is wrong with a backup.
pub const BAD: &str = "bad";
/// Prefix of a backup that is being made, or was interrupted.
pub const UNFINISHED: &str = ".unfinished-";

/// Prefix of the reason of a backup before a renewal.
pub const BEFORE_RENEWING: &str = "before renewing ";
/// Prefix of the reason of a backup before a restore.
pub const BEFORE_RESTORING: &str = "before restoring ";

/// A backup in the backup directory.
#[derive(Debug, Clone)]
pub struct StoredBackup {
    /// Name of its directory.
    pub id: String,
    /// Path of its directory.
    pub directory: PathBuf,
    /// Manifest, or the reason that it cannot be used.
    pub manifest: Result<Manifest, String>,
    /// A fault that is known although the manifest can be read: the result of `backup verify`, or a
    /// part that is missing or cut.
    pub fault: Option<String>,
}

impl StoredBackup {
    /// Returns the bytes of all files in it; 0 if the manifest cannot be read.
    pub fn size(&self) -> u64 {
        let Ok(manifest) = &self.manifest else { return 0 };
        let files = manifest.entries.iter().filter_map(|entry| entry.size);
        let files = if manifest.is_archived() { 0 } else { files.sum() };
        files + manifest.payloads.iter().map(|payload| payload.size).sum::<u64>()
    }

    /// Returns true if it can be read, no fault is known, and it has etcd's data if it should.
    pub fn is_good(&self) -> bool {
        let whole = |manifest: &Manifest| manifest.etcd.as_ref().is_none_or(|etcd| etcd.kind != EtcdKind::Missing);
        self.fault.is_none() && self.manifest.as_ref().is_ok_and(whole)
    }

    /// Returns true if it was made before a change that may have to be rolled back.
    pub fn is_before_a_change(&self) -> bool {
        let of = |manifest: &Manifest| {
            [BEFORE_RENEWING, BEFORE_RESTORING]
                .iter()
                .any(|begin| manifest.reason.starts_with(begin))
        };
        self.manifest.as_ref().is_ok_and(of)
    }
}

/// Returns all backups of a directory, oldest first (their names are times). Interrupted ones are
/// left out.
pub fn all(host: &Host, directory: &Path) -> Vec<StoredBackup> {
    let names = host.names(directory).unwrap_or_default();
    let ids = names
        .into_iter()
        .filter_map(|name| name.into_string().ok())
        .filter(|name| is_set(name));
    ids.map(|id| read(host, directory, id)).collect()
}

/// Returns a sentence about parts of the backup directory that users other than root can read.
/// Nothing in them is secret then.
pub fn open_to_others(host: &Host, directory: &Path) -> Option<String> {
    let names = host.names(directory).unwrap_or_default();
    let backups = names.into_iter().filter(|name| name.to_str().is_some_and(is_set));
    let all = std::iter::once(directory.to_owned()).chain(backups.map(|name| directory.join(name)));
    let mut open = all.filter_map(|directory| host.wider_than_root(&directory));
    let first = open.next()?;
    let others = match open.count() {
        0 => String::new(),
        more => format!(", and {more} more"),
    };
    Some(format!(
        "users other than root can read backups, which hold keys: {first}{others}; set the owner root and mode 0700"
    ))
}

/// Reads the backup with this name.
pub fn read(host: &Host, directory: &Path, id: String) -> StoredBackup {
    let directory = directory.join(&id);
    let path = directory.join(MANIFEST);
    let manifest = match host.read_own(&path) {
        Ok(file) => serde_json::from_slice(&file.bytes).map_err(|e| format!("cannot parse {}: {e}", path.display())),
        Err(ReadError::Missing) => Err(format!("{} is missing", path.display())),
        Err(ReadError::Because(reason)) => Err(format!("{} {reason}", path.display())),
    };
    let fault = manifest
        .as_ref()
        .ok()
        .and_then(|manifest| fault(host, &directory, manifest));
    StoredBackup {
        id,
        directory,
        manifest,
        fault,
    }
}

/// Returns the fault that can be found without reading the files: a thousand backups are listed
/// within a second.
fn fault(host: &Host, directory: &Path, manifest: &Manifest) -> Option<String> {
    if host.exists(&directory.join(BAD)) {
        let said = host.read(&directory.join(BAD)).ok();
        let said = said.and_then(|file| file.bytes.text().ok().map(printable));
        return Some(said.unwrap_or_else(|| "its last verification failed".into()));
    }
    manifest.payloads.iter().find_map(|payload| {
        let size = host.size(&directory.join(&payload.file));
        (size != Some(payload.size)).then(|| match size {
            Some(size) => format!("{} has {size} bytes instead of {}", payload.file, payload.size),
            None => format!("{} is missing", payload.file),
        })
    })
}

/// Returns true for names such as `20261124T031700Z`, or with `-2` for a second backup in the same
/// second. kubecertd leaves other names in the directory alone.
pub fn is_set(name: &str) -> bool {
    let (time, number) = name.split_once('-').unwrap_or((name, "2"));
    let shape: String = time.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    shape == "00000000T000000Z" && !number.is_empty() && number.chars().all(|c| c.is_ascii_digit())
}

/// Manifest of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Format version: 1.
    pub format: u32,
    /// Name of the node.
    pub node: String,
    /// Time of its begin, RFC 3339 UTC.
    pub created: String,
    /// Time of its last byte, RFC 3339 UTC.
    pub finished: String,
    /// Reason of the backup.
    pub reason: String,
    /// etcd's data. `None` if the node has no etcd, or it was not asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub etcd: Option<Etcd>,
    /// Compression and encryption, now or once the plain files are no longer needed. `None` for a
    /// backup that stays plain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seal: Option<ArchiveInfo>,
    /// The other files in the directory of the backup.
    pub payloads: Vec<Payload>,
    /// One entry for each path, directories after their contents.
    pub entries: Vec<Entry>,
}

impl Manifest {
    /// Returns true if its files are in an archive.
    pub fn is_archived(&self) -> bool {
        self.archive().is_some()
    }

    /// Returns the archive of its files.
    pub fn archive(&self) -> Option<&Payload> {
        self.payloads.iter().find(|payload| payload.file.starts_with(ARCHIVE))
    }
}

/// etcd's data in a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Etcd {
    /// Origin of the data.
    pub kind: EtcdKind,
    /// The reason that it is not a snapshot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub because: Option<String>,
    /// The data directory that was copied, which is among the entries.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<PathBuf>,
    /// The snapshot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<Snapshot>,
}

impl Etcd {
    /// Returns an entry of this kind, without data yet.
    pub(super) fn none(kind: EtcdKind, because: Option<String>) -> Self {
        Self {
            kind,
            because,
            data: None,
            snapshot: None,
        }
    }
}

/// Origin of etcd's data in a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum EtcdKind {
    /// A snapshot over etcd's API, whose checksum was compared.
    #[serde(rename = "snapshot")]
    Snapshot,
    /// A copy of the data directory under a running etcd: it may lack the end of the write-ahead
    /// log.
    #[serde(rename = "cold copy of a running member: last resort")]
    ColdCopyOfARunningMember,
    /// A copy of the data directory of a stopped etcd.
    #[serde(rename = "copy of a stopped member")]
    CopyOfAStoppedMember,
    /// No data.
    #[serde(rename = "missing")]
    Missing,
}

impl EtcdKind {
    /// Returns its name in the manifest.
    pub fn words(self) -> &'static str {
        match self {
            Self::Snapshot => "snapshot",
            Self::ColdCopyOfARunningMember => "cold copy of a running member: last resort",
            Self::CopyOfAStoppedMember => "copy of a stopped member",
            Self::Missing => "missing",
        }
    }
}

/// A snapshot and its origin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Name of its file in the directory of the backup.
    pub file: String,
    /// Bytes of the snapshot with its checksum, before compression and encryption.
    pub size: u64,
    /// Revision of the store at the begin. The snapshot has at least this one.
    pub revision: i64,
    /// Id of the member, in hex as etcdctl prints it.
    pub member: String,
    /// Id of the cluster, in hex.
    pub cluster: String,
    /// Members of the cluster. Empty if the member did not name them.
    pub members: Vec<MemberOf>,
    /// Version of the server.
    pub version: String,
    /// Endpoint that was asked.
    pub endpoint: String,
}

/// A member of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberOf {
    /// Name. Empty for a member that has never started.
    pub name: String,
    /// URLs for the other members.
    pub peer_urls: Vec<String>,
}

/// Compression and encryption of the files of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArchiveInfo {
    /// `none` or `zstd`.
    pub compress: String,
    /// True if a program encrypted them.
    pub encrypted: bool,
}

/// A file in the directory of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payload {
    /// Name.
    pub file: String,
    /// Size in bytes.
    pub size: u64,
    /// SHA-256, in hex.
    pub sha256: String,
}

/// A path in a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Absolute path on the node.
    pub path: PathBuf,
    /// `file`, `directory` or `symlink`.
    pub kind: Kind,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Modification time, seconds since 1970.
    pub mtime: i64,
    /// Size of a file in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// SHA-256 of a file, in hex.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// Target of a symlink.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<PathBuf>,
    /// Extended attributes: name to value in base64. ACLs and SELinux labels are among them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub xattrs: BTreeMap<String, String>,
}

impl Entry {
    /// Returns owner, mode and extended attributes.
    pub fn attributes(&self) -> Attributes {
        let decoded = self
            .xattrs
            .iter()
            .filter_map(|(name, value)| Some((name.into(), BASE64.decode(value).ok()?)));
        Attributes {
            uid: self.uid,
            gid: self.gid,
            mode: self.mode & 0o7777,
            extended: decoded.collect(),
        }
    }
}

/// Kind of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Kind {
    File,
    #[serde(alias = "folder")]
    Directory,
    Symlink,
}

impl From<&CopySummary> for Entry {
    fn from(copied: &CopySummary) -> Self {
        let (kind, size, sha256, target) = match &copied.what {
            What::File { size, sha256 } => (Kind::File, Some(*size), Some(sha256.clone()), None),
            What::Directory => (Kind::Directory, None, None, None),
            What::Symlink(target) => (Kind::Symlink, None, None, Some(target.clone())),
        };
        Self {
            path: copied.path.clone(),
            kind,
            mode: copied.mode,
            uid: copied.uid,
            gid: copied.gid,
            mtime: copied.modified,
            size,
            sha256,
            target,
            xattrs: copied
                .extended
                .iter()
                .filter_map(|(name, value)| Some((name.to_str()?.to_owned(), BASE64.encode(value))))
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_names_are_sets() {
        assert!(is_set("20261124T031700Z"));
        assert!(is_set("20261124T031700Z-2"));
        for foreign in [
            "20261124T031700Z.tar",
            "etcd",
            ".unfinished-20261124T031700Z",
            "20261124",
            "20261124T031700Z-x",
            "20261124T031700Z-",
        ] {
            assert!(!is_set(foreign), "{foreign}");
        }
    }
}
