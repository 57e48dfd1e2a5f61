//! The guard: judges whether a plan may be carried out now. Pure; the scan gathers the conditions.

use std::collections::BTreeMap;
use std::time::Duration;

use time::macros::datetime;

use crate::config::Settings;
use crate::format::text;
use crate::inventory::{Inventory, State};
use crate::model::{Timestamp, Validity};
use crate::plan::Plan;
use crate::scan::Conditions;

/// Release date of this version. A correct clock is never before it.
const MADE: Timestamp = datetime!(2026-11-01 0:00 UTC);

/// Largest lead of the clock over the time since boot. A larger one is a jump.
const JUMP: time::Duration = time::Duration::DAY;

/// A plan that may be carried out now. Only [`check`] makes one.
#[derive(Debug, Clone)]
pub struct Clearance {
    plan: Plan,
    /// Doubts that do not block it.
    pub warnings: Vec<String>,
    /// True if the clock may be wrong.
    pub doubtful_clock: bool,
}

/// A plan that has to wait.
#[derive(Debug, Clone)]
pub struct Deferral {
    /// The plan, for reports. Nothing carries it out.
    pub plan: Plan,
    /// The reason to wait, for people.
    pub reason: String,
    /// True if the clock may be wrong.
    pub doubtful_clock: bool,
}

impl Clearance {
    /// Returns the plan.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Leaves credentials that are not urgent for a later cycle. See [`Plan::defer`].
    pub fn defer(&mut self, settings: &Settings, reason: &str) -> bool {
        self.plan.defer(settings, reason)
    }

    /// Takes credentials and copies out of the plan. See [`Plan::exclude`].
    pub fn exclude(&mut self, reasons: BTreeMap<String, String>) -> bool {
        self.plan.exclude(reasons)
    }
}

/// The origin of a cycle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trigger {
    /// A person runs the command: conditions become warnings.
    Manual,
    /// The daemon runs a cycle: conditions defer it.
    Scheduled {
        /// Time since the start of the daemon.
        running_for: Duration,
    },
}

/// Clears the plan, or returns the reason to wait.
///
/// A doubtful clock blocks only credentials that may still be valid: those that have expired on
/// every plausible clock are renewed. Another program that renews is only a warning if a credential
/// ends within `urgent_before`.
pub fn check(
    mut plan: Plan,
    inventory: &Inventory,
    settings: &Settings,
    conditions: &Conditions,
    trigger: Trigger,
) -> Result<Clearance, Deferral> {
    let others = others_at_work(conditions);
    let earliest_plausible = earliest_plausible(inventory, conditions);
    let running_for = match trigger {
        Trigger::Manual => Duration::ZERO,
        Trigger::Scheduled { running_for } => running_for,
    };
    let doubt = clock_doubt(
        plan.at,
        earliest_plausible,
        conditions,
        settings.clock_wait.saturating_sub(running_for),
    );
    let doubtful_clock = doubt.is_some();
    let mut warnings: Vec<String> = others.iter().chain(&doubt).cloned().collect();
    if let Trigger::Scheduled { .. } = trigger {
        let wait = |plan, reasons: &[String]| Deferral {
            plan,
            reason: reasons.join("; "),
            doubtful_clock,
        };
        if !others.is_empty() && !plan.is_urgent(settings) {
            return Err(wait(plan, &others));
        }
        let whole = plan.clone();
        let held_back = doubt.is_some_and(|doubt| plan.block_unexpired(earliest_plausible, &doubt));
        if held_back && plan.is_empty() {
            return Err(wait(whole, &warnings));
        }
        if held_back {
            warnings.push("only credentials that have expired on every plausible clock are renewed".into());
        }
    }
    Ok(Clearance {
        plan,
        warnings,
        doubtful_clock,
    })
}

/// Returns a sentence for each other program that is renewing.
pub fn others_at_work(conditions: &Conditions) -> Vec<String> {
    let mut reasons = Vec::new();
    if let Some(pid) = conditions.kubeadm {
        reasons.push(format!("kubeadm is running (pid {pid})"));
    }
    if let Some(path) = conditions.staged.first() {
        reasons.push(format!(
            "kubeadm may be running: {} changed within the last hour",
            path.display()
        ));
    }
    if let Some(path) = conditions.fresh.first() {
        reasons.push(format!(
            "another program may be renewing: {} changed within the last minute",
            path.display()
        ));
    }
    reasons
}

