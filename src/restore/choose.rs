//! The paths of a backup that a restore means.

use std::path::{Path, PathBuf};

use crate::backup::stored::{Entry, Kind, Manifest};
use crate::config::Settings;
use crate::scan::Scan;

/// A part of a backup that can be restored alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Part {
    /// All certificates and keys.
    Pki,
    /// The kubeconfigs in the kubernetes directory, and their copies.
    Kubeconfig,
    /// The manifests of the static pods.
    Manifests,
    /// The kubelet's certificates and configuration.
    Kubelet,
}

/// Returns the entries of these parts (of all parts if none is named), without the directories
/// above them.
///
/// etcd's data is restored in another way. kubecertd's own configuration is not restored, since it
/// decides about this very restore.
pub fn choose<'a>(manifest: &'a Manifest, settings: &Settings, scan: &Scan, parts: &[Part]) -> Vec<&'a Entry> {
    let wanted = |entry: &&Entry| {
        let part = part_of(manifest, settings, scan, entry);
        part.is_some_and(|part| parts.is_empty() || parts.contains(&part))
    };
    manifest.entries.iter().filter(wanted).collect()
}

fn part_of(manifest: &Manifest, settings: &Settings, scan: &Scan, entry: &Entry) -> Option<Part> {
    let path = &entry.path;
    let paths = &settings.paths;
    let data = manifest.etcd.as_ref().and_then(|etcd| etcd.data.as_ref());
    let within =
        |directory: &Path| path.starts_with(directory) || ways(manifest, directory).any(|way| path.starts_with(way));
    if data.is_some_and(|data| path.starts_with(data)) || path.starts_with("/etc/kubecertd") {
        return None;
    }
    if within(&scan.manifests_directory) {
        return Some(Part::Manifests);
    }
    if within(&paths.kubelet) {
        // The `pki` directory and two files, but not the kubelet's directory itself.
        return (path != &paths.kubelet).then_some(Part::Kubelet);
    }
    if within(&paths.pki) {
        return Some(Part::Pki);
    }
    match entry.kind {
        // Directories above the backed-up files are created if they are missing, and mean nothing
        // else.
        Kind::Directory => None,
        Kind::File | Kind::Symlink if path.parent() == Some(&paths.kubernetes) => Some(Part::Kubeconfig),
        Kind::File if settings.copies.iter().any(|copy| copy.path == *path) => Some(Part::Kubeconfig),
        Kind::File | Kind::Symlink => Some(Part::Pki),
    }
}

/// Returns the places that a directory led to at the time of the backup, through a symlink in it.
fn ways<'a>(manifest: &'a Manifest, directory: &Path) -> impl Iterator<Item = PathBuf> + use<'a> {
    let directory = directory.to_owned();
    let links = manifest.entries.iter().filter(move |entry| entry.path == directory);
    links.filter_map(|link| Some(link.path.parent()?.join(link.target.as_ref()?)))
}
