//! The daemon's status: a document in the state directory and, for every user of the node, in /run.
//! A stable interface: keys may be added, but never change their meaning within one `version`.
//! Pure.

use serde::{Deserialize, Serialize};
use strum::VariantArray as _;

use super::cycle::{self, Report};
use super::{Format, json, yaml};
use crate::coordinate::ClusterView;
use crate::coordinate::keys::Entry;
use crate::format::text;
use crate::model::{Exit, Failure, Timestamp};
use crate::plan::Plan;
use crate::restart::pending::PendingRestart;

/// Version of the document.
pub const VERSION: u32 = 1;

/// Number of cycles in the document.
pub const CYCLES: usize = 20;

/// The document. Times are RFC 3339, UTC. It holds no key, no serial number and no content of a
/// file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Status {
    /// [`VERSION`].
    pub version: u32,
    /// Time of the document.
    pub written: String,
    /// Name of the node.
    pub node: String,
    /// The process that wrote it.
    pub daemon: Daemon,
    /// Time of the last assessment.
    pub last_look: Option<String>,
    /// The last cycle that was carried out.
    pub last_cycle: Option<Cycle>,
    /// The last [`CYCLES`] cycles, the last one first.
    pub cycles: Vec<Cycle>,
    /// Latest time of the next assessment.
    pub next_look: Option<String>,
    /// Time of the next cycle.
    pub next_cycle: Option<String>,
    /// Every credential at the last assessment.
    pub credentials: Vec<Credential>,
    /// Readers that still have to be restarted.
    pub pending_restarts: Vec<Restart>,
    /// Times of the last success and the last failure of each step: `look` (the assessment),
    /// `guard`, `coordinate` (the cluster lock), `backup`, `renew`, `restart` (with its proofs),
    /// `cycle` (all of it), `hook`. A step that never ran has no entry.
    pub steps: Vec<Step>,
    /// Sentences that a person should read.
    pub problems: Vec<String>,
    /// State of the cluster.
    pub coordination: Coordination,
    /// The process that is changing the node now. `None` if there is none, or it cannot be seen.
    pub at_work: Option<String>,
}

/// The process that wrote the document.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Daemon {
    /// True if it runs.
    pub running: bool,
    /// Process id.
    pub pid: u32,
    /// Start in clock ticks since boot. Together with the id it identifies a process.
    pub started_ticks: u64,
}

/// A cycle.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Cycle {
    /// Time of its end.
    pub at: String,
    /// `CYCLE_ID` of its events in the journal.
    pub id: String,
    /// Result in a few words.
    pub outcome: String,
    /// Exit code, as of `kubecertd renew`.
    pub exit: u8,
    /// Result in one line, with names.
    pub summary: String,
}

/// Results of a step.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Step {
    /// Name.
    pub name: String,
    /// Time of the last success.
    pub last_success: Option<String>,
    /// Time of the last failure.
    pub last_failure: Option<String>,
}

/// The cluster lock at the last contact.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Coordination {
    /// Time of the last contact. `None` if the cluster has one member, or never answered.
    pub seen: Option<String>,
    /// Names of etcd's members.
    pub members: Vec<String>,
    /// Node that held the lock then.
    pub holder: Option<Entry>,
    /// Nodes that had begun and not finished. The holder may be among them.
    pub unfinished: Vec<Entry>,
    /// The reason that this node did not get the lock. `None` once it did.
    pub blocked: Option<String>,
    /// The kind of that reason: `held`, `unfinished`, `members`, `two_members`, `etcd`, `own_time`,
    /// `denied` or `node`.
    pub blocked_by: Option<String>,
}

/// A credential.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Credential {
    /// Name.
    pub name: String,
    /// `renew`, `leave`, `blocked`, `missing` or `unreadable`.
    pub decision: String,
    /// Reason of the decision.
    pub reason: String,
    /// End of the certificate.
    pub expires: Option<String>,
    /// Time from which it is due.
    pub due: Option<String>,
}

/// A reader that still has to be restarted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Restart {
    /// The program.
    pub reader: String,
    /// The credentials that it caches.
    pub because: Vec<String>,
    /// Time until which it may wait for a maintenance window.
    pub until: Option<String>,
}

impl Coordination {
    /// Returns the lines about the cluster.
    fn lines(&self) -> Vec<(&'static str, String)> {
        let mut lines = Vec::new();
        if let Some(seen) = self.seen.as_deref().and_then(text::parse_rfc3339) {
            let members: Vec<_> = self.members.iter().map(String::as_str).collect();
            lines.push((
                "members",
                format!("{}, seen {}", text::list(&members), text::date(seen)),
            ));
        }
        let words = |entry: &Entry| format!("{} ({}, since {})", entry.node, entry.purpose, entry.since);
        lines.extend(self.holder.iter().map(|holder| ("lock", words(holder))));
        lines.extend(self.unfinished.iter().map(|mark| ("unfinished", words(mark))));
        lines.extend(self.blocked.iter().map(|reason| ("blocked", reason.clone())));
        lines
    }
}

impl Status {
    /// Records an assessment.
    pub fn looked(&mut self, plan: &Plan) {
        self.last_look = Some(text::rfc3339(plan.at));
        let credentials = plan.items.iter().map(|item| {
            let (decision, reason) = item.decision.words();
            Credential {
                name: item.name.clone(),
                decision: decision.to_owned(),
                reason,
                expires: item.expires.map(text::rfc3339),
                due: item.due.map(text::rfc3339),
            }
        });
        self.credentials = credentials.collect();
    }

