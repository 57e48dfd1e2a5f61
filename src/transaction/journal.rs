//! The journal on disk, and the way back or forward from it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::tree::{self, Link};
use crate::format::digest::sha256;
use crate::format::text;
use crate::host::Host;
use crate::host::record::Record;
use crate::host::write::{beside, parent};
use crate::model::{Bytes, Exit, Failure, ReadError};
use crate::restart::pending::{self, PendingRestart};
use crate::state;

/// Name of the journal in the state directory.
pub(super) const JOURNAL: Record<Journal> = Record::new("transaction.json");

/// Format that this version writes, and the only one that it reads.
pub(super) const FORMAT: u32 = 1;

/// Progress of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Phase {
    /// Files may have been replaced: roll back.
    Installing,
    /// All files are replaced: finish.
    Installed,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Journal {
    pub(super) format: u32,
    pub(super) cycle: String,
    pub(super) phase: Phase,
    /// The backup, for people.
    pub(super) backup: PathBuf,
    pub(super) files: Vec<Entry>,
    /// Directories that did not exist, parents first.
    #[serde(default)]
    #[serde(rename = "folders")]
    pub(super) directories: Vec<PathBuf>,
    /// Symlinks that are created or replaced.
    #[serde(default)]
    pub(super) links: Vec<Link>,
    pub(super) restarts: Vec<PendingRestart>,
}

/// A path that is replaced.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Entry {
    pub(super) credential: String,
    pub(super) path: PathBuf,
    /// Digest of the old file. `None` if there was none.
    pub(super) old: Option<String>,
    pub(super) new: String,
    /// Copy of the old file in the backup.
    pub(super) kept: Option<PathBuf>,
    /// True if nothing depends on it and a person may change it at any time, so that it does not
    /// show the progress of the transaction.
    #[serde(default)]
    pub(super) alone: bool,
}

/// Returns the digest of the file at `path`. `None` if there is none.
pub(super) fn digest(host: &Host, path: &Path) -> Result<Option<String>, Failure> {
    match host.read(path) {
        Ok(file) => Ok(Some(sha256(&file.bytes))),
        Err(ReadError::Missing) => Ok(None),
        Err(ReadError::Because(reason)) => Err(Failure::new(format!("cannot read {}: {reason}", path.display()))),
    }
}

impl Journal {
    /// Reads the journal, if there is one.
    pub(super) fn read(host: &Host) -> Result<Option<Self>, Failure> {
        let path = JOURNAL.path(host);
        let Some(journal) = JOURNAL.read(host).map_err(|reason| unreadable(&path, &reason))? else {
            return Ok(None);
        };
        match journal.format {
            FORMAT => Ok(Some(journal)),
            other => Err(unreadable(
                &path,
                &format!("its format is {other}, and this version knows {FORMAT}"),
            )),
        }
    }

    pub(super) fn write(&self, host: &Host) -> Result<(), Failure> {
        JOURNAL.write(host, self)
    }

    pub(super) fn sync_directories(&self, host: &Host) -> Result<(), Failure> {
        let paths = self
            .files
            .iter()
            .map(|e| &e.path)
            .chain(self.links.iter().map(|l| &l.path));
        let directories: BTreeSet<&Path> = paths.map(|path| parent(path)).collect();
        // A directory that was to be created may not exist.
        let mut there = directories.into_iter().filter(|directory| host.exists(directory));
        there.try_for_each(|directory| host.sync_directory(directory))
    }

    /// Returns true if every file is the new one.
    pub(super) fn is_whole(&self, host: &Host) -> bool {
        let is_new = |entry: &Entry| digest(host, &entry.path) == Ok(Some(entry.new.clone()));
        let mut files = self.files.iter().filter(|entry| !entry.alone);
        files.all(is_new) && self.links.iter().all(|link| link.is_new(host))
    }

