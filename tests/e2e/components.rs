//! The four components as processes, and whether they are healthy.

use super::node::Node;
use std::collections::BTreeMap;
use std::fs;

pub const ETCD: &str = "etcd";
pub const API_SERVER: &str = "kube-apiserver";
pub const CONTROLLER_MANAGER: &str = "kube-controller-manager";
pub const SCHEDULER: &str = "kube-scheduler";
pub const ALL: [&str; 4] = [ETCD, API_SERVER, CONTROLLER_MANAGER, SCHEDULER];

/// One process: its id may come again, together with the ticks at its start it does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Process {
    /// As this machine sees it.
    pub pid: u32,
    /// Since boot.
    pub started: u64,
}

impl Node {
    /// The running processes of the components; a component that does not run is not there.
    pub fn processes(&self) -> BTreeMap<&'static str, Process> {
        let mut found = BTreeMap::new();
        for entry in fs::read_dir("/proc").expect("/proc").flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            // A process may end while the test reads it.
            let Some((component, started)) = self.component(pid) else {
                continue;
            };
            let process = Process { pid, started };
            let newest = found.entry(component).or_insert(process);
            if process.started > newest.started {
                *newest = process;
            }
        }
        found
    }

    fn component(&self, pid: u32) -> Option<(&'static str, u64)> {
        let read = |file: &str| fs::read(format!("/proc/{pid}/{file}")).ok();
        let command = read("cmdline")?;
        let program = std::str::from_utf8(command.split(|byte| *byte == 0).next()?).ok()?;
        let component = ALL.into_iter().find(|name| *name == program)?;
        // A container's cgroup is below the node's.
        let cgroups = String::from_utf8(read("cgroup")?).ok()?;
        if !cgroups.contains(&format!("/{}/", self.name)) {
            return None;
        }
        // proc_pid_stat(5): the command's name may hold anything, starttime is the 20th field after
        // it.
        let stat = String::from_utf8_lossy(&read("stat")?).into_owned();
        let started = stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()?;
        Some((component, started))
    }

    /// Sends a signal to every process on the node whose command has this name.
    #[track_caller]
    pub fn signal(&self, program: &str, signal: &str) {
        self.run(&["busybox", "killall", &format!("-{signal}"), program])
            .exits(0);
    }

    /// The components that do not answer well.
    pub fn unhealthy(&self) -> Vec<&'static str> {
        ALL.into_iter().filter(|component| !self.healthy(component)).collect()
    }

    pub fn healthy(&self, component: &str) -> bool {
        match component {
            ETCD => self.answers_plainly(2381, "/health").contains("\"true\""),
            API_SERVER => self.answers(super::node::API, "/readyz"),
            CONTROLLER_MANAGER => self.answers("127.0.0.1:10257", "/healthz"),
            SCHEDULER => self.answers("127.0.0.1:10259", "/healthz"),
            other => unreachable!("{other} is no component"),
        }
    }
}
