//! Creates a backup: under a temporary name, synced, checked, then renamed. A backup is
//! complete or does not exist.

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

/// A complete backup that holds the old bytes of every file that a plan replaces. Only [`create`]
/// makes one, so that nothing is renewed without it.
#[derive(Debug)]
pub struct Backup {
    /// Directory of the backup.
    pub directory: PathBuf,
    /// Warnings about parts that are missing from the backup.
    pub warnings: Vec<String>,
    /// Failures to archive this or earlier backups, whose files stay plain.
    pub unarchived: Vec<Failure>,
    digests: BTreeMap<PathBuf, String>,
}

impl Backup {
    /// Returns the backup's copy of a replaced file, and its digest.
    pub fn of(&self, real: &Path) -> Option<(PathBuf, &str)> {
        let digest = self.digests.get(real)?;
        Some((self.directory.join(FILES).join(real.strip_prefix("/").ok()?), digest))
    }
}

/// Purpose of a backup.
#[derive(Debug, Clone, Copy)]
pub enum Purpose<'a> {
    /// A plan is about to be carried out.
    Renewal(&'a Clearance),
    /// A backup is about to be restored.
    Restore {
        /// Name of the restored backup.
        id: &'a str,
        /// The files that the restore replaces, as they are now.
        replaced: &'a [File],
    },
    /// A person asked for it.
    ByHand,
    /// `[backup] schedule` asked for it.
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
            Self::ByHand => "manual".into(),
            Self::Scheduled => "scheduled".into(),
        }
    }

    /// Returns true if the backup is useless without etcd's data. A renewal of a credential that
    /// ends within `urgent_before` does not wait for it.
    fn must_have_etcd(self, settings: &Settings) -> bool {
        let is_urgent = match self {
            Self::Renewal(clearance) => clearance.plan().is_urgent(settings),
            _ => false,
        };
        settings.backup.before_renewal == BeforeRenewal::Required && !is_urgent
    }

    /// Returns true if etcd's data belongs in the backup. A restore of files does not touch it, and
    /// a restore of etcd keeps the old directory.
    fn has_etcd(self, settings: &Settings) -> bool {
        settings.backup.before_renewal != BeforeRenewal::Off && !matches!(self, Self::Restore { .. })
    }

    /// Returns the files that are about to be replaced.
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

/// Creates a backup, then removes those beyond the retention limits.
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
    // Archive the backups that a crash left plain: no cycle is unfinished now.
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
    let mut creation = Creation {
        host,
        settings,
        scan,
        inventory,
        purpose,
        unfinished: unfinished.clone(),
        copied: Vec::new(),
    };
    let built = creation.build(&mut backup);
    if let Err(failure) = built {
        // The first failure is the one to report.
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

/// A backup while it is made.
struct Creation<'a> {
    host: &'a Host,
    settings: &'a Settings,
    scan: &'a Scan,
    inventory: &'a Inventory,
    purpose: Purpose<'a>,
    /// Directory until the backup is complete.
    unfinished: PathBuf,
    /// The files that were copied.
    copied: Vec<CopySummary>,
}

impl Creation<'_> {
    fn build(&mut self, backup: &mut Backup) -> Result<(), Failure> {
        let Self {
            host,
            settings,
            scan,
            inventory,
            purpose,
            ..
        } = *self;
        let files = self.unfinished.join(FILES);
        host.make_directory(&files)?;
        let mut progress = Progress::of("copy of the files", 0);
        let replaced = purpose.replaced(inventory);
        for path in places(host, settings, scan, inventory, &replaced) {
            apart(&self.unfinished, &path)?;
            host.copy(&path, &files, &mut self.copied, &mut progress)?;
        }
        let capture = self.etcd_part()?;
        directories_above(host, &files, &mut self.copied)?;
        backup.warnings.extend(capture.warning);
        let list = Manifest {
            format: 1,
            node: host.node_name(),
            created: rfc3339(scan.at),
            finished: rfc3339(host.now()),
            reason: purpose.reason(),
            etcd: capture.etcd,
            seal: settings.backup.archives().then(|| ArchiveInfo {
                compress: <&str>::from(settings.backup.compress).into(),
                encrypted: !settings.backup.encrypt_with.is_empty(),
            }),
            payloads: capture.payload.into_iter().collect(),
            entries: self.copied.iter().map(Entry::from).collect(),
        };
        host.sync_copies(&files, &self.copied)?;
        let json = archive::json(&list)?;
        host.create(&self.unfinished.join(MANIFEST), &json, &Attributes::plain(0o600))?;
        host.sync_directory(&files)?;
        host.sync_directory(&self.unfinished)?;
        backup.digests = check(host, &replaced, &files, &list)?;
        Ok(())
    }

    /// Backs up etcd's data, if it belongs in the backup. If the files alone are enough, a failure
    /// becomes a warning.
    fn etcd_part(&mut self) -> Result<etcd::EtcdCapture, Failure> {
        if !self.purpose.has_etcd(self.settings) {
            return Ok(etcd::EtcdCapture::default());
        }
        let mut target = etcd::Target {
            host: self.host,
            settings: self.settings,
            directory: &self.unfinished,
            copied: &mut self.copied,
        };
        let capture = target.back_up(self.inventory);
        let Err(failure) = capture else { return capture };
        self.host.check_stop()?;
        if self.purpose.must_have_etcd(self.settings) {
            let hint = "without etcd's data: [backup] before_renewal = \"files\"";
            return Err(match &failure.hint {
                Some(before) => {
                    let both = format!("{before}; or continue {hint}");
                    failure.hint(both)
                }
                None => failure.hint(format!("renew {hint}")),
            });
        }
        archive::clear(self.host, &self.unfinished, SNAPSHOT)?;
        Ok(etcd::EtcdCapture {
            warning: Some(format!("the backup has no copy of etcd's data: {failure}")),
            etcd: Some(stored::Etcd::none(EtcdKind::Missing, Some(failure.message))),
            payload: None,
        })
    }
}

/// Adds the directories above the copied files, so that a restore to an empty disk creates them as
/// they were.
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

/// Reads the copies of the files to be replaced back, and compares them with the manifest and the
/// scan.
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
                .hint("stop the program that writes to it, then run the command again"));
            };
            digests.insert(name.clone(), digest);
        }
    }
    Ok(digests)
}