/// Returns the earliest plausible time: the latest of the release date, notBefore of the newest
/// certificate, and the last assessment with a trusted clock.
pub fn earliest_plausible(inventory: &Inventory, conditions: &Conditions) -> Timestamp {
    let leaves = inventory.credentials.iter().filter_map(|c| match &c.state {
        State::Present(present) => Some(present.certificate.validity),
        _ => None,
    });
    let authorities = inventory
        .authorities
        .iter()
        .filter_map(|a| Some(a.certificate.as_ref().ok()?.validity));
    let born = leaves.chain(authorities).map(|Validity { not_before, .. }| not_before);
    let trusted = conditions
        .last_assessment
        .iter()
        .filter_map(|last| Timestamp::from_unix_timestamp(last.trusted).ok());
    born.chain(trusted).max().map_or(MADE, |newest| newest.max(MADE))
}

/// Returns the reason to doubt the clock. `wait` is the remaining time to wait for synchronization.
///
/// | synchronized | jumped ahead | too early | still waiting | doubt |
/// | --- | --- | --- | --- | --- |
/// | yes | any | any | any | no |
/// | no or not known | yes | any | any | yes, for one assessment |
/// | no or not known | no | yes | any | yes |
/// | no | no | no | yes | yes |
/// | no | no | no | no | no: many nodes never report that they are synchronized |
/// | not known | no | no | any | no |
pub fn clock_doubt(
    now: Timestamp,
    earliest_plausible: Timestamp,
    conditions: &Conditions,
    wait: Duration,
) -> Option<String> {
    if conditions.synchronized == Some(true) {
        return None;
    }
    let last = conditions
        .last_assessment
        .as_ref()
        .filter(|last| last.boot_id == conditions.boot_id);
    let ahead = last.map(|last| {
        let by_clock = now.unix_timestamp().saturating_sub(last.at);
        let by_uptime = conditions.uptime.saturating_sub(last.uptime);
        time::Duration::seconds(by_clock.saturating_sub(by_uptime))
    });
    if let Some(ahead) = ahead.filter(|ahead| *ahead > JUMP) {
        return Some(format!(
            "the clock jumped ahead by {} since the last assessment",
            text::residual(ahead)
        ));
    }
    if now < earliest_plausible {
        return Some(format!(
            "the clock says {}, but the time is {} at least",
            text::date(now),
            text::date(earliest_plausible)
        ));
    }
    (conditions.synchronized == Some(false) && wait > Duration::ZERO).then(|| {
        format!(
            "the clock is not synchronized yet; waiting up to {} more",
            text::duration(wait)
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::LastAssessment;

    const NOW: Timestamp = datetime!(2027-01-01 0:00 UTC);
    const HOUR: Duration = Duration::from_secs(3600);

    fn conditions(synchronized: Option<bool>, looked_ago: i64, uptime_ago: i64) -> Conditions {
        let last_assessment = LastAssessment {
            at: NOW.unix_timestamp() - looked_ago,
            boot_id: "b".into(),
            uptime: 1000,
            trusted: 0,
        };
        Conditions {
            synchronized,
            last_assessment: Some(last_assessment),
            boot_id: "b".into(),
            uptime: 1000 + uptime_ago,
            ..Conditions::default()
        }
    }

    #[test]
    fn the_clock_is_doubted_as_the_table_says() {
        let doubt =
            |conditions: &Conditions, earliest_plausible, wait| clock_doubt(NOW, earliest_plausible, conditions, wait);
        let (before, after) = (NOW - JUMP, NOW + JUMP);
        let year = 400 * 86_400;
        assert_eq!(doubt(&conditions(Some(true), year, 10), after, HOUR), None);
        assert!(
            doubt(&conditions(None, year, 10), before, Duration::ZERO)
                .unwrap()
                .contains("jumped ahead by 1y")
        );
        assert!(
            doubt(&conditions(Some(false), 10, 10), after, Duration::ZERO)
                .unwrap()
                .contains("at least")
        );
        assert!(
            doubt(&conditions(Some(false), 10, 10), before, HOUR)
                .unwrap()
                .contains("up to 1h")
        );
        assert_eq!(doubt(&conditions(Some(false), 10, 10), before, Duration::ZERO), None);
        assert_eq!(doubt(&conditions(None, 10, 10), before, HOUR), None);
    }

    #[test]
    fn time_asleep_or_in_another_boot_is_no_jump() {
        let year = 400 * 86_400;
        assert_eq!(
            clock_doubt(NOW, MADE, &conditions(None, year, year), Duration::ZERO),
            None
        );
        let rebooted = Conditions {
            boot_id: "c".into(),
            ..conditions(None, year, 10)
        };
        assert_eq!(clock_doubt(NOW, MADE, &rebooted, Duration::ZERO), None);
    }
}
