//! Directories and symlinks of a transaction. They hold no secret and no bytes: what they were stands in the journal itself.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::host::Host;
use crate::host::write::{Attributes, beside, parent};
use crate::model::Failure;

/// What is made or replaced besides files.
#[derive(Debug, Clone, Default)]
pub struct Tree {
    /// Directories that are not there, those above first.
    pub directories: Vec<DirectoryEntry>,
    /// Symlinks.
    pub links: Vec<Link>,
}

/// A directory that is made.
#[derive(Debug, Clone)]
pub struct DirectoryEntry {
    /// Where, without symlinks on the way.
    pub path: PathBuf,
    /// Its owner, mode and attributes.
    pub like: Attributes,
}

/// A symlink that is made or replaced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// Where, without symlinks on the way.
    pub path: PathBuf,
    /// Its target until now; none where nothing is.
    pub old: Option<PathBuf>,
    /// Its target from now on.
    pub new: PathBuf,
}

pub(super) fn make_directories(host: &Host, directories: &[DirectoryEntry]) -> Result<(), Failure> {
    directories
        .iter()
        .try_for_each(|directory| host.make_directory_like(&directory.path, &directory.like))
}

/// Those that are empty; one that somebody put a file into meanwhile stays.
pub(super) fn remove_directories(host: &Host, directories: &[PathBuf]) {
    for directory in directories.iter().rev() {
        if host.remove_empty_directory(directory) {
            // An empty directory that is back after a loss of power is harmless.
            let _ = host.sync_directory(parent(directory));
        }
    }
}

impl Link {
    pub(super) fn install(&self, host: &Host) -> Result<(), Failure> {
        if host.link_target(&self.path) != self.old || (self.old.is_none() && host.exists(&self.path)) {
            return Err(super::changed(&self.path));
        }
        point(host, &self.path, &self.new)
    }

    pub(super) fn is_new(&self, host: &Host) -> bool {
        host.link_target(&self.path).as_ref() == Some(&self.new)
    }

    /// False: what is there is neither old nor ours.
    pub(super) fn put_back(&self, host: &Host) -> Result<bool, Failure> {
        let now = host.link_target(&self.path);
        if now == self.old && (now.is_some() || !host.exists(&self.path)) {
            return Ok(true);
        }
        if now.as_ref() != Some(&self.new) {
            return Ok(false);
        }
        match &self.old {
            Some(old) => point(host, &self.path, old)?,
            None => host.unlink(&self.path)?,
        }
        Ok(true)
    }
}

/// By a rename: whatever the moment, it points to the one or to the other.
fn point(host: &Host, path: &Path, target: &Path) -> Result<(), Failure> {
    let new = beside(path, "new");
    host.unlink(&new)?;
    host.make_symlink(target, &new)?;
    host.rename(&new, path)
}
