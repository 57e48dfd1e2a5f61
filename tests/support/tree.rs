//! A directory as it was at one moment, and what differs between two moments.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Files above this size are compared by length alone: the tests put 1 GiB holes in place of
/// certificates.
const LARGEST_READ: u64 = 16 << 20;

/// Directory of kubecertd's own state, which does not belong to the node that it manages.
pub const STATE: &str = "var/lib/kubecertd";
/// Directory of the status that every user may read.
pub const PUBLIC: &str = "run/kubecertd";

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    File(Vec<u8>),
    LargeFile,
    Directory,
    Symlink(String),
    /// FIFO, socket or device node, told apart by the file type in the mode. Never opened: that
    /// could wait for ever.
    Special,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub kind: Kind,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub inode: u64,
    pub size: u64,
    /// Seconds and nanoseconds.
    pub modified: (i64, i64),
}

/// Paths relative to the root, without a leading slash; the root itself is `""`.
#[derive(Clone)]
pub struct Snapshot(pub BTreeMap<String, Entry>);

/// Differences: path -> `added`, `removed`, or the names of the properties that changed.
pub type Changes = BTreeMap<String, String>;

impl Snapshot {
    pub fn of(root: &Path) -> Self {
        let mut entries = BTreeMap::new();
        collect(root, "", &mut entries);
        Snapshot(entries)
    }

    pub fn bytes(&self, path: &str) -> &[u8] {
        match &self
            .0
            .get(path)
            .unwrap_or_else(|| panic!("{path} is not in the tree"))
            .kind
        {
            Kind::File(bytes) => bytes,
            other => panic!("{path} is not a file but {other:?}"),
        }
    }

    /// All differences, down to the mtime of a directory, for commands that must not write at all.
    pub fn every_change(&self, after: &Snapshot) -> Changes {
        let paths: BTreeSet<&String> = self.0.keys().chain(after.0.keys()).collect();
        paths
            .into_iter()
            .filter_map(|path| {
                let change = match (self.0.get(path), after.0.get(path)) {
                    (None, _) => "added".to_owned(),
                    (_, None) => "removed".to_owned(),
                    (Some(old), Some(new)) => old.difference(new),
                };
                (!change.is_empty()).then(|| (path.clone(), change))
            })
            .collect()
    }

    /// Differences of the node itself: without kubecertd's own state, and without the mtime of
    /// directories, which changes whenever a file in them is replaced by a rename.
    pub fn changes(&self, after: &Snapshot) -> Changes {
        let mut changes = self.every_change(after);
        changes.retain(|path, change| {
            let directory = after.0.get(path).is_some_and(|entry| entry.kind == Kind::Directory);
            !(is_state(path)
                || directory
                    && (change == "modified"
                        || change == "added" && [STATE, PUBLIC].iter().any(|own| own.starts_with(path.as_str()))))
        });
        changes
    }

    /// As [`Self::changes`], but an old file that was removed and restored from its copy (new
    /// inode, same bytes) is unchanged.
    pub fn changes_after_undo(&self, after: &Snapshot) -> Changes {
        let mut changes = self.changes(after);
        changes.retain(|_, change| {
            *change = change
                .split(' ')
                .filter(|part| *part != "inode")
                .collect::<Vec<_>>()
                .join(" ");
            !change.is_empty()
        });
        changes
    }
}

fn is_state(path: &str) -> bool {
    let is_in = |own| {
        path.strip_prefix(own)
            .is_some_and(|rest: &str| rest.is_empty() || rest.starts_with('/'))
    };
    is_in(STATE) || is_in(PUBLIC)
}

impl Entry {
    fn difference(&self, new: &Entry) -> String {
        let differs = [
            (
                "content",
                self.kind != new.kind || self.size != new.size && self.kind != Kind::Directory,
            ),
            ("mode", self.mode != new.mode),
            ("owner", (self.uid, self.gid) != (new.uid, new.gid)),
            ("inode", self.inode != new.inode),
            ("modified", self.modified != new.modified),
        ];
        differs
            .iter()
            .filter(|(_, differs)| *differs)
            .map(|(name, _)| *name)
            .collect::<Vec<_>>()
            .join(" ")
    }
}

fn collect(path: &Path, name: &str, entries: &mut BTreeMap<String, Entry>) {
    let data = fs::symlink_metadata(path).unwrap_or_else(|error| panic!("cannot look at {}: {error}", path.display()));
    let kind = match data.file_type() {
        kind if kind.is_symlink() => Kind::Symlink(fs::read_link(path).expect("a symlink").display().to_string()),
        kind if kind.is_dir() => Kind::Directory,
        kind if !kind.is_file() => Kind::Special,
        _ if data.len() > LARGEST_READ => Kind::LargeFile,
        _ => Kind::File(fs::read(path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()))),
    };
    if kind == Kind::Directory {
        for child in fs::read_dir(path).expect("a directory") {
            let child = child
                .expect("a directory entry")
                .file_name()
                .into_string()
                .expect("names in UTF-8");
            let below = if name.is_empty() {
                child.clone()
            } else {
                format!("{name}/{child}")
            };
            collect(&path.join(child), &below, entries);
        }
    }
    let entry = Entry {
        kind,
        mode: data.mode(),
        uid: data.uid(),
        gid: data.gid(),
        inode: data.ino(),
        size: data.size(),
        modified: (data.mtime(), data.mtime_nsec()),
    };
    entries.insert(name.to_owned(), entry);
}

/// The paths in `changes`, for comparison with a list.
pub fn paths(changes: &Changes) -> Vec<&str> {
    changes.keys().map(String::as_str).collect()
}

/// Returns the names in a directory, sorted.
pub fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let mut names: Vec<String> = entries
        .map(|entry| {
            let name = entry.expect("a directory entry").file_name();
            name.into_string().expect("UTF-8")
        })
        .collect();
    names.sort();
    names
}
