//! What the daemon says in the journal: every event with its kind and with what it is about.

use std::path::Path;

use tracing::{error, info, warn};

use crate::coordinate::LockRefusal;
use crate::cycle::NotExecuted;
use crate::events;
use crate::format::text;
use crate::model::{Exit, Timestamp};
use crate::plan::Plan;
use crate::report::cycle::Report;
use crate::report::notices::{Kind, Notice};
use crate::report::status::Status;

/// What a look has found.
pub(super) fn plan(plan: &Plan, kubernetes: &Path, is_there: bool) {
    let names: Vec<_> = plan.renewals().map(|(item, _)| item.name.as_str()).collect();
    let (late, ahead): (Vec<_>, Vec<_>) = plan
        .items
        .iter()
        .filter_map(|item| Some((item.due?, item.name.as_str())))
        .partition(|(due, _)| *due <= plan.at);
    let next = ahead.into_iter().min();
    match (names.is_empty(), next) {
        (false, _) => info!(
            message_id = events::LOOKED,
            due = names.len(),
            "due: {}",
            text::list(&names)
        ),
        (true, _) if !late.is_empty() => {
            let late: Vec<_> = late.into_iter().map(|(_, name)| name).collect();
            info!(
                message_id = events::LOOKED,
                due = 0,
                "nothing that is due can be renewed now: {}",
                text::list(&late)
            );
        }
        (true, Some((due, name))) => info!(
            message_id = events::LOOKED,
            due = 0,
            "nothing is due; the first will be {name} on {}",
            text::date(due)
        ),
        (true, None) if is_there => info!(
            message_id = events::NO_CONTROL_PLANE,
            "there are no certificates to renew on this node; waiting for it to become a control plane"
        ),
        (true, None) => info!(
            message_id = events::NO_CONTROL_PLANE,
            "there is no {} yet; waiting for this node to become a control plane",
            kubernetes.display()
        ),
    }
}

/// What the first look leaves to the next cycle.
pub(super) fn first_look(status: &Status, next: Option<Timestamp>) {
    let due = status.credentials.iter().filter(|row| row.decision == "renew");
    let names: Vec<_> = due.map(|row| row.name.as_str()).collect();
    if !names.is_empty() {
        info!(
            message_id = events::FIRST_LOOK,
            "the first look on this node changes nothing; the cycle at {} will renew {}",
            next.map_or_else(|| "no time".into(), text::date),
            text::list(&names)
        );
    }
}

/// What a person should be told of a certificate.
pub(super) fn notice(notice: &Notice) {
    let (certificate, reason, line) = (&notice.name, &notice.reason, notice);
    let not_after = notice.ends.map(text::rfc3339).unwrap_or_default();
    match notice.kind {
        Kind::Expired => error!(message_id = events::EXPIRED, certificate, not_after, reason, "{line}"),
        Kind::Expiring => warn!(message_id = events::EXPIRING, certificate, not_after, reason, "{line}"),
        Kind::Fault => warn!(message_id = events::FAULT, certificate, not_after, reason, "{line}"),
    }
}

/// Gives the line that it says, if it was not among those that were known before.
pub(super) fn not_writable(directory: &Path, reason: &str, known: &[String]) -> String {
    let directory = directory.display();
    let line = format!(
        "cannot write to {directory}: {reason}; hint: `systemctl edit kubecertd`, add `[Service]` and `ReadWritePaths={directory}`, and restart it"
    );
    if !known.contains(&line) {
        warn!(message_id = events::NOT_WRITABLE, %directory, reason, "{line}");
    }
    line
}

/// Why there is none now. Gives the line that it says.
pub(super) fn deferred(what: &str, not_now: NotExecuted) -> String {
    let failure = not_now.failure();
    let line = format!("{what}: {failure}");
    warn!(message_id = events::DEFERRED, reason = %failure, "{line}");
    line
}

/// Why it is not this node's turn.
pub(super) fn blocked(blocked: &LockRefusal) {
    let (reason, hint) = (&blocked.reason, &blocked.hint);
    warn!(
        message_id = events::BLOCKED,
        reason, "no cycle now: {reason}; hint: {hint}"
    );
}

/// What a cycle did: an event for each credential and each reader that is left, and one line for all of it. Those that were restarted were
/// told of at that time.
pub(super) fn report(report: &Report) {
    for warning in &report.warnings {
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
            "{} is renewed: it ended {}, the new one ends {}",
            renewed.name,
            renewed.old_end,
            renewed.new_end
        );
    }
    for pending in &report.pending {
        let (reader, reason) = (&pending.reader, pending.because.join(", "));
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
        report.restarted.len(),
        report.pending.len(),
        report.plan.faults().count(),
    ];
    let [renewed, restarted, pending, failed] = counts;
    // The kind of an event is a part of its call site.
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
        Exit::NotPutBack => say!(error, events::NOT_PUT_BACK),
        _ => say!(error, events::CYCLE_FAILED),
    }
}
