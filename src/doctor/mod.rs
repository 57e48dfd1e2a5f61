//! Common problems of a node and their fixes: a table of checks. Each check is a pure function of
//! the evidence.

mod credentials;
mod keys;
mod names;
mod node;
mod service;

use serde::Serialize;
use strum::IntoStaticStr;

use crate::config::{Problem, Settings};
use crate::inventory::Inventory;
use crate::model::Exit;
use crate::plan::Plan;
use crate::scan::surroundings::Surroundings;
use crate::scan::{Conditions, Scan};

/// Everything that the checks examine.
#[derive(Debug)]
pub struct Evidence<'a> {
    /// The settings, with defaults in place of invalid values.
    pub settings: &'a Settings,
    /// Problems of the configuration.
    pub problems: &'a [Problem],
    /// The bytes of the files.
    pub scan: &'a Scan,
    /// The credentials.
    pub inventory: &'a Inventory,
    /// The plan of a cycle that would run now.
    pub plan: &'a Plan,
    /// Processes of the components, other tools that renew, and the clock.
    pub conditions: &'a Conditions,
    /// The service, other units, and the disk.
    pub surroundings: &'a Surroundings,
    /// Components with a pending restart.
    pub pending: &'a [String],
    /// True if the daemon runs.
    pub daemon_runs: bool,
    /// True if an interrupted run left unfinished work, and no kubecertd runs.
    pub interrupted: bool,
}

/// Severity of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, IntoStaticStr)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "snake_case")]
pub enum Severity {
    /// Information only.
    Note,
    /// A part that works now, but not forever.
    Warning,
    /// A part that does not work, or that will prevent the next renewal.
    Fault,
}

/// One finding of a check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Severity.
    pub severity: Severity,
    /// The check that found it.
    pub check: &'static str,
    /// The path, unit or certificate that the finding is about.
    pub about: String,
    /// The problem and its consequence.
    pub message: String,
    /// The fix, as a command if there is one.
    pub hint: Option<String>,
}

impl Finding {
    fn new(severity: Severity, about: impl ToString, message: impl Into<String>) -> Self {
        Self {
            severity,
            check: "",
            about: about.to_string(),
            message: message.into(),
            hint: None,
        }
    }

    fn fault(about: impl ToString, message: impl Into<String>) -> Self {
        Self::new(Severity::Fault, about, message)
    }

    fn warning(about: impl ToString, message: impl Into<String>) -> Self {
        Self::new(Severity::Warning, about, message)
    }

    fn note(about: impl ToString, message: impl Into<String>) -> Self {
        Self::new(Severity::Note, about, message)
    }

    fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

type Check = fn(&Evidence<'_>) -> Vec<Finding>;

/// All checks with their names, which are part of `-o json`. Findings of one severity have this
/// order.
const CHECKS: [(&str, Check); 20] = [
    ("configuration", service::configuration),
    ("interrupted", node::interrupted),
    ("credentials", credentials::state),
    ("kubelet", credentials::kubelet),
    ("authorities", credentials::authorities),
    ("clock", node::clock),
    ("manifests", node::manifests),
    ("names", names::check),
    ("memory", node::memory),
    ("refused", credentials::refused),
    ("writable", node::writable),
    ("space", node::space),
    ("service-account", keys::service_account),
    ("modes", keys::modes),
    ("rotation", credentials::rotation),
    ("service", service::unit),
    ("timers", service::timers),
    ("cron", service::cron),
    ("kubeadm", service::others_at_work),
    ("copies", credentials::copies),
];

/// The findings of all checks, the worst first.
#[derive(Debug, Serialize)]
pub struct Diagnosis {
    /// The worst severity. `None` without findings.
    pub worst: Option<Severity>,
    /// The findings.
    pub findings: Vec<Finding>,
    /// The names of all checks.
    pub checks: Vec<&'static str>,
}

/// Runs all checks.
pub fn examine(evidence: &Evidence<'_>) -> Diagnosis {
    let found = CHECKS.iter().flat_map(|(name, check)| {
        let found = check(evidence).into_iter();
        found.map(|finding| Finding { check: name, ..finding })
    });
    let mut findings: Vec<Finding> = found.collect();
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    Diagnosis {
        worst: findings.first().map(|finding| finding.severity),
        findings,
        checks: CHECKS.iter().map(|(name, _)| *name).collect(),
    }
}

impl Diagnosis {
    /// Returns 78 for an invalid configuration, 1 for a fault, 4 for a warning, and 0 otherwise.
    pub fn exit(&self) -> Exit {
        let is_bad = |finding: &Finding| finding.check == CHECKS[0].0;
        match self.worst {
            _ if self.findings.iter().any(is_bad) => Exit::Config,
            Some(Severity::Fault) => Exit::Failed,
            Some(Severity::Warning) => Exit::Partly,
            Some(Severity::Note) | None => Exit::Done,
        }
    }
}
