//! Take a set: built under a temporary name, synced, checked, then renamed. Complete or not there at all.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::retention;
use super::set::{self, BEFORE_A_CHANGE, Entry, FILES, MANIFEST, Manifest, UNFINISHED};
use crate::config::Settings;
use crate::config::settings::BeforeRenewal;
use crate::format::digest::sha256;
use crate::format::text;
use crate::guard::Cleared;
use crate::host::Host;
use crate::host::copy::Copied;
use crate::host::files::can_be_read_back;
use crate::host::write::{Attributes, parent};
use crate::inventory::{Inventory, Present, State};
use crate::model::{Failure, File};
use crate::plan::Decision;
use crate::scan::Scan;

/// A complete set that holds the old bytes of every file that the cleared plan replaces. Only [`take`] makes one, so nothing is
/// renewed without it.
#[derive(Debug)]
pub struct Backup {
    /// The set's folder.
    pub folder: PathBuf,
    /// What could not be kept though it should have been, and why that was no reason to stop.
    pub warnings: Vec<String>,
    digests: BTreeMap<PathBuf, String>,
}

impl Backup {
    /// Where the old bytes of a replaced file are, and their digest.
    pub fn of(&self, real: &Path) -> Option<(PathBuf, &str)> {
        let digest = self.digests.get(real)?;
        Some((self.folder.join(FILES).join(real.strip_prefix("/").ok()?), digest))
    }
}

/// What a set is taken for.
#[derive(Debug, Clone, Copy)]
pub enum Purpose<'a> {
    /// A cleared plan is about to be carried out.
    Renewal(&'a Cleared),
    /// A person wants one.
    ByHand,
}

impl Purpose<'_> {
    fn reason(self) -> String {
        let Self::Renewal(cleared) = self else {
            return "by hand".into();
        };
        let names: Vec<_> = cleared.plan().renewals().map(|(item, _)| item.name.as_str()).collect();
        format!("{BEFORE_A_CHANGE}{}", text::list(&names))
    }

    /// Some of what will be renewed ends within `urgent_before`: then the files alone are enough.
    fn is_urgent(self, settings: &Settings, inventory: &Inventory) -> bool {
        let Self::Renewal(cleared) = self else { return false };
        let urgent = inventory.at + settings.urgent_before;
        let mut ends = cleared.plan().renewals().filter_map(|(item, _)| item.expires);
        ends.any(|ends| ends < urgent)
    }

    /// The files that are about to be replaced.
    fn replaced(self, inventory: &Inventory) -> Vec<&File> {
        let Self::Renewal(cleared) = self else {
            return Vec::new();
        };
        let items = cleared.plan().items.iter().zip(&inventory.credentials);
        let files = items.filter_map(|(item, credential)| match (&item.decision, &credential.state) {
            (Decision::Renew { .. }, State::Present(present)) => Some(Present::files(present)),
            _ => None,
        });
        files.flatten().collect()
    }
}

/// Takes a set, then rotates.
pub fn take(
    host: &Host,
    settings: &Settings,
    scan: &Scan,
    inventory: &Inventory,
    purpose: Purpose<'_>,
) -> Result<Backup, Failure> {
    let directory = trusted(host, &settings.backup.directory)?;
    host.make_folder(&directory)?;
    retention::remove_unfinished(host, &directory)?;
    let name = free_name(host, &directory, scan);
    let unfinished = directory.join(format!("{UNFINISHED}{name}"));
    let mut backup = Backup {
        folder: directory.join(&name),
        warnings: Vec::new(),
        digests: BTreeMap::new(),
    };
    let built = build(host, settings, scan, inventory, purpose, &unfinished, &mut backup);
    if let Err(failure) = built {
        // The failure that counts is the one that stopped it.
        let _ = host.remove_tree(&unfinished);
        return Err(failure);
    }
    host.rename(&unfinished, &backup.folder)?;
    host.sync_folder(&directory)?;
    if let Err(failure) = retention::prune(host, settings, scan.at, Some(&backup.folder)) {
        backup.warnings.push(failure.to_string());
    }
    Ok(backup)
}

