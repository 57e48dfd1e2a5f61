//! Takes renewals out of a plan. Nothing here ever adds one. Pure.

use std::collections::BTreeMap;

use super::{Decision, Item, Obstacle, Plan};
use crate::config::Settings;
use crate::model::Timestamp;

impl Plan {
    /// Leaves every credential that is not urgent for a later cycle, for this reason. Returns true
    /// if there was one.
    pub fn defer(&mut self, settings: &Settings, reason: &str) -> bool {
        let now = self.at;
        self.decide_otherwise(|item| {
            let waits = item.is_renewed() && !item.is_urgent(settings, now);
            let decision = Decision::Leave(reason.to_owned());
            waits.then(|| (decision.clone(), decision))
        })
    }

    /// Blocks credentials, by their names, and copies of kubeconfigs, by their paths, that turned
    /// out not to be replaceable. Returns false if none of them was to change.
    pub fn exclude(&mut self, mut reasons: BTreeMap<String, String>) -> bool {
        let before = reasons.len();
        for copy in self.copies.iter_mut().filter(|copy| copy.left.is_none()) {
            if let Some(because) = copy.path.to_str().and_then(|path| reasons.remove(path)) {
                (copy.left, copy.fault) = (Some(because), true);
            }
        }
        let blocked = |because| Decision::Blocked {
            because,
            obstacle: Obstacle::NotReplaceable,
        };
        self.decide_otherwise(|item| {
            let because = item.is_renewed().then(|| reasons.remove(&item.name))??;
            let shared = format!("its files are those of {}: {because}", item.name);
            Some((blocked(because), blocked(shared)))
        });
        reasons.len() < before
    }

    /// Blocks the renewal of every credential that may still be valid: one that ends after
    /// `earliest_plausible`. Returns true if there was one.
    pub fn block_unexpired(&mut self, earliest_plausible: Timestamp, doubt: &str) -> bool {
        let blocked = Decision::Blocked {
            because: doubt.to_owned(),
            obstacle: Obstacle::Clock,
        };
        self.decide_otherwise(|item| {
            let is_expired = item.expires.is_some_and(|end| end < earliest_plausible);
            let is_blocked = item.is_renewed() && !is_expired;
            is_blocked.then(|| (blocked.clone(), blocked.clone()))
        })
    }

    /// Decides otherwise about some renewals: `judge` returns the new decision for an item, and the
    /// decision for credentials that share its files. Returns true if it returned one.
    fn decide_otherwise(&mut self, mut judge: impl FnMut(&Item) -> Option<(Decision, Decision)>) -> bool {
        let mut shared = BTreeMap::new();
        for item in &mut self.items {
            if let Some((own, others)) = judge(item) {
                item.decision = own;
                shared.insert(item.name.clone(), others);
            }
        }
        for item in &mut self.items {
            if let Decision::With(other) = &item.decision
                && let Some(decision) = shared.get(other)
            {
                item.decision = decision.clone();
            }
        }
        self.drop_idle_readers();
        !shared.is_empty()
    }

    /// Drops readers that no longer have anything to reload, and credentials that are no longer
    /// renewed from the others.
    fn drop_idle_readers(&mut self) {
        let is_renewed = |item: &&Item| matches!(item.decision, Decision::Renew { .. } | Decision::With(_));
        let names = |items: Vec<&Item>| items.iter().map(|item| item.name.clone()).collect::<Vec<_>>();
        let renewed = names(self.items.iter().filter(is_renewed).collect());
        let known = names(self.items.iter().collect());
        for step in &mut self.readers {
            step.reads.retain(|name| renewed.contains(name));
            // A certificate that a process made for itself is not a credential of the plan.
            step.holds
                .retain(|name| renewed.contains(name) || !known.contains(name));
        }
        self.readers.retain(|step| !step.reads.is_empty() || step.restarts());
    }
}
