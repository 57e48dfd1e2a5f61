//! What usually goes wrong on a node, and what to do about it: a table of checks, each a pure function of what was seen.

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

/// Everything that the checks look at.
#[derive(Debug)]
pub struct Evidence<'a> {
    /// The settings; defaults in place of those that are wrong.
    pub settings: &'a Settings,
    /// What is wrong with the configuration.
    pub problems: &'a [Problem],
    /// The bytes.
    pub scan: &'a Scan,
    /// The credentials.
    pub inventory: &'a Inventory,
    /// What would be done now.
    pub plan: &'a Plan,
    /// The processes of the components, other tools that renew, and the clock.
    pub conditions: &'a Conditions,
    /// The service and what is around it.
    pub surroundings: &'a Surroundings,
    /// The readers whose restart is recorded as still to be done.
    pub pending: &'a [String],
    /// The daemon runs.
    pub daemon_runs: bool,
    /// Nobody is at work, and something is half done.
    pub interrupted: bool,
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, IntoStaticStr)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "snake_case")]
pub enum Severity {
    /// Good to know.
    Note,
    /// It works now, and will not for ever.
    Warning,
    /// It does not work, or the next renewal will not.
    Fault,
}

/// One thing that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// The check that found it.
    pub check: &'static str,
    /// The path, unit or certificate that it concerns.
    pub about: String,
    /// What is so, and what it means.
    pub message: String,
    /// What to do: a command where there is one.
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

/// All checks by their names, which `-o json` has too, in the order in which findings of one severity are told.
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

/// What was found, the worst first.
#[derive(Debug, Serialize)]
pub struct Diagnosis {
    /// The worst of it; none where nothing was found.
    pub worst: Option<Severity>,
    /// What was found.
    pub findings: Vec<Finding>,
    /// The names of all checks that were made.
    pub checks: Vec<&'static str>,
}

/// Makes all checks.
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
    /// 78 where the configuration is bad, 1 where something does not work, 4 where there are warnings, else 0.
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
