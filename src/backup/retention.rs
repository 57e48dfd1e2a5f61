//! Retention: the backups that stay. The newest good one and the newest one before a change always
//! stay.

use std::path::{Path, PathBuf};

use super::stored::{self, StoredBackup, UNFINISHED};
use crate::config::Settings;
use crate::config::settings;
use crate::host::Host;
use crate::host::write::parent;
use crate::model::{Failure, Timestamp};

/// Removes the backups beyond the configured limits, oldest first, and returns them. Never removes
/// a `spared` one: the backup that was just made (its name may be old, if a clock ran ahead
/// before), or the one that is being restored.
pub fn prune(host: &Host, settings: &Settings, now: Timestamp, spared: &[&Path]) -> Result<Vec<PathBuf>, Failure> {
    let mut doomed = doomed(&stored::all(host, &settings.backup.directory), &settings.backup, now);
    doomed.retain(|backup| spared.iter().all(|spared| spared.file_name() != backup.file_name()));
    // They are renamed durably first, so that half a backup is never taken for a whole one.
    let mut going = Vec::new();
    for backup in &doomed {
        let id = backup.file_name().unwrap_or_default().to_string_lossy();
        let unfinished = backup.with_file_name(format!("{UNFINISHED}{id}"));
        host.rename(backup, &unfinished)?;
        going.push(unfinished);
    }
    if let Some(first) = going.first() {
        host.sync_directory(parent(first))?;
    }
    host.remove_trees(&going)?;
    Ok(doomed)
}

/// Returns the backups that [`prune`] would remove now.
pub fn doomed(backups: &[StoredBackup], rules: &settings::Backup, now: Timestamp) -> Vec<PathBuf> {
    let protected = [
        backups.iter().rfind(|backup| backup.is_good()),
        backups.iter().rfind(|backup| backup.is_before_a_change()),
    ];
    let protected: Vec<_> = protected.into_iter().flatten().map(|backup| &backup.id).collect();

    let newest = backups.len().saturating_sub(rules.keep);
    let is_young = |backup: &StoredBackup| created(backup).is_some_and(|created| now - created < rules.keep_within);
    let (mut kept, mut doomed): (Vec<&StoredBackup>, Vec<&StoredBackup>) = (Vec::new(), Vec::new());
    for (at, backup) in backups.iter().enumerate() {
        let stays = at >= newest || is_young(backup) || protected.contains(&&backup.id);
        if stays { kept.push(backup) } else { doomed.push(backup) }
    }
    let mut total: u64 = kept.iter().map(|backup| backup.size()).sum();
    for backup in kept {
        if total <= rules.max_size.unwrap_or(u64::MAX) {
            break;
        }
        if !protected.contains(&&backup.id) {
            total -= backup.size();
            doomed.push(backup);
        }
    }
    doomed.into_iter().map(|backup| backup.directory.clone()).collect()
}

fn created(backup: &StoredBackup) -> Option<Timestamp> {
    crate::format::text::parse_rfc3339(&backup.manifest.as_ref().ok()?.created)
}

/// Removes the rest of an interrupted backup.
pub fn remove_unfinished(host: &Host, directory: &Path) -> Result<(), Failure> {
    for name in host.names(directory).unwrap_or_default() {
        if name.to_str().is_some_and(|name| name.starts_with(UNFINISHED)) {
            host.remove_tree(&directory.join(name))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backup::stored::{Entry, Kind, Manifest};
    use time::macros::datetime;

    const NOW: Timestamp = datetime!(2027-01-31 0:00 UTC);

    /// Returns a backup of 10 bytes from a day in January 2027.
    fn taken(day: u8, reason: &str) -> StoredBackup {
        let entry = Entry {
            path: "/a".into(),
            kind: Kind::File,
            mode: 0o600,
            uid: 0,
            gid: 0,
            mtime: 0,
            size: Some(10),
            sha256: None,
            target: None,
            xattrs: Default::default(),
        };
        let manifest = Manifest {
            format: 1,
            node: "n".into(),
            created: format!("2027-01-{day:02}T00:00:00Z"),
            finished: String::new(),
            reason: reason.into(),
            etcd: None,
            seal: None,
            payloads: Vec::new(),
            entries: vec![entry],
        };
        StoredBackup {
            id: format!("{day}"),
            directory: format!("/{day}").into(),
            manifest: Ok(manifest),
            fault: None,
        }
    }

    fn rules(keep: usize, days: i64, max_size: Option<u64>) -> settings::Backup {
        settings::Backup {
            directory: "/".into(),
            keep,
            keep_within: std::time::Duration::from_secs(days.unsigned_abs() * 86_400),
            max_size,
            before_renewal: settings::BeforeRenewal::Required,
            schedule: None,
            compress: settings::Compress::None,
            encrypt_with: Vec::new(),
            decrypt_with: Vec::new(),
        }
    }

    fn removed(backups: &[StoredBackup], rules: &settings::Backup) -> Vec<String> {
        doomed(backups, rules, NOW)
            .iter()
            .map(|path| path.display().to_string())
            .collect()
    }

    #[test]
    fn the_newest_by_number_and_all_young_ones_stay() {
        let backups: Vec<_> = [1, 10, 20, 28, 29, 30].map(|day| taken(day, "manual")).to_vec();
        assert_eq!(removed(&backups, &rules(2, 0, None)), ["/1", "/10", "/20", "/28"]);
        assert_eq!(removed(&backups, &rules(2, 12, None)), ["/1", "/10"]);
    }

    #[test]
    fn bytes_are_bounded_by_removing_the_oldest() {
        let backups: Vec<_> = [1, 10, 20, 28].map(|day| taken(day, "manual")).to_vec();
        assert_eq!(removed(&backups, &rules(9, 0, Some(25))), ["/1", "/10"]);
        assert_eq!(
            removed(&backups, &rules(9, 0, Some(0))),
            ["/1", "/10", "/20"],
            "the newest good one stays"
        );
    }

    #[test]
    fn the_last_and_the_newest_good_backup_are_never_removed() {
        let mut backups = vec![taken(1, "before renewing a"), taken(2, "before renewing b")];
        backups.extend([10, 20].map(|day| taken(day, "manual")));
        backups.push(StoredBackup {
            manifest: Err("cut".into()),
            ..taken(30, "")
        });
        assert_eq!(removed(&backups, &rules(1, 0, Some(0))), ["/1", "/10", "/30"]);
    }

    #[test]
    fn a_damaged_or_partial_backup_is_not_the_newest_good_one() {
        let damaged = StoredBackup {
            fault: Some("etcd-snapshot.db is missing".into()),
            ..taken(20, "manual")
        };
        let mut without = taken(30, "manual");
        if let Ok(manifest) = &mut without.manifest {
            manifest.etcd = Some(stored::Etcd {
                kind: stored::EtcdKind::Missing,
                because: None,
                data: None,
                snapshot: None,
            });
        }
        let backups = vec![taken(1, "manual"), taken(10, "manual"), damaged, without];
        assert_eq!(removed(&backups, &rules(1, 0, Some(0))), ["/1", "/20", "/30"]);
    }
}
