//! The rows of the page: the state of a credential or CA, and whether its renewal is assured.

use strum::{IntoStaticStr, VariantArray};

use super::Page;
use crate::format::text;
use crate::inventory::{Authority, Signer};
use crate::model::{ReadError, Timestamp};
use crate::plan::{Decision, Item};

/// State of a credential or CA, the worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum State {
    /// The certificate has expired.
    Expired,
    /// The file cannot be read.
    Unreadable,
    /// The renewal is due and cannot be done.
    Blocked,
    /// Less than `urgent_before` is left.
    Urgent,
    /// Less than `renew_before` is left.
    Due,
    /// None of these.
    Fine,
    /// The file does not exist, and need not exist.
    Missing,
}

/// A row of the timeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Name of the credential or CA.
    pub name: String,
    /// State.
    pub state: State,
    /// End of the certificate.
    pub expires: Option<Timestamp>,
    /// Time from which it is due.
    pub due: Option<Timestamp>,
    /// The next action, for people.
    pub words: String,
    /// True if it will be renewed without a person.
    pub is_handled: bool,
}

/// Returns the credentials, the first end at the top. Without a known end, faulty ones come first
/// and missing ones last.
pub fn credentials(page: &Page<'_>) -> Vec<Row> {
    sorted(page.plan.items.iter().map(|item| credential(page, item)).collect())
}

/// Returns the CAs in the same order.
pub fn authorities(page: &Page<'_>) -> Vec<Row> {
    let all = page.inventory.authorities.iter();
    sorted(all.map(|ca| authority(page, ca)).collect())
}

fn sorted(mut rows: Vec<Row>) -> Vec<Row> {
    rows.sort_by(|a, b| {
        let place = |row: &Row| (row.state == State::Missing, row.expires);
        place(a).cmp(&place(b)).then_with(|| a.name.cmp(&b.name))
    });
    rows
}

fn credential(page: &Page<'_>, item: &Item) -> Row {
    let now = page.plan.at;
    let ends_before = |moment| item.expires.is_some_and(|ends| ends < moment);
    let is_urgent = item.expires.is_some_and(|end| page.settings.is_urgent(end, now));
    let state = match item.decision {
        Decision::Unreadable(_) => State::Unreadable,
        Decision::Missing => State::Missing,
        _ if ends_before(now) => State::Expired,
        Decision::Blocked { .. } => State::Blocked,
        _ if is_urgent => State::Urgent,
        Decision::Renew { .. } | Decision::With(_) => State::Due,
        Decision::Leave(_) if item.due.is_some_and(|due| due < now) => State::Due,
        Decision::Leave(_) => State::Fine,
    };
    let (words, is_handled) = handling(page, item, is_urgent);
    Row {
        name: item.name.clone(),
        state,
        expires: item.expires,
        due: item.due,
        words,
        is_handled,
    }
}

/// Returns the next action about a credential, and true if it will be renewed without a person.
fn handling(page: &Page<'_>, item: &Item, is_urgent: bool) -> (String, bool) {
    let (_, reason) = item.decision.words();
    let because = match &item.decision {
        Decision::Renew { because, .. } => because,
        _ => &reason,
    };
    match (&item.decision, item.due) {
        (Decision::Renew { .. } | Decision::With(_), _) => match page.acts() {
            _ if page.runs() && is_urgent => (format!("renewed at once: {because}"), true),
            Some(at) => (format!("renewed {}: {because}", text::date(at)), true),
            None => (format!("to be renewed manually: {because}"), false),
        },
        (Decision::Leave(_), Some(due)) => (format!("due {}", text::date(due)), page.runs()),
        // The kubelet renews its own credential long before its end.
        (Decision::Leave(_), None) => (reason, !is_urgent),
        (Decision::Missing, _) => ("nothing is made that was not there".into(), true),
        (Decision::Blocked { .. }, _) => (format!("not renewed: {reason}"), false),
        (Decision::Unreadable(_), _) => (reason, false),
    }
}

fn authority(page: &Page<'_>, authority: &Authority) -> Row {
    let now = page.plan.at;
    let expires = authority.certificate.as_ref().ok().map(|c| c.validity.not_after);
    let settings = page.settings;
    let is_past = |at: &dyn Fn(Timestamp) -> Timestamp| expires.is_some_and(|end| at(end) < now);
    let (state, words) = match (&authority.certificate, &authority.signer) {
        (Err(ReadError::Missing), _) => (State::Missing, "its file is not there".to_owned()),
        (Err(ReadError::Because(reason)), _) => (State::Unreadable, reason.clone()),
        _ if is_past(&|end| end) => (State::Expired, "a CA is not renewed here: replace it".into()),
        _ if is_past(&|end| settings.urgent_at(end)) => (State::Urgent, "a CA is not renewed here: replace it".into()),
        _ if is_past(&|end| settings.due_at(end)) => (State::Due, "a CA is not renewed here: replace it".into()),
        (Ok(_), Signer::Unusable(reason)) => (State::Blocked, format!("cannot sign: {reason}")),
        (Ok(_), Signer::External) => (State::Fine, "its key is kept elsewhere".into()),
        (Ok(_), Signer::Ready(_)) => (State::Fine, "signs here".into()),
    };
    Row {
        name: authority.spec.name.clone(),
        state,
        expires,
        due: None,
        is_handled: matches!(state, State::Fine | State::Missing),
        words,
    }
}
