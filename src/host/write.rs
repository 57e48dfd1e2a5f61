//! Writes files: every file is written next to its place, synced, and renamed, and every changed
//! directory is synced.
//!
//! Paths are real (without symlinks) and seen from the root.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown};
use std::path::Path;

use nix::fcntl::OFlag;

use super::{Host, STATE, failed};
use crate::model::Failure;

pub use crate::model::Attributes;

/// Attributes that the kernel binds to the bytes of one file (EVM, IMA), so that they must not move
/// to another.
const BOUND_TO_CONTENT: [&str; 2] = ["security.ima", "security.evm"];

impl Host {
    /// Returns the attributes of an existing file.
    pub fn attributes(&self, real: &Path) -> Result<Attributes, Failure> {
        let path = self.at(real);
        let read = || -> io::Result<Attributes> {
            let found = path.symlink_metadata()?;
            Ok(Attributes {
                uid: found.uid(),
                gid: found.gid(),
                mode: found.mode() & 0o7777,
                extended: extended(&path)?,
            })
        };
        read().map_err(|e| failed("read the attributes of", real, &e))
    }

    /// Creates a file with these bytes and attributes, synced. Fails if it exists.
    ///
    /// The file is created with mode 0600 and gets its owner before its mode, so that a key is
    /// never readable by more users than before.
    pub fn create(&self, real: &Path, bytes: &[u8], like: &Attributes) -> Result<(), Failure> {
        let path = self.at(real);
        let make = || -> io::Result<()> {
            let mut file = fs::OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .custom_flags(OFlag::O_NOFOLLOW.bits())
                .open(&path)?;
            file.write_all(bytes)?;
            dress(&file, &path, like)?;
            file.sync_all()
        };
        make().map_err(|e| failed("write", real, &e))
    }

    /// Renames within one file system, and replaces an existing file.
    pub fn rename(&self, from: &Path, to: &Path) -> Result<(), Failure> {
        fs::rename(self.at(from), self.at(to)).map_err(|e| failed("replace", to, &e))
    }

    /// Gives a file a second name.
    pub fn link(&self, from: &Path, to: &Path) -> Result<(), Failure> {
        fs::hard_link(self.at(from), self.at(to)).map_err(|e| failed("link", to, &e))
    }

    /// Removes a name. A missing name is not an error, not even on a read-only file system, where
    /// unlink(2) says EROFS before ENOENT.
    pub fn unlink(&self, real: &Path) -> Result<(), Failure> {
        if !self.exists(real) {
            return Ok(());
        }
        fs::remove_file(self.at(real)).map_err(|e| failed("remove", real, &e))
    }

    /// Makes the names in a directory durable.
    pub fn sync_directory(&self, real: &Path) -> Result<(), Failure> {
        fs::File::open(self.at(real))
            .and_then(|directory| directory.sync_all())
            .map_err(|e| failed("sync the directory", real, &e))
    }

    /// Replaces or creates a file in one step: new file next to it, rename, sync of the directory.
    pub fn replace(&self, real: &Path, bytes: &[u8], like: &Attributes) -> Result<(), Failure> {
        let new = beside(real, "new");
        self.unlink(&new)?;
        let made = self.create(&new, bytes, like).and_then(|()| self.rename(&new, real));
        if made.is_err() {
            // The first failure is the one to report.
            let _ = self.unlink(&new);
        }
        made?;
        self.sync_directory(parent(real))
    }

