//! Restarts that are still to be done: a durable record of its own, which no recover undoes.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::host::Host;
use crate::host::write::beside;
use crate::model::Failure;
use crate::plan::Restart;

/// The record's name in the state folder.
const RECORD: &str = "pending-restarts.json";

/// One static pod that still has to be restarted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    /// The program, for example `kube-scheduler`.
    pub reader: String,
    /// Its manifest.
    pub manifest: PathBuf,
    /// Which renewed credentials it reads.
    pub because: Vec<String>,
}

impl From<&Restart> for Pending {
    fn from(restart: &Restart) -> Self {
        Self {
            reader: restart.reader.clone(),
            manifest: restart.manifest.clone(),
            because: restart.because.clone(),
        }
    }
}

/// What is still to be restarted: a pod whose manifest is gone is not. A record that does not parse counts as empty: a stop here
/// would keep every certificate from being renewed.
pub fn read(host: &Host) -> Vec<Pending> {
    let file = host.read_own(&host.state(RECORD)).ok();
    let mut all: Vec<Pending> = file
        .and_then(|file| serde_json::from_slice(&file.bytes).ok())
        .unwrap_or_default();
    all.retain(|pending| host.exists(&pending.manifest));
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
        host.unlink(&beside(&pending.manifest, "new"))?;
    }
    Ok(())
}
