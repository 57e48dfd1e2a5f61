//! What the daemon knows: a document that it leaves in the state directory and, for every user of the node, in /run. A stable interface; keys are
//! added, and never change their meaning within one `version`. Pure.

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

/// The version of the document.
pub const VERSION: u32 = 1;

/// So many cycles are remembered.
pub const CYCLES: usize = 20;

/// The document. Instants are RFC 3339, UTC. Nothing in it is private: no key, no serial number, no content of a file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Status {
    /// [`VERSION`].
    pub version: u32,
    /// When it was written.
    pub written: String,
    /// The node's name.
    pub node: String,
    /// Who wrote it.
    pub daemon: Daemon,
    /// When the node was looked at last.
    pub last_look: Option<String>,
    /// The last cycle that was carried out.
    pub last_cycle: Option<Cycle>,
    /// The last [`CYCLES`] of them, the last one first.
    pub cycles: Vec<Cycle>,
    /// When it is looked at next, at the latest.
    pub next_look: Option<String>,
    /// When the next cycle acts.
    pub next_cycle: Option<String>,
    /// Every credential, as the last look found it.
    pub credentials: Vec<Credential>,
    /// Readers that still have to be restarted.
    pub pending_restarts: Vec<Restart>,
    /// When each step went well last, and when it failed last: `look`, `guard` (whether it was a good time), `coordinate` (whether it was this node's turn), `backup`, `renew`, `restart` (proof
    /// included), `cycle` (all of it), `hook`. One that never came has no entry.
    pub steps: Vec<Step>,
    /// What a person should know or do, one sentence each.
    pub problems: Vec<String>,
    /// What is known of the other nodes.
    pub coordination: Coordination,
    /// Who is at work now; none when nobody is, or where that cannot be seen.
    pub at_work: Option<String>,
}

/// The process that wrote it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Daemon {
    /// It runs.
    pub running: bool,
    /// Its process id.
    pub pid: u32,
    /// When it started, in clock ticks since boot: with the id it names one process.
    pub started_ticks: u64,
}

/// A cycle.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Cycle {
    /// When it ended.
    pub at: String,
    /// `CYCLE_ID` of its events in the journal.
    pub id: String,
    /// What became of it, in words.
    pub outcome: String,
    /// As the exit code of `kubecertd renew`.
    pub exit: u8,
    /// The same in one line, with names.
    pub summary: String,
}

/// What a step came to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Step {
    /// Its name.
    pub name: String,
    /// When it went well last.
    pub last_success: Option<String>,
    /// When it failed last.
    pub last_failure: Option<String>,
}

/// The turn among the nodes of a cluster, as it was seen last.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Coordination {
    /// When it was looked at last; none where there is no cluster of several, or it never answered.
    pub seen: Option<String>,
    /// The names of etcd's members.
    pub members: Vec<String>,
    /// Who had the lock then.
    pub holder: Option<Entry>,
    /// Who had begun and not ended; the holder may be among them.
    pub unfinished: Vec<Entry>,
    /// Why it was not this node's turn when it wanted to act; none once it was.
    pub blocked: Option<String>,
    /// The same in one word: `held`, `unfinished`, `members`, `two_members`, `etcd`, `own_time`, `denied` or `node`.
    pub blocked_by: Option<String>,
}

/// A credential.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Credential {
    /// Its name.
    pub name: String,
    /// `renew`, `leave`, `blocked`, `missing` or `unreadable`.
    pub decision: String,
    /// Why.
    pub reason: String,
    /// When it ends.
    pub expires: Option<String>,
    /// From when on it is due.
    pub due: Option<String>,
}

/// A reader that still has to be restarted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Restart {
    /// The program.
    pub reader: String,
    /// What it holds in memory.
    pub because: Vec<String>,
    /// It may wait for a maintenance window until then.
    pub until: Option<String>,
}

impl Coordination {
    /// What and how it is, where there are several nodes.
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
    /// What a look has found.
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

    /// What a step has just come to.
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

    /// What the steps of a cycle came to.
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

    /// What a cycle did.
    pub fn did(&mut self, cycle: Cycle) {
        self.cycles.insert(0, cycle.clone());
        self.cycles.truncate(CYCLES);
        self.last_cycle = Some(cycle);
    }

    /// What a look has seen of the cluster.
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

    /// What is still to be restarted.
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
            "not running; what follows is what it knew".to_owned()
        };
        let mut lines = vec![
            ("daemon", daemon),
            ("last look", date(&self.last_look)),
            ("last cycle", cycle),
        ];
        if self.daemon.running {
            lines.push(("next look", date(&self.next_look)));
            lines.push(("next cycle", date(&self.next_cycle)));
        }
        lines.extend(self.coordination.lines());
        lines.extend(self.at_work.iter().map(|holder| ("at work", holder.clone())));
        let mut out: String = lines.iter().map(|(what, is)| format!("{what:<12}{is}\n")).collect();
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
