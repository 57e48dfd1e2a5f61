//! Copying a folder for a backup: owner, mode, time and symlinks kept, every byte hashed on the way.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown, lchown, symlink};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;

use super::write::parent;
use super::{Host, failed, reason};
use crate::format::digest::Sha256;
use crate::model::Failure;

/// What one copied path was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copied {
    /// Where it was, seen from the root.
    pub path: PathBuf,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Modification time, seconds since 1970.
    pub modified: i64,
    /// What it was.
    pub what: What,
}

/// The kinds of things that are copied. Sockets, FIFOs and device nodes hold nothing to keep and are passed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// A regular file: bytes and digest of the copy.
    File {
        /// Its size in bytes.
        size: u64,
        /// SHA-256 of what was copied, hex.
        sha256: String,
    },
    /// A folder.
    Folder,
    /// A symlink and its target as written.
    Symlink(PathBuf),
}

impl Host {
    /// Copies `path` (a file, or a folder with all that is in it) to the same place below `to`, and lists what was copied.
    ///
    /// The copies are durable only after [`Host::sync_copies`].
    pub fn copy(&self, path: &Path, to: &Path, done: &mut Vec<Copied>) -> Result<(), Failure> {
        let fail = |e: &io::Error| failed("copy", path, e);
        let source = self.at(path);
        let found = source.symlink_metadata().map_err(|e| fail(&e))?;
        let target = to.join(path.strip_prefix("/").unwrap_or(path));
        let at = self.at(&target);
        self.go_on()?;
        self.make_folder(parent(&target))?;
        let what = if found.is_dir() {
            self.make_folder(&target)?;
            let mut names: Vec<_> = fs::read_dir(&source)
                .and_then(Iterator::collect::<io::Result<Vec<_>>>)
                .map_err(|e| fail(&e))?;
            names.sort_by_key(fs::DirEntry::file_name);
            for name in names {
                self.copy(&path.join(name.file_name()), to, done)?;
            }
            What::Folder
        } else if found.is_symlink() {
            let points_to = fs::read_link(&source).map_err(|e| fail(&e))?;
            symlink(&points_to, &at).map_err(|e| failed("write", &target, &e))?;
            lchown(&at, Some(found.uid()), Some(found.gid())).map_err(|e| failed("write", &target, &e))?;
            What::Symlink(points_to)
        } else if found.is_file() {
            copy_file(self, &source, &at).map_err(|(reading, e)| {
                if reading {
                    fail(&e)
                } else {
                    failed("write", &target, &e)
                }
            })?
        } else {
            return Ok(());
        };
        if what == What::Folder {
            dress(&fs::File::open(&at).map_err(|e| failed("write", &target, &e))?, &found)
                .map_err(|e| failed("write", &target, &e))?;
        }
        done.push(Copied {
            path: path.to_owned(),
            mode: found.mode() & 0o7777,
            uid: found.uid(),
            gid: found.gid(),
            modified: found.mtime(),
            what,
        });
        Ok(())
    }

    /// SHA-256 of a regular file of any size, hex; or why it cannot be read.
    pub fn digest_of(&self, real: &Path) -> Result<String, String> {
        let read = || -> io::Result<String> {
            let file = open_file(&self.at(real))?;
            let mut digest = Sha256::default();
            pieces(file, |piece| {
                digest.update(piece);
                Ok(())
            })?;
            Ok(digest.finish())
        };
        read().map_err(|e| reason(&e))
    }

    /// Makes all copies below `to` durable: files first, then every folder that holds one.
    pub fn sync_copies(&self, to: &Path, copies: &[Copied]) -> Result<(), Failure> {
        let mut folders = BTreeSet::new();
        for copied in copies {
            let target = to.join(copied.path.strip_prefix("/").unwrap_or(&copied.path));
            folders.insert(parent(&target).to_owned());
            match copied.what {
                What::File { .. } => fs::File::open(self.at(&target))
                    .and_then(|file| file.sync_all())
                    .map_err(|e| failed("sync", &target, &e))?,
                What::Folder => _ = folders.insert(target),
                What::Symlink(_) => {}
            }
        }
        folders.iter().rev().try_for_each(|folder| self.sync_folder(folder))
    }
}

fn open_file(path: &Path) -> io::Result<fs::File> {
    let flags = (OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits();
    fs::OpenOptions::new().read(true).custom_flags(flags).open(path)
}

/// Reads a file in pieces of 64 KiB; they are wiped afterwards, since they may be of a key.
fn pieces(mut file: fs::File, mut take: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
    let mut piece = zeroize::Zeroizing::new(vec![0; 1 << 16]);
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(()),
            n => take(&piece[..n])?,
        }
    }
}

/// Gives the error with whether it came from reading.
fn copy_file(host: &Host, from: &Path, to: &Path) -> Result<What, (bool, io::Error)> {
    let reading = |e| (true, e);
    let writing = |e| (false, e);
    let source = open_file(from).map_err(reading)?;
    let found = source.metadata().map_err(reading)?;
    let mut target = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(to)
        .map_err(writing)?;
    let mut digest = Sha256::default();
    let mut size = 0;
    let mut could_write = true;
    let copied = pieces(source, |piece| {
        digest.update(piece);
        size += piece.len() as u64;
        if host.stop.requested() {
            return Err(io::Error::other("the process was asked to end"));
        }
        target.write_all(piece).inspect_err(|_| could_write = false)
    });
    copied.map_err(|e| (could_write, e))?;
    dress(&target, &found).map_err(writing)?;
    Ok(What::File {
        size,
        sha256: digest.finish(),
    })
}

fn dress(file: &fs::File, like: &fs::Metadata) -> io::Result<()> {
    fchown(file, Some(like.uid()), Some(like.gid()))?;
    file.set_permissions(fs::Permissions::from_mode(like.mode() & 0o7777))?;
    let modified = like.modified()?;
    file.set_times(fs::FileTimes::new().set_modified(modified))
}
