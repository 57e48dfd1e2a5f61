//! `backup list`: the backups and their contents.

use serde::Serialize;

use super::{Format, json, yaml};
use crate::backup::stored::{Manifest, StoredBackup};
use crate::format::text;
use crate::model::Failure;

/// A backup. A stable interface.
#[derive(Debug, Serialize)]
struct Row<'a> {
    id: &'a str,
    created: Option<&'a str>,
    reason: Option<&'a str>,
    node: Option<&'a str>,
    files: usize,
    bytes: u64,
    /// Origin of etcd's data. `None` on a node without etcd, or if its data was not asked for.
    etcd: Option<&'a str>,
    /// Revision of the store in the snapshot.
    revision: Option<i64>,
    /// True if its files are in an archive.
    sealed: bool,
    /// True if it counts for retention: no part is known to be damaged or missing.
    good: bool,
    /// The reason that it is not good.
    error: Option<&'a str>,
}

impl<'a> From<&'a StoredBackup> for Row<'a> {
    fn from(backup: &'a StoredBackup) -> Self {
        let manifest = backup.manifest.as_ref().ok();
        Self {
            id: &backup.id,
            created: manifest.map(|m| m.created.as_str()),
            reason: manifest.map(|m| m.reason.as_str()),
            node: manifest.map(|m| m.node.as_str()),
            files: manifest.map_or(0, |m| m.entries.iter().filter(|entry| entry.size.is_some()).count()),
            bytes: backup.size(),
            etcd: manifest.and_then(|m| Some(m.etcd.as_ref()?.kind.words())),
            revision: manifest.and_then(|m| Some(m.etcd.as_ref()?.snapshot.as_ref()?.revision)),
            sealed: manifest.is_some_and(Manifest::is_archived),
            good: backup.is_good(),
            error: backup
                .manifest
                .as_ref()
                .err()
                .or(backup.fault.as_ref())
                .map(String::as_str),
        }
    }
}

/// Renders the backups.
pub fn render(backups: &[StoredBackup], format: Format) -> Result<String, Failure> {
    let rows: Vec<_> = backups.iter().map(Row::from).collect();
    match format {
        Format::Json => json(&rows),
        Format::Yaml => yaml(&rows),
        Format::Text | Format::Wide => Ok(table(&rows)),
    }
}

fn table(rows: &[Row<'_>]) -> String {
    let head = ["BACKUP", "FILES", "SIZE", "ETCD", "REASON"]
        .map(str::to_owned)
        .to_vec();
    let rows = rows.iter().map(|row| {
        let reason = row.error.map(|e| format!("cannot be used: {e}"));
        let reason = reason.unwrap_or_else(|| row.reason.unwrap_or_default().to_owned());
        let etcd = match row.revision {
            Some(revision) => format!("snapshot, revision {revision}"),
            None => row.etcd.unwrap_or("-").to_owned(),
        };
        let bytes = text::bytes(row.bytes);
        vec![row.id.to_owned(), row.files.to_string(), bytes, etcd, reason]
    });
    text::table(&std::iter::once(head).chain(rows).collect::<Vec<_>>())
}
