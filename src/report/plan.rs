//! `plan`: what would be done, why, and when the rest is due.

use std::path::PathBuf;

use serde::Serialize;

use super::{Format, json, yaml};
use crate::format::text;
use crate::model::Failure;
use crate::plan::{Item, Plan, Restart};

/// The plan as a document. A stable interface.
#[derive(Debug, Serialize)]
pub(super) struct Document {
    credentials: Vec<Row>,
    restarts: Vec<RestartRow>,
    warnings: Vec<String>,
}

/// One credential.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    name: String,
    path: PathBuf,
    decision: &'static str,
    reason: String,
    expires: Option<String>,
    due: Option<String>,
}

/// One static pod.
#[derive(Debug, Serialize)]
pub(super) struct RestartRow {
    reader: String,
    manifest: PathBuf,
    reason: String,
}

impl From<&Item> for Row {
    fn from(item: &Item) -> Self {
        let (decision, reason) = item.decision.words();
        Self {
            name: item.name.clone(),
            path: item.path.clone(),
            decision,
            reason,
            expires: item.expires.map(text::rfc3339),
            due: item.due.map(text::rfc3339),
        }
    }
}

impl std::fmt::Display for Row {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}: {}", self.decision, self.name, self.reason)
    }
}

impl From<&Restart> for RestartRow {
    fn from(restart: &Restart) -> Self {
        Self {
            reader: restart.reader.clone(),
            manifest: restart.manifest.clone(),
            reason: format!("it reads {}", restart.because.join(", ")),
        }
    }
}

/// Renders a plan with what speaks against it.
pub fn render(plan: &Plan, warnings: &[String], format: Format) -> Result<String, Failure> {
    let document = Document {
        credentials: plan.items.iter().map(Row::from).collect(),
        restarts: plan.restarts.iter().map(RestartRow::from).collect(),
        warnings: warnings.to_vec(),
    };
    match format {
        Format::Json => json(&document),
        Format::Yaml => yaml(&document),
        Format::Text | Format::Wide => Ok(table(plan)),
    }
}

/// The table of a plan, and the restarts after it.
pub(super) fn table(plan: &Plan) -> String {
    let head = ["CREDENTIAL", "DECISION", "EXPIRES", "DUE", "REASON"]
        .map(str::to_owned)
        .to_vec();
    let rows = plan.items.iter().map(|item| {
        let (decision, reason) = item.decision.words();
        let date = |at: Option<_>| at.map(text::date).unwrap_or_default();
        vec![
            item.name.clone(),
            decision.to_owned(),
            date(item.expires),
            date(item.due),
            reason,
        ]
    });
    let mut out = text::table(&std::iter::once(head).chain(rows).collect::<Vec<_>>());
    for restart in &plan.restarts {
        out.push_str(&format!(
            "\nrestart {} by an annotation in {}: it holds {} in memory",
            restart.reader,
            restart.manifest.display(),
            restart.because.join(", ")
        ));
    }
    if !plan.restarts.is_empty() {
        out.push('\n');
    }
    out
}
