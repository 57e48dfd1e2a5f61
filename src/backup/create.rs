//! Take a backup: built under a temporary name, synced, checked, then renamed. Complete or not there at all.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::places::{apart, places, trusted};
use super::stored::{
    self, ArchiveInfo, BEFORE_RENEWING, BEFORE_RESTORING, Entry, EtcdKind, FILES, MANIFEST, Manifest, SNAPSHOT,
    UNFINISHED,
};
use super::{archive, etcd, retention};
use crate::config::Settings;
use crate::config::settings::BeforeRenewal;
use crate::format::digest::sha256;
use crate::format::text;
use crate::format::text::rfc3339;
use crate::guard::Clearance;
use crate::host::Host;
use crate::host::copy::CopySummary;
use crate::host::progress::Progress;
use crate::host::write::Attributes;
use crate::inventory::{Inventory, Material};
use crate::model::{Failure, File};
use crate::scan::Scan;

/// A complete set that holds the old bytes of every file that the cleared plan replaces. Only [`take`] makes one, so nothing is
/// renewed without it.
#[derive(Debug)]
pub struct Backup {
    /// The backup's directory.
    pub directory: PathBuf,
    /// What could not be kept though it should have been, and why that was no reason to stop.
    pub warnings: Vec<String>,
    /// Why a backup was not sealed although it should be: it holds plain files.
    pub unarchived: Vec<Failure>,
    digests: BTreeMap<PathBuf, String>,
}

impl Backup {
    /// Where the old bytes of a replaced file are, and their digest.
    pub fn of(&self, real: &Path) -> Option<(PathBuf, &str)> {
        let digest = self.digests.get(real)?;
        Some((self.directory.join(FILES).join(real.strip_prefix("/").ok()?), digest))
    }
}

/// What a backup is taken for.
#[derive(Debug, Clone, Copy)]
pub enum Purpose<'a> {
    /// A cleared plan is about to be carried out.
    Renewal(&'a Clearance),
    /// A backup is about to be restored.
    Restore {
        /// Its name.
        id: &'a str,
        /// The files that it replaces, as they are now.
        replaced: &'a [File],
    },
    /// A person wants one.
    ByHand,
    /// `[backup] schedule` wants one.
    Scheduled,
}

impl<'a> Purpose<'a> {
    fn reason(self) -> String {
        match self {
            Self::Renewal(clearance) => {
                let names: Vec<_> = clearance
                    .plan()
                    .renewals()
                    .map(|(item, _)| item.name.as_str())
                    .collect();
                format!("{BEFORE_RENEWING}{}", text::list(&names))
            }
            Self::Restore { id, .. } => format!("{BEFORE_RESTORING}{id}"),
            Self::ByHand => "by hand".into(),
            Self::Scheduled => "scheduled".into(),
        }
    }

    /// Whether it is no set without etcd's data. A renewal of what ends within `urgent_before` does not wait for it.
    fn must_have_etcd(self, settings: &Settings) -> bool {
        let is_urgent = match self {
            Self::Renewal(clearance) => clearance.plan().is_urgent(settings),
            _ => false,
        };
        settings.backup.before_renewal == BeforeRenewal::Required && !is_urgent
    }

    /// Whether etcd's data belongs into it. Restoring files does not touch it, and restoring etcd keeps the old directory.
    fn has_etcd(self, settings: &Settings) -> bool {
        settings.backup.before_renewal != BeforeRenewal::Off && !matches!(self, Self::Restore { .. })
    }

