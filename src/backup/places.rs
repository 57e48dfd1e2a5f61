//! The files that belong in a backup, and the directories that may hold backups.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::config::Settings;
use crate::host::Host;
use crate::host::write::parent;
use crate::inventory::{Inventory, State};
use crate::model::{Failure, File};
use crate::scan::Scan;

/// Directory of kubecertd's configuration.
const OWN: &str = "/etc/kubecertd";
/// Parts of the kubelet's directory: its certificates, its configuration, and the flags that
/// kubeadm gave it.
const OF_THE_KUBELET: [&str; 3] = ["pki", "config.yaml", "kubeadm-flags.env"];

/// Returns the paths to back up: the PKI, the manifests, the files directly in the kubernetes
/// directory, the parts of the kubelet's directory, kubecertd's configuration, all other files that
/// credentials were read from, and the files that are about to be replaced.
pub(super) fn places(
    host: &Host,
    settings: &Settings,
    scan: &Scan,
    inventory: &Inventory,
    replaced: &[&File],
) -> Vec<PathBuf> {
    let mut places: BTreeSet<PathBuf> = BTreeSet::new();
    let real = |path: &Path| host.resolve(path).ok().map(|r| r.real).filter(|real| host.exists(real));
    let kubelet = OF_THE_KUBELET.map(|name| settings.paths.kubelet.join(name));
    let directories = [&settings.paths.pki, &scan.manifests_directory, &PathBuf::from(OWN)];
    for path in directories.into_iter().chain(&kubelet) {
        places.extend(real(path));
        // A restore finds a directory behind a symlink only through the symlink.
        places.extend(host.is_symlink(path).then(|| path.clone()));
    }
    let kubernetes = real(&settings.paths.kubernetes);
    if let Some(directory) = kubernetes {
        let names = host.names(&directory).unwrap_or_default();
        places.extend(
            names
                .into_iter()
                .map(|n| directory.join(n))
                .filter(|p| host.identity(p).is_some()),
        );
    }
    for credential in &inventory.credentials {
        if let State::Present(present) = &credential.state {
            places.extend(present.files().into_iter().flat_map(|file| file.names.clone()));
        }
    }
    let copies = inventory.copies.iter().filter_map(|copy| copy.held.as_ref().ok());
    places.extend(copies.flat_map(|held| held.file.names.clone()));
    // A symlink is stored as one, next to its target.
    let beside = |path: &Path| Some(host.resolve(parent(path)).ok()?.real.join(path.file_name()?));
    places.extend(scan.paths().filter_map(beside));
    places.extend(inventory.pods.iter().map(|pod| pod.file.real.clone()));
    places.extend(replaced.iter().flat_map(|file| file.names.clone()));
    let all = places.clone();
    places.retain(|path| !path.ancestors().skip(1).any(|above| all.contains(above)));
    places.into_iter().collect()
}

/// Returns the bytes of all files in a directory. Does not follow symlinks.
pub(super) fn size(host: &Host, directory: &Path) -> u64 {
    match host.size(directory) {
        Some(size) => size,
        None if host.is_symlink(directory) => 0,
        None => {
            let names = host.names(directory).unwrap_or_default();
            names.into_iter().map(|name| size(host, &directory.join(name))).sum()
        }
    }
}

/// Fails if the backup directory lies in a directory that is backed up.
pub(super) fn apart(backup: &Path, place: &Path) -> Result<(), Failure> {
    if backup.starts_with(place) {
        let message = format!(
            "cannot back up {}: the backup directory lies inside it",
            place.display()
        );
        return Err(Failure::new(message).hint("set [backup] directory to a directory outside of it"));
    }
    Ok(())
}

/// Returns the real path of the backup directory. Fails if users other than root can change it.
pub(super) fn trusted(host: &Host, directory: &Path) -> Result<PathBuf, Failure> {
    let refuse = |reason: String| {
        Failure::new(format!("cannot back up to {}: {reason}", directory.display()))
            .hint("run `chown root` and `chmod go-w` on these directories, or set [backup] directory")
    };
    match host.resolve(directory) {
        Ok(resolved) => match resolved.unsafe_way.or_else(|| host.distrust(&resolved.real)) {
            Some(reason) => Err(refuse(reason)),
            None => Ok(resolved.real),
        },
        // Directories that do not exist yet are created for root with mode 0700.
        Err(crate::model::ReadError::Missing) => {
            trusted(host, parent(directory)).map(|above| above.join(directory.file_name().unwrap_or_default()))
        }
        Err(crate::model::ReadError::Because(reason)) => Err(refuse(reason)),
    }
}
