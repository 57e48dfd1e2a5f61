//! Which paths of a backup are meant.

use std::path::{Path, PathBuf};

use crate::backup::stored::{Entry, Kind, Manifest};
use crate::config::Settings;
use crate::scan::Scan;

/// A part of a backup that can be restored by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Part {
    /// Certificates and keys, wherever they are.
    Pki,
    /// The kubeconfigs beside the PKI, and their copies.
    Kubeconfig,
    /// The static pods.
    Manifests,
    /// The kubelet's certificates and configuration.
    Kubelet,
}

/// The entries of these parts (all parts where none is named), without the directories above them.
///
/// etcd's data is not among them (it has a way of its own), and neither is kubecertd's own configuration, which decides over this
/// very restore.
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
        // Its `pki` and two files, and not the directory itself.
        return (path != &paths.kubelet).then_some(Part::Kubelet);
    }
    if within(&paths.pki) {
        return Some(Part::Pki);
    }
    match entry.kind {
        // Those above what was backed up are made where they are missing, and are nothing by themselves.
        Kind::Directory => None,
        Kind::File | Kind::Symlink if path.parent() == Some(&paths.kubernetes) => Some(Part::Kubeconfig),
        Kind::File if settings.copies.iter().any(|copy| copy.path == *path) => Some(Part::Kubeconfig),
        Kind::File | Kind::Symlink => Some(Part::Pki),
    }
}

/// Where a directory led when the backup was taken, by a symlink that is in it.
fn ways<'a>(manifest: &'a Manifest, directory: &Path) -> impl Iterator<Item = PathBuf> + use<'a> {
    let directory = directory.to_owned();
    let links = manifest.entries.iter().filter(move |entry| entry.path == directory);
    links.filter_map(|link| Some(link.path.parent()?.join(link.target.as_ref()?)))
}
