//! Files that every user of the node may read: the public copy of the status, and the metrics.

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, access, getegid, geteuid};

use super::{Host, failed, reason};
use crate::model::{Attributes, Failure, ReadError};

/// RuntimeDirectory of the unit, which systemd creates.
const RUN: &str = "/run/kubecertd";

impl Host {
    /// Writes a file with mode 0644 in a directory that every user may enter.
    pub fn publish(&self, name: &str, bytes: &[u8]) -> Result<(), Failure> {
        let run = Path::new(RUN);
        if !self.is_directory(run) {
            self.make_directory(run)?;
            std::fs::set_permissions(self.at(run), std::fs::Permissions::from_mode(0o755))
                .map_err(|e| failed("open to everybody", run, &e))?;
        }
        self.replace(&self.published(name), bytes, &Attributes::plain(0o644))
    }

    /// Writes a file with mode 0644 into an existing directory. Fails if users other than root
    /// could redirect it, for example into the manifests directory.
    pub fn publish_into(&self, directory: &Path, name: &str, bytes: &[u8]) -> Result<(), Failure> {
        let path = directory.join(name);
        let fail = |reason: String| Failure::new(format!("cannot write {}: {reason}", path.display()));
        if !self.is_directory(directory) {
            return Err(fail("no such directory".into()).hint(format!("mkdir {}", directory.display())));
        }
        let found = self.resolve(directory).map_err(|unread| match unread {
            ReadError::Missing => fail("it has gone".into()),
            ReadError::Because(reason) => fail(reason),
        })?;
        if let Some(reason) = found.unsafe_way.or_else(|| self.distrust(&found.real)) {
            return Err(fail(reason).hint("give the directory, and those above it, to root, writable only by root"));
        }
        self.replace(&found.real.join(name), bytes, &Attributes::plain(0o644))
    }

    /// Returns the attributes of a file of this user that every user may read.
    pub fn for_everybody(&self) -> Attributes {
        Attributes {
            uid: geteuid().as_raw(),
            gid: getegid().as_raw(),
            ..Attributes::plain(0o644)
        }
    }

    /// Returns the path that [`Self::publish`] writes.
    pub fn published(&self, name: &str) -> PathBuf {
        Path::new(RUN).join(name)
    }

    /// Returns the reason that nothing can be written into this directory, or the nearest one above
    /// it that exists. Asks the kernel, and writes nothing.
    pub fn cannot_write(&self, directory: &Path) -> Option<String> {
        let real = self
            .resolve(directory)
            .map_or_else(|_| directory.to_owned(), |found| found.real);
        let existing = real.ancestors().find(|directory| self.exists(directory))?;
        let refused = access(&self.at(existing), AccessFlags::W_OK).err()?;
        Some(reason(&io::Error::from(refused)))
    }

    /// Does the same for another process of this machine, since a service's sandbox has file
    /// systems of its own.
    pub fn cannot_write_as(&self, pid: u32, directory: &Path) -> Option<String> {
        let root = self.outside(Path::new("/"));
        let seen = Path::new("/proc").join(pid.to_string()).join("root");
        Self::new(seen.join(root.strip_prefix("/").unwrap_or(&root)), self.stop.clone()).cannot_write(directory)
    }

    /// Returns the start of a process of this machine, in clock ticks since boot. `None` if it has
    /// ended. `--root` makes no difference.
    pub fn started_ticks(&self, pid: u32) -> Option<u64> {
        Self::new("/".into(), super::stop::Stop::default())
            .process(i32::try_from(pid).ok()?)
            .map(|process| process.ticks)
    }

    /// Returns the record of the process that holds the lock now. Does not try the lock, which
    /// would keep others from taking it.
    pub fn lock_holder_now(&self) -> Option<String> {
        let holder = self.lock_holder()?;
        let pid = holder.strip_prefix("pid ")?.split(',').next()?.parse().ok()?;
        self.started_ticks(pid).map(|_| holder)
    }
}
