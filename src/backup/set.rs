//! The format of a set on disk: `manifest.json` lists what is under `files/`. A stable interface.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::host::Host;
use crate::host::copy::{Copied, What};
use crate::model::Unread;

/// The name of the list in a set.
pub const MANIFEST: &str = "manifest.json";
/// The folder in a set under which every file stands at its absolute path.
pub const FILES: &str = "files";
/// A set that is being made, or whose making was interrupted, starts with this.
pub const UNFINISHED: &str = ".unfinished-";

/// The reason of a set that was taken before a change starts with this.
pub const BEFORE_A_CHANGE: &str = "before renewing ";

/// A set in the backup folder, as its list says.
#[derive(Debug, Clone)]
pub struct Set {
    /// Its folder's name.
    pub id: String,
    /// Its folder.
    pub folder: PathBuf,
    /// Its list; or why it cannot be used.
    pub manifest: Result<Manifest, String>,
}

impl Set {
    /// Bytes of all files in it; 0 where the list cannot be read.
    pub fn size(&self) -> u64 {
        let entries = self.manifest.as_ref().map(|m| m.entries.as_slice()).unwrap_or_default();
        entries.iter().filter_map(|entry| entry.size).sum()
    }
}

/// All sets of a folder, oldest first (their names are times). Interrupted ones are not among them.
pub fn all(host: &Host, directory: &Path) -> Vec<Set> {
    let names = host.names(directory).unwrap_or_default();
    let ids = names
        .into_iter()
        .filter_map(|name| name.into_string().ok())
        .filter(|name| is_set(name));
    ids.map(|id| read(host, directory, id)).collect()
}

/// One set by its name.
pub fn read(host: &Host, directory: &Path, id: String) -> Set {
    let folder = directory.join(&id);
    let path = folder.join(MANIFEST);
    let manifest = match host.read_own(&path) {
        Ok(file) => serde_json::from_slice(&file.bytes).map_err(|e| format!("{} does not parse ({e})", path.display())),
        Err(Unread::Missing) => Err(format!("{} is missing", path.display())),
        Err(Unread::Because(reason)) => Err(format!("{} {reason}", path.display())),
    };
    Set { id, folder, manifest }
}

/// `20261124T031700Z`, with `-2` and so on for a second one in the same second. Nothing else in the folder is ours.
pub fn is_set(name: &str) -> bool {
    let (time, number) = name.split_once('-').unwrap_or((name, "2"));
    let shape: String = time.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    shape == "00000000T000000Z" && !number.is_empty() && number.chars().all(|c| c.is_ascii_digit())
}

/// What a set holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// 1.
    pub format: u32,
    /// The node's name.
    pub node: String,
    /// When it was begun, RFC 3339 UTC.
    pub created: String,
    /// Why it was made.
    pub reason: String,
    /// One entry a path, folders after what is in them.
    pub entries: Vec<Entry>,
}

/// One path of a set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Absolute path on the node.
    pub path: PathBuf,
    /// `file`, `folder` or `symlink`.
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
}

/// What kind of thing an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Kind {
    File,
    Folder,
    Symlink,
}

impl From<&Copied> for Entry {
    fn from(copied: &Copied) -> Self {
        let (kind, size, sha256, target) = match &copied.what {
            What::File { size, sha256 } => (Kind::File, Some(*size), Some(sha256.clone()), None),
            What::Folder => (Kind::Folder, None, None, None),
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
