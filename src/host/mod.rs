//! The only door outside: files, locks, processes, clock, systemd and log.
//!
//! Every path in the rest of the program is absolute, and seen from the root of `--root`.

pub mod call;
pub mod clock;
pub mod command;
pub mod copy;
pub mod etcd;
pub mod files;
pub mod filter;
pub mod http;
pub mod lock;
pub mod log;
pub mod notify;
pub mod processes;
pub mod progress;
pub mod publish;
pub mod record;
pub mod stop;
pub mod stream;
pub mod write;

use std::io;
use std::path::{Path, PathBuf};

use nix::sys::resource::{Resource, setrlimit};

use crate::model::Failure;

/// State directory, created with mode 0700.
pub const STATE: &str = "/var/lib/kubecertd";

/// This machine, or the tree that `--root` names.
#[derive(Debug, Clone)]
pub struct Host {
    root: PathBuf,
    /// Set when kubecertd was asked to stop.
    pub stop: stop::Stop,
}

impl Host {
    /// Returns the machine whose root directory is `root`.
    pub fn new(root: PathBuf, stop: stop::Stop) -> Self {
        Self { root, stop }
    }

    /// Returns the path for this process of `path`, seen from the root.
    fn at(&self, path: &Path) -> PathBuf {
        self.stop.beat();
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// Returns true for the machine that this process runs on. Nothing is started or ended for
    /// another root, since it would hit this machine.
    pub fn is_this_machine(&self) -> bool {
        self.root == Path::new("/")
    }

    /// Returns the path for other programs of this machine of `path`, seen from the root.
    pub fn outside(&self, path: &Path) -> PathBuf {
        self.at(path)
    }

    /// Fails when kubecertd was asked to stop.
    pub fn check_stop(&self) -> Result<(), Failure> {
        if self.stop.requested() {
            return Err(Failure::new("interrupted: kubecertd was asked to stop"));
        }
        Ok(())
    }

    /// Returns the path of a file in the state directory.
    pub fn state(&self, name: &str) -> PathBuf {
        Path::new(STATE).join(name)
    }
}

/// Disables core dumps: memory holds keys, which must not be written to a file.
pub fn no_core_dumps() {
    // The limit can only be lowered, which is always allowed.
    let _ = setrlimit(Resource::RLIMIT_CORE, 0, 0);
}

/// Returns `cannot ACTION PATH: REASON`, with a hint if the operator can fix the reason.
pub fn failed(act: &str, path: &Path, error: &io::Error) -> Failure {
    let failure = Failure::new(format!("cannot {act} {}: {}", path.display(), reason(error)));
    match error.raw_os_error().map(nix::errno::Errno::from_raw) {
        Some(nix::errno::Errno::ENOSPC | nix::errno::Errno::EDQUOT) => {
            failure.hint("free space on this file system, then run it again")
        }
        Some(nix::errno::Errno::EROFS) => failure.hint(
            "the file system is read-only here; if only the service sees it so, add the directory to \
             ReadWritePaths= in a drop-in of kubecertd.service",
        ),
        Some(nix::errno::Errno::EPERM | nix::errno::Errno::EBUSY) if nix::unistd::geteuid().is_root() => failure
            .hint("the file is immutable (lsattr shows it) or a mount of its own")
            .of_one_file(),
        Some(nix::errno::Errno::EACCES | nix::errno::Errno::EPERM) => failure.hint("run it as root"),
        _ => failure,
    }
}

/// Returns the reason of an I/O error for people: lower case, without the number.
pub fn reason(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(number) => {
            let text = nix::errno::Errno::from_raw(number).desc();
            let mut letters = text.chars();
            match letters.next() {
                Some(first) if !text.starts_with("I/O") => first.to_lowercase().collect::<String>() + letters.as_str(),
                _ => text.to_owned(),
            }
        }
        None => error.to_string(),
    }
}