/// The real path of the backup folder, refused where others than root could change it.
fn trusted(host: &Host, directory: &Path) -> Result<PathBuf, Failure> {
    let refuse = |reason: String| {
        Failure::new(format!("cannot back up to {}: {reason}", directory.display()))
            .hint("give the folders on the way to root, or set [backup] directory")
    };
    match host.resolve(directory) {
        Ok(resolved) => match resolved.unsafe_way.or_else(|| host.distrust(&resolved.real)) {
            Some(reason) => Err(refuse(reason)),
            None => Ok(resolved.real),
        },
        // Folders that do not exist yet are made, root's and 0700.
        Err(crate::model::Unread::Missing) => {
            trusted(host, parent(directory)).map(|above| above.join(directory.file_name().unwrap_or_default()))
        }
        Err(crate::model::Unread::Because(reason)) => Err(refuse(reason)),
    }
}

fn free_name(host: &Host, directory: &Path, scan: &Scan) -> String {
    let at = scan.at;
    let base = format!(
        "{:04}{:02}{:02}T{:02}{:02}{:02}Z",
        at.year(),
        u8::from(at.month()),
        at.day(),
        at.hour(),
        at.minute(),
        at.second()
    );
    let mut name = base.clone();
    let mut number = 1;
    while host.exists(&directory.join(&name)) {
        number += 1;
        name = format!("{base}-{number}");
    }
    name
}

fn build(
    host: &Host,
    settings: &Settings,
    scan: &Scan,
    inventory: &Inventory,
    purpose: Purpose<'_>,
    unfinished: &Path,
    backup: &mut Backup,
) -> Result<(), Failure> {
    let files = unfinished.join(FILES);
    host.make_folder(&files)?;
    let mut copied: Vec<Copied> = Vec::new();
    for path in places(host, settings, scan, inventory) {
        apart(unfinished, &path)?;
        host.copy(&path, &files, &mut copied)?;
    }
    if let Err(failure) = copy_etcd(host, settings, inventory, &files, &mut copied) {
        if must_have_etcd(settings, inventory, purpose) {
            return Err(failure.hint("renewing without a copy of etcd's data: [backup] before_renewal = \"files\""));
        }
        backup
            .warnings
            .push(format!("the backup has no copy of etcd's data: {failure}"));
    }
    let list = Manifest {
        format: 1,
        node: host.node_name(),
        created: text::rfc3339(scan.at),
        reason: purpose.reason(),
        entries: copied.iter().map(Entry::from).collect(),
    };
    host.sync_copies(&files, &copied)?;
    let json = serde_json::to_vec_pretty(&list)
        .map_err(|e| Failure::new(format!("cannot write the list of the backup: {e}")))?;
    can_be_read_back(&json, "the list of the backup")?;
    host.create(&unfinished.join(MANIFEST), &json, &Attributes::plain(0o600))?;
    host.sync_folder(&files)?;
    host.sync_folder(unfinished)?;
    backup.digests = check(host, inventory, purpose, &files, &list)?;
    Ok(())
}

