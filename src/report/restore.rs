//! The report of a restore that was done, or would be done.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::{Format, json, yaml};
use crate::backup::stored::Kind;
use crate::format::text;
use crate::model::{Exit, Failure};
use crate::plan::readers::ReaderStep;
use crate::restart::pending::PendingRestart;
use crate::restart::{RestartResult, Rollout};
use crate::restore::Restoration;
use crate::restore::etcd::{EtcdPlan, Source};

/// A restore. A stable interface.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Name of the backup.
    pub id: String,
    /// True if it was carried out.
    pub done: bool,
    /// The paths that change.
    pub changes: Vec<Row>,
    /// Files next to the restored ones that the backup does not have.
    pub left_alone: Vec<PathBuf>,
    /// The readers that cache restored files, and are restarted.
    pub restarts: Vec<Restart>,
    /// The results for the readers, and all warnings.
    #[serde(flatten)]
    pub rollout: Rollout,
    /// The backup that was made before.
    pub backup: Option<PathBuf>,
}

/// A reader.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs)]
pub struct Restart {
    pub reader: String,
    pub because: Vec<String>,
}

/// A path.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs)]
pub struct Row {
    pub path: PathBuf,
    pub kind: Kind,
    /// `missing`, or the differences: `content`, `owner`, `mode`, `attributes`, `target`.
    pub differs: Vec<&'static str>,
}

impl Report {
    /// Returns the report of a restore that was not begun.
    pub fn of(restoration: &Restoration, steps: &[ReaderStep]) -> Self {
        let changes = restoration.changes.iter().map(|change| Row {
            path: change.path.clone(),
            kind: change.kind,
            differs: change.differs.clone(),
        });
        let restarts = steps.iter().filter(|step| step.restarts()).map(|step| Restart {
            reader: step.reader.clone(),
            because: step.holds.clone(),
        });
        Self {
            id: restoration.id.clone(),
            done: false,
            changes: changes.collect(),
            left_alone: restoration.left_alone.clone(),
            restarts: restarts.collect(),
            rollout: Rollout::default(),
            backup: None,
        }
    }

    /// Renders it.
    pub fn render(&self, format: Format) -> Result<String, Failure> {
        match format {
            Format::Json => json(self),
            Format::Yaml => yaml(self),
            Format::Text | Format::Wide => Ok(self.text()),
        }
    }

    fn text(&self) -> String {
        let mut out = String::new();
        if !self.changes.is_empty() {
            let head = ["CHANGE", "WAS", "PATH"].map(str::to_owned).to_vec();
            let rows = self.changes.iter().map(|row| {
                let what = if row.differs == ["missing"] { "make" } else { "replace" };
                let was = row.differs.join(", ");
                vec![what.to_owned(), was, row.path.display().to_string()]
            });
            out.push_str(&text::table(&std::iter::once(head).chain(rows).collect::<Vec<_>>()));
        }
        for path in &self.left_alone {
            out.push_str(&format!("not in {}, left alone: {}\n", self.id, path.display()));
        }
        for restart in &self.restarts {
            let because = restart.because.join(", ");
            let is_restarted = self.rollout.restarted.iter().any(|done| done.reader == restart.reader);
            let what = match (self.done, is_restarted) {
                (false, _) => "restart",
                (true, true) => "restarted",
                (true, false) => "still has to be restarted:",
            };
            out.push_str(&format!("{what} {}: it holds {because} in memory\n", restart.reader));
        }
        if let Some(backup) = &self.backup {
            out.push_str(&format!("backup of what was there: {}\n", backup.display()));
        }
        let paths = self.changes.len();
        out.push_str(&match (self.done, paths) {
            (_, 0) => format!("everything is as in {}\n", self.id),
            (true, _) => format!("restored {paths} paths from {}\n", self.id),
            (false, _) => format!("{paths} paths would be restored from {}\n", self.id),
        });
        out
    }
}

/// A restore of etcd's data. A stable interface.
#[derive(Debug, Clone, Serialize)]
pub struct EtcdReport {
    /// Name of the backup.
    pub id: String,
    /// True if it was carried out.
    pub done: bool,
    /// `snapshot` or `copy`.
    pub from: &'static str,
    /// Data directory.
    pub data: PathBuf,
    /// Present or future place of the old directory. `None` if there is none.
    pub aside: Option<PathBuf>,
    /// Manifests that are parked meanwhile.
    pub stopped: Vec<PathBuf>,
    /// True if the revision is raised, by which clients learn that the history is another one.
    pub bumps_revision: bool,
    /// The readers that were restarted.
    pub restarted: Vec<RestartResult>,
    /// The readers that still have to be restarted.
    pub pending: Vec<PendingRestart>,
    /// Warnings for the operator.
    pub warnings: Vec<String>,
    /// The reason that a component did not become ready.
    pub error: Option<String>,
}

impl EtcdReport {
    /// Returns the report of a restore that was not begun.
    pub fn of(plan: &EtcdPlan, has_old: bool, aside: &Path) -> Self {
        let (from, bumps_revision) = match &plan.source {
            Source::Snapshot { tool, .. } => ("snapshot", !tool.bump.is_empty()),
            Source::Copy(_) => ("copy", false),
        };
        let mut warnings = Vec::new();
        if !bumps_revision {
            let advice = "the revision goes back: restart the kubelets of the other nodes, \
                          and all other clients that watch the API";
            warnings.push(advice.into());
        }
        Self {
            id: plan.id.clone(),
            done: false,
            from,
            data: plan.data.clone(),
            aside: has_old.then(|| aside.to_owned()),
            stopped: plan.manifests.clone(),
            bumps_revision,
            restarted: Vec::new(),
            pending: Vec::new(),
            warnings,
            error: None,
        }
    }

    /// Returns the exit code.
    pub fn exit(&self) -> Exit {
        if self.error.is_none() { Exit::Done } else { Exit::Partly }
    }

    /// Renders it.
    pub fn render(&self, format: Format) -> Result<String, Failure> {
        match format {
            Format::Json => json(self),
            Format::Yaml => yaml(self),
            Format::Text | Format::Wide => Ok(self.text()),
        }
    }

    fn text(&self) -> String {
        let mut out = String::new();
        if !self.done {
            for manifest in &self.stopped {
                out.push_str(&format!("take out {}\n", manifest.display()));
            }
            out.push_str(&format!(
                "make {} of the {} in {}\n",
                self.data.display(),
                self.from,
                self.id
            ));
            if let Some(aside) = &self.aside {
                out.push_str(&format!("keep the old one as {}\n", aside.display()));
            }
            out.push_str("put the manifests back, and restart who watches the API\n");
            return out;
        }
        for restarted in &self.restarted {
            let (reader, method) = (&restarted.reader, restarted.method);
            out.push_str(&format!("restarted {reader} ({method}, {:.1} s)\n", restarted.seconds));
        }
        for pending in &self.pending {
            out.push_str(&format!("{} still has to be restarted\n", pending.step.reader));
        }
        if let Some(aside) = &self.aside {
            out.push_str(&format!("the old data is kept: {}\n", aside.display()));
        }
        out.push_str(&format!("restored etcd from the {} in {}\n", self.from, self.id));
        out
    }
}
