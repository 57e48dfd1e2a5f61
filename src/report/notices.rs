//! Notices about certificates, each at most once a day. Pure.

use std::collections::BTreeMap;

use crate::config::Settings;
use crate::format::text;
use crate::inventory::Inventory;
use crate::model::Timestamp;
use crate::plan::{Decision, Item, Plan};

/// Seconds until a notice is repeated: a little less than the day between two assessments.
const AGAIN: i64 = 23 * 3600;

/// Severity of a notice, the worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The certificate has expired.
    Expired,
    /// The credential cannot be read, or its renewal is due and cannot be done.
    Fault,
    /// The certificate ends soon, and is not about to be renewed.
    Expiring,
}

/// A notice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// Severity.
    pub kind: Kind,
    /// Name of the credential or CA.
    pub name: String,
    /// End of the certificate.
    pub ends: Option<Timestamp>,
    /// Reason in the plan.
    pub reason: String,
}

impl std::fmt::Display for Notice {
    /// Writes one line that begins with the name.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { name, reason, .. } = self;
        let ends = self.ends.map(text::date).unwrap_or_default();
        match self.kind {
            Kind::Expired => write!(f, "{name} has expired on {ends}: {reason}"),
            Kind::Expiring => write!(f, "{name} ends on {ends}: {reason}"),
            Kind::Fault => write!(f, "{name} needs attention: {reason}"),
        }
    }
}

/// Returns all notices of an assessment.
pub fn of(inventory: &Inventory, plan: &Plan, settings: &Settings) -> Vec<Notice> {
    let credentials = plan.items.iter().filter_map(|item| {
        Some(Notice {
            kind: kind(item, plan, settings)?,
            name: item.name.clone(),
            ends: item.expires,
            reason: item.decision.words().1,
        })
    });
    let authorities = inventory.authorities.iter().filter_map(|authority| {
        let ends = authority.certificate.as_ref().ok()?.validity.not_after;
        let kind = match ends {
            _ if ends < plan.at => Kind::Expired,
            _ if ends < plan.at + settings.renew_before => Kind::Expiring,
            _ => return None,
        };
        Some(Notice {
            kind,
            name: authority.spec.name.clone(),
            ends: Some(ends),
            reason: "it is a CA, which is not renewed here".into(),
        })
    });
    credentials.chain(authorities).collect()
}

fn kind(item: &Item, plan: &Plan, settings: &Settings) -> Option<Kind> {
    let ends_before = |moment| item.expires.is_some_and(|ends| ends < moment);
    if ends_before(plan.at) {
        return Some(Kind::Expired);
    }
    if item.decision.is_fault() {
        return Some(Kind::Fault);
    }
    match item.decision {
        Decision::Renew { .. } | Decision::With(_) | Decision::Missing => None,
        // A credential that the kubelet renews is never due here. Its end shows that the kubelet
        // did not renew it.
        Decision::Leave(_) | Decision::Blocked { .. } | Decision::Unreadable(_) => {
            let soon = item.due.is_some_and(|due| due < plan.at)
                || item.expires.is_some_and(|end| settings.is_urgent(end, plan.at));
            soon.then_some(Kind::Expiring)
        }
    }
}

/// Returns the notices that were not given within the last day, and records them as given now.
/// Records of other notices are dropped.
pub fn unsaid(notices: Vec<Notice>, told: &mut BTreeMap<String, (String, i64)>, now: Timestamp) -> Vec<Notice> {
    let now = now.unix_timestamp();
    told.retain(|name, _| notices.iter().any(|notice| notice.name == *name));
    let is_new = |notice: &Notice| {
        let words = format!("{:?}: {}", notice.kind, notice.reason);
        is_news(told, &notice.name, &words, now)
    };
    notices.into_iter().filter(is_new).collect()
}

/// Returns true if this text was not given within the last day, and records it as given now
/// (seconds since 1970).
pub fn is_news(told: &mut BTreeMap<String, (String, i64)>, what: &str, words: &str, now: i64) -> bool {
    // After a clock went back, it is given again.
    let said = told
        .get(what)
        .is_some_and(|(before, at)| before == words && (0..AGAIN).contains(&(now - at)));
    if !said {
        told.insert(what.to_owned(), (words.to_owned(), now));
    }
    !said
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    #[test]
    fn the_same_is_said_once_a_day_and_something_else_at_once() {
        let notice = |reason: &str| {
            vec![Notice {
                kind: Kind::Fault,
                name: "apiserver".into(),
                ends: None,
                reason: reason.into(),
            }]
        };
        let start = datetime!(2027-01-01 00:00 UTC);
        let mut told = BTreeMap::new();
        let mut says = |reason, minutes| {
            let now = start + time::Duration::minutes(minutes);
            unsaid(notice(reason), &mut told, now).len()
        };
        assert_eq!([says("a", 0), says("a", 1), says("b", 2), says("b", 60)], [1, 0, 1, 0]);
        assert_eq!([says("b", 24 * 60 + 2), says("b", 24 * 60 + 3)], [1, 0]);
        assert_eq!(says("b", -60), 1, "the clock went back");
        assert!(unsaid(Vec::new(), &mut told, start).is_empty() && told.is_empty());
    }
}
