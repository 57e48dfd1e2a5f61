//! The document for a hook's standard input. A stable interface: keys may be added, but never
//! change their meaning within one `version`. Pure.

use serde::Serialize;

use super::cycle::Report;
use super::notices::{Kind, Notice};
use crate::format::text;
use crate::model::{Exit, Failure, Timestamp};

/// Version of the document.
const VERSION: u32 = 1;

/// The occasion of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Occasion {
    /// `on_expiring`
    Expiring,
    /// `on_renewed`
    Renewed,
    /// `on_failed`
    Failed,
}

impl Occasion {
    /// Returns the key of the configuration.
    pub fn key(self) -> &'static str {
        match self {
            Self::Expiring => "on_expiring",
            Self::Renewed => "on_renewed",
            Self::Failed => "on_failed",
        }
    }
}

/// The document. Times are RFC 3339, UTC. It holds no secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Event {
    version: u32,
    /// The occasion.
    pub event: Occasion,
    /// The whole event in one line, as chats show it that take `{"text": ...}`.
    pub text: String,
    node: String,
    at: String,
    /// The credentials that end, were renewed, or could not be renewed.
    credentials: Vec<Row>,
    /// Exit code of the cycle, as of `kubecertd renew`. `None` without a cycle.
    exit: Option<u8>,
    backup: Option<String>,
    restarted: Vec<String>,
    pending_restarts: Vec<String>,
    error: Option<String>,
    hint: Option<String>,
    /// Step of the cycle that failed. Not part of the document.
    #[serde(skip)]
    step: Option<&'static str>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Row {
    name: String,
    /// `expired`, `expiring`, `renewed`, `blocked` or `unreadable`.
    state: &'static str,
    expires: Option<String>,
    reason: Option<String>,
}

impl Event {
    fn new(event: Occasion, said: &str, node: &str, now: Timestamp) -> Self {
        Self {
            version: VERSION,
            event,
            text: format!("kubecertd on {node}: {said}"),
            node: node.to_owned(),
            at: text::rfc3339(now),
            credentials: Vec::new(),
            exit: None,
            backup: None,
            restarted: Vec::new(),
            pending_restarts: Vec::new(),
            error: None,
            hint: None,
            step: None,
        }
    }

    /// Returns a key that is the same for repeated failures of one kind.
    ///
    /// The key names the step that failed, the exit code, the credentials with their states, and
    /// the components that still have to be restarted. Times, process ids and backups do not change
    /// it.
    pub fn failure_key(&self) -> String {
        let credentials: Vec<_> = self
            .credentials
            .iter()
            .map(|row| format!("{} {}", row.name, row.state))
            .collect();
        let exit = self.exit.map(|exit| exit.to_string());
        [
            self.step.unwrap_or_default(),
            exit.as_deref().unwrap_or_default(),
            &credentials.join(","),
            &self.pending_restarts.join(","),
        ]
        .join("; ")
    }

    /// Returns the event for an assessment. `None` without notices.
    pub fn of_notices(notices: &[Notice], node: &str, now: Timestamp) -> Option<Self> {
        let names: Vec<_> = notices.iter().map(|notice| notice.name.as_str()).collect();
        let rows = notices.iter().map(|notice| Row {
            name: notice.name.clone(),
            state: match notice.kind {
                Kind::Expired => "expired",
                Kind::Expiring => "expiring",
                Kind::Fault => "blocked",
            },
            expires: notice.ends.map(text::rfc3339),
            reason: Some(notice.reason.clone()),
        });
        let said = match notices {
            [] => return None,
            [only] => format!("{} needs attention: {}", only.name, only.reason),
            _ => format!("{} certificates need attention: {}", names.len(), text::list(&names)),
        };
        Some(Self {
            credentials: rows.collect(),
            ..Self::new(Occasion::Expiring, &said, node, now)
        })
    }

    /// Returns the events for a cycle: renewed credentials, and a failure.
    pub fn of_cycle(report: &Report, node: &str, now: Timestamp) -> Vec<Self> {
        let whole = |occasion, rows| Self {
            credentials: rows,
            exit: Some(report.exit() as u8),
            backup: report.backup.as_ref().map(|directory| directory.display().to_string()),
            restarted: report
                .rollout
                .restarted
                .iter()
                .map(|done| done.reader.clone())
                .collect(),
            pending_restarts: report
                .rollout
                .pending
                .iter()
                .map(|pending| pending.step.reader.clone())
                .collect(),
            error: report.failure.as_ref().map(Failure::to_string),
            hint: report.failure.as_ref().and_then(|failure| failure.hint.clone()),
            step: report.failure.as_ref().and(report.step).map(<&str>::from),
            ..Self::new(occasion, &report.summary(), node, now)
        };
        let rows = report.renewed.iter().map(|renewed| Row {
            name: renewed.name.clone(),
            state: "renewed",
            expires: Some(renewed.new_end.clone()),
            reason: None,
        });
        let faults = report.plan.faults().map(|item| {
            let (decision, reason) = item.decision.words();
            Row {
                name: item.name.clone(),
                state: decision,
                expires: item.expires.map(text::rfc3339),
                reason: Some(reason),
            }
        });
        let renewed = (!report.renewed.is_empty()).then(|| whole(Occasion::Renewed, rows.collect()));
        let failed = (report.exit() != Exit::Done).then(|| whole(Occasion::Failed, faults.collect()));
        renewed.into_iter().chain(failed).collect()
    }

    /// Returns the event for a failure outside of a cycle.
    pub fn of_failure(failure: &Failure, node: &str, now: Timestamp) -> Self {
        Self {
            error: Some(failure.to_string()),
            hint: failure.hint.clone(),
            ..Self::new(Occasion::Failed, &failure.to_string(), node, now)
        }
    }
}
