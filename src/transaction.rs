//! The journal of an unfinished cycle: finish it or undo it.
//!
//! A cycle writes down, durably and before its first change, what it will replace, with what, and where the old bytes are. Then:
//!
//! 1. *stage*: every new file is made beside its place (`.NAME.kubecertd-new`) and synced; the old one gets a second name
//!    (`.NAME.kubecertd-old`), so that going back is a rename too and needs no space; the folders are synced.
//! 2. *install*: the new files are renamed over the old ones, a key directly before its certificate, after a last look whether
//!    somebody else changed them; the folders are synced; the journal says `installed`.
//! 3. *commit*: the second names are removed, what is still to be restarted is recorded, the journal is removed.
//!
//! A process that dies in 1 or 2 is undone by [`recover`]; one that dies after `installed` is finished. Whatever the moment, each
//! file is wholly old or wholly new, and a pair is out of step only between two renames.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::backup::Backup;
use crate::format::digest::sha256;
use crate::host::write::{Attributes, beside, parent};
use crate::host::{Host, lock::Lock};
use crate::memory;
use crate::model::{Bytes, Exit, Failure, Unread};
use crate::renew::install::Replacement;
use crate::restart::pending::{self, Pending};

/// The journal's name in the state folder.
const JOURNAL: &str = "transaction.json";

/// How far a transaction has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Phase {
    /// Files may have been replaced: undo.
    Installing,
    /// All files are replaced: finish.
    Installed,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Journal {
    format: u32,
    cycle: String,
    phase: Phase,
    /// The backup set, for people.
    backup: PathBuf,
    files: Vec<Entry>,
    restarts: Vec<Pending>,
}

/// One name that is replaced.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Entry {
    credential: String,
    path: PathBuf,
    /// Digest of what was there; none where nothing was.
    old: Option<String>,
    new: String,
    /// Where the backup has the old bytes.
    kept: Option<PathBuf>,
}

/// A transaction under way. The lock is borrowed, so there is only one.
#[derive(Debug)]
pub struct Transaction<'a> {
    host: &'a Host,
    _lock: &'a Lock,
    journal: Journal,
}

/// Begins: writes the journal, stages, installs. On failure everything is put back before this returns.
pub fn install<'a>(
    host: &'a Host,
    lock: &'a Lock,
    backup: &Backup,
    replacements: Vec<Replacement>,
    restarts: Vec<Pending>,
) -> Result<Transaction<'a>, Failure> {
    let mut replacements = replacements;
    for replacement in replacements.iter_mut().filter(|r| r.old.is_none()) {
        resolve_new(host, replacement)?;
    }
    let files = entries(&replacements, backup)?;
    let cycle = host.now_exact();
    let journal = Journal {
        format: 1,
        cycle,
        phase: Phase::Installing,
        backup: backup.folder.clone(),
        files,
        restarts,
    };
    journal.write(host)?;
    let mut transaction = Transaction {
        host,
        _lock: lock,
        journal,
    };
    let done = transaction
        .stage(&replacements)
        .and_then(|()| transaction.rename_all(&replacements));
    match done {
        Ok(()) => Ok(transaction),
        Err(failure) => Err(transaction.undo(failure)),
    }
}

/// Where a file that does not exist yet will be.
fn resolve_new(host: &Host, replacement: &mut Replacement) -> Result<(), Failure> {
    for name in &mut replacement.names {
        let fail = |reason: &str| Failure::new(format!("cannot write {}: {reason}", name.display()));
        let found = host.resolve(name).map_err(|unread| match unread {
            Unread::Missing => fail("its folder is missing"),
            Unread::Because(reason) => fail(&reason),
        })?;
        if let Some(reason) = found.unsafe_way {
            return Err(fail(&reason));
        }
        *name = found.real;
    }
    Ok(())
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
            });
        }
    }
    Ok(entries)
}

impl Transaction<'_> {
    fn stage(&self, replacements: &[Replacement]) -> Result<(), Failure> {
        for replacement in replacements {
            self.go_on()?;
            let Some((first, others)) = replacement.names.split_first() else {
                continue;
            };
            let like = match &replacement.old {
                Some(_) => self.host.attributes(first)?,
                // kubeadm's mode for keys.
                None => Attributes::plain(0o600),
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
        }
        self.journal.sync_folders(self.host)
    }

    fn rename_all(&mut self, replacements: &[Replacement]) -> Result<(), Failure> {
        for replacement in replacements {
            self.go_on()?;
            for name in &replacement.names {
                unchanged(self.host, name, replacement)?;
                self.host.rename(&beside(name, "new"), name)?;
            }
        }
        self.journal.sync_folders(self.host)?;
        self.go_on()?;
        for entry in &self.journal.files {
            if digest(self.host, &entry.path)? != Some(entry.new.clone()) {
                return Err(changed(&entry.path));
            }
        }
        self.journal.phase = Phase::Installed;
        self.journal.write(self.host)
    }

    /// Fails when the process was asked to end.
    fn go_on(&self) -> Result<(), Failure> {
        if self.host.stop.requested() {
            return Err(Failure::new("cannot go on: the process was asked to end"));
        }
        Ok(())
    }

    /// Removes what was kept for going back. What is in `unfinished` stays recorded as to be restarted.
    pub fn commit(mut self, unfinished: Vec<Pending>) -> Result<(), Failure> {
        self.journal.restarts = unfinished;
        self.journal.finish(self.host)
    }

    /// Puts everything back, then gives the failure that made it necessary: exit 1, or 3 with instructions when it could not be put back.
    pub fn undo(mut self, because: Failure) -> Failure {
        let mut undo = || {
            if self.journal.phase == Phase::Installed {
                // From here on a recover must go back too.
                self.journal.phase = Phase::Installing;
                self.journal.write(self.host)?;
            }
            self.journal.undo(self.host)
        };
        match undo() {
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
            "run `kubecertd recover` once the cause is gone; the old files are in {} too",
            journal.backup.join(crate::backup::set::FILES).display()
        ))
        .exit(Exit::NotPutBack)
}

