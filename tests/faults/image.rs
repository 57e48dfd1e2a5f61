//! A tree of files in memory: what is compared, and what a fresh copy of a node is written from.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown, symlink};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    File(Arc<Vec<u8>>),
    Directory,
    Symlink(String),
}

/// Owner, mode and extended attributes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Attributes {
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub extended: BTreeMap<String, Vec<u8>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Entry {
    pub kind: Kind,
    pub attributes: Attributes,
    /// Seconds and nanoseconds.
    pub modified: (i64, i64),
    /// Two names with the same number are one file.
    pub inode: u64,
}

/// Paths relative to the root, without a leading slash; the root itself is not in it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Image(pub BTreeMap<String, Entry>);

impl Attributes {
    /// root's, with this mode.
    pub fn plain(mode: u32) -> Self {
        Attributes {
            mode,
            uid: 0,
            gid: 0,
            extended: BTreeMap::new(),
        }
    }
}

impl Image {
    pub fn read(root: &Path) -> Self {
        let mut image = Image::default();
        collect(root, "", &mut image.0).unwrap_or_else(|error| panic!("cannot read {}: {error}", root.display()));
        image
    }

    /// Writes all of it below a new directory. Hard links become hard links again; the inode
    /// numbers are new ones.
    pub fn write(&self, root: &Path) {
        fs::create_dir(root).unwrap_or_else(|error| panic!("{}: {error}", root.display()));
        let mut first_names: BTreeMap<u64, &String> = BTreeMap::new();
        for (path, entry) in &self.0 {
            let first = *first_names.entry(entry.inode).or_insert(path);
            let at = root.join(path);
            let done = if first == path {
                entry.write(&at)
            } else {
                fs::hard_link(root.join(first), &at)
            };
            done.unwrap_or_else(|error| panic!("cannot write {}: {error}", at.display()));
        }
    }

    /// Returns the content of a file, or `None` if it does not exist.
    pub fn bytes(&self, path: &str) -> Option<&[u8]> {
        match &self.0.get(path)?.kind {
            Kind::File(bytes) => Some(bytes),
            _ => None,
        }
    }

    pub fn text(&self, path: &str) -> Option<&str> {
        std::str::from_utf8(self.bytes(path)?).ok()
    }

    /// The names directly in a directory.
    pub fn names(&self, directory: &str) -> Vec<&str> {
        let prefix = format!("{directory}/");
        self.0
            .range(prefix.clone()..)
            .map_while(|(path, _)| path.strip_prefix(&prefix))
            .filter(|rest| !rest.contains('/'))
            .collect()
    }

    /// A new file that shares its inode with no other name; the directories on the way must be
    /// there.
    pub fn put(&mut self, path: &str, bytes: &[u8], mode: u32, modified: i64) {
        self.add(path, Kind::File(Arc::new(bytes.to_vec())), mode, modified);
    }

    pub fn add(&mut self, path: &str, kind: Kind, mode: u32, modified: i64) {
        let inode = 1 + self.0.values().map(|entry| entry.inode).max().unwrap_or(0);
        let entry = Entry {
            kind,
            attributes: Attributes::plain(mode),
            modified: (modified, 0),
            inode,
        };
        self.0.insert(path.to_owned(), entry);
    }
}

impl Entry {
    fn write(&self, at: &Path) -> io::Result<()> {
        match &self.kind {
            Kind::Symlink(target) => return symlink(target, at),
            Kind::Directory => fs::create_dir(at)?,
            Kind::File(bytes) => fs::write(at, bytes.as_slice())?,
        }
        let Attributes {
            mode,
            uid,
            gid,
            extended,
        } = &self.attributes;
        if (*uid, *gid) != (0, 0) {
            lchown(at, Some(*uid), Some(*gid))?;
        }
        fs::set_permissions(at, fs::Permissions::from_mode(*mode))?;
        for (name, value) in extended {
            xattr::set(at, name, value)?;
        }
        if let (Kind::File(_), Ok(seconds), Ok(nanos)) = (
            &self.kind,
            u64::try_from(self.modified.0),
            u32::try_from(self.modified.1),
        ) {
            let modified = SystemTime::UNIX_EPOCH + Duration::new(seconds, nanos);
            fs::File::open(at)?.set_modified(modified)?;
        }
        Ok(())
    }
}

fn collect(directory: &Path, prefix: &str, entries: &mut BTreeMap<String, Entry>) -> io::Result<()> {
    for child in fs::read_dir(directory)? {
        let child = child?;
        let at = child.path();
        let path = format!("{prefix}{}", child.file_name().to_string_lossy());
        let found = child.metadata()?;
        let kind = if found.is_dir() {
            collect(&at, &format!("{path}/"), entries)?;
            Kind::Directory
        } else if found.is_symlink() {
            Kind::Symlink(fs::read_link(&at)?.to_string_lossy().into_owned())
        } else {
            Kind::File(Arc::new(fs::read(&at)?))
        };
        let mut extended = BTreeMap::new();
        for name in xattr::list(&at)? {
            let value = xattr::get(&at, &name)?.unwrap_or_default();
            extended.insert(name.to_string_lossy().into_owned(), value);
        }
        let entry = Entry {
            kind,
            attributes: Attributes {
                mode: found.mode() & 0o7777,
                uid: found.uid(),
                gid: found.gid(),
                extended,
            },
            modified: (found.mtime(), found.mtime_nsec()),
            inode: found.ino(),
        };
        entries.insert(path, entry);
    }
    Ok(())
}
