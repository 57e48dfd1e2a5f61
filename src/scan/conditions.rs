//! Conditions of a renewal: which components run, whether another tool renews, and whether the
//! clock can be trusted. kubecertd observes them after the files were read, since the files say
//! which components to look for.

use std::path::PathBuf;

use super::Scan;
use crate::config::Settings;
use crate::host::Host;
use crate::model::{File, Process, Timestamp};
use crate::state::{self, LastAssessment};

/// Everything besides the files that a plan and the guard decide by.
#[derive(Debug, Clone, Default)]
pub struct Conditions {
    /// The processes of the components that run.
    pub running: Vec<RunningReader>,
    /// The process id of a running kubeadm.
    pub kubeadm: Option<u32>,
    /// Files below `/etc/kubernetes/tmp`, where kubeadm stages an upgrade, that changed less than
    /// an hour ago.
    pub staged: Vec<PathBuf>,
    /// Files of credentials and CAs that another program changed less than a minute ago.
    pub fresh: Vec<PathBuf>,
    /// True if systemd says that the clock is synchronized; `None` if it does not say.
    pub synchronized: Option<bool>,
    /// The last assessment that the daemon recorded.
    pub last_assessment: Option<LastAssessment>,
    /// The id of this boot.
    pub boot_id: String,
    /// Seconds since boot.
    pub uptime: i64,
}

/// A process of a component (reader).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunningReader {
    /// The name of the component.
    pub reader: String,
    /// The time of its start, by the present wall clock.
    pub started: Timestamp,
}

/// Observes the conditions after a scan. `components` are the programs whose processes count.
pub fn observe(host: &Host, settings: &Settings, scan: &Scan, components: &[&str]) -> Conditions {
    let staging = settings.paths.kubernetes.join("tmp");
    let hour_ago = scan.at - time::Duration::HOUR;
    let staged = host
        .names(&staging)
        .unwrap_or_default()
        .into_iter()
        .map(|name| staging.join(name));
    let ours = state::wrote(host);
    let is_fresh = |file: &File| {
        let age = scan.at - file.identity.modified;
        age.abs() < time::Duration::MINUTE && !ours(file)
    };
    Conditions {
        running: running(host, components),
        kubeadm: host.running("kubeadm"),
        staged: staged.filter(|path| host.changed_since(path, hour_ago)).collect(),
        fresh: scan
            .files
            .values()
            .flatten()
            .filter(|file| is_fresh(file))
            .map(|file| file.real.clone())
            .collect(),
        synchronized: host.synchronized(),
        last_assessment: state::last_assessment(host),
        boot_id: host.boot_id(),
        uptime: host.uptime(),
    }
}

fn running(host: &Host, components: &[&str]) -> Vec<RunningReader> {
    let processes = host.processes(components).into_iter();
    let started = |process: Process| {
        Some(RunningReader {
            started: host.started(&process)?,
            reader: process.program,
        })
    };
    processes.filter_map(started).collect()
}
