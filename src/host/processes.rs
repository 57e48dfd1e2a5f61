//! Processes of the node.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use super::Host;
use crate::model::{Failure, Process, Timestamp};

/// Numbers of fields in proc_pid_stat(5).
const STATE: usize = 3;
const STARTTIME: usize = 22;

impl Host {
    /// Returns the process id of a running program with this name (`/proc/PID/comm`, which holds 15
    /// characters).
    pub fn running(&self, program: &str) -> Option<u32> {
        let proc = Path::new("/proc");
        self.names(proc).ok()?.iter().find_map(|name| {
            let pid: u32 = name.to_str()?.parse().ok()?;
            let comm = std::fs::read_to_string(self.at(&proc.join(name).join("comm"))).ok()?;
            (comm.trim_end() == program).then_some(pid)
        })
    }

    /// Returns all processes of these programs, by the name that they were started with.
    pub fn processes(&self, programs: &[&str]) -> Vec<Process> {
        let names = self.names(Path::new("/proc")).unwrap_or_default();
        let pids = names.iter().filter_map(|name| name.to_str()?.parse().ok());
        pids.filter_map(|pid| self.process(pid))
            .filter(|process| programs.contains(&process.program.as_str()))
            .collect()
    }

    /// Returns the processes of a program in containers of pods.
    pub fn processes_in_pods(&self, program: &str) -> Vec<Process> {
        let mut all = self.processes(&[program]);
        all.retain(|process| process.in_pod);
        all
    }

    /// Returns the process with this id. `None` if it has ended, or is a thread of the kernel.
    pub fn process(&self, pid: i32) -> Option<Process> {
        let directory = self.at(Path::new("/proc")).join(pid.to_string());
        let read = |name: &str| std::fs::read(directory.join(name)).ok();
        let command = read("cmdline")?;
        let called = command
            .split(|byte| *byte == 0)
            .next()
            .filter(|called| !called.is_empty())?;
        let stat = String::from_utf8_lossy(&read("stat")?).into_owned();
        // The second field is the name in brackets, with any characters. A zombie has ended.
        let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
        let state = fields.next()?;
        let program = Path::new(OsStr::from_bytes(called)).file_name()?.to_str()?.to_owned();
        Some(Process {
            pid,
            ticks: fields.nth(STARTTIME - STATE - 1)?.parse().ok()?,
            program,
            in_pod: String::from_utf8_lossy(&read("cgroup")?).contains("kubepods"),
        })
        .filter(|_| !matches!(state, "Z" | "X"))
    }

    /// Returns its start by the wall clock. `None` if the clock does not reach that far.
    pub fn started(&self, process: &Process) -> Option<Timestamp> {
        let uptime = time::Duration::seconds(self.uptime());
        let ran_from = i64::try_from(process.ticks / rustix::param::clock_ticks_per_second()).ok()?;
        self.now()
            .checked_sub(uptime)?
            .checked_add(time::Duration::seconds(ran_from))
    }

    /// Ends a process at once (SIGKILL). Returns false if it has ended, or another process has its
    /// id.
    ///
    /// The descriptor is opened before the identity is read, so that no other process can be hit
    /// (pidfd_open(2)).
    pub fn kill(&self, process: &Process) -> Result<bool, Failure> {
        let fail = |e: rustix::io::Errno| {
            Failure::new(format!(
                "cannot end {} (pid {}): {}",
                process.program,
                process.pid,
                super::reason(&e.into())
            ))
        };
        let Some(pid) = rustix::process::Pid::from_raw(process.pid) else {
            return Ok(false);
        };
        let descriptor = match rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()) {
            Err(rustix::io::Errno::SRCH) => return Ok(false),
            other => other.map_err(fail)?,
        };
        if self.process(process.pid).as_ref() != Some(process) {
            return Ok(false);
        }
        match rustix::process::pidfd_send_signal(&descriptor, rustix::process::Signal::KILL) {
            Err(rustix::io::Errno::SRCH) => Ok(false),
            other => other.map(|()| true).map_err(fail),
        }
    }

    /// Returns the node's name: `/etc/hostname` of the root, or the kernel's host name.
    pub fn node_name(&self) -> String {
        let file = self.read(Path::new("/etc/hostname")).ok();
        file.and_then(|f| Some(f.bytes.text().ok()?.trim().to_owned()))
            .filter(|name| !name.is_empty())
            .or_else(|| nix::unistd::gethostname().ok()?.into_string().ok())
            .unwrap_or_else(|| "unknown".into())
    }
}
