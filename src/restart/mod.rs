//! Restart: makes the readers of renewed credentials use the new ones, one after the other.
//!
//! A reader that reloads its files is probed for up to 90 s. A reader that caches the old
//! credential, or still shows it after that time, is restarted: first by the configured method,
//! then by parking its manifest. Each attempt has `[restart] timeout`. The caller rolls back a
//! failure.

mod attempt;
pub mod park;
pub mod pending;
mod readers;
pub mod static_pod;
pub mod unit;

use std::collections::BTreeMap;

use serde::Serialize;

use crate::catalog::readers::{KUBELET, RestartMethod};
use crate::host::Host;
use crate::inventory::Inventory;
use crate::inventory::readers::Reader;
use crate::model::Process;
use crate::plan::readers::ReaderStep;
use crate::verify::{ProofResult, is_well, probes};
use pending::PendingRestart;
pub use readers::{ReaderRestarts, RestartAttempt};

/// The state of the readers before anything changed.
#[derive(Debug)]
pub struct Baseline {
    readers: BTreeMap<String, ReaderState>,
    /// A kubelet runs and answers. Without one, a static pod that ends is not started again.
    kubelet: bool,
}

#[derive(Debug)]
struct ReaderState {
    processes: Vec<Process>,
    /// The reason that the reader was unhealthy, if it said one.
    unhealthy: Option<String>,
}

impl Baseline {
    /// Returns true if a reader with this method can be restarted now; a static pod needs a
    /// kubelet.
    pub fn can_restart(&self, method: &RestartMethod) -> bool {
        self.kubelet || !matches!(method, RestartMethod::Pod { .. })
    }

    /// Returns true if every reader ran and none was unhealthy.
    pub fn all_were_healthy(&self) -> bool {
        self.readers
            .values()
            .all(|state| state.unhealthy.is_none() && !state.processes.is_empty())
    }

    /// Returns the processes that a reader had.
    pub fn processes(&self, reader: &str) -> &[Process] {
        self.readers.get(reader).map_or(&[], |state| &state.processes)
    }
}

/// The price of not restarting a reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Urgency {
    /// All old credentials stay valid for a while. A reader that was unhealthy is left alone.
    Calm,
    /// An old credential has expired or ends within `urgent_before`. A reader is restarted even if
    /// it was unhealthy.
    Urgent,
}

/// The results for the readers. Every step of a cycle or a restore that deals with readers appends
/// to it.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Rollout {
    /// The readers that were restarted.
    pub restarted: Vec<RestartResult>,
    /// The proof for each renewed credential and each of its readers.
    pub proofs: Vec<ProofResult>,
    /// The readers whose restart was begun, whether it succeeded or not.
    #[serde(skip)]
    pub attempted: Vec<String>,
    /// The restarts that still have to be done.
    #[serde(rename = "pending_restarts")]
    pub pending: Vec<PendingRestart>,
    /// The sentences that the operator should read.
    pub warnings: Vec<String>,
}

impl Rollout {
    /// Appends what came after it.
    pub fn append(&mut self, other: Self) {
        self.restarted.extend(other.restarted);
        self.proofs.extend(other.proofs);
        self.attempted.extend(other.attempted);
        self.pending.extend(other.pending);
        self.warnings.extend(other.warnings);
    }
}

/// A reader that was restarted.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RestartResult {
    /// The program, for example `kube-scheduler`.
    pub reader: String,
    /// The way in which it is restarted.
    #[serde(flatten)]
    pub means: RestartMethod,
    /// `touch`, `park`, `restart`, `reload` or `exec`.
    pub method: &'static str,
    /// Seconds from the change to the proof.
    pub seconds: f64,
}

/// Records the state of the readers before anything is changed.
pub fn baseline(host: &Host, inventory: &Inventory, steps: &[ReaderStep]) -> Baseline {
    let known = steps.iter().filter_map(|step| reader(inventory, step));
    let readers = known.map(|reader| {
        let processes = attempt::processes(host, &reader.name, &reader.means);
        let health = probes::health(reader).filter(|_| !processes.is_empty());
        let unhealthy = health.and_then(|health| is_well(host, &health).err());
        (reader.name.clone(), ReaderState { processes, unhealthy })
    });
    Baseline {
        readers: readers.collect(),
        kubelet: kubelet_answers(host, inventory),
    }
}

/// Returns true if a kubelet runs and is healthy. A stopped or frozen kubelet starts no pod again,
/// so that a process that is ended stays away. A kubelet without a health endpoint counts as
/// healthy.
fn kubelet_answers(host: &Host, inventory: &Inventory) -> bool {
    let health = inventory
        .readers
        .iter()
        .find(|reader| reader.name == KUBELET)
        .and_then(probes::health);
    !host.processes(&[KUBELET]).is_empty() && health.is_none_or(|health| is_well(host, &health).is_ok())
}

fn reader<'a>(inventory: &'a Inventory, step: &ReaderStep) -> Option<&'a Reader> {
    inventory.readers.iter().find(|reader| reader.name == step.reader)
}
