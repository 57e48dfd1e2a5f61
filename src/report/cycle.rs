//! The report of a cycle.

use std::path::PathBuf;

use serde::Serialize;
use strum::{IntoStaticStr, VariantArray};

use super::{Format, json, plan, yaml};
use crate::coordinate::LockRefusal;
use crate::format::text;
use crate::model::{Exit, Failure};
use crate::plan::{Decision, Item, Plan, Request, Which};
use crate::restart::pending::PendingRestart;
use crate::restart::{RestartResult, Rollout};
use crate::verify::ProofResult;

/// Everything that a cycle found and did.
#[derive(Debug, Clone)]
pub struct Report {
    /// The request.
    pub request: Request,
    /// The plan that it carried out.
    pub plan: Plan,
    /// The backup that it made.
    pub backup: Option<PathBuf>,
    /// The new pairs that are in place.
    pub renewed: Vec<RenewedCredential>,
    /// The results for the readers, and all warnings.
    pub rollout: Rollout,
    /// The last step that was begun. After a failure, the one that failed.
    pub step: Option<Step>,
    /// The reason that this node did not get the cluster lock. At most a backup was made.
    pub blocked: Option<LockRefusal>,
    /// The reason that it failed.
    pub failure: Option<Failure>,
}

/// The steps that change something, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum Step {
    /// The cluster lock is taken.
    Coordinate,
    /// A backup is made.
    Backup,
    /// New pairs are issued and installed.
    Renew,
    /// The readers are restarted, and prove that they use the new credentials.
    Restart,
}

/// A renewed credential.
#[derive(Debug, Clone, Serialize)]
pub struct RenewedCredential {
    /// Name.
    pub name: String,
    /// Path of its file.
    pub path: PathBuf,
    /// Old serial number, in hex.
    pub old_serial: String,
    /// New serial number, in hex.
    pub new_serial: String,
    /// End of the old certificate.
    pub old_end: String,
    /// End of the new certificate.
    pub new_end: String,
}

#[derive(Debug, Serialize)]
struct Document<'a> {
    outcome: &'static str,
    exit: u8,
    backup: Option<&'a PathBuf>,
    renewed: &'a [RenewedCredential],
    restarted: &'a [RestartResult],
    proofs: &'a [ProofResult],
    pending_restarts: &'a [PendingRestart],
    credentials: Vec<plan::Row>,
    copies: Vec<plan::CopyRow>,
    warnings: &'a [String],
    error: Option<&'a str>,
}

impl Report {
    /// Returns the report of a cycle that was not begun.
    pub fn new(request: Request, plan: Plan, warnings: Vec<String>) -> Self {
        Self {
            request,
            plan,
            backup: None,
            renewed: Vec::new(),
            rollout: Rollout {
                warnings,
                ..Rollout::default()
            },
            step: None,
            blocked: None,
            failure: None,
        }
    }

    /// Records that the cluster lock was refused or lost.
    pub fn block(&mut self, blocked: LockRefusal) {
        self.step = Some(Step::Coordinate);
        self.failure = Some(blocked.failure());
        self.blocked = Some(blocked);
    }

    /// Returns the exit code.
    pub fn exit(&self) -> Exit {
        if let Some(failure) = &self.failure {
            return failure.exit;
        }
        let copies = self.plan.copies.iter().filter(|copy| copy.fault).count();
        let faults = self.plan.faults().count() + self.refused().count() + copies;
        let is_blocked = |item: &Item| matches!(item.decision, Decision::Blocked { .. });
        let wanted = self.request.which != Which::Due || self.plan.faults().any(is_blocked);
        match (faults, self.renewed.is_empty()) {
            (0, _) => Exit::Done,
            (_, false) => Exit::Partly,
            // A renewal was wanted, and none was done.
            (_, true) if wanted => Exit::Failed,
            (_, true) => Exit::Partly,
        }
    }

    /// Returns the credentials that were requested by name and are not renewed, although the node
    /// has no fault (the key of the CA may be kept elsewhere).
    fn refused(&self) -> impl Iterator<Item = &Item> {
        let names: &[String] = match &self.request.which {
            Which::Named(names) => names,
            Which::Due | Which::All => &[],
        };
        let is_done = |item: &Item| matches!(item.decision, Decision::Renew { .. } | Decision::With(_));
        let is_fault = |item: &Item| self.plan.faults().any(|fault| fault.name == item.name);
        let items = self.plan.items.iter();
        items.filter(move |item| names.contains(&item.name) && !is_done(item) && !is_fault(item))
    }

