//! Transactions: replace files so that an interruption at any moment can be finished or rolled
//! back.
//!
//! A cycle records durably, before its first change, which files it will replace, with what, and
//! where the old bytes are. Then:
//!
//! 1. *stage*: every new file is written next to its place (`.NAME.kubecertd-new`) and synced. The
//!    old one gets a second name (`.NAME.kubecertd-old`), so that a rollback is a rename too and
//!    needs no space. The directories are synced.
//! 2. *install*: the new files are renamed over the old ones, a key directly before its
//!    certificate, after a last check that no other program changed them. The directories are
//!    synced, and the journal says `installed`.
//! 3. *commit*: the second names are removed, pending restarts are recorded, and the journal is
//!    removed.
//!
//! [`recover`] rolls back an interruption in 1 or 2, and finishes one after `installed`. At any
//! moment each file is wholly old or wholly new, and a pair is out of step only between two
//! renames.

mod journal;
mod tree;

use std::path::Path;

use tracing::warn;

use crate::backup::Backup;
use crate::coordinate::ClusterLock;
use crate::format::digest::sha256;
use crate::host::write::{Attributes, beside};
use crate::host::{Host, lock::Lock};
use crate::model::{Exit, Failure, Identity};
use crate::renew::replacement::Replacement;
use crate::restart::park;
use crate::restart::pending::{self, PendingRestart};
use journal::{Entry, FORMAT, JOURNAL, Journal, Phase, digest};
pub use tree::{DirectoryEntry, Link, Tree};

/// A transaction under way. The borrowed lock of the node keeps it alone.
#[derive(Debug)]
pub struct Transaction<'a> {
    host: &'a Host,
    _lock: &'a Lock,
    journal: Journal,
}

/// Everything that must be there before files may be replaced.
#[derive(Clone, Copy)]
pub struct Permit<'a> {
    /// The node.
    pub host: &'a Host,
    /// The lock of this node.
    pub lock: &'a Lock,
    /// The lock of the cluster.
    pub cluster_lock: &'a ClusterLock,
    /// The backup of the files that are replaced.
    pub backup: &'a Backup,
}

/// The change that a transaction makes.
#[derive(Debug, Default)]
pub struct Change {
    /// Directories and symlinks that the files need, or that come with them.
    pub tree: Tree,
    /// New contents of files.
    pub files: Vec<Replacement>,
    /// Restarts that are left if this process dies after the change.
    pub restarts: Vec<PendingRestart>,
}

/// Begins a transaction, if this node still holds the cluster lock: writes the journal, stages the
/// new files and installs them.
///
/// # Errors
///
/// Everything is rolled back before this returns a failure. Exit code 3 means that it was not
/// possible.
pub fn install<'a>(permit: Permit<'a>, change: Change) -> Result<Transaction<'a>, Failure> {
    let Permit {
        host,
        lock,
        cluster_lock,
        backup,
    } = permit;
    let Change { tree, files, restarts } = change;
    let entries = entries(&files, backup)?;
    cluster_lock.step(host)?;
    let journal = Journal {
        format: FORMAT,
        cycle: host.now_exact(),
        phase: Phase::Installing,
        backup: backup.directory.clone(),
        files: entries,
        directories: tree.directories.iter().map(|entry| entry.path.clone()).collect(),
        links: tree.links,
        restarts,
    };
    journal.write(host)?;
    let mut transaction = Transaction {
        host,
        _lock: lock,
        journal,
    };
    let done = tree::make_directories(host, &tree.directories)
        .and_then(|()| transaction.stage(&files))
        .and_then(|()| transaction.rename_all(&files));
    match done {
        Ok(()) => Ok(transaction),
        Err(failure) => Err(transaction.roll_back(failure)),
    }
}

fn entries(replacements: &[Replacement], backup: &Backup) -> Result<Vec<Entry>, Failure> {
    let mut entries = Vec::new();
    for replacement in replacements {
        for name in &replacement.names {
            let kept = backup.of(name);
            if replacement.old.is_some() && kept.is_none() {
                return Err(Failure::new(format!(
                    "cannot replace {}: the backup does not hold it",
                    name.display()
                )));
            }
            entries.push(Entry {
                credential: replacement.credential.clone(),
                path: name.clone(),
                old: kept.as_ref().map(|(_, digest)| (*digest).to_owned()),
                new: sha256(&replacement.new),
                kept: kept.map(|(path, _)| path),
                alone: replacement.alone,
            });
        }
    }
    Ok(entries)
}