/// PKI, manifests, the files directly in the kubernetes folder, and whatever else a credential was read from.
fn places(host: &Host, settings: &Settings, scan: &Scan, inventory: &Inventory) -> Vec<PathBuf> {
    let mut places: BTreeSet<PathBuf> = BTreeSet::new();
    let real = |path: &Path| host.resolve(path).ok().map(|r| r.real).filter(|real| host.exists(real));
    places.extend(
        [&settings.paths.pki, &scan.manifests_folder]
            .into_iter()
            .filter_map(|p| real(p)),
    );
    let kubernetes = real(&settings.paths.kubernetes);
    if let Some(folder) = kubernetes {
        let names = host.names(&folder).unwrap_or_default();
        places.extend(
            names
                .into_iter()
                .map(|n| folder.join(n))
                .filter(|p| host.identity(p).is_some()),
        );
    }
    for credential in &inventory.credentials {
        if let State::Present(present) = &credential.state {
            places.extend(present.files().into_iter().flat_map(|file| file.names.clone()));
        }
    }
    // A symlink is kept as one, beside the file that it leads to.
    let beside = |path: &Path| Some(host.resolve(parent(path)).ok()?.real.join(path.file_name()?));
    places.extend(scan.paths().filter_map(beside));
    places.extend(inventory.pods.iter().map(|pod| pod.file.real.clone()));
    let all = places.clone();
    places.retain(|path| !path.ancestors().skip(1).any(|above| all.contains(above)));
    places.into_iter().collect()
}

/// The backup folder must not lie in what is copied.
fn apart(set: &Path, place: &Path) -> Result<(), Failure> {
    if set.starts_with(place) {
        let message = format!("cannot back up {}: the backup folder lies inside it", place.display());
        return Err(Failure::new(message).hint("set [backup] directory to a folder outside of it"));
    }
    Ok(())
}

fn copy_etcd(
    host: &Host,
    settings: &Settings,
    inventory: &Inventory,
    files: &Path,
    copied: &mut Vec<Copied>,
) -> Result<(), Failure> {
    if settings.backup.before_renewal == BeforeRenewal::Off || inventory.etcd_is_external {
        return Ok(());
    }
    let from_manifest = inventory
        .etcd()
        .and_then(|m| Some(m.on_the_node(Path::new(m.flag("data-dir")?))));
    let known = settings.paths.etcd_data.clone().or(from_manifest);
    let data = known.clone().unwrap_or_else(|| "/var/lib/etcd".into());
    match host.resolve(&data) {
        Ok(found) if host.exists(&found.real) => {
            apart(files, &found.real)?;
            let before = copied.len();
            host.copy(&found.real, files, copied).inspect_err(|_| {
                copied.truncate(before);
                // Half of it would look like all of it, and may be what filled the disk.
                let _ = host.remove_tree(&files.join(found.real.strip_prefix("/").unwrap_or(&found.real)));
            })
        }
        // No member was ever meant to be here (a worker, or a node before `kubeadm init`).
        _ if known.is_none() && !inventory.has_etcd() => Ok(()),
        _ => Err(Failure::new(format!(
            "cannot copy etcd's data: {} is not there",
            data.display()
        ))),
    }
}

fn must_have_etcd(settings: &Settings, inventory: &Inventory, purpose: Purpose<'_>) -> bool {
    settings.backup.before_renewal == BeforeRenewal::Required && !purpose.is_urgent(settings, inventory)
}

/// Reads the copies of the files to be replaced back, and compares them with what was scanned.
fn check(
    host: &Host,
    inventory: &Inventory,
    purpose: Purpose<'_>,
    files: &Path,
    list: &Manifest,
) -> Result<BTreeMap<PathBuf, String>, Failure> {
    let mut digests = BTreeMap::new();
    for file in purpose.replaced(inventory) {
        let digest = sha256(&file.bytes);
        for name in &file.names {
            let listed = list
                .entries
                .iter()
                .find(|e| e.path == *name && e.kind == set::Kind::File);
            let copy = files.join(name.strip_prefix("/").unwrap_or(name));
            let kept = host.read(&copy).map(|copy| sha256(&copy.bytes)).ok();
            if listed.and_then(|e| e.sha256.as_deref()) != Some(&digest) || kept.as_deref() != Some(&digest) {
                return Err(Failure::new(format!(
                    "cannot back up {}: it changed while it was read",
                    name.display()
                ))
                .hint("somebody else is writing there; run it again"));
            }
            digests.insert(name.clone(), digest.clone());
        }
    }
    Ok(digests)
}