    /// Returns the result in a few words.
    pub fn outcome(&self) -> &'static str {
        match self.exit() {
            _ if self.blocked.is_some() => "blocked",
            Exit::Done if !self.renewed.is_empty() => "renewed",
            Exit::Done if !self.rollout.restarted.is_empty() => "restarted what an earlier cycle had left",
            Exit::Done => "nothing due",
            Exit::Partly if self.renewed.is_empty() => "nothing due, but not all could be read",
            Exit::Partly => "renewed in part",
            Exit::RollbackFailed => "rollback failed",
            _ => "failed",
        }
    }

    /// Returns a line for the journal.
    pub fn summary(&self) -> String {
        let names: Vec<_> = self.renewed.iter().map(|r| r.name.as_str()).collect();
        let faults: Vec<_> = self.plan.faults().map(|item| item.name.as_str()).collect();
        let mut out = self.outcome().to_owned();
        let pending: Vec<_> = self
            .rollout
            .pending
            .iter()
            .map(|left| left.step.reader.as_str())
            .collect();
        for (what, list) in [
            (": ", names),
            ("; not: ", faults),
            ("; still to be restarted: ", pending),
        ] {
            if !list.is_empty() {
                out.push_str(what);
                out.push_str(&list.join(", "));
            }
        }
        if let Some(failure) = &self.failure {
            out.push_str(&format!(": {failure}"));
        }
        out
    }

    /// Renders the report.
    pub fn render(&self, format: Format) -> Result<String, Failure> {
        let document = Document {
            outcome: self.outcome(),
            exit: self.exit() as u8,
            backup: self.backup.as_ref(),
            renewed: &self.renewed,
            restarted: &self.rollout.restarted,
            proofs: &self.rollout.proofs,
            pending_restarts: &self.rollout.pending,
            credentials: self.plan.items.iter().map(plan::Row::from).collect(),
            copies: plan::copies(&self.plan),
            warnings: &self.rollout.warnings,
            error: self.failure.as_ref().map(|f| f.message.as_str()),
        };
        match format {
            Format::Json => json(&document),
            Format::Yaml => yaml(&document),
            Format::Text | Format::Wide => Ok(self.text()),
        }
    }

    fn text(&self) -> String {
        let mut out = String::new();
        if !self.renewed.is_empty() {
            let head = ["RENEWED", "OLD SERIAL", "OLD END", "NEW SERIAL", "NEW END"]
                .map(str::to_owned)
                .to_vec();
            let rows = self.renewed.iter().map(|r| {
                vec![
                    r.name.clone(),
                    r.old_serial.clone(),
                    r.old_end.clone(),
                    r.new_serial.clone(),
                    r.new_end.clone(),
                ]
            });
            out.push_str(&text::table(&std::iter::once(head).chain(rows).collect::<Vec<_>>()));
            out.push('\n');
        }
        let is_renewed = |name: &str| self.renewed.iter().any(|renewed| renewed.name == name);
        for (copy, pair) in self.plan.copies_to_update().filter(|(_, pair)| is_renewed(pair)) {
            out.push_str(&format!("updated {} with {pair}\n", copy.path.display()));
        }
        for item in &self.plan.items {
            let row = plan::Row::from(item);
            let refused = self.refused().any(|refused| refused.name == item.name);
            if refused || matches!(item.decision, Decision::Blocked { .. } | Decision::Unreadable(_)) {
                out.push_str(&format!("{row}\n"));
            }
        }
        for restarted in &self.rollout.restarted {
            out.push_str(&format!(
                "restarted {} ({}, {:.1} s)\n",
                restarted.reader, restarted.method, restarted.seconds
            ));
        }
        for proven in &self.rollout.proofs {
            let reader = proven
                .reader
                .as_deref()
                .map(|reader| format!(" by {reader}"))
                .unwrap_or_default();
            let note = proven
                .note
                .as_deref()
                .map(|note| format!(": {note}"))
                .unwrap_or_default();
            let proof = <&str>::from(proven.proof);
            out.push_str(&format!("{proof} {}{reader}{note}\n", proven.credential));
        }
        for pending in &self.rollout.pending {
            out.push_str(&format!("{} still has to be restarted\n", pending.step.reader));
        }
        if let Some(backup) = &self.backup {
            out.push_str(&format!("backup: {}\n", backup.display()));
        }
        out.push_str(&format!("{}\n", self.outcome()));
        out
    }
}