impl Transaction<'_> {
    fn stage(&self, replacements: &[Replacement]) -> Result<(), Failure> {
        for replacement in replacements {
            self.host.check_stop()?;
            self.stage_one(replacement)
                .map_err(|failure| replacement.concerning(failure))?;
        }
        self.journal.sync_directories(self.host)
    }

    fn stage_one(&self, replacement: &Replacement) -> Result<(), Failure> {
        let Some((first, others)) = replacement.names.split_first() else {
            return Ok(());
        };
        let like = match (&replacement.like, &replacement.old) {
            (Some(like), _) => like.clone(),
            (None, Some(_)) => self.host.attributes(first)?,
            // Mode that kubeadm gives to keys.
            (None, None) => Attributes::plain(0o600),
        };
        let new = beside(first, "new");
        self.host.unlink(&new)?;
        self.host.create(&new, &replacement.new, &like)?;
        for other in others {
            self.host.unlink(&beside(other, "new"))?;
            self.host.link(&new, &beside(other, "new"))?;
        }
        if replacement.old.is_some() {
            for name in &replacement.names {
                self.host.unlink(&beside(name, "old"))?;
                self.host.link(name, &beside(name, "old"))?;
            }
        }
        Ok(())
    }

    fn rename_all(&mut self, replacements: &[Replacement]) -> Result<(), Failure> {
        let mut pair = "";
        for replacement in replacements {
            if pair != replacement.credential {
                pair = &replacement.credential;
                self.host.check_stop()?;
            }
            for name in &replacement.names {
                let renamed =
                    unchanged(self.host, name, replacement).and_then(|()| self.host.rename(&beside(name, "new"), name));
                renamed.map_err(|failure| replacement.concerning(failure))?;
            }
        }
        for link in &self.journal.links {
            link.install(self.host)?;
        }
        self.journal.sync_directories(self.host)?;
        self.host.check_stop()?;
        for entry in self.journal.files.iter().filter(|entry| !entry.alone) {
            if digest(self.host, &entry.path)? != Some(entry.new.clone()) {
                return Err(changed(&entry.path));
            }
        }
        let installed = Journal {
            phase: Phase::Installed,
            ..self.journal.clone()
        };
        installed.write(self.host)?;
        self.journal = installed;
        Ok(())
    }

    /// Removes the second names of the old files. Restarts in `unfinished` are recorded as pending.
    ///
    /// # Errors
    ///
    /// Fails if a file cannot be removed or the journal cannot be written. Everything is in place
    /// then, and [`recover`] does the rest.
    pub fn commit(mut self, unfinished: Vec<PendingRestart>) -> Result<(), Failure> {
        self.journal.restarts = unfinished;
        self.journal.finish(self.host)
    }

    /// Puts everything back. Returns the failure that caused it, with exit code 1; or with exit
    /// code 3 and instructions if a file could not be restored.
    pub fn roll_back(self, because: Failure) -> Failure {
        match self.journal.roll_back(self.host) {
            Ok(left) if left.is_empty() => because,
            Ok(left) => Failure {
                message: format!(
                    "{because}; not restored, because another program changed them: {}",
                    left.join(", ")
                ),
                ..because
            },
            Err(failure) => rollback_failed(&self.journal, &because, &failure),
        }
    }
}

fn rollback_failed(journal: &Journal, because: &Failure, failure: &Failure) -> Failure {
    Failure::new(format!("{because}; and the change cannot be rolled back: {failure}"))
        .hint(format!(
            "run `kubecertd recover` once the cause is gone; if that fails, \
             `cp -a {}/PATH /PATH` for each path before it",
            journal.backup.join(crate::backup::stored::FILES).display(),
        ))
        .exit(Exit::RollbackFailed)
}

/// Checks right before a rename that the file has the same inode and bytes as in the plan: kubeadm
/// takes no lock.
fn unchanged(host: &Host, name: &Path, replacement: &Replacement) -> Result<(), Failure> {
    let now = host.identity(name);
    let same = match (&replacement.old, &now) {
        (None, None) => true,
        (Some(old), Some(now)) => {
            let of = |i: &Identity| (i.device, i.inode, i.mode, i.uid, i.gid);
            of(&old.identity) == of(now) && digest(host, name)? == Some(sha256(&old.bytes))
        }
        _ => false,
    };
    if same { Ok(()) } else { Err(changed(name)) }
}

fn changed(name: &Path) -> Failure {
    Failure::new(format!(
        "cannot replace {}: another program changed it meanwhile",
        name.display()
    ))
    .hint("find out who else renews certificates on this node, then run it again")
}

/// Returns true if a journal exists: a transaction is under way, or was interrupted.
pub fn is_unfinished(host: &Host) -> bool {
    JOURNAL.exists(host)
}

/// Result of [`recover`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recovery {
    /// No transaction was interrupted.
    Nothing,
    /// A transaction was rolled back. Paths that another program changed meanwhile were left alone.
    Undone(Vec<String>),
    /// A transaction was finished.
    Finished,
}

/// Finishes or rolls back an interrupted transaction. It is idempotent, and may be killed at any
/// point and run again.
///
/// Restores files only and waits for no process.
///
/// # Errors
///
/// Fails if the journal cannot be read, or a file cannot be restored. The journal stays.
pub fn recover(host: &Host, lock: &Lock) -> Result<Recovery, Failure> {
    // Manifests come back even if the files cannot be restored, and the other way round.
    let files = recover_files(host, lock);
    park::clean(host)?;
    for manifest in park::recover(host)? {
        warn!("{} was parked for a restart, and is back", manifest.display());
    }
    files
}

fn recover_files(host: &Host, _lock: &Lock) -> Result<Recovery, Failure> {
    JOURNAL.clean(host)?;
    pending::clean(host)?;
    let Some(journal) = Journal::read(host)? else {
        return Ok(Recovery::Nothing);
    };
    for restart in &journal.restarts {
        restart.clean(host)?;
    }
    match journal.phase {
        // An installed transaction that is not whole was interrupted during a rollback.
        Phase::Installed if journal.is_whole(host) => journal.finish(host).map(|()| Recovery::Finished),
        Phase::Installed | Phase::Installing => journal.roll_back(host).map(Recovery::Undone).map_err(|failure| {
            rollback_failed(
                &journal,
                &Failure::new(format!("the cycle of {} was interrupted", journal.cycle)),
                &failure,
            )
        }),
    }
}
