//! The journal of an unfinished cycle: finish it or undo it.
//!
//! A cycle writes down, durably and before its first change, what it will replace, with what, and where the old bytes are. Then:
//!
//! 1. *stage*: every new file is made beside its place (`.NAME.kubecertd-new`) and synced; the old one gets a second name
//!    (`.NAME.kubecertd-old`), so that going back is a rename too and needs no space; the directories are synced.
//! 2. *install*: the new files are renamed over the old ones, a key directly before its certificate, after a last look whether
//!    somebody else changed them; the directories are synced; the journal says `installed`.
//! 3. *commit*: the second names are removed, what is still to be restarted is recorded, the journal is removed.
//!
//! A process that dies in 1 or 2 is undone by [`recover`]; one that dies after `installed` is finished. Whatever the moment, each
//! file is wholly old or wholly new, and a pair is out of step only between two renames.

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
use crate::renew::render::Replacement;
use crate::restart::park;
use crate::restart::pending::{self, PendingRestart};
use journal::{Entry, FORMAT, JOURNAL, Journal, Phase, digest};
pub use tree::{DirectoryEntry, Link, Tree};

/// A transaction under way. The lock is borrowed, so there is only one.
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
/// Everything is put back before this returns a failure. Its exit code is 3 if that was not possible.
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
            // kubeadm's mode for keys.
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

    /// Removes what was kept for going back. What is in `unfinished` stays recorded as to be restarted.
    pub fn commit(mut self, unfinished: Vec<PendingRestart>) -> Result<(), Failure> {
        self.journal.restarts = unfinished;
        self.journal.finish(self.host)
    }

    /// Puts everything back, then gives the failure that made it necessary: exit 1, or 3 with instructions when it could not be put back.
    pub fn roll_back(self, because: Failure) -> Failure {
        match self.journal.roll_back(self.host) {
            Ok(left) if left.is_empty() => because,
            Ok(left) => Failure {
                message: format!(
                    "{because}; not put back, since somebody else changed them: {}",
                    left.join(", ")
                ),
                ..because
            },
            Err(failure) => not_put_back(&self.journal, &because, &failure),
        }
    }
}

fn not_put_back(journal: &Journal, because: &Failure, failure: &Failure) -> Failure {
    Failure::new(format!("{because}; and what was done cannot be put back: {failure}"))
        .hint(format!(
            "run `kubecertd recover` once the cause is gone; where it cannot, `cp -a {}/PATH /PATH` for each path before it",
            journal.backup.join(crate::backup::stored::FILES).display(),
        ))
        .exit(Exit::NotPutBack)
}

/// The last look before a rename: same inode, same bytes as when the plan was made. kubeadm takes no lock.
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
        "cannot replace {}: somebody else changed it meanwhile",
        name.display()
    ))
    .hint("find out who else renews certificates on this node, then run it again")
}

/// Whether a journal is there: a transaction is under way, or was interrupted.
pub fn is_unfinished(host: &Host) -> bool {
    host.exists(&host.state(JOURNAL))
}

/// What [`recover`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recovery {
    /// No unfinished cycle.
    Nothing,
    /// A cycle was undone; paths that somebody else changed meanwhile were left alone.
    Undone(Vec<String>),
    /// A cycle was finished.
    Finished,
}

/// Finishes or undoes what an ended process left. Idempotent, may be killed at any point and run again.
///
/// It restores files only and waits for no process.
pub fn recover(host: &Host, lock: &Lock) -> Result<Recovery, Failure> {
    // A manifest comes back also where the files cannot be brought back, and the other way round.
    let files = recover_files(host, lock);
    park::clean(host)?;
    for manifest in park::recover(host)? {
        warn!("{} had been taken out for a restart, and is back", manifest.display());
    }
    files
}

fn recover_files(host: &Host, _lock: &Lock) -> Result<Recovery, Failure> {
    host.unlink(&beside(&host.state(JOURNAL), "new"))?;
    pending::clean(host)?;
    let Some(journal) = Journal::read(host)? else {
        return Ok(Recovery::Nothing);
    };
    for restart in &journal.restarts {
        restart.clean(host)?;
    }
    match journal.phase {
        // One that was installed and is no longer whole was on its way back.
        Phase::Installed if journal.is_whole(host) => journal.finish(host).map(|()| Recovery::Finished),
        Phase::Installed | Phase::Installing => journal.roll_back(host).map(Recovery::Undone).map_err(|failure| {
            not_put_back(
                &journal,
                &Failure::new(format!("the cycle of {} was interrupted", journal.cycle)),
                &failure,
            )
        }),
    }
}
