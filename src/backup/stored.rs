//! The format of a backup on disk: `manifest.json` lists what is under `files/`, and what else is in the backup. A stable interface.
//!
//! A backup that is compressed or encrypted has `files.tar.zst`, `files.tar.enc` or `files.tar.zst.enc` in the place of `files/`, with
//! the same paths in it, and etcd's snapshot with the same endings. Its list stays readable.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use serde::{Deserialize, Serialize};

use crate::format::text::printable;
use crate::host::Host;
use crate::host::copy::{CopySummary, What};
use crate::model::{Attributes, ReadError};

/// The name of the list in a backup.
pub const MANIFEST: &str = "manifest.json";
/// The directory in a backup under which every file stands at its absolute path.
pub const FILES: &str = "files";
/// The archive that takes the place of [`FILES`], without the endings that say what was done to it.
pub const ARCHIVE: &str = "files.tar";
/// etcd's snapshot, likewise.
pub const SNAPSHOT: &str = "etcd-snapshot.db";
/// In a backup that was found to be bad: what is wrong with it.
pub const BAD: &str = "bad";
/// A backup that is being made, or whose making was interrupted, starts with this.
pub const UNFINISHED: &str = ".unfinished-";

/// The reason of a backup that was taken before a renewal starts with this.
pub const BEFORE_RENEWING: &str = "before renewing ";
/// The reason of a backup that was taken before a restore starts with this.
pub const BEFORE_RESTORING: &str = "before restoring ";

/// A backup in the backup directory, as its list says.
#[derive(Debug, Clone)]
pub struct StoredBackup {
    /// Its directory's name.
    pub id: String,
    /// Its directory.
    pub directory: PathBuf,
    /// Its list; or why it cannot be used.
    pub manifest: Result<Manifest, String>,
    /// Why it is no good although its list can be read: what `backup verify` found, or a part that is missing or cut.
    pub fault: Option<String>,
}

impl StoredBackup {
    /// Bytes of all files in it; 0 where the list cannot be read.
    pub fn size(&self) -> u64 {
        let Ok(manifest) = &self.manifest else { return 0 };
        let files = manifest.entries.iter().filter_map(|entry| entry.size);
        let files = if manifest.is_archived() { 0 } else { files.sum() };
        files + manifest.payloads.iter().map(|payload| payload.size).sum::<u64>()
    }

    /// It can be read, nothing in it is known to be damaged, and it has etcd's data where it should.
    pub fn is_good(&self) -> bool {
        let whole = |manifest: &Manifest| manifest.etcd.as_ref().is_none_or(|etcd| etcd.kind != EtcdKind::Missing);
        self.fault.is_none() && self.manifest.as_ref().is_ok_and(whole)
    }

    /// It was taken before a change that may have to be undone.
    pub fn is_before_a_change(&self) -> bool {
        let of = |manifest: &Manifest| {
            [BEFORE_RENEWING, BEFORE_RESTORING]
                .iter()
                .any(|begin| manifest.reason.starts_with(begin))
        };
        self.manifest.as_ref().is_ok_and(of)
    }
}

/// All backups of a directory, oldest first (their names are times). Interrupted ones are not among them.
pub fn all(host: &Host, directory: &Path) -> Vec<StoredBackup> {
    let names = host.names(directory).unwrap_or_default();
    let ids = names
        .into_iter()
        .filter_map(|name| name.into_string().ok())
        .filter(|name| is_set(name));
    ids.map(|id| read(host, directory, id)).collect()
}

/// What others than root could look into of the backup directory and its sets, in one sentence; nothing that is in them is secret then.
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
        "others than root could read backups: {first}{others}; they hold keys, give them to root with mode 0700"
    ))
}