/// The last look before a rename: same inode, same bytes as when the plan was made. kubeadm takes no lock.
fn unchanged(host: &Host, name: &Path, replacement: &Replacement) -> Result<(), Failure> {
    let now = host.identity(name);
    let same = match (&replacement.old, &now) {
        (None, None) => true,
        (Some(old), Some(now)) => {
            (old.identity.device, old.identity.inode) == (now.device, now.inode)
                && digest(host, name)? == Some(sha256(&old.bytes))
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

/// The digest of what is at `path` now; none where nothing is.
fn digest(host: &Host, path: &Path) -> Result<Option<String>, Failure> {
    match host.read(path) {
        Ok(file) => Ok(Some(sha256(&file.bytes))),
        Err(Unread::Missing) => Ok(None),
        Err(Unread::Because(reason)) => Err(Failure::new(format!("cannot read {}: {reason}", path.display()))),
    }
}

impl Journal {
    fn write(&self, host: &Host) -> Result<(), Failure> {
        let json =
            serde_json::to_vec_pretty(self).map_err(|e| Failure::new(format!("cannot write the journal: {e}")))?;
        host.write_state(JOURNAL, &json)
    }

    fn sync_folders(&self, host: &Host) -> Result<(), Failure> {
        let folders: BTreeSet<&Path> = self.files.iter().map(|e| parent(&e.path)).collect();
        folders.into_iter().try_for_each(|folder| host.sync_folder(folder))
    }

    /// Brings every file that is ours back to the old bytes. Gives the paths that are neither old nor ours any more.
    fn undo(&self, host: &Host) -> Result<Vec<String>, Failure> {
        let mut foreign = Vec::new();
        for entry in self.files.iter().rev() {
            let now = digest(host, &entry.path)?;
            if now == entry.old {
                continue;
            }
            if now.as_ref() != Some(&entry.new) {
                foreign.push(entry.path.display().to_string());
                continue;
            }
            entry.put_back(host)?;
        }
        self.sync_folders(host)?;
        for entry in &self.files {
            let now = digest(host, &entry.path)?;
            if now != entry.old && now.as_ref() == Some(&entry.new) {
                return Err(Failure::new(format!("{} is still the new file", entry.path.display())));
            }
        }
        self.clear(host)?;
        Ok(foreign)
    }

    fn finish(&self, host: &Host) -> Result<(), Failure> {
        pending::record(host, &self.restarts)?;
        memory::record_written(host, self.files.iter().map(|entry| entry.path.as_path()))?;
        self.clear(host)
    }

    /// Removes the files beside, then the journal.
    fn clear(&self, host: &Host) -> Result<(), Failure> {
        for entry in &self.files {
            host.unlink(&beside(&entry.path, "new"))?;
            host.unlink(&beside(&entry.path, "old"))?;
        }
        self.sync_folders(host)?;
        host.remove_state(JOURNAL)
    }
}

impl Entry {
    fn put_back(&self, host: &Host) -> Result<(), Failure> {
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

/// What [`recover`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recovered {
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
pub fn recover(host: &Host, _lock: &Lock) -> Result<Recovered, Failure> {
    host.unlink(&beside(&host.state(JOURNAL), "new"))?;
    pending::clean(host)?;
    let path = host.state(JOURNAL);
    let file = match host.read(&path) {
        Ok(file) => file,
        Err(Unread::Missing) => return Ok(Recovered::Nothing),
        Err(Unread::Because(reason)) => return Err(unreadable(&path, &reason)),
    };
    let journal: Journal = serde_json::from_slice(&file.bytes).map_err(|e| unreadable(&path, &e.to_string()))?;
    for restart in &journal.restarts {
        host.unlink(&beside(&restart.manifest, "new"))?;
    }
    match journal.phase {
        Phase::Installed => journal.finish(host).map(|()| Recovered::Finished),
        Phase::Installing => journal.undo(host).map(Recovered::Undone).map_err(|failure| {
            not_put_back(
                &journal,
                &Failure::new(format!("the cycle of {} was interrupted", journal.cycle)),
                &failure,
            )
        }),
    }
}

fn unreadable(path: &Path, reason: &str) -> Failure {
    Failure::new(format!("cannot read the journal {}: {reason}", path.display()))
        .hint("compare the files with the newest backup, then remove the journal")
        .exit(Exit::NotPutBack)
}