    /// The files that are about to be replaced.
    fn replaced(self, inventory: &'a Inventory) -> Vec<&'a File> {
        match self {
            Self::Renewal(clearance) => {
                let renewals = clearance.plan().renewals();
                let files = renewals.filter_map(|(item, _)| inventory.present(&item.name).map(Material::files));
                let updated: Vec<_> = clearance
                    .plan()
                    .copies_to_update()
                    .map(|(copy, _)| &copy.path)
                    .collect();
                let copies = inventory
                    .copies
                    .iter()
                    .filter(|copy| updated.contains(&&copy.spec.path));
                let copies = copies.filter_map(|copy| Some(&copy.held.as_ref().ok()?.file));
                files.flatten().chain(copies).collect()
            }
            Self::Restore { replaced, .. } => replaced.iter().collect(),
            Self::ByHand | Self::Scheduled => Vec::new(),
        }
    }
}

/// Takes a backup, then rotates.
pub fn create(
    host: &Host,
    settings: &Settings,
    scan: &Scan,
    inventory: &Inventory,
    purpose: Purpose<'_>,
) -> Result<Backup, Failure> {
    let directory = trusted(host, &settings.backup.directory)?;
    host.make_directory(&directory)?;
    retention::remove_unfinished(host, &directory)?;
    // What a crash left unsealed; no cycle is unfinished now.
    let unarchived = archive::archive_all(host, settings);
    let name = free_name(host, &directory, scan);
    let unfinished = directory.join(format!("{UNFINISHED}{name}"));
    let mut backup = Backup {
        directory: directory.join(&name),
        warnings: unarchived
            .iter()
            .map(Failure::to_string)
            .chain(stored::open_to_others(host, &directory))
            .collect(),
        unarchived: Vec::new(),
        digests: BTreeMap::new(),
    };
    let built = build(host, settings, scan, inventory, purpose, &unfinished, &mut backup);
    if let Err(failure) = built {
        // The failure that counts is the one that stopped it.
        let _ = host.remove_tree(&unfinished);
        return Err(failure);
    }
    host.rename(&unfinished, &backup.directory)?;
    host.sync_directory(&directory)?;
    let mut spared = vec![backup.directory.as_path()];
    if let Purpose::Restore { id, .. } = purpose {
        spared.push(Path::new(id));
    }
    let pruned = retention::prune(host, settings, scan.at, &spared);
    if let Err(failure) = pruned {
        backup.warnings.push(failure.to_string());
    }
    Ok(backup)
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
    host.make_directory(&files)?;
    let mut copied: Vec<CopySummary> = Vec::new();
    let mut progress = Progress::of("copy of the files", 0);
    let replaced = purpose.replaced(inventory);
    for path in places(host, settings, scan, inventory, &replaced) {
        apart(unfinished, &path)?;
        host.copy(&path, &files, &mut copied, &mut progress)?;
    }
    let taken = take_etcd(host, settings, inventory, purpose, unfinished, &mut copied)?;
    directories_above(host, &files, &mut copied)?;
    backup.warnings.extend(taken.warning);
    let list = Manifest {
        format: 1,
        node: host.node_name(),
        created: rfc3339(scan.at),
        finished: rfc3339(host.now()),
        reason: purpose.reason(),
        etcd: taken.etcd,
        seal: settings.backup.archives().then(|| ArchiveInfo {
            compress: <&str>::from(settings.backup.compress).into(),
            encrypted: !settings.backup.encrypt_with.is_empty(),
        }),
        payloads: taken.payload.into_iter().collect(),
        entries: copied.iter().map(Entry::from).collect(),
    };
    host.sync_copies(&files, &copied)?;
    let json = archive::json(&list)?;
    host.create(&unfinished.join(MANIFEST), &json, &Attributes::plain(0o600))?;
    host.sync_directory(&files)?;
    host.sync_directory(unfinished)?;
    backup.digests = check(host, &replaced, &files, &list)?;
    Ok(())
}

/// The directories above what was copied: a restore to a disk where they are gone makes them as they were.
fn directories_above(host: &Host, files: &Path, copied: &mut Vec<CopySummary>) -> Result<(), Failure> {
    let above = copied.iter().flat_map(|copied| copied.path.ancestors().skip(1));
    let mut above: BTreeSet<PathBuf> = above.map(Path::to_owned).collect();
    above.remove(Path::new("/"));
    copied.iter().for_each(|copied| _ = above.remove(&copied.path));
    for directory in above.into_iter().rev() {
        copied.push(host.copy_directory(&directory, files)?);
    }
    Ok(())
}

/// etcd's part, where it belongs to the backup. One that failed is no reason to stop where the files are enough, but it is said.
fn take_etcd(
    host: &Host,
    settings: &Settings,
    inventory: &Inventory,
    purpose: Purpose<'_>,
    unfinished: &Path,
    copied: &mut Vec<CopySummary>,
) -> Result<etcd::EtcdCapture, Failure> {
    if !purpose.has_etcd(settings) {
        return Ok(etcd::EtcdCapture::default());
    }
    let taken = etcd::take(host, settings, inventory, unfinished, &unfinished.join(FILES), copied);
    let Err(failure) = taken else { return taken };
    host.check_stop()?;
    if purpose.must_have_etcd(settings) {
        let hint = "without etcd's data: [backup] before_renewal = \"files\"";
        return Err(match &failure.hint {
            Some(before) => {
                let both = format!("{before}; or go on {hint}");
                failure.hint(both)
            }
            None => failure.hint(format!("renewing {hint}")),
        });
    }
    archive::clear(host, unfinished, SNAPSHOT)?;
    Ok(etcd::EtcdCapture {
        warning: Some(format!("the backup has no copy of etcd's data: {failure}")),
        etcd: Some(stored::Etcd::none(EtcdKind::Missing, Some(failure.message))),
        payload: None,
    })
}

/// Reads the copies of the files to be replaced back, and compares them with the list and the scan.
fn check(host: &Host, replaced: &[&File], files: &Path, list: &Manifest) -> Result<BTreeMap<PathBuf, String>, Failure> {
    let mut digests = BTreeMap::new();
    let listed = list.entries.iter().filter(|entry| entry.kind == stored::Kind::File);
    let listed: BTreeMap<&Path, &Entry> = listed.map(|entry| (entry.path.as_path(), entry)).collect();
    for file in replaced {
        let scanned = Some(sha256(&file.bytes));
        for name in &file.names {
            let listed = listed.get(name.as_path()).and_then(|entry| entry.sha256.clone());
            let copy = files.join(name.strip_prefix("/").unwrap_or(name));
            let kept = host.read(&copy).map(|copy| sha256(&copy.bytes)).ok();
            let is_good = kept == listed && kept == scanned;
            let Some(digest) = kept.filter(|_| is_good) else {
                return Err(Failure::new(format!(
                    "cannot back up {}: it changed while it was read",
                    name.display()
                ))
                .hint("somebody else is writing there; run it again"));
            };
            digests.insert(name.clone(), digest);
        }
    }
    Ok(digests)
}
