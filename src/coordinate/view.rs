//! The state of the cluster as an assessment reads it, without the lock; and the removal of this
//! node's marker.

use tracing::{info, warn};

use super::contact::{self, contact};
use super::keys::LockRecords;
use super::remember;
use crate::config::Settings;
use crate::config::settings::CoordinationMode;
use crate::etcd::member::known;
use crate::host::Host;
use crate::host::etcd::store::{If, Then};
use crate::inventory::Inventory;
use crate::model::Peer;

/// The state of the cluster at an assessment.
#[derive(Debug, Clone, Default)]
pub struct ClusterView {
    /// Records of the lock.
    pub written: LockRecords,
    /// Members.
    pub members: Vec<Peer>,
    /// Name of this node among them.
    pub own: String,
}

impl ClusterView {
    /// Returns true if this node has begun and not finished.
    pub fn has_own_marker(&self) -> bool {
        self.written.unfinished.iter().any(|marker| marker.node == self.own)
    }

    /// Returns true if any node has begun and not finished.
    pub fn has_markers(&self) -> bool {
        !self.written.unfinished.is_empty()
    }

    /// Drops the marker of this node, which was removed since.
    pub fn forget_own_marker(&mut self) {
        self.written.unfinished.retain(|marker| marker.node != self.own);
    }
}

/// Reads the state of the cluster without a lock, and stores its members. Returns `None` if it has
/// only one member or does not answer.
pub fn view(host: &Host, settings: &Settings, inventory: &Inventory) -> Option<ClusterView> {
    if settings.coordination.mode == CoordinationMode::Off {
        return None;
    }
    let mut contact = contact(host, settings, inventory).ok()?;
    remember(host, &contact.peers);
    if contact.peers.len() < 2 {
        return None;
    }
    Some(ClusterView {
        written: contact.written().ok()?,
        own: contact::name(host, &known(inventory, settings)),
        members: contact.peers,
    })
}

/// Removes the marker of this node. Nothing may be unfinished here, its readers must be healthy,
/// and the caller must hold the node's lock. Returns false if no marker was there, or it cannot be
/// removed.
pub fn clear(host: &Host, settings: &Settings, inventory: &Inventory) -> bool {
    if settings.coordination.mode == CoordinationMode::Off {
        return false;
    }
    let Ok(mut contact) = contact(host, settings, inventory) else {
        return false;
    };
    let own = contact::name(host, &known(inventory, settings));
    let Ok(written) = contact.written() else { return false };
    let Some(marker) = written.unfinished.iter().find(|marker| marker.node == own) else {
        return false;
    };
    let done = contact.ask(|member| member.change(If::Always, &[Then::Delete(&marker.marker())]));
    match &done {
        Ok(_) => info!("this node is healthy: removed its marker in etcd, which blocked the other nodes"),
        Err(trouble) => warn!("cannot remove the marker of this node in etcd: {trouble}"),
    }
    done.is_ok()
}
