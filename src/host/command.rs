//! Programs of this machine: where they are found, how they are started, and how they are ended. No
//! shell, no environment but a plain PATH, and a time limit.

use std::io::Read as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use super::files::distrust;
use super::stop::Stop;
use super::{Host, reason};
use crate::model::Failure;

/// Time between two checks whether a child has ended.
const EVERY: Duration = Duration::from_millis(10);

/// Directories in which a program without a path is searched, in this order.
const DIRECTORIES: [&str; 6] = [
    "/usr/local/sbin",
    "/usr/local/bin",
    "/usr/sbin",
    "/usr/bin",
    "/sbin",
    "/bin",
];

impl Host {
    /// Returns the output of a program of this machine, if it succeeds within `limit`: no shell, no
    /// environment, no input.
    pub fn output(&self, program: &Path, arguments: &[&str], limit: Duration) -> Option<String> {
        let mut child = command(program, arguments).stdout(Stdio::piped()).spawn().ok()?;
        wait(&mut child, limit, &self.stop).ok()?;
        let mut text = String::new();
        child.stdout.take()?.take(4096).read_to_string(&mut text).ok()?;
        Some(text)
    }

    /// Runs a program of this machine within `limit`: no shell, only a plain PATH in the
    /// environment, no input. Its output goes to our log.
    pub fn run(&self, program: &Path, arguments: &[&str], limit: Duration) -> Result<(), String> {
        let mut child = command(program, arguments).spawn().map_err(|e| reason(&e))?;
        wait(&mut child, limit, &self.stop)
    }
}

/// Returns the real path of a program of this machine, by its path or its name. Fails if users
/// other than root can change it.
pub fn program(word: &str) -> Result<PathBuf, Failure> {
    let machine = Host::new("/".into(), super::stop::Stop::default());
    let fail = |why: String| Failure::new(format!("cannot run {word}: {why}"));
    let candidates: Vec<PathBuf> = if word.starts_with('/') {
        vec![word.into()]
    } else {
        DIRECTORIES
            .iter()
            .map(|directory| Path::new(directory).join(word))
            .collect()
    };
    let found = candidates.iter().find_map(|path| {
        let resolved = machine.resolve(path).ok()?;
        let identity = machine.identity(&resolved.real)?;
        Some((resolved, identity))
    });
    let Some((resolved, identity)) = found else {
        return Err(fail("it is not installed".into()).hint(format!("looked for {}", shown(&candidates))));
    };
    match resolved
        .unsafe_way
        .or_else(|| distrust(&resolved.real, identity.uid, identity.gid, identity.mode))
    {
        Some(why) => Err(fail(why).hint("give it to root, writable only by root")),
        None => Ok(resolved.real),
    }
}

fn shown(paths: &[PathBuf]) -> String {
    let paths: Vec<_> = paths.iter().map(|path| path.display().to_string()).collect();
    paths.join(", ")
}

/// Returns a program with only a plain PATH in its environment. It keeps the working directory and
/// the process group of this process.
pub(super) fn plain(program: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).env_clear().env("PATH", DIRECTORIES.join(":"));
    command
}

/// Returns a program as [`plain`] does, but in `/`, in its own process group, and without input and
/// output.
pub(super) fn command(program: &Path, arguments: &[&str]) -> Command {
    let mut command = plain(program, arguments);
    command
        .current_dir("/")
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

/// Waits for a child. One that takes longer than `limit` is killed with everything that it started.
pub(super) fn wait(child: &mut Child, limit: Duration, stop: &Stop) -> Result<(), String> {
    let deadline = Instant::now() + limit;
    loop {
        stop.beat();
        match child.try_wait() {
            Ok(Some(status)) if status.success() => return Ok(()),
            Ok(Some(status)) => return Err(format!("it ended with {status}")),
            Ok(None) if Instant::now() < deadline => std::thread::sleep(EVERY),
            Ok(None) => {
                // A process of the group may have ended by itself; the error is the same.
                let _ = kill_process_group(Pid::from_child(child), Signal::KILL);
                let _ = child.wait();
                return Err(format!("it did not end within {} s", limit.as_secs()));
            }
            Err(e) => return Err(reason(&e)),
        }
    }
}
