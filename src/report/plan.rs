//! `plan`: the actions that would be taken, their reasons, and the times at which other credentials
//! are due.

use std::path::PathBuf;

use serde::Serialize;

use super::{Format, json, yaml};
use crate::catalog::readers::RestartMethod;
use crate::format::text;
use crate::model::Failure;
use crate::plan::readers::ReaderStep;
use crate::plan::{Item, Plan};

/// The plan as a document. A stable interface.
#[derive(Debug, Serialize)]
pub(super) struct Document {
    credentials: Vec<Row>,
    restarts: Vec<RestartRow>,
    copies: Vec<CopyRow>,
    warnings: Vec<String>,
}

/// A credential.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    name: String,
    path: PathBuf,
    decision: &'static str,
    reason: String,
    expires: Option<String>,
    due: Option<String>,
}

/// A copy of a kubeconfig.
#[derive(Debug, Serialize)]
pub(super) struct CopyRow {
    path: PathBuf,
    of: String,
    decision: &'static str,
    reason: String,
}

/// Returns the rows of all copies.
pub(super) fn copies(plan: &Plan) -> Vec<CopyRow> {
    let rows = plan.copies.iter().map(|copy| {
        let (decision, reason) = plan.words_of_copy(copy);
        CopyRow {
            path: copy.path.clone(),
            of: copy.of.clone(),
            decision,
            reason,
        }
    });
    rows.collect()
}

/// A reader that is restarted.
#[derive(Debug, Serialize)]
pub(super) struct RestartRow {
    reader: String,
    #[serde(flatten)]
    means: RestartMethod,
    reason: String,
    /// Time until which it may wait for a maintenance window.
    until: Option<String>,
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

impl From<&ReaderStep> for RestartRow {
    fn from(step: &ReaderStep) -> Self {
        Self {
            reader: step.reader.clone(),
            means: step.means.clone(),
            reason: format!("it holds {}", step.holds.join(", ")),
            until: step.until.map(text::rfc3339),
        }
    }
}

/// Renders a plan with its warnings.
pub fn render(plan: &Plan, warnings: &[String], format: Format) -> Result<String, Failure> {
    let document = Document {
        credentials: plan.items.iter().map(Row::from).collect(),
        restarts: plan.restarts().map(RestartRow::from).collect(),
        copies: copies(plan),
        warnings: warnings.to_vec(),
    };
    match format {
        Format::Json => json(&document),
        Format::Yaml => yaml(&document),
        Format::Text | Format::Wide => Ok(table(plan)),
    }
}

/// Returns the table of a plan, and the restarts after it.
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
    for step in plan.restarts() {
        let how = match &step.means {
            RestartMethod::Pod { manifest } => format!("by its manifest {}", manifest.display()),
            RestartMethod::Unit { unit, .. } => format!("by its unit {unit}"),
            RestartMethod::Exec { command } => format!("by {}", command.join(" ")),
        };
        out.push_str(&format!(
            "\nrestart {} {how}: it holds {} in memory",
            step.reader,
            step.holds.join(", ")
        ));
    }
    for row in copies(plan) {
        let CopyRow {
            path,
            of,
            decision,
            reason,
        } = row;
        out.push_str(&format!("\n{decision} {}, a copy of {of}: {reason}", path.display()));
    }
    if plan.restarts().next().is_some() || !plan.copies.is_empty() {
        out.push('\n');
    }
    out
}
