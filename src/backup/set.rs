//! The format of a set on disk: `manifest.json` lists what is under `files/`. A stable interface.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::host::copy::{Copied, What};

/// The name of the list in a set.
pub const MANIFEST: &str = "manifest.json";
/// The folder in a set under which every file stands at its absolute path.
pub const FILES: &str = "files";
/// A set that is being made, or whose making was interrupted, starts with this.
pub const UNFINISHED: &str = ".unfinished-";

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