    /// Creates a directory and its missing parents with mode 0700, and syncs the parents of the new
    /// ones.
    pub fn make_directory(&self, directory: &Path) -> Result<(), Failure> {
        if self.at(directory).is_dir() {
            return Ok(());
        }
        self.make_directory(parent(directory))?;
        match fs::DirBuilder::new().mode(0o700).create(self.at(directory)) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => Err(failed("make the directory", directory, &e)),
            _ => self.sync_directory(parent(directory)),
        }
    }

    /// Creates a directory with these attributes, and syncs its parent. An existing directory is
    /// left as it is.
    pub fn make_directory_like(&self, directory: &Path, like: &Attributes) -> Result<(), Failure> {
        let path = self.at(directory);
        if path.is_dir() {
            return Ok(());
        }
        let make = || -> io::Result<()> {
            fs::DirBuilder::new().mode(0o700).create(&path)?;
            let made = fs::File::open(&path)?;
            dress(&made, &path, like)
        };
        make().map_err(|e| failed("make the directory", directory, &e))?;
        self.sync_directory(parent(directory))
    }

    /// Gives a file its owner, mode and attributes, durably.
    pub fn dress(&self, real: &Path, like: &Attributes) -> Result<(), Failure> {
        let path = self.at(real);
        let done = fs::File::open(&path).and_then(|file| dress(&file, &path, like).and_then(|()| file.sync_all()));
        done.map_err(|e| failed("set the attributes of", real, &e))
    }

    /// Gives a directory and its contents this owner.
    pub fn own(&self, real: &Path, uid: u32, gid: u32) -> Result<(), Failure> {
        let path = self.at(real);
        std::os::unix::fs::lchown(&path, Some(uid), Some(gid)).map_err(|e| failed("set the owner of", real, &e))?;
        if !self.is_directory(real) {
            return Ok(());
        }
        let names = self.names(real).unwrap_or_default();
        names
            .into_iter()
            .try_for_each(|name| self.own(&real.join(name), uid, gid))
    }

    /// Makes the names in a directory and in all directories below it durable.
    pub fn sync_tree_directories(&self, real: &Path) -> Result<(), Failure> {
        for name in self.names(real).unwrap_or_default() {
            let below = real.join(name);
            if self.is_directory(&below) {
                self.sync_tree_directories(&below)?;
            }
        }
        self.sync_directory(real)
    }

    /// Removes a directory if it is empty. Returns true if it did.
    pub fn remove_empty_directory(&self, directory: &Path) -> bool {
        fs::remove_dir(self.at(directory)).is_ok()
    }

    /// Creates a symlink. Fails if the path exists.
    pub fn make_symlink(&self, target: &Path, real: &Path) -> Result<(), Failure> {
        std::os::unix::fs::symlink(target, self.at(real)).map_err(|e| failed("make the symlink", real, &e))
    }

    /// Returns the target of a symlink. `None` if it is not a symlink.
    pub fn link_target(&self, real: &Path) -> Option<std::path::PathBuf> {
        fs::read_link(self.at(real)).ok()
    }

    /// Removes a directory with its contents.
    pub fn remove_tree(&self, directory: &Path) -> Result<(), Failure> {
        self.remove_trees(&[directory])
    }

    /// Removes several entries of one directory, each with its contents, and syncs that directory
    /// once.
    pub fn remove_trees(&self, directories: &[impl AsRef<Path>]) -> Result<(), Failure> {
        for directory in directories {
            let directory = directory.as_ref();
            match fs::remove_dir_all(self.at(directory)) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(failed("remove", directory, &e)),
                _ => {}
            }
        }
        directories
            .first()
            .map_or(Ok(()), |first| self.sync_directory(parent(first.as_ref())))
    }

    /// Writes a file in the state directory, durably.
    pub fn write_state(&self, name: &str, bytes: &[u8]) -> Result<(), Failure> {
        self.make_directory(Path::new(STATE))?;
        self.replace(&self.state(name), bytes, &Attributes::plain(0o600))
    }

    /// Removes a file in the state directory, durably.
    pub fn remove_state(&self, name: &str) -> Result<(), Failure> {
        if !self.exists(&self.state(name)) {
            return Ok(());
        }
        self.unlink(&self.state(name))?;
        self.sync_directory(Path::new(STATE))
    }
}

/// Returns the dot-file next to `real` for the new content (`new`) or the old content (`old`).
///
/// The kubelet ignores dot-files in its manifests directory.
pub fn beside(real: &Path, what: &str) -> std::path::PathBuf {
    let mut name = OsString::from(".");
    name.push(real.file_name().unwrap_or_default());
    name.push(format!(".kubecertd-{what}"));
    real.with_file_name(name)
}

/// Returns the directory of a file.
pub fn parent(real: &Path) -> &Path {
    real.parent().unwrap_or(Path::new("/"))
}

/// Gives a new file or directory its owner, mode and attributes.
fn dress(file: &fs::File, path: &Path, like: &Attributes) -> io::Result<()> {
    // A default ACL of the directory must not add permissions that the old file did not have.
    for name in listed(path)? {
        if name == "system.posix_acl_access" && !like.extended.iter().any(|(kept, _)| *kept == name) {
            xattr::remove(path, &name)?;
        }
    }
    let made = file.metadata()?;
    if (made.uid(), made.gid()) != (like.uid, like.gid) {
        fchown(file, Some(like.uid), Some(like.gid))?;
    }
    if made.mode() & 0o7777 != like.mode {
        file.set_permissions(fs::Permissions::from_mode(like.mode))?;
    }
    // ACLs come after the mode, since chmod(2) would change their mask.
    for (name, value) in &like.extended {
        if xattr::get(path, name)?.as_ref() != Some(value) {
            xattr::set(path, name, value)?;
        }
    }
    Ok(())
}

/// Returns the extended attributes that may move to another file.
pub(super) fn extended(path: &Path) -> io::Result<Vec<(OsString, Vec<u8>)>> {
    let mut extended = Vec::new();
    for name in listed(path)? {
        if BOUND_TO_CONTENT.iter().any(|bound| name == *bound) {
            continue;
        }
        if let Some(value) = xattr::get(path, &name)? {
            extended.push((name, value));
        }
    }
    Ok(extended)
}

fn listed(path: &Path) -> io::Result<Vec<OsString>> {
    match xattr::list(path) {
        Ok(names) => Ok(names.collect()),
        // The file system has no extended attributes.
        Err(e) if e.raw_os_error() == Some(nix::errno::Errno::ENOTSUP as i32) => Ok(Vec::new()),
        Err(e) => Err(e),
    }
}
