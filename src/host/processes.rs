//! What runs on the node.

use std::path::Path;

use super::Host;

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
}
