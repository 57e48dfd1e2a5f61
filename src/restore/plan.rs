//! The plan of a restore: compares every chosen path of a backup with the node.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::choose::{Part, choose};
use crate::backup::stored::{Entry, Kind, Manifest, StoredBackup};
use crate::backup::{contents, verify};
use crate::config::Settings;
use crate::format::manifest;
use crate::host::Host;
use crate::model::{Attributes, Bytes, Failure, File, ReadError};
use crate::renew::replacement::Replacement;
use crate::scan::Scan;
use crate::transaction::{DirectoryEntry, Link, Tree};

/// A restore that was not begun.
#[derive(Debug)]
pub struct Restoration {
    /// Name of the backup.
    pub id: String,
    /// Every path that changes.
    pub changes: Vec<Change>,
    /// Files next to restored ones that the backup does not have, which stay as they are.
    pub left_alone: Vec<PathBuf>,
    /// New files, keys directly before their certificates.
    pub files: Vec<Replacement>,
    /// New directories and symlinks.
    pub tree: Tree,
}

/// A path that changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Path on the node.
    pub path: PathBuf,
    /// `file`, `directory` or `symlink`.
    pub kind: Kind,
    /// `missing`, or the differences: `content`, `owner`, `mode`, `attributes`, `target`.
    pub differs: Vec<&'static str>,
}

impl Restoration {
    /// Returns the files that are replaced, as they are now.
    pub fn replaced(&self) -> Vec<File> {
        self.files.iter().filter_map(|file| file.old.clone()).collect()
    }

    /// Returns true if a path changes.
    pub fn has(&self, path: &Path) -> bool {
        self.changes.iter().any(|change| change.path == path)
    }
}

/// Verifies the backup, then compares it with the node.
///
/// # Errors
///
/// Fails if a part of it cannot be restored: half a PKI is useless.
pub fn plan(
    host: &Host,
    settings: &Settings,
    scan: &Scan,
    backup: &StoredBackup,
    parts: &[Part],
) -> Result<Restoration, Failure> {
    let manifest = trusted(host, settings, backup)?;
    let chosen = choose(manifest, settings, scan, parts);
    let paths: Vec<&Path> = chosen.iter().map(|entry| entry.path.as_path()).collect();
    let mut bytes = contents(host, settings, backup, manifest, &|path| paths.contains(&path))?;
    let mut found = Comparison {
        host,
        entries: &chosen,
        restoration: Restoration {
            id: backup.id.clone(),
            changes: Vec::new(),
            left_alone: left_alone(host, &chosen),
            files: Vec::new(),
            tree: Tree::default(),
        },
        blocked: Vec::new(),
    };
    for entry in &chosen {
        found.compare(entry, &mut bytes);
    }
    found.make_way(manifest);
    if !found.blocked.is_empty() {
        return Err(
            Failure::new(format!("cannot restore {}: {}", backup.id, found.blocked.join("; ")))
                .hint("move these paths aside, or choose other parts with --only"),
        );
    }
    let mut restoration = found.restoration;
    restoration.files.sort_by_key(order);
    restoration.changes.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(restoration)
}

/// Returns the manifest of a backup without faults that only root could have changed.
pub(crate) fn trusted<'a>(host: &Host, settings: &Settings, backup: &'a StoredBackup) -> Result<&'a Manifest, Failure> {
    let refuse = |reason: String| Failure::new(format!("cannot restore {}: {reason}", backup.id));
    let way = host.resolve(&backup.directory).ok().and_then(|found| found.unsafe_way);
    if let Some(reason) = way.or_else(|| host.wider_than_root(&backup.directory)) {
        return Err(refuse(format!("other users can change it: {reason}")));
    }
    let wrong = verify::verify(host, settings, backup);
    if !wrong.is_empty() {
        return Err(refuse(format!("it is damaged: {}", wrong.join("; ")))
            .hint("run `kubecertd backup list` to see other backups"));
    }
    backup.manifest.as_ref().map_err(|reason| refuse(reason.clone()))
}

