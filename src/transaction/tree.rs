//! Directories and symlinks of a transaction. They hold no secrets, and the journal itself holds
//! their old state.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::host::Host;
use crate::host::write::{Attributes, beside, parent};
use crate::model::Failure;

/// Directories and symlinks that are created or replaced.
#[derive(Debug, Clone, Default)]
pub struct Tree {
    /// Directories that do not exist, parents first.
    pub directories: Vec<DirectoryEntry>,
    /// Symlinks.
    pub links: Vec<Link>,
}

/// A directory that is created.
#[derive(Debug, Clone)]
pub struct DirectoryEntry {
    /// Path, without symlinks on the way.
    pub path: PathBuf,
    /// Owner, mode and attributes.
    pub like: Attributes,
}

/// A symlink that is created or replaced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// Path, without symlinks on the way.
    pub path: PathBuf,
    /// Old target. `None` if there was none.
    pub old: Option<PathBuf>,
    /// New target.
    pub new: PathBuf,
}

pub(super) fn make_directories(host: &Host, directories: &[DirectoryEntry]) -> Result<(), Failure> {
    directories
        .iter()
        .try_for_each(|directory| host.make_directory_like(&directory.path, &directory.like))
}

/// Removes empty directories. One that holds a file of another program stays.
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

    /// Returns false if the symlink is neither old nor new.
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

/// Changes a symlink by a rename, so that it has the one or the other target at any moment.
fn point(host: &Host, path: &Path, target: &Path) -> Result<(), Failure> {
    let new = beside(path, "new");
    host.unlink(&new)?;
    host.make_symlink(target, &new)?;
    host.rename(&new, path)
}
