//! Copies directories for a backup: keeps owner, mode, time, symlinks and holes, and hashes every
//! byte.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown, lchown, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{SeekFrom, ioctl_ficlone, seek};

use super::progress::Progress;
use super::stream::{UncachedReader, forget, open_file};
use super::write::{extended, parent};
use super::{Host, failed, reason};
use crate::format::digest::Sha256;
use crate::model::Failure;

/// A copied path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopySummary {
    /// Path, seen from the root.
    pub path: PathBuf,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Modification time, seconds since 1970.
    pub modified: i64,
    /// Names and values of the extended attributes. ACLs and SELinux labels are among them.
    pub extended: Vec<(OsString, Vec<u8>)>,
    /// Kind of the path.
    pub what: What,
}

/// Kinds of paths that are copied. Sockets, FIFOs and device nodes are skipped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// A regular file.
    File {
        /// Size of the copy in bytes.
        size: u64,
        /// SHA-256 of the copy, in hex.
        sha256: String,
    },
    /// A directory.
    Directory,
    /// A symlink, with its target.
    Symlink(PathBuf),
}

impl Host {
    /// Copies `path` (a file, or a directory with its contents) to the same place below `to`, and
    /// adds every copied path to the list.
    ///
    /// The copies are durable only after [`Host::sync_copies`].
    pub fn copy(
        &self,
        path: &Path,
        to: &Path,
        done: &mut Vec<CopySummary>,
        progress: &mut Progress,
    ) -> Result<(), Failure> {
        let fail = |e: &io::Error| failed("copy", path, e);
        let source = self.at(path);
        let found = source.symlink_metadata().map_err(|e| fail(&e))?;
        let target = to.join(path.strip_prefix("/").unwrap_or(path));
        let at = self.at(&target);
        self.check_stop()?;
        self.make_directory(parent(&target))?;
        let what = if found.is_dir() {
            self.make_directory(&target)?;
            let mut names: Vec<_> = fs::read_dir(&source)
                .and_then(Iterator::collect::<io::Result<Vec<_>>>)
                .map_err(|e| fail(&e))?;
            names.sort_by_key(fs::DirEntry::file_name);
            for name in names {
                self.copy(&path.join(name.file_name()), to, done, progress)?;
            }
            What::Directory
        } else if found.is_symlink() {
            let points_to = fs::read_link(&source).map_err(|e| fail(&e))?;
            symlink(&points_to, &at).map_err(|e| failed("write", &target, &e))?;
            lchown(&at, Some(found.uid()), Some(found.gid())).map_err(|e| failed("write", &target, &e))?;
            What::Symlink(points_to)
        } else if found.is_file() {
            copy_file(self, &source, &at, progress).map_err(|(reading, e)| {
                if reading {
                    fail(&e)
                } else {
                    failed("write", &target, &e)
                }
            })?
        } else {
            return Ok(());
        };
        if what == What::Directory {
            dress(&fs::File::open(&at).map_err(|e| failed("write", &target, &e))?, &found)
                .map_err(|e| failed("write", &target, &e))?;
        }
        done.push(CopySummary {
            path: path.to_owned(),
            mode: found.mode() & 0o7777,
            uid: found.uid(),
            gid: found.gid(),
            modified: found.mtime(),
            extended: if found.is_symlink() {
                Vec::new()
            } else {
                extended(&source).map_err(|e| fail(&e))?
            },
            what,
        });
        Ok(())
    }

    /// Copies a directory without its contents, to a place that [`Host::copy`] has made.
    pub fn copy_directory(&self, path: &Path, to: &Path) -> Result<CopySummary, Failure> {
        let found = self.at(path).metadata().map_err(|e| failed("copy", path, &e))?;
        let target = to.join(path.strip_prefix("/").unwrap_or(path));
        fs::File::open(self.at(&target))
            .and_then(|directory| dress(&directory, &found))
            .map_err(|e| failed("write", &target, &e))?;
        Ok(CopySummary {
            path: path.to_owned(),
            mode: found.mode() & 0o7777,
            uid: found.uid(),
            gid: found.gid(),
            modified: found.mtime(),
            extended: extended(&self.at(path)).map_err(|e| failed("copy", path, &e))?,
            what: What::Directory,
        })
    }

    /// Returns the SHA-256 of a regular file of any size, in hex, or the reason that it cannot be
    /// read.
    pub fn digest_of(&self, real: &Path, progress: &mut Progress) -> Result<String, String> {
        let mut read = || -> io::Result<String> {
            let file = UncachedReader::new(open_file(&self.at(real))?, self.stop.clone());
            let mut digest = Sha256::default();
            pieces(file, |piece| {
                digest.update(piece);
                progress.add(piece.len());
                Ok(())
            })?;
            Ok(digest.finish())
        };
        read().map_err(|e| reason(&e))
    }

