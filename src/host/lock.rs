//! The lock of the node: one kubecertd at a time, by flock(2) on a file in the state directory.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use tracing::info;

use super::{Host, STATE, failed};
use crate::model::Failure;

/// Time between two tries of a waiting process.
const EVERY: Duration = Duration::from_millis(20);

/// The lock. It is held while this process may change the node. The kernel releases it when the
/// process ends, in any way.
#[derive(Debug)]
pub struct Lock {
    file: File,
}

impl Host {
    /// Takes the lock, and waits up to `wait`. The error says which process holds it.
    pub fn lock(&self, purpose: &str, wait: Duration) -> Result<Lock, Failure> {
        let deadline = Instant::now() + wait;
        let mut said = false;
        loop {
            if let Some(lock) = self.try_lock(purpose)? {
                return Ok(lock);
            }
            if !said && !wait.is_zero() {
                said = true;
                info!(
                    "waiting for kubecertd to end ({})",
                    self.lock_holder().unwrap_or_default()
                );
            }
            if Instant::now() >= deadline || self.stop.requested() {
                let holder = self.lock_holder().unwrap_or_else(|| "another process".into());
                return Err(
                    Failure::new(format!("cannot start: kubecertd is already running ({holder})"))
                        .hint("wait for it to end; it says in the journal what it does"),
                );
            }
            std::thread::sleep(EVERY);
        }
    }

    /// Takes the lock if it is free.
    pub fn try_lock(&self, purpose: &str) -> Result<Option<Lock>, Failure> {
        self.make_directory(Path::new(STATE))?;
        let way = self.resolve(Path::new(STATE)).ok().and_then(|found| found.unsafe_way);
        if let Some(reason) = way.or_else(|| self.distrust(Path::new(STATE))) {
            return Err(Failure::new(format!("cannot use {STATE}: {reason}")).hint("give it to root, with mode 0700"));
        }
        let path = self.state("lock");
        let open = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(self.at(&path));
        let mut file = open.map_err(|e| failed("open", &path, &e))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(e)) => return Err(failed("lock", &path, &e)),
        }
        // For people only: the lock holds without the record, even on a full disk.
        let _ = file.set_len(0);
        let _ = write!(file, "pid {}, {purpose}", std::process::id());
        Ok(Some(Lock { file }))
    }

    /// Returns the record of the process that holds the lock.
    pub fn lock_holder(&self) -> Option<String> {
        let mut text = String::new();
        File::open(self.at(&self.state("lock")))
            .ok()?
            .take(200)
            .read_to_string(&mut text)
            .ok()?;
        (!text.is_empty()).then_some(text)
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        let _ = self.file.set_len(0);
    }
}
