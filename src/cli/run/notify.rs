//! Log lines of the daemon: each event with its kind and the fields of its subject.

use std::path::Path;

use tracing::{error, info, warn};

use crate::coordinate::LockRefusal;
use crate::cycle::ExecutionRefusal;
use crate::events;
use crate::format::text;
use crate::model::{Exit, Timestamp};
use crate::plan::Plan;
use crate::report::cycle::Report;
use crate::report::notices::{Kind, Notice};
use crate::report::status::Status;

/// Logs the plan of an assessment.
pub(super) fn plan(plan: &Plan, kubernetes: &Path, exists: bool) {
    let names: Vec<_> = plan.renewals().map(|(item, _)| item.name.as_str()).collect();
    let (late, ahead): (Vec<_>, Vec<_>) = plan
        .items
        .iter()
        .filter_map(|item| Some((item.due?, item.name.as_str())))
        .partition(|(due, _)| *due <= plan.at);
    let next = ahead.into_iter().min();
    match (names.is_empty(), next) {
        (false, _) => info!(
            message_id = events::ASSESSED,
            due = names.len(),
            "due: {}",
            text::list(&names)
        ),
        (true, _) if !late.is_empty() => {
            let late: Vec<_> = late.into_iter().map(|(_, name)| name).collect();
            info!(
                message_id = events::ASSESSED,
                due = 0,
                "nothing that is due can be renewed now: {}",
                text::list(&late)
            );
        }
        (true, Some((due, name))) => info!(
            message_id = events::ASSESSED,
            due = 0,
            "nothing is due; the first will be {name} on {}",
            text::date(due)
        ),
        (true, None) if exists => info!(
            message_id = events::NO_CONTROL_PLANE,
            "this node has no certificates to renew; waiting for it to become a control plane"
        ),
        (true, None) => info!(
            message_id = events::NO_CONTROL_PLANE,
            "there is no {} yet; waiting for this node to become a control plane",
            kubernetes.display()
        ),
    }
}

/// Logs what the first assessment leaves to the next cycle.
pub(super) fn first_assessment(status: &Status, next: Option<Timestamp>) {
    let due = status.credentials.iter().filter(|row| row.decision == "renew");
    let names: Vec<_> = due.map(|row| row.name.as_str()).collect();
    if !names.is_empty() {
        info!(
            message_id = events::FIRST_ASSESSMENT,
            "the first assessment on this node changes nothing; the cycle at {} will renew {}",
            next.map_or_else(|| "no time".into(), text::date),
            text::list(&names)
        );
    }
}

/// Logs a notice about a certificate.
pub(super) fn notice(notice: &Notice) {
    let (certificate, reason, line) = (&notice.name, &notice.reason, notice);
    let not_after = notice.ends.map(text::rfc3339).unwrap_or_default();
    match notice.kind {
        Kind::Expired => error!(message_id = events::EXPIRED, certificate, not_after, reason, "{line}"),
        Kind::Expiring => warn!(message_id = events::EXPIRING, certificate, not_after, reason, "{line}"),
        Kind::Fault => warn!(message_id = events::FAULT, certificate, not_after, reason, "{line}"),
    }
}

/// Returns a line about a read-only directory, and logs it unless it was known before.
pub(super) fn not_writable(directory: &Path, reason: &str, known: &[String]) -> String {
    let directory = directory.display();
    let line = format!(
        "cannot write to {directory}: {reason}; hint: `systemctl edit kubecertd`, add `[Service]` and \
         `ReadWritePaths={directory}`, and restart it"
    );
    if !known.contains(&line) {
        warn!(message_id = events::NOT_WRITABLE, %directory, reason, "{line}");
    }
    line
}

/// Logs why kubecertd did not execute `what` (empty, or a noun with a space), and returns the line.
pub(super) fn deferred(what: &str, not_executed: ExecutionRefusal) -> String {
    let (result, reason) = match not_executed {
        ExecutionRefusal::Deferred(deferral, _) => ("deferred", deferral.reason),
        ExecutionRefusal::Failed(failure) => ("failed", failure.message),
    };
    let line = format!("{what}{result}: {reason}");
    warn!(message_id = events::DEFERRED, reason, "{line}");
    line
}

/// Logs why this node does not get the cluster lock.
pub(super) fn refusal(refusal: &LockRefusal) {
    let reason = &refusal.reason;
    let hint = &refusal.hint;
    warn!(
        message_id = events::BLOCKED,
        reason, "cycle deferred: {reason}; hint: {hint}"
    );
}

/// Logs what a cycle did: an event for each renewal and each pending restart, then a summary.
///
/// Restarts were logged when they happened.
pub(super) fn report(report: &Report) {
    for warning in &report.rollout.warnings {
        warn!(message_id = events::WARNING, "{warning}");
    }
    let backup = report.backup.as_ref().map(|directory| directory.display().to_string());
    let backup = backup.unwrap_or_default();
    for renewed in &report.renewed {
        info!(
            message_id = events::RENEWED,
            action = "renew",
            certificate = renewed.name,
            not_after = renewed.new_end,
            backup,
            "renewed {}: the old certificate ends {}, the new one {}",
            renewed.name,
            renewed.old_end,
            renewed.new_end
        );
    }
    for pending in &report.rollout.pending {
        let (reader, reason) = (&pending.step.reader, pending.step.holds.join(", "));
        warn!(
            message_id = events::RESTART_PENDING,
            action = "restart",
            reader,
            reason,
            "{reader} still has to be restarted: it holds {reason} in memory"
        );
    }
    summary(report, &backup);
}

fn summary(report: &Report, backup: &str) {
    let (exit, outcome, line) = (report.exit(), report.outcome(), report.summary());
    let counts = [
        report.renewed.len(),
        report.rollout.restarted.len(),
        report.rollout.pending.len(),
        report.plan.faults().count(),
    ];
    let [renewed, restarted, pending, failed] = counts;
    // tracing wants the kind of an event as a literal of its call site.
    macro_rules! say {
        ($level:ident, $kind:expr) => {
            $level!(
                message_id = $kind,
                outcome,
                exit = exit as u8,
                renewed,
                restarted,
                pending,
                failed,
                backup,
                "cycle: {line}"
            )
        };
    }
    match exit {
        Exit::Done => say!(info, events::CYCLE_DONE),
        Exit::Partly => say!(warn, events::CYCLE_PARTLY),
        Exit::RollbackFailed => say!(error, events::NOT_ROLLED_BACK),
        _ => say!(error, events::CYCLE_FAILED),
    }
}