    /// Records the result of a step.
    pub fn step(&mut self, name: &str, went_well: bool, now: Timestamp) {
        let at = self.steps.iter().position(|step| step.name == name).unwrap_or_else(|| {
            self.steps.push(Step {
                name: name.to_owned(),
                ..Step::default()
            });
            self.steps.len() - 1
        });
        let step = &mut self.steps[at];
        let last = if went_well {
            &mut step.last_success
        } else {
            &mut step.last_failure
        };
        *last = Some(text::rfc3339(now));
    }

    /// Records the results of a cycle's steps.
    pub fn stepped(&mut self, report: &Report, now: Timestamp) {
        let begun = |step: &cycle::Step| {
            let was_taken = *step == cycle::Step::Backup && report.backup.is_some();
            was_taken || report.step.is_some_and(|last| *step <= last)
        };
        for step in cycle::Step::VARIANTS.iter().filter(|step| begun(step)) {
            let failed = report.failure.is_some() && report.step == Some(*step);
            self.step(<&str>::from(step), !failed, now);
        }
        if report.failure.is_none() && !report.rollout.restarted.is_empty() {
            self.step(<&str>::from(cycle::Step::Restart), true, now);
        }
        if report.blocked.is_none() {
            self.step("cycle", report.exit() == Exit::Done, now);
        }
    }

    /// Records a cycle.
    pub fn did(&mut self, cycle: Cycle) {
        self.cycles.insert(0, cycle.clone());
        self.cycles.truncate(CYCLES);
        self.last_cycle = Some(cycle);
    }

    /// Records the state of the cluster.
    pub fn coordinates(&mut self, seen: Option<ClusterView>, now: Timestamp) {
        let Some(seen) = seen else { return };
        self.coordination = Coordination {
            seen: Some(text::rfc3339(now)),
            members: seen.members.into_iter().map(|peer| peer.name).collect(),
            holder: seen.written.holder,
            unfinished: seen.written.unfinished,
            blocked: self.coordination.blocked.take(),
            blocked_by: self.coordination.blocked_by.take(),
        };
    }

    /// Records the pending restarts.
    pub fn waits_for(&mut self, pending: &[PendingRestart]) {
        let rows = pending.iter().map(|pending| Restart {
            reader: pending.step.reader.clone(),
            because: pending.step.holds.clone(),
            until: pending.step.until.map(text::rfc3339),
        });
        self.pending_restarts = rows.collect();
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
        let date = |at: &Option<String>| {
            let at = at.as_deref().and_then(text::parse_rfc3339);
            at.map_or_else(|| "never".to_owned(), text::date)
        };
        let cycle = self.last_cycle.as_ref().map_or_else(
            || "never".to_owned(),
            |cycle| format!("{}, {}", date(&Some(cycle.at.clone())), cycle.summary),
        );
        let daemon = if self.daemon.running {
            format!("running (pid {})", self.daemon.pid)
        } else {
            "not running; this is its last status".to_owned()
        };
        let mut lines = vec![
            ("daemon", daemon),
            ("last assessment", date(&self.last_look)),
            ("last cycle", cycle),
        ];
        if self.daemon.running {
            lines.push(("next assessment", date(&self.next_look)));
            lines.push(("next cycle", date(&self.next_cycle)));
        }
        lines.extend(self.coordination.lines());
        lines.extend(self.at_work.iter().map(|holder| ("in progress", holder.clone())));
        let mut out: String = lines.iter().map(|(what, is)| format!("{what:<17}{is}\n")).collect();
        if !self.credentials.is_empty() {
            let head = ["CREDENTIAL", "DECISION", "EXPIRES", "DUE", "REASON"].map(str::to_owned);
            let rows = self.credentials.iter().map(|row| {
                let dates = [&row.expires, &row.due].map(|at| at.as_ref().map_or_else(String::new, |_| date(at)));
                let [expires, due] = dates;
                vec![row.name.clone(), row.decision.clone(), expires, due, row.reason.clone()]
            });
            out.push('\n');
            out.push_str(&text::table(
                &std::iter::once(head.to_vec()).chain(rows).collect::<Vec<_>>(),
            ));
        }
        let restarts = self.pending_restarts.iter().map(|restart| {
            let because = restart.because.join(", ");
            format!(
                "{} still has to be restarted: it holds {because} in memory",
                restart.reader
            )
        });
        let problems = self.problems.iter().map(|problem| format!("problem: {problem}"));
        for (n, line) in restarts.chain(problems).enumerate() {
            out.push_str(if n == 0 { "\n" } else { "" });
            out.push_str(&line);
            out.push('\n');
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_cycles_are_remembered_and_older_ones_forgotten() {
        let mut status = Status::default();
        for number in 0..=CYCLES {
            status.did(Cycle {
                id: number.to_string(),
                ..Cycle::default()
            });
        }
        let ids: Vec<_> = status.cycles.iter().map(|cycle| cycle.id.as_str()).collect();
        assert_eq!((ids.len(), ids[0], ids[CYCLES - 1]), (CYCLES, "20", "1"));
        assert_eq!(status.last_cycle, status.cycles.first().cloned());
    }
}