struct Comparison<'a> {
    host: &'a Host,
    entries: &'a [&'a Entry],
    restoration: Restoration,
    blocked: Vec<String>,
}

impl Comparison<'_> {
    fn compare(&mut self, entry: &Entry, bytes: &mut BTreeMap<PathBuf, Bytes>) {
        let compared = match entry.kind {
            Kind::Directory => self.directory(entry),
            Kind::Symlink => self.symlink(entry),
            Kind::File => match bytes.remove(&entry.path) {
                Some(bytes) => self.file(entry, bytes),
                None => Err("is too large for this command".into()),
            },
        };
        if let Err(reason) = compared {
            self.blocked.push(format!("{} {reason}", entry.path.display()));
        }
    }

    fn directory(&mut self, entry: &Entry) -> Result<(), String> {
        if self.host.is_directory(&entry.path) {
            // A changed mode may be intended, and protects nothing that the modes of the files do
            // not.
            return self.safe_way(&entry.path);
        }
        if self.host.exists(&entry.path) {
            return Err("is a directory in the backup and something else now".into());
        }
        self.restoration.tree.directories.push(DirectoryEntry {
            path: entry.path.clone(),
            like: entry.attributes(),
        });
        self.change(entry, vec!["missing"]);
        Ok(())
    }

    fn symlink(&mut self, entry: &Entry) -> Result<(), String> {
        let new = entry.target.clone().ok_or("has no target in the manifest")?;
        let old = self.host.link_target(&entry.path);
        if old.is_none() && self.host.exists(&entry.path) {
            return Err("is a symlink in the backup and something else now".into());
        }
        if old.as_ref() == Some(&new) {
            return Ok(());
        }
        self.safe_way(&entry.path)?;
        self.change(entry, vec![if old.is_some() { "target" } else { "missing" }]);
        self.restoration.tree.links.push(Link {
            path: entry.path.clone(),
            old,
            new,
        });
        Ok(())
    }

    fn file(&mut self, entry: &Entry, new: Bytes) -> Result<(), String> {
        let path = &entry.path;
        if self.host.link_target(path).is_some() {
            return Err("is a file in the backup and a symlink now".into());
        }
        self.safe_way(path)?;
        let like = entry.attributes();
        let old = match self.host.read(path) {
            Ok(file) if file.real != *path => return Err(format!("leads to {} now", file.real.display())),
            Ok(file) => Some(file),
            Err(ReadError::Missing) => None,
            Err(ReadError::Because(reason)) => return Err(reason),
        };
        let differs = match &old {
            None => vec!["missing"],
            Some(old) => self.differences(old, &new, &like)?,
        };
        if differs.is_empty() {
            return Ok(());
        }
        self.change(entry, differs);
        let names = match &old {
            Some(old) => self.names(old)?,
            None => vec![path.clone()],
        };
        if self.restoration.files.iter().any(|other| other.names.contains(path)) {
            // Another name of a file that is restored already.
            return Ok(());
        }
        let old = old.map(|old| File {
            names: names.clone(),
            ..old
        });
        self.restoration.files.push(Replacement {
            credential: path.with_extension("").display().to_string(),
            names,
            old,
            new,
            like: Some(like),
            alone: false,
        });
        Ok(())
    }

    fn differences(&self, old: &File, new: &Bytes, like: &Attributes) -> Result<Vec<&'static str>, String> {
        let now = self.host.attributes(&old.real).map_err(|failure| failure.message)?;
        let sorted = |attributes: &Attributes| {
            let mut extended = attributes.extended.clone();
            extended.sort();
            extended
        };
        let differ = [
            ("content", *old.bytes != **new && !is_only_restarted(old, new)),
            ("owner", (now.uid, now.gid) != (like.uid, like.gid)),
            ("mode", now.mode != like.mode),
            ("attributes", sorted(&now) != sorted(like)),
        ];
        Ok(differ
            .into_iter()
            .filter(|(_, differs)| *differs)
            .map(|(name, _)| name)
            .collect())
    }

    /// Returns all names of a file. All are replaced together, so that none stays old.
    fn names(&self, old: &File) -> Result<Vec<PathBuf>, String> {
        let of = |path: &Path| self.host.identity(path).map(|found| (found.device, found.inode));
        let same = self
            .entries
            .iter()
            .filter(|other| {
                other.path != old.real && of(&other.path) == Some((old.identity.device, old.identity.inode))
            })
            .map(|other| other.path.clone());
        let names: Vec<_> = std::iter::once(old.real.clone()).chain(same).collect();
        if names.len() as u64 == old.identity.links {
            return Ok(names);
        }
        Err("has another name that is not in the backup".into())
    }

    fn safe_way(&self, path: &Path) -> Result<(), String> {
        match self.host.resolve(path) {
            Ok(found) => match found.unsafe_way {
                Some(reason) => Err(format!("can be replaced by users other than root: {reason}")),
                None => Ok(()),
            },
            // The directories above it will be created.
            Err(ReadError::Missing) => Ok(()),
            Err(ReadError::Because(reason)) => Err(reason),
        }
    }

    fn change(&mut self, entry: &Entry, differs: Vec<&'static str>) {
        self.restoration.changes.push(Change {
            path: entry.path.clone(),
            kind: entry.kind,
            differs,
        });
    }

    /// Adds the missing directories above restored files.
    fn make_way(&mut self, manifest: &Manifest) {
        let mut missing: BTreeMap<PathBuf, Attributes> = BTreeMap::new();
        let directories = std::mem::take(&mut self.restoration.tree.directories);
        missing.extend(
            directories
                .into_iter()
                .map(|directory| (directory.path, directory.like)),
        );
        let changed: Vec<_> = self
            .restoration
            .changes
            .iter()
            .map(|change| change.path.clone())
            .collect();
        for path in &changed {
            for above in path.ancestors().skip(1) {
                if self.host.exists(above) || missing.contains_key(above) {
                    continue;
                }
                let listed = manifest.entries.iter().find(|entry| entry.path == above);
                match listed {
                    Some(entry) if entry.kind == Kind::Directory => {
                        missing.insert(above.to_owned(), entry.attributes());
                        self.change(entry, vec!["missing"]);
                    }
                    // A symlink of the backup itself, which is created with the others.
                    Some(_) => {}
                    None => {
                        missing.insert(above.to_owned(), Attributes::plain(0o755));
                    }
                }
            }
        }
        // A path sorts before the paths below it.
        self.restoration.tree.directories = missing
            .into_iter()
            .map(|(path, like)| DirectoryEntry { path, like })
            .collect();
    }
}

