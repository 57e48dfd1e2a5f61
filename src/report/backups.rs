//! `backup list`: the sets and what is in them.

use serde::Serialize;

use super::{Format, json, yaml};
use crate::backup::set::Set;
use crate::format::text;
use crate::model::Failure;

/// One set. A stable interface.
#[derive(Debug, Serialize)]
struct Row<'a> {
    id: &'a str,
    created: Option<&'a str>,
    reason: Option<&'a str>,
    node: Option<&'a str>,
    files: usize,
    bytes: u64,
    /// Why its list cannot be read.
    error: Option<&'a str>,
}

impl<'a> From<&'a Set> for Row<'a> {
    fn from(set: &'a Set) -> Self {
        let manifest = set.manifest.as_ref().ok();
        Self {
            id: &set.id,
            created: manifest.map(|m| m.created.as_str()),
            reason: manifest.map(|m| m.reason.as_str()),
            node: manifest.map(|m| m.node.as_str()),
            files: manifest.map_or(0, |m| m.entries.iter().filter(|entry| entry.size.is_some()).count()),
            bytes: set.size(),
            error: set.manifest.as_ref().err().map(String::as_str),
        }
    }
}

/// Renders the sets.
pub fn render(sets: &[Set], format: Format) -> Result<String, Failure> {
    let rows: Vec<_> = sets.iter().map(Row::from).collect();
    match format {
        Format::Json => json(&rows),
        Format::Yaml => yaml(&rows),
        Format::Text | Format::Wide => Ok(table(&rows)),
    }
}

fn table(rows: &[Row<'_>]) -> String {
    let head = ["BACKUP", "FILES", "SIZE", "REASON"].map(str::to_owned).to_vec();
    let rows = rows.iter().map(|row| {
        let reason = row.error.map(|e| format!("cannot be used: {e}"));
        let reason = reason.unwrap_or_else(|| row.reason.unwrap_or_default().to_owned());
        vec![row.id.to_owned(), row.files.to_string(), text::bytes(row.bytes), reason]
    });
    text::table(&std::iter::once(head).chain(rows).collect::<Vec<_>>())
}