    /// Makes all copies below `to` durable: files first, then every directory that holds one.
    pub fn sync_copies(&self, to: &Path, copies: &[CopySummary]) -> Result<(), Failure> {
        let mut directories = BTreeSet::new();
        for copied in copies {
            let target = to.join(copied.path.strip_prefix("/").unwrap_or(&copied.path));
            directories.insert(parent(&target).to_owned());
            match copied.what {
                What::File { .. } => fs::File::open(self.at(&target))
                    .and_then(|file| file.sync_all())
                    .map_err(|e| failed("sync", &target, &e))?,
                What::Directory => _ = directories.insert(target),
                What::Symlink(_) => {}
            }
        }
        directories
            .iter()
            .rev()
            .try_for_each(|directory| self.sync_directory(directory))
    }
}

/// Smallest size of a file, in bytes, that is cloned if the file system can, and that does not stay
/// in the page cache.
const LARGE: u64 = 1 << 20;

/// Reads a file in pieces of 64 KiB. They are wiped afterwards, since they may hold a key.
fn pieces(mut file: impl io::Read, mut take: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
    let mut piece = zeroize::Zeroizing::new(vec![0; 1 << 16]);
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(()),
            n => take(&piece[..n])?,
        }
    }
}

/// Copies a file. The error says whether it came from reading.
fn copy_file(host: &Host, from: &Path, to: &Path, progress: &mut Progress) -> Result<What, (bool, io::Error)> {
    let reading = |e| (true, e);
    let writing = |e| (false, e);
    let source = open_file(from).map_err(reading)?;
    let found = source.metadata().map_err(reading)?;
    let target = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(to)
        .map_err(writing)?;
    let is_large = found.len() >= LARGE;
    // A clone shares its blocks until one file is written to. It needs no space and no time, and
    // shows the file at one instant.
    let is_cloned = is_large && ioctl_ficlone(&target, &source).is_ok();
    let from = if is_cloned { &target } else { &source };
    let mut copy = Copy {
        host,
        digest: Sha256::default(),
        size: 0,
        could_write: true,
        progress,
    };
    let into = (!is_cloned).then_some(&target);
    let done = copy.extents(from, into, &found);
    let (could_write, size, digest) = (copy.could_write, copy.size, copy.digest.finish());
    done.map_err(|e| (could_write, e))?;
    if is_large {
        // Synced first, since dirty pages cannot be dropped.
        target.sync_data().map_err(writing)?;
        forget(&target, 0, size);
        forget(&source, 0, size);
    }
    dress(&target, &found).map_err(writing)?;
    Ok(What::File { size, sha256: digest })
}

struct Copy<'a> {
    host: &'a Host,
    digest: Sha256,
    size: u64,
    could_write: bool,
    progress: &'a mut Progress,
}

impl Copy<'_> {
    /// Reads the parts that hold data, hashes them and the holes between, and writes them to the
    /// same places of `into`.
    fn extents(&mut self, from: &fs::File, into: Option<&fs::File>, found: &fs::Metadata) -> io::Result<()> {
        // st_blocks counts 512 bytes (stat(2)).
        let is_sparse = found.blocks().saturating_mul(512) < found.len();
        if !is_sparse {
            return self.run(from, into);
        }
        let end = found.len();
        while self.size < end {
            let data = match seek(from, SeekFrom::Data(self.size)) {
                Ok(data) => data.min(end),
                // The rest of the file is a hole.
                Err(rustix::io::Errno::NXIO) => end,
                // The file system does not know its holes.
                Err(_) => return self.run(from, into),
            };
            self.hole(data - self.size);
            if data == end {
                break;
            }
            let hole = seek(from, SeekFrom::Hole(data)).map_or(end, |hole| hole.min(end));
            seek(from, SeekFrom::Start(data))?;
            if let Some(into) = into {
                seek(into, SeekFrom::Start(data)).inspect_err(|_| self.could_write = false)?;
            }
            self.run(from.take(hole - data), into)?;
            if self.size < hole {
                // The file was cut during the copy.
                break;
            }
        }
        if let Some(into) = into {
            into.set_len(self.size).inspect_err(|_| self.could_write = false)?;
        }
        Ok(())
    }

    fn run(&mut self, from: impl io::Read, into: Option<&fs::File>) -> io::Result<()> {
        pieces(from, |piece| {
            if self.host.stop.requested() {
                return Err(io::Error::other("kubecertd was asked to stop"));
            }
            self.digest.update(piece);
            self.size += piece.len() as u64;
            self.progress.add(piece.len());
            match into {
                Some(mut into) => into.write_all(piece).inspect_err(|_| self.could_write = false),
                None => Ok(()),
            }
        })
    }

    fn hole(&mut self, length: u64) {
        static ZEROES: [u8; 1 << 16] = [0; 1 << 16];
        let mut left = length;
        while left > 0 {
            let piece = usize::try_from(left).map_or(ZEROES.len(), |left| left.min(ZEROES.len()));
            self.digest.update(&ZEROES[..piece]);
            left -= piece as u64;
        }
        self.size += length;
    }
}

fn dress(file: &fs::File, like: &fs::Metadata) -> io::Result<()> {
    fchown(file, Some(like.uid()), Some(like.gid()))?;
    file.set_permissions(fs::Permissions::from_mode(like.mode() & 0o7777))?;
    let modified = like.modified()?;
    file.set_times(fs::FileTimes::new().set_modified(modified))
}
