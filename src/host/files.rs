//! Reads files: bounded, inside the root, and only regular files, so that no read hangs.

use std::ffi::OsString;
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Component, Path, PathBuf};

use nix::fcntl::OFlag;
use time::OffsetDateTime;

use super::{Host, reason};
use crate::model::{Bytes, Failure, File, Identity, ReadError, ReadResult};

/// Maximum size of a file that is read whole, in bytes. Certificates are a hundred times smaller.
pub const LARGEST: u64 = 1 << 20;

/// Maximum size of a journal or of the manifest of a backup, in bytes: some hundred bytes for each
/// of at most 2,000 files of patterns.
const LARGEST_OWN: u64 = 8 << 20;

/// Maximum number of symlinks on a path, as in the kernel (path_resolution(7)).
const MOST_LINKS: usize = 40;

/// A path after all symlinks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedPath {
    /// Path without symlinks, seen from the root.
    pub real: PathBuf,
    /// First directory on the path that users other than root can change, with the reason.
    pub unsafe_way: Option<String>,
}

impl Host {
    /// Follows all symlinks of `path` inside the root: an absolute target starts at the root, and
    /// `..` does not leave it.
    ///
    /// The last part of the path may be missing.
    pub fn resolve(&self, path: &Path) -> Result<ResolvedPath, ReadError> {
        let mut real = PathBuf::from("/");
        let mut left: Vec<OsString> = parts(path);
        left.reverse();
        let mut links = 0;
        let mut unsafe_way = self.distrust(&real);
        while let Some(part) = left.pop() {
            if part == ".." {
                real.pop();
                continue;
            }
            let next = real.join(&part);
            let found = match self.at(&next).symlink_metadata() {
                Ok(found) => found,
                Err(e) if e.kind() == io::ErrorKind::NotFound && left.is_empty() => {
                    return Ok(ResolvedPath { real: next, unsafe_way });
                }
                Err(e) => return Err(unread(&e)),
            };
            if found.is_symlink() {
                links += 1;
                if links > MOST_LINKS {
                    return Err(ReadError::Because("is a loop of symlinks".into()));
                }
                let target = self.at(&next).read_link().map_err(|e| unread(&e))?;
                if target.is_absolute() {
                    real = PathBuf::from("/");
                }
                left.extend(parts(&target).into_iter().rev());
                continue;
            }
            real = next;
            if found.is_dir() && !left.is_empty() {
                unsafe_way = unsafe_way.or_else(|| self.distrust_found(&real, &found));
            }
        }
        Ok(ResolvedPath { real, unsafe_way })
    }

    /// Returns the reason that users other than root can change this directory.
    pub fn distrust(&self, directory: &Path) -> Option<String> {
        self.distrust_found(directory, &self.at(directory).metadata().ok()?)
    }

    fn distrust_found(&self, directory: &Path, found: &std::fs::Metadata) -> Option<String> {
        // Under an ACL the group bits are its mask: a user or group named in the ACL may be able to
        // write.
        let by_acl = found.mode() & 0o020 != 0
            && matches!(xattr::get(self.at(directory), "system.posix_acl_access"), Ok(Some(_)));
        let by_acl = by_acl.then(|| format!("{} is writable by an ACL", directory.display()));
        distrust(directory, found.uid(), found.gid(), found.mode()).or(by_acl)
    }

    /// Reads a regular file of at most 1 MiB.
    pub fn read(&self, path: &Path) -> ReadResult {
        self.read_at_most(path, LARGEST)
    }

    /// Reads a file that kubecertd wrote, which grows with the number of files on the node.
    pub fn read_own(&self, path: &Path) -> ReadResult {
        self.read_at_most(path, LARGEST_OWN)
    }

    /// Reads a regular file of at most `most` bytes. A larger one is not read at all.
    pub fn read_at_most(&self, path: &Path, most: u64) -> ReadResult {
        self.read_resolved(self.resolve(path)?, most)
    }

    /// Reads a regular file of at most `most` bytes at a path that was resolved before.
    pub fn read_resolved(&self, resolved: ResolvedPath, most: u64) -> ReadResult {
        let file = std::fs::OpenOptions::new()
            .read(true)
            .custom_flags((OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY).bits())
            .open(self.at(&resolved.real))
            .map_err(|e| match e.raw_os_error() {
                // open(2) on a socket.
                Some(number) if number == nix::errno::Errno::ENXIO as i32 => {
                    ReadError::Because("is not a regular file".into())
                }
                _ => unread(&e),
            })?;
        let found = file.metadata().map_err(|e| unread(&e))?;
        if !found.is_file() {
            let what = if found.is_dir() {
                "is a directory"
            } else {
                "is not a regular file"
            };
            return Err(ReadError::Because(what.into()));
        }
        let too_large = || ReadError::Because(format!("is larger than {}", words(most)));
        if found.len() > most {
            return Err(too_large());
        }
        let mut bytes = Vec::with_capacity(usize::try_from(found.len()).unwrap_or(0) + 1);
        file.take(most + 1).read_to_end(&mut bytes).map_err(|e| unread(&e))?;
        let bytes = Bytes::new(bytes);
        if bytes.len() as u64 > most {
            return Err(too_large());
        }
        Ok(File {
            names: vec![resolved.real.clone()],
            real: resolved.real,
            bytes,
            identity: identity(&found),
            unsafe_way: resolved.unsafe_way,
        })
    }

    /// Returns the identity of `real` now, if it is a regular file. `real` must not have symlinks.
    pub fn identity(&self, real: &Path) -> Option<Identity> {
        let found = self.at(real).symlink_metadata().ok()?;
        found.is_file().then(|| identity(&found))
    }

