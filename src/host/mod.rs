//! The only door outside: files, locks, processes, clock, systemd and log.
//!
//! Every path that the rest of the program names is absolute and seen from the root that was given with `--root`.

pub mod call;
pub mod clock;
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
pub mod stop;
pub mod stream;
pub mod write;

use std::io;
use std::path::{Path, PathBuf};

use nix::sys::resource::{Resource, setrlimit};

use crate::model::Failure;

/// State, lock and last result: created with mode 0700.
pub const STATE: &str = "/var/lib/kubecertd";

/// This machine, or the tree that `--root` names.
#[derive(Debug, Clone)]
pub struct Host {
    root: PathBuf,
    /// Set when kubecertd was asked to stop.
    pub stop: stop::Stop,
}

impl Host {
    /// The machine whose root directory is `root`.
    pub fn new(root: PathBuf, stop: stop::Stop) -> Self {
        Self { root, stop }
    }

    /// Where `path`, seen from the root, is for this process.
    fn at(&self, path: &Path) -> PathBuf {
        self.stop.beat();
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// Whether it is the machine that this process runs on. Nothing is started or ended for another root: it would hit this machine.
    pub fn is_this_machine(&self) -> bool {
        self.root == Path::new("/")
    }

    /// Where `path`, seen from the root, is for other programs of this machine.
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

    /// The path of a file of our own state.
    pub fn state(&self, name: &str) -> PathBuf {
        Path::new(STATE).join(name)
    }
}

/// Keys are in memory: nothing of it must land in a file when the process dies.
pub fn no_core_dumps() {
    // It can only be lowered, which is always allowed.
    let _ = setrlimit(Resource::RLIMIT_CORE, 0, 0);
}

/// `cannot ACT PATH: REASON`, with a hint where the reason is one that the operator can mend.
pub fn failed(act: &str, path: &Path, error: &io::Error) -> Failure {
    let failure = Failure::new(format!("cannot {act} {}: {}", path.display(), reason(error)));
    match error.raw_os_error().map(nix::errno::Errno::from_raw) {
        Some(nix::errno::Errno::ENOSPC | nix::errno::Errno::EDQUOT) => {
            failure.hint("free space on this file system, then run it again")
        }
        Some(nix::errno::Errno::EROFS) => failure.hint(
            "the file system is read-only here; if only the service sees it so, add the directory to ReadWritePaths= in a drop-in of kubecertd.service",
        ),
        Some(nix::errno::Errno::EPERM | nix::errno::Errno::EBUSY) if nix::unistd::geteuid().is_root() => failure
            .hint("the file is immutable (lsattr shows it) or a mount of its own")
            .of_one_file(),
        Some(nix::errno::Errno::EACCES | nix::errno::Errno::EPERM) => failure.hint("run it as root"),
        _ => failure,
    }
}

/// The reason of an I/O error as people say it: lower case, without the number.
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
