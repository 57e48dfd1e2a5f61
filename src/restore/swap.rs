//! The exchange of etcd's data directory by two renames, which are recorded before they are done.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::host::Host;
use crate::host::record::Record;
use crate::host::write::parent;
use crate::model::{Exit, Failure};

/// The record's name in the state directory.
const RECORD: Record<Swap> = Record::new("etcd-restore.json");

/// An exchange that was begun.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Swap {
    /// Data directory.
    pub data: PathBuf,
    /// New place of the old directory.
    pub aside: PathBuf,
    /// Place where the new directory is made.
    pub new: PathBuf,
    /// File that a snapshot is unpacked to for the tool.
    pub plain: PathBuf,
}

impl Swap {
    /// Records the exchange. `stamp` becomes a part of the name of the old directory.
    pub fn begin(host: &Host, data: &Path, stamp: &str) -> Result<Self, Failure> {
        let named = |what: &str| {
            let mut name = data.file_name().unwrap_or_default().to_owned();
            name.push(format!(".kubecertd-{what}"));
            data.with_file_name(name)
        };
        let swap = Self {
            data: data.to_owned(),
            aside: named(stamp),
            new: named("new"),
            plain: named("snapshot"),
        };
        if host.exists(&swap.aside) {
            let message = format!("cannot keep the old data: {} already exists", swap.aside.display());
            return Err(Failure::new(message));
        }
        RECORD.write(host, &swap)?;
        // The rest of an attempt that was not recovered.
        host.remove_tree(&swap.new)?;
        host.unlink(&swap.plain)?;
        Ok(swap)
    }

    /// Puts the new directory in place of the old one. etcd must not run.
    pub fn exchange(&self, host: &Host) -> Result<(), Failure> {
        if host.exists(&self.data) {
            host.rename(&self.data, &self.aside)?;
            host.sync_directory(parent(&self.data))?;
        }
        host.rename(&self.new, &self.data)?;
        host.sync_directory(parent(&self.data))
    }

    /// Puts the old directory back and removes the new one. etcd must not run.
    pub fn take_back(&self, host: &Host) -> Result<(), Failure> {
        if host.exists(&self.aside) {
            if host.exists(&self.data) {
                host.rename(&self.data, &self.new)?;
            }
            host.rename(&self.aside, &self.data)?;
            host.sync_directory(parent(&self.data))?;
        }
        self.end(host)
    }

    /// Returns true if the old directory is still there.
    pub fn has_old(&self, host: &Host) -> bool {
        host.exists(&self.aside)
    }

    /// Removes temporary files and the record. The old directory stays where it is.
    pub fn end(&self, host: &Host) -> Result<(), Failure> {
        host.remove_tree(&self.new)?;
        host.unlink(&self.plain)?;
        RECORD.remove(host)
    }
}

/// Returns true if an exchange is under way or was interrupted.
pub fn is_unfinished(host: &Host) -> bool {
    RECORD.exists(host)
}

/// Ends an exchange that was interrupted. If the data directory is missing, the old one comes back;
/// if the new one is in its place, it stays. Must run before etcd's manifest comes back: without
/// its directory, etcd would begin an empty cluster.
pub fn recover(host: &Host) -> Result<Option<String>, Failure> {
    RECORD.clean(host)?;
    let fail = |reason: String| {
        Failure::new(format!("cannot read {}: {reason}", RECORD.path(host).display()))
            .hint("check that etcd's data directory is in place, then remove the record")
            .exit(Exit::RollbackFailed)
    };
    let Some(swap) = RECORD.read(host).map_err(fail)? else {
        return Ok(None);
    };
    if !host.exists(&swap.data) && swap.has_old(host) {
        swap.take_back(host)?;
        return Ok(Some(format!(
            "rolled back an interrupted restore of etcd: {} is the old directory",
            swap.data.display()
        )));
    }
    let said = if swap.has_old(host) {
        format!(
            "completed an interrupted restore of etcd: {} is the restored directory, {} the old one",
            swap.data.display(),
            swap.aside.display()
        )
    } else {
        format!(
            "canceled an interrupted restore of etcd: {} is unchanged",
            swap.data.display()
        )
    };
    swap.end(host)?;
    Ok(Some(said))
}