/// Returns true for a manifest that differs only in the annotation of a restart. Restoring it would
/// restart the pod again.
fn is_only_restarted(old: &File, new: &Bytes) -> bool {
    let alike = |bytes: &Bytes| manifest::annotate(bytes.text().ok()?, manifest::RESTARTED_AT, "").ok();
    let is_manifest = old.bytes.text().is_ok_and(|text| text.contains(manifest::RESTARTED_AT));
    is_manifest && alike(&old.bytes).is_some_and(|text| alike(new) == Some(text))
}

/// Sorts a pair together, the key first.
fn order(file: &Replacement) -> (PathBuf, bool) {
    let path = file.names.first().cloned().unwrap_or_default();
    let is_certificate = path.extension().is_some_and(|extension| extension == "crt");
    (path.with_extension(""), is_certificate)
}

fn left_alone(host: &Host, chosen: &[&Entry]) -> Vec<PathBuf> {
    let directories = chosen.iter().filter(|entry| entry.kind == Kind::Directory);
    let names = directories.flat_map(|directory| {
        let names = host.names(&directory.path).unwrap_or_default();
        names.into_iter().map(|name| directory.path.join(name))
    });
    let mut left: Vec<_> = names
        .filter(|path| !chosen.iter().any(|entry| entry.path == *path))
        .collect();
    left.sort();
    left
}
