//! Restarts that are still to be done: a durable record of its own, which no recover undoes.

use serde::{Deserialize, Serialize};

use crate::catalog::readers::Means;
use crate::host::Host;
use crate::host::write::beside;
use crate::model::{Failure, Process, Timestamp};
use crate::plan::readers::ReaderStep;

/// The record's name in the state folder.
const RECORD: &str = "pending-restarts.json";

/// One reader that still has to be restarted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    /// The program, for example `kube-scheduler`.
    pub reader: String,
    /// How.
    #[serde(flatten)]
    pub means: Means,
    /// What it holds in memory.
    pub because: Vec<String>,
    /// It may wait for a maintenance window until then, seconds since 1970; none: it may not.
    pub until: Option<i64>,
    /// Its processes when it was recorded: once they are gone and another one runs, it has been restarted.
    pub before: Vec<Process>,
    /// The boot that they belong to.
    pub boot_id: String,
}

impl Pending {
    /// A step that was not taken yet.
    pub fn new(host: &Host, step: &ReaderStep, before: &[Process]) -> Self {
        Self {
            reader: step.reader.clone(),
            means: step.means.clone(),
            because: step.holds.clone(),
            until: step.until.map(Timestamp::unix_timestamp),
            before: before.to_vec(),
            boot_id: host.boot_id(),
        }
    }

    /// The step that it is.
    pub fn step(&self) -> ReaderStep {
        ReaderStep {
            reader: self.reader.clone(),
            means: self.means.clone(),
            reads: Vec::new(),
            holds: self.because.clone(),
            until: self.until.and_then(|until| Timestamp::from_unix_timestamp(until).ok()),
        }
    }

    /// Whether it has been restarted since, by whomever: another process runs than those that were recorded.
    pub fn is_settled(&self, host: &Host, now: &[Process]) -> bool {
        let is_new = |process: &Process| !self.before.contains(process);
        !now.is_empty() && (self.boot_id != host.boot_id() || now.iter().all(is_new))
    }
}

/// What is still to be restarted: a pod whose manifest is gone is not. A record that does not parse counts as empty: a stop here
/// would keep every certificate from being renewed.
pub fn read(host: &Host) -> Vec<Pending> {
    let file = host.read(&host.state(RECORD)).ok();
    let mut all: Vec<Pending> = file
        .and_then(|file| serde_json::from_slice(&file.bytes).ok())
        .unwrap_or_default();
    all.retain(|pending| match &pending.means {
        Means::Pod { manifest } => host.exists(manifest),
        Means::Unit { .. } | Means::Exec { .. } => true,
    });
    all
}

/// Replaces the record; an empty one is removed.
pub fn record(host: &Host, all: &[Pending]) -> Result<(), Failure> {
    if all.is_empty() {
        return host.remove_state(RECORD);
    }
    let json = serde_json::to_vec_pretty(all).map_err(|e| Failure::new(format!("cannot record the restarts: {e}")))?;
    host.write_state(RECORD, &json)
}

/// Removes what an interrupted process left beside the record and the manifests in it.
pub fn clean(host: &Host) -> Result<(), Failure> {
    host.unlink(&beside(&host.state(RECORD), "new"))?;
    for pending in read(host) {
        pending.clean(host)?;
    }
    Ok(())
}

impl Pending {
    /// Removes what an interrupted restart left beside its manifest.
    pub fn clean(&self, host: &Host) -> Result<(), Failure> {
        match &self.means {
            Means::Pod { manifest } => host.unlink(&beside(manifest, "new")),
            Means::Unit { .. } | Means::Exec { .. } => Ok(()),
        }
    }
}
