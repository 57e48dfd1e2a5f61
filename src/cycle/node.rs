//! Reading the node: the first step of every assessment, and of `doctor`.

use crate::config::Settings;
use crate::host::Host;
use crate::inventory::{self, Inventory};
use crate::scan::{self, Conditions, Scan};

/// The node as it was read. Nothing is decided yet.
#[derive(Debug)]
pub struct NodeState {
    /// The files.
    pub scan: Scan,
    /// The credentials, CAs and components that the files hold.
    pub inventory: Inventory,
    /// The processes of the components, other tools that renew, and the clock.
    pub conditions: Conditions,
}

impl NodeState {
    /// Reads the node: first its files, then its processes and clock. Writes nothing.
    pub fn read(host: &Host, settings: &Settings) -> Self {
        let scan = scan::scan(host, settings);
        let inventory = inventory::build(&scan);
        let components: Vec<_> = inventory.readers.iter().map(|reader| reader.name.as_str()).collect();
        let conditions = scan::observe(host, settings, &scan, &components);
        Self {
            scan,
            inventory,
            conditions,
        }
    }
}