    /// Returns true if `path` itself is a directory.
    pub fn is_directory(&self, path: &Path) -> bool {
        self.at(path).symlink_metadata().is_ok_and(|found| found.is_dir())
    }

    /// Returns true if `path` itself is a symlink.
    pub fn is_symlink(&self, path: &Path) -> bool {
        self.at(path).is_symlink()
    }

    /// Returns the names in a directory, sorted; none if it does not exist.
    pub fn names(&self, directory: &Path) -> Result<Vec<OsString>, ReadError> {
        let real = self.resolve(directory)?.real;
        let entries = match self.at(&real).read_dir() {
            Ok(entries) => entries,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(unread(&e)),
        };
        let mut names = entries
            .map(|entry| Ok(entry.map_err(|e| unread(&e))?.file_name()))
            .collect::<Result<Vec<_>, _>>()?;
        names.sort();
        Ok(names)
    }

    /// Returns the reason that users other than root can read this directory.
    pub fn wider_than_root(&self, directory: &Path) -> Option<String> {
        let found = self.at(directory).symlink_metadata().ok()?;
        let mode = found.mode() & 0o777;
        (found.uid() != 0 || mode & 0o077 != 0).then(|| {
            format!(
                "{} is {mode:04o} and belongs to user {}",
                directory.display(),
                found.uid()
            )
        })
    }

    /// Returns true if `path`, or an entry directly in it, changed after `since` and not in the
    /// future.
    pub fn changed_since(&self, path: &Path, since: OffsetDateTime) -> bool {
        let newer = |path: &Path| {
            let changed = self.at(path).symlink_metadata().map(|found| found.mtime());
            let range = since.unix_timestamp() + 1..=self.now().unix_timestamp();
            changed.is_ok_and(|changed| range.contains(&changed))
        };
        let inside = self.names(path).unwrap_or_default();
        newer(path) || inside.iter().any(|name| newer(&path.join(name)))
    }

    /// Returns true if `path` exists. A dangling symlink counts.
    pub fn exists(&self, path: &Path) -> bool {
        self.at(path).symlink_metadata().is_ok()
    }
}

/// Returns the reason that a file or directory with this owner and mode does not belong to root
/// alone.
pub fn distrust(path: &Path, uid: u32, gid: u32, mode: u32) -> Option<String> {
    let path = path.display();
    if uid != 0 {
        Some(format!("{path} belongs to user {uid}, not to root"))
    } else if mode & 0o002 != 0 {
        Some(format!("{path} is writable by everybody"))
    } else if mode & 0o020 != 0 && gid != 0 {
        Some(format!("{path} is writable by group {gid}"))
    } else {
        None
    }
}

fn parts(path: &Path) -> Vec<OsString> {
    path.components()
        .filter(|c| matches!(c, Component::Normal(_) | Component::ParentDir))
        .map(|c| c.as_os_str().to_owned())
        .collect()
}

/// Fails if [`Host::read_own`] would not read these bytes back.
pub fn can_be_read_back(bytes: &[u8], what: &str) -> Result<(), Failure> {
    match bytes.len() as u64 {
        0..=LARGEST_OWN => Ok(()),
        _ => Err(Failure::new(format!(
            "cannot write {what}: it would be larger than {}",
            words(LARGEST_OWN)
        ))
        .hint("fewer files at once: renew by name, or look at what lies in the directories")),
    }
}

/// Returns a limit in bytes for people.
fn words(most: u64) -> String {
    match most >> 20 {
        0 => format!("{} KiB", most >> 10),
        mebibytes => format!("{mebibytes} MiB"),
    }
}

fn unread(error: &io::Error) -> ReadError {
    match error.kind() {
        io::ErrorKind::NotFound => ReadError::Missing,
        _ => ReadError::Because(format!("cannot be read: {}", reason(error))),
    }
}

fn identity(found: &std::fs::Metadata) -> Identity {
    Identity {
        device: found.dev(),
        inode: found.ino(),
        mode: found.mode() & 0o7777,
        uid: found.uid(),
        gid: found.gid(),
        links: found.nlink(),
        size: found.len(),
        modified: OffsetDateTime::from_unix_timestamp(found.mtime()).unwrap_or(OffsetDateTime::UNIX_EPOCH),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn symlinks_stay_inside_the_root_and_loops_end() {
        let dir = tempfile::tempdir().unwrap();
        let host = Host::new(dir.path().to_owned(), Default::default());
        std::fs::create_dir_all(dir.path().join("etc/real")).unwrap();
        std::fs::write(dir.path().join("etc/real/a"), "x").unwrap();
        symlink("/etc/real", dir.path().join("etc/link")).unwrap();
        symlink("../../../../../etc/real/a", dir.path().join("etc/up")).unwrap();
        symlink("loop", dir.path().join("etc/loop")).unwrap();
        assert_eq!(
            host.resolve(Path::new("/etc/link/a")).unwrap().real,
            Path::new("/etc/real/a")
        );
        assert_eq!(host.read(Path::new("/etc/up")).unwrap().real, Path::new("/etc/real/a"));
        assert_eq!(
            host.read(Path::new("/etc/loop")).unwrap_err(),
            ReadError::Because("is a loop of symlinks".into())
        );
        assert_eq!(host.read(Path::new("/etc/none/a")).unwrap_err(), ReadError::Missing);
    }

    #[test]
    fn a_directory_that_others_can_write_is_named() {
        assert!(distrust(Path::new("/x"), 0, 0, 0o40775).is_none());
        assert!(distrust(Path::new("/x"), 0, 5, 0o40775).unwrap().contains("group 5"));
        assert!(distrust(Path::new("/x"), 0, 0, 0o41777).unwrap().contains("everybody"));
        assert!(distrust(Path::new("/x"), 7, 0, 0o40700).unwrap().contains("user 7"));
    }
}
