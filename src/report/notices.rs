//! What a person should be told of the certificates that a look has found, and not at every look again. Pure.

use std::collections::BTreeMap;

use crate::config::Settings;
use crate::format::text;
use crate::inventory::Inventory;
use crate::model::Timestamp;
use crate::plan::{Decision, Item, Plan};

/// The same is said again after this: a little less than the day between two looks.
const AGAIN: i64 = 23 * 3600;

/// How bad it is, the worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// It has expired.
    Expired,
    /// It cannot be read, or should be renewed and cannot be.
    Fault,
    /// It ends soon, and is not about to be renewed.
    Expiring,
}

/// One thing to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// How bad it is.
    pub kind: Kind,
    /// The credential or CA.
    pub name: String,
    /// When it ends.
    pub ends: Option<Timestamp>,
    /// What the plan says of it.
    pub reason: String,
}

impl std::fmt::Display for Notice {
    /// One line, beginning with the name of what it is about.
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

/// Everything that is to be said of a look.
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
        // What the kubelet renews itself is never due here; that it did not is seen by its end.
        Decision::Leave(_) | Decision::Blocked { .. } | Decision::Unreadable(_) => {
            let soon = item.due.is_some_and(|due| due < plan.at)
                || item.expires.is_some_and(|end| settings.is_urgent(end, plan.at));
            soon.then_some(Kind::Expiring)
        }
    }
}

/// Those that were not said within the last day, which are remembered as said now. What is no longer so is forgotten.
pub fn unsaid(notices: Vec<Notice>, told: &mut BTreeMap<String, (String, i64)>, now: Timestamp) -> Vec<Notice> {
    let now = now.unix_timestamp();
    told.retain(|name, _| notices.iter().any(|notice| notice.name == *name));
    let is_new = |notice: &Notice| {
        let words = format!("{:?}: {}", notice.kind, notice.reason);
        is_news(told, &notice.name, &words, now)
    };
    notices.into_iter().filter(is_new).collect()
}

/// Whether these words on something were not said within the last day; they are remembered as said now (seconds since 1970).
pub fn is_news(told: &mut BTreeMap<String, (String, i64)>, what: &str, words: &str, now: i64) -> bool {
    // A clock that went back makes it be said again.
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
