//! What runs on the node.

use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::Host;

/// How often a running program is asked whether it has ended.
const EVERY: Duration = Duration::from_millis(10);

impl Host {
    /// The process id of a running program with this name, if there is one (`/proc/PID/comm`, which holds 15 characters).
    pub fn running(&self, program: &str) -> Option<u32> {
        let proc = Path::new("/proc");
        self.names(proc).ok()?.iter().find_map(|name| {
            let pid: u32 = name.to_str()?.parse().ok()?;
            let comm = std::fs::read_to_string(self.at(&proc.join(name).join("comm"))).ok()?;
            (comm.trim_end() == program).then_some(pid)
        })
    }

    /// The node's name: `/etc/hostname` of the root, or what the kernel says.
    pub fn node_name(&self) -> String {
        let file = self.read(Path::new("/etc/hostname")).ok();
        file.and_then(|f| Some(f.bytes.text().ok()?.trim().to_owned()))
            .filter(|name| !name.is_empty())
            .or_else(|| nix::unistd::gethostname().ok()?.into_string().ok())
            .unwrap_or_else(|| "unknown".into())
    }

    /// What a program of this machine prints, if it ends well within `limit`: no shell, no environment, no input.
    pub fn output(&self, program: &Path, arguments: &[&str], limit: Duration) -> Option<String> {
        let deadline = Instant::now() + limit;
        let mut child = Command::new(program)
            .args(arguments)
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let status = loop {
            match child.try_wait() {
                Ok(Some(status)) => break status,
                Ok(None) if Instant::now() < deadline => std::thread::sleep(EVERY),
                _ => {
                    // It is ours and hangs; there is nothing to learn from a failure to end it.
                    let _ = child.kill();
                    let _ = child.wait();
                    return None;
                }
            }
        };
        let mut text = String::new();
        child.stdout.take()?.take(4096).read_to_string(&mut text).ok()?;
        status.success().then_some(text)
    }
}
