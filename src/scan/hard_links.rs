//! Finds all names of the files that have more than one.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use super::Scan;
use crate::config::Settings;
use crate::host::{Host, write};

/// Maximum number of names that are kept of one file. A file with more names is not replaced.
const MAX_NAMES: usize = 8;

/// Adds the other names of each file, as far as they are in a directory of a file of the scan.
pub(super) fn find(host: &Host, settings: &Settings, scan: &mut Scan) {
    let copies = scan.copies.iter().filter_map(|copy| copy.read.as_ref().ok());
    let mut read = scan.files.values().flatten().map(Arc::as_ref).chain(copies);
    if !read.any(|file| file.identity.links > 1) {
        return;
    }
    let names = names_by_inode(host, directories(settings, scan));
    let copies = scan.copies.iter_mut().filter_map(|copy| copy.read.as_mut().ok());
    let files = scan.files.values_mut().flatten().filter(|file| file.identity.links > 1);
    for file in files.map(Arc::make_mut).chain(copies) {
        let of_file = names.get(&(file.identity.device, file.identity.inode));
        let of_file = of_file.filter(|names| names.len() <= MAX_NAMES).into_iter().flatten();
        file.names.extend(of_file.filter(|name| **name != file.real).cloned());
    }
}

fn directories(settings: &Settings, scan: &Scan) -> BTreeSet<PathBuf> {
    let copies = scan.copies.iter().map(|copy| &copy.spec.path);
    let files = scan.files.keys().chain(copies);
    let of_kubeadm = [
        settings.paths.kubernetes.clone(),
        settings.paths.pki.clone(),
        settings.paths.pki.join("etcd"),
    ];
    files
        .map(|path| write::parent(path).to_owned())
        .chain(of_kubeadm)
        .collect()
}

/// Returns the names of each file in these directories, by device and inode.
fn names_by_inode(host: &Host, directories: BTreeSet<PathBuf>) -> BTreeMap<(u64, u64), BTreeSet<PathBuf>> {
    let mut names: BTreeMap<(u64, u64), BTreeSet<PathBuf>> = BTreeMap::new();
    for directory in directories {
        let Ok(directory) = host.resolve(&directory) else {
            continue;
        };
        for name in host.names(&directory.real).unwrap_or_default() {
            let path = directory.real.join(name);
            if let Some(found) = host.identity(&path) {
                names.entry((found.device, found.inode)).or_default().insert(path);
            }
        }
    }
    names
}
