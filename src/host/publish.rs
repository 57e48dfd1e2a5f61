//! What every user of the node may read: the public copy of the status, and the metrics.

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, access, getegid, geteuid};

use super::{Host, failed, reason};
use crate::model::{Attributes, Failure, ReadError};

/// What systemd makes as RuntimeDirectory.
const RUN: &str = "/run/kubecertd";

impl Host {
    /// Writes a file that everybody may read, mode 0644, in a directory that everybody may enter.
    pub fn publish(&self, name: &str, bytes: &[u8]) -> Result<(), Failure> {
        let run = Path::new(RUN);
        if !self.is_directory(run) {
            self.make_directory(run)?;
            std::fs::set_permissions(self.at(run), std::fs::Permissions::from_mode(0o755))
                .map_err(|e| failed("open to everybody", run, &e))?;
        }
        self.replace(&self.published(name), bytes, &Attributes::plain(0o644))
    }

    /// Writes a file that everybody may read, mode 0644, into a directory that is there already. Not where others than root could lead it
    /// elsewhere: into the manifests directory, say.
    pub fn publish_into(&self, directory: &Path, name: &str, bytes: &[u8]) -> Result<(), Failure> {
        let path = directory.join(name);
        let fail = |reason: String| Failure::new(format!("cannot write {}: {reason}", path.display()));
        if !self.is_directory(directory) {
            return Err(fail("there is no such directory".into()).hint(format!("mkdir {}", directory.display())));
        }
        let found = self.resolve(directory).map_err(|unread| match unread {
            ReadError::Missing => fail("it has gone".into()),
            ReadError::Because(reason) => fail(reason),
        })?;
        if let Some(reason) = found.unsafe_way.or_else(|| self.distrust(&found.real)) {
            return Err(fail(reason).hint("give the directory, and those above it, to root, writable by nobody else"));
        }
        self.replace(&found.real.join(name), bytes, &Attributes::plain(0o644))
    }

    /// What this user makes and everybody may read.
    pub fn for_everybody(&self) -> Attributes {
        Attributes {
            uid: geteuid().as_raw(),
            gid: getegid().as_raw(),
            ..Attributes::plain(0o644)
        }
    }

    /// Where [`Self::publish`] writes.
    pub fn published(&self, name: &str) -> PathBuf {
        Path::new(RUN).join(name)
    }

    /// Why nothing can be written into this directory, or into the nearest one above it that exists. Asks the kernel, and writes nothing.
    pub fn cannot_write(&self, directory: &Path) -> Option<String> {
        let real = self
            .resolve(directory)
            .map_or_else(|_| directory.to_owned(), |found| found.real);
        let existing = real.ancestors().find(|directory| self.exists(directory))?;
        let refused = access(&self.at(existing), AccessFlags::W_OK).err()?;
        Some(reason(&io::Error::from(refused)))
    }

    /// As [`Self::cannot_write`], as another process of this machine sees its file systems: a service's sandbox is its own.
    pub fn cannot_write_as(&self, pid: u32, directory: &Path) -> Option<String> {
        let root = self.outside(Path::new("/"));
        let seen = Path::new("/proc").join(pid.to_string()).join("root");
        Self::new(seen.join(root.strip_prefix("/").unwrap_or(&root)), self.stop.clone()).cannot_write(directory)
    }

    /// When a process of this machine started, in clock ticks since boot; none for one that has ended. Also for another root: it is where this
    /// program runs that counts.
    pub fn started_ticks(&self, pid: u32) -> Option<u64> {
        Self::new("/".into(), super::stop::Stop::default())
            .process(i32::try_from(pid).ok()?)
            .map(|process| process.ticks)
    }

    /// Who holds the lock now, as they wrote it; none where they have ended. It is not tried: that would keep others from taking it.
    pub fn lock_holder_now(&self) -> Option<String> {
        let holder = self.lock_holder()?;
        let pid = holder.strip_prefix("pid ")?.split(',').next()?.parse().ok()?;
        self.started_ticks(pid).map(|_| holder)
    }
}
