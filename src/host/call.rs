//! Runs commands of the operator, hooks and restarts: no shell, files of root only, and a time
//! limit.

use std::fs::File;
use std::io::{self, Seek as _, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::MemfdFlags;

use super::command::{command, program, wait};
use super::{Host, reason};
use crate::model::Failure;

const SYSTEMD_RUN: &str = "/usr/bin/systemd-run";

/// Files that must exist before a command can become a transient unit: those of systemd, and of the
/// bus that reports the unit's end.
const SYSTEMD: [&str; 3] = ["/run/systemd/system", "/run/dbus/system_bus_socket", SYSTEMD_RUN];

/// Time that systemd gets to report the end of a unit, after the unit's own limit.
const SLACK: Duration = Duration::from_secs(5);

impl Host {
    /// Runs a command of this machine with `input` on its standard input, until it ends, within
    /// `limit`.
    ///
    /// Under systemd it becomes a transient unit: a command that sends mail, reads a home directory
    /// or restarts a service cannot do so in the daemon's sandbox. Processes that it leaves running
    /// end with it. Elsewhere it is a child with only a plain PATH in its environment. Its output
    /// goes to our log.
    pub fn call(&self, words: &[String], input: &[u8], limit: Duration) -> Result<(), Failure> {
        let (name, arguments) = words
            .split_first()
            .ok_or_else(|| Failure::new("cannot run an empty command"))?;
        let fail = |why: String| Failure::new(format!("cannot run {name}: {why}"));
        let program = program(name)?;
        let mut called: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let is_unit = self.is_this_machine() && SYSTEMD.iter().all(|path| Path::new(path).exists());
        let (shown, longest) = (program.to_string_lossy(), limit);
        let runtime = format!("RuntimeMaxSec={}s", longest.as_secs());
        let (program, limit) = if is_unit {
            // Kill it at once after its limit. The default gives it 90 seconds more.
            let unit = ["--quiet", "--wait", "--pipe", "--collect", "--property", &runtime];
            let more = [
                "--property",
                "KillSignal=SIGKILL",
                "--description=command of kubecertd",
                "--",
                &shown,
            ];
            called = [&unit, &more[..], &called].concat();
            (Path::new(SYSTEMD_RUN), limit + SLACK)
        } else {
            (program.as_path(), limit)
        };
        let input = in_memory(input).map_err(|e| fail(reason(&e)))?;
        let mut child = command(program, &called)
            .stdin(input)
            .stdout(io::stderr())
            .stderr(io::stderr())
            .spawn()
            .map_err(|e| fail(reason(&e)))?;
        let begun = Instant::now();
        wait(&mut child, limit, &self.stop).map_err(|why| match is_unit && begun.elapsed() >= longest {
            // systemd-run reports only that a unit failed.
            true => fail(format!("it did not end within {} s", longest.as_secs())),
            false => fail(why),
        })
    }
}

/// Returns a file without a name. Unlike a pipe it takes all bytes at once, whether they are read
/// or not.
fn in_memory(bytes: &[u8]) -> io::Result<File> {
    let mut file = File::from(rustix::fs::memfd_create("kubecertd-event", MemfdFlags::CLOEXEC)?);
    file.write_all(bytes)?;
    file.rewind()?;
    Ok(file)
}