    /// Restores the old bytes of every file that is still this transaction's. One that fails does
    /// not stop the others. Returns the paths that are neither old nor new.
    pub(super) fn roll_back(&self, host: &Host) -> Result<Vec<String>, Failure> {
        let mut foreign = Vec::new();
        let mut failed = Vec::new();
        for link in self.links.iter().rev() {
            match link.put_back(host) {
                Ok(true) => {}
                Ok(false) => foreign.push(link.path.display().to_string()),
                Err(failure) => failed.push((link.path.display().to_string(), failure)),
            }
        }
        for entry in self.files.iter().rev() {
            match entry.put_back(host) {
                Ok(true) => {}
                Ok(false) => foreign.push(entry.path.display().to_string()),
                Err(failure) => failed.push((entry.path.display().to_string(), failure)),
            }
        }
        if let Some((_, first)) = failed.first() {
            let paths: Vec<_> = failed.iter().map(|(path, _)| path.as_str()).collect();
            return Err(Failure::new(format!("{first} (not restored: {})", text::list(&paths))));
        }
        self.sync_directories(host)?;
        for entry in &self.files {
            let path = entry.path.display().to_string();
            match digest(host, &entry.path)? {
                now if now == entry.old || foreign.contains(&path) => {}
                now if now.as_ref() == Some(&entry.new) => {
                    return Err(Failure::new(format!("{path} is still the new file")));
                }
                _ => foreign.push(path),
            }
        }
        self.clear_files(host)?;
        tree::remove_directories(host, &self.directories);
        JOURNAL.remove(host)?;
        Ok(foreign)
    }

    pub(super) fn finish(&self, host: &Host) -> Result<(), Failure> {
        let mut restarts = self.restarts.clone();
        let before = pending::read(host).into_iter();
        restarts.extend(before.filter(|old| !self.restarts.iter().any(|new| new.step.reader == old.step.reader)));
        pending::record(host, &restarts)?;
        state::record_written(host, self.files.iter().map(|entry| entry.path.as_path()))?;
        self.clear(host)
    }

    /// Removes the temporary files, then the journal.
    fn clear(&self, host: &Host) -> Result<(), Failure> {
        self.clear_files(host)?;
        JOURNAL.remove(host)
    }

    fn clear_files(&self, host: &Host) -> Result<(), Failure> {
        for link in &self.links {
            host.unlink(&beside(&link.path, "new"))?;
        }
        for entry in &self.files {
            host.unlink(&beside(&entry.path, "new"))?;
            host.unlink(&beside(&entry.path, "old"))?;
        }
        self.sync_directories(host)
    }
}

impl Entry {
    /// Returns false if the path is neither old nor new.
    fn put_back(&self, host: &Host) -> Result<bool, Failure> {
        let now = digest(host, &self.path)?;
        if now == self.old {
            return Ok(true);
        }
        if now.as_ref() != Some(&self.new) {
            return Ok(false);
        }
        self.bring_back(host).map(|()| true)
    }

    fn bring_back(&self, host: &Host) -> Result<(), Failure> {
        let Some(old) = &self.old else {
            return host.unlink(&self.path);
        };
        let second_name = beside(&self.path, "old");
        if digest(host, &second_name)?.as_ref() == Some(old) {
            return host.rename(&second_name, &self.path);
        }
        let kept = self
            .kept
            .as_ref()
            .and_then(|kept| host.read(kept).ok())
            .map(|file| file.bytes);
        match kept {
            Some(bytes) if sha256(&bytes) == *old => self.rewrite(host, &bytes),
            _ => Err(Failure::new(format!(
                "cannot put {} back: its old bytes are gone",
                self.path.display()
            ))),
        }
    }

    fn rewrite(&self, host: &Host, bytes: &Bytes) -> Result<(), Failure> {
        let like = host.attributes(&self.path)?;
        host.replace(&self.path, bytes, &like)
    }
}

fn unreadable(path: &Path, reason: &str) -> Failure {
    Failure::new(format!("cannot read the journal {}: {reason}", path.display()))
        .hint("compare the files with the newest backup, then remove the journal")
        .exit(Exit::RollbackFailed)
}
