//! Commands of the operator's, hooks and readers: no shell, root's alone, and never waited for without end.

use std::fs::File;
use std::io::{self, Seek as _, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::MemfdFlags;

use super::filter::program;
use super::processes::{command, wait};
use super::{Host, reason};
use crate::model::Failure;

const SYSTEMD_RUN: &str = "/usr/bin/systemd-run";

/// What has to be there for a command to become a unit of its own: systemd, and the bus over which it says how the unit ended.
const SYSTEMD: [&str; 3] = ["/run/systemd/system", "/run/dbus/system_bus_socket", SYSTEMD_RUN];

/// How much longer systemd may take to say that a unit has ended than the unit may run.
const SLACK: Duration = Duration::from_secs(5);

impl Host {
    /// Runs a command of this machine with `input` on its standard input, until it ends well, within `limit`.
    ///
    /// Under systemd it is a transient unit, since what sends mail, looks into a home directory or restarts something cannot do so in the sandbox of the
    /// daemon's own; what it leaves running ends with it. Elsewhere it is a child with nothing but a plain PATH in its environment. What it prints goes where our log goes.
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
            // Killed at once when its time is over: the default would give it 90 seconds more.
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
            // All that systemd-run says of a unit that was ended is that it failed.
            true => fail(format!("it did not end within {} s", longest.as_secs())),
            false => fail(why),
        })
    }
}

/// A file without a name: unlike a pipe it takes everything at once, whether it is read or not.
fn in_memory(bytes: &[u8]) -> io::Result<File> {
    let mut file = File::from(rustix::fs::memfd_create("kubecertd-event", MemfdFlags::CLOEXEC)?);
    file.write_all(bytes)?;
    file.rewind()?;
    Ok(file)
}