/// One set by its name.
pub fn read(host: &Host, directory: &Path, id: String) -> StoredBackup {
    let directory = directory.join(&id);
    let path = directory.join(MANIFEST);
    let manifest = match host.read_own(&path) {
        Ok(file) => serde_json::from_slice(&file.bytes).map_err(|e| format!("{} does not parse ({e})", path.display())),
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

/// What can be seen without reading the files: a thousand backups are listed within a second.
fn fault(host: &Host, directory: &Path, manifest: &Manifest) -> Option<String> {
    if host.exists(&directory.join(BAD)) {
        let said = host.read(&directory.join(BAD)).ok();
        let said = said.and_then(|file| file.bytes.text().ok().map(printable));
        return Some(said.unwrap_or_else(|| "it was found to be bad".into()));
    }
    manifest.payloads.iter().find_map(|payload| {
        let size = host.size(&directory.join(&payload.file));
        (size != Some(payload.size)).then(|| match size {
            Some(size) => format!("{} has {size} bytes, and not {}", payload.file, payload.size),
            None => format!("{} is missing", payload.file),
        })
    })
}

/// `20261124T031700Z`, with `-2` and so on for a second one in the same second. Nothing else in the directory is ours.
pub fn is_set(name: &str) -> bool {
    let (time, number) = name.split_once('-').unwrap_or((name, "2"));
    let shape: String = time.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    shape == "00000000T000000Z" && !number.is_empty() && number.chars().all(|c| c.is_ascii_digit())
}

/// What a backup holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// 1.
    pub format: u32,
    /// The node's name.
    pub node: String,
    /// When it was begun, RFC 3339 UTC.
    pub created: String,
    /// When its last byte was written, RFC 3339 UTC.
    pub finished: String,
    /// Why it was made.
    pub reason: String,
    /// What it has of etcd's data; none where no etcd belongs to the node, or none of it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub etcd: Option<Etcd>,
    /// How it is sealed, or will be when nothing needs its plain files any more; none for one that stays plain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seal: Option<ArchiveInfo>,
    /// The files in the backup's own directory besides this list.
    pub payloads: Vec<Payload>,
    /// One entry a path, directories after what is in them.
    pub entries: Vec<Entry>,
}

impl Manifest {
    /// Its files are in an archive.
    pub fn is_archived(&self) -> bool {
        self.archive().is_some()
    }

    /// The archive of its files.
    pub fn archive(&self) -> Option<&Payload> {
        self.payloads.iter().find(|payload| payload.file.starts_with(ARCHIVE))
    }
}

/// What a backup has of etcd's data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Etcd {
    /// Where it comes from.
    pub kind: EtcdKind,
    /// Why it is no snapshot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub because: Option<String>,
    /// The data directory that was copied; it is among the entries.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<PathBuf>,
    /// The snapshot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<Snapshot>,
}

impl Etcd {
    /// A part of this kind without data so far.
    pub(super) fn none(kind: EtcdKind, because: Option<String>) -> Self {
        Self {
            kind,
            because,
            data: None,
            snapshot: None,
        }
    }
}

/// Where etcd's data in a backup comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum EtcdKind {
    /// Read over etcd's API, its checksum compared.
    #[serde(rename = "snapshot")]
    Snapshot,
    /// The data directory, while an etcd was writing to it: it may have lost the end of the write-ahead log.
    #[serde(rename = "cold copy of a running member: last resort")]
    ColdCopyOfARunningMember,
    /// The data directory, at rest.
    #[serde(rename = "copy of a stopped member")]
    CopyOfAStoppedMember,
    /// Nothing: it could not be had.
    #[serde(rename = "missing")]
    Missing,
}

impl EtcdKind {
    /// As the list writes it.
    pub fn words(self) -> &'static str {
        match self {
            Self::Snapshot => "snapshot",
            Self::ColdCopyOfARunningMember => "cold copy of a running member: last resort",
            Self::CopyOfAStoppedMember => "copy of a stopped member",
            Self::Missing => "missing",
        }
    }
}

/// A snapshot and where it was taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Its file in the backup's directory.
    pub file: String,
    /// Bytes of the snapshot, with its checksum, before compression and encryption.
    pub size: u64,
    /// The store's revision when it was begun; it holds this one at least.
    pub revision: i64,
    /// The member's id, hex as etcdctl prints it.
    pub member: String,
    /// The cluster's id, hex.
    pub cluster: String,
    /// The members that the cluster had; empty where it did not say.
    pub members: Vec<MemberOf>,
    /// The server's version.
    pub version: String,
    /// Where it was asked.
    pub endpoint: String,
}

/// A member of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberOf {
    /// Its name; empty for one that has never started.
    pub name: String,
    /// Where the others reach it.
    pub peer_urls: Vec<String>,
}

/// What was done to the files of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArchiveInfo {
    /// `none` or `zstd`.
    pub compress: String,
    /// Whether a program encrypted them.
    pub encrypted: bool,
}

/// A file in a backup's own directory, as it lies there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payload {
    /// Its name.
    pub file: String,
    /// Its bytes.
    pub size: u64,
    /// Its SHA-256, hex.
    pub sha256: String,
}

/// One path of a backup.
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
    /// Bytes of a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// SHA-256 of a file, hex.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// Target of a symlink.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<PathBuf>,
    /// Extended attributes: name to value, base64 (ACLs and SELinux labels are among them).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub xattrs: BTreeMap<String, String>,
}

impl Entry {
    /// Owner, mode and extended attributes.
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

/// What kind of thing an entry is.
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
