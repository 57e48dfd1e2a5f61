//! Large files: written from begin to end, hashed on the way, and kept out of the page cache, which
//! they share with etcd.

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use rustix::fs::{Advice, fadvise};

use super::stop::Stop;
use super::{Host, failed};
use crate::format::digest::Sha256;
use crate::model::Failure;

/// Number of bytes after which the kernel is told to write them out and to drop them. A smaller
/// number means more calls, a larger one longer bursts between etcd's own writes.
const WINDOW: u64 = 8 << 20;

/// A new file, mode 0600.
pub struct NewFile {
    file: fs::File,
    path: PathBuf,
    digest: Sha256,
    size: u64,
}

impl Host {
    /// Creates a file. Fails if it exists.
    pub fn new_file(&self, path: &Path) -> Result<NewFile, Failure> {
        let file = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(self.at(path))
            .map_err(|e| failed("write", path, &e))?;
        Ok(NewFile {
            file,
            path: path.to_owned(),
            digest: Sha256::default(),
            size: 0,
        })
    }

    /// Opens a file of any size for reading.
    pub fn open(&self, real: &Path) -> Result<impl Read + use<>, Failure> {
        open_file(&self.at(real))
            .map(|file| UncachedReader::new(file, self.stop.clone()))
            .map_err(|e| failed("read", real, &e))
    }

    /// Returns the size of a regular file in bytes. `None` if there is none.
    pub fn size(&self, real: &Path) -> Option<u64> {
        let found = self.at(real).symlink_metadata().ok()?;
        found.is_file().then_some(found.len())
    }

    /// Returns the bytes that may still be written, without root's reserve, to `directory` or the
    /// nearest directory above it that exists.
    pub fn free_space(&self, directory: &Path) -> Option<u64> {
        let existing = directory.ancestors().find(|directory| self.exists(directory))?;
        let found = rustix::fs::statvfs(self.at(existing)).ok()?;
        Some(found.f_bavail.saturating_mul(found.f_frsize))
    }
}

impl NewFile {
    /// Makes the file durable. Returns its size in bytes and its SHA-256 in hex.
    pub fn finish(self) -> Result<(u64, String), Failure> {
        self.file.sync_all().map_err(|e| failed("sync", &self.path, &e))?;
        forget(&self.file, 0, self.size);
        Ok((self.size, self.digest.finish()))
    }

    /// Returns the failure for an error while writing the file.
    pub fn failed(path: &Path, error: &io::Error) -> Failure {
        failed("write", path, error)
    }
}

impl Write for NewFile {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        self.file.write_all(piece)?;
        self.digest.update(piece);
        let before = self.size;
        self.size += piece.len() as u64;
        if before / WINDOW != self.size / WINDOW {
            // Dirty pages of the last window begin to be written, and clean ones of the window
            // before it are dropped.
            let from = (before / WINDOW * WINDOW).saturating_sub(WINDOW);
            forget(&self.file, from, self.size - from);
        }
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A file that is read once, from begin to end.
pub(super) struct UncachedReader {
    file: fs::File,
    read: u64,
    stop: Stop,
}

impl UncachedReader {
    pub(super) fn new(file: fs::File, stop: Stop) -> Self {
        Self { file, read: 0, stop }
    }
}

impl Read for UncachedReader {
    fn read(&mut self, piece: &mut [u8]) -> io::Result<usize> {
        self.stop.beat();
        let count = self.file.read(piece)?;
        let before = self.read;
        self.read += count as u64;
        if before / WINDOW != self.read / WINDOW {
            forget(&self.file, 0, self.read);
        }
        Ok(count)
    }
}

/// posix_fadvise(2), DONTNEED: starts to write dirty pages and drops clean ones. A failure loses
/// nothing, since it is only advice.
pub(super) fn forget(file: &fs::File, from: u64, length: u64) {
    let _ = fadvise(file, from, std::num::NonZeroU64::new(length), Advice::DontNeed);
}

pub(super) fn open_file(path: &Path) -> io::Result<fs::File> {
    let flags = (OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits();
    fs::OpenOptions::new().read(true).custom_flags(flags).open(path)
}
