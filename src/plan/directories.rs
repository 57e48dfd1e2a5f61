//! The directories that a cycle writes to.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::Plan;
use crate::config::Settings;
use crate::inventory::Inventory;

/// Returns the directories that a cycle may write to, except the state directory: those of the
/// credentials that are renewed here, of the manifests, of the copies of kubeconfigs, and of the
/// backups.
pub fn written(plan: &Plan, inventory: &Inventory, settings: &Settings) -> BTreeSet<PathBuf> {
    let items = plan.items.iter().filter(|item| item.due.is_some());
    let copies = plan.copies.iter().filter(|copy| copy.left.is_none());
    let files = items
        .map(|item| item.path.as_path())
        .chain(inventory.pods.iter().map(|pod| pod.file.real.as_path()))
        .chain(copies.map(|copy| copy.path.as_path()));
    let directories = files
        .filter_map(Path::parent)
        .chain([settings.backup.directory.as_path(), &settings.paths.kubernetes]);
    directories.map(Path::to_owned).collect()
}
