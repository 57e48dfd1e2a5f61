//! The decision about the cluster lock: take it, continue without one, act alone in a slot, or
//! wait. Pure.

use strum::IntoStaticStr;

use super::slots::Slot;
use crate::config::settings::CoordinationMode;
use crate::format::text;
use crate::model::{Failure, Peer, Timestamp};

/// The answer of etcd to the request for the lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Etcd {
    /// No endpoint is known: a worker, or a node without a cluster.
    Unknown,
    /// No endpoint answers, for this reason.
    Silent(String),
    /// No lease was granted, for this reason: etcd has no majority, or no space left.
    Powerless(String),
    /// The client may not write the lock. This was the answer.
    Denied(String),
    /// Leases are granted. Holds the number of members.
    Ready(usize),
}

impl Etcd {
    /// Returns the reason that it grants no lease.
    pub fn why(&self) -> &str {
        match self {
            Self::Unknown => "nothing says where etcd is",
            Self::Silent(why) | Self::Powerless(why) | Self::Denied(why) => why,
            Self::Ready(_) => "it gives leases",
        }
    }
}

/// Everything that the decision depends on.
#[derive(Debug, Clone)]
pub struct Facts {
    /// `[coordination] mode`
    pub mode: CoordinationMode,
    /// Answer of etcd.
    pub etcd: Etcd,
    /// A member of etcd is meant to run on this node. The cluster then has as many nodes as
    /// members.
    pub is_member: bool,
    /// etcd or an API server runs on this node.
    pub runs_here: bool,
    /// Members at the last contact.
    pub stored: Vec<Peer>,
    /// A credential ends within `urgent_before` without which this node cannot reach etcd, or the
    /// other members cannot reach this one.
    pub ends_soon: bool,
    /// A credential that is to be renewed ends within `urgent_before`.
    pub urgent: bool,
    /// A person runs the command.
    pub attended: bool,
    /// Slot of this node.
    pub slot: Slot,
    /// Wall clock.
    pub now: Timestamp,
}

/// The decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Take the lock.
    Lock,
    /// No lock is needed, for this reason.
    NoLock(&'static str),
    /// Continue without the lock. Holds a warning for the operator.
    Alone(String),
    /// Wait.
    Wait(LockRefusal),
}

/// The kinds of reasons to refuse the lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Cause {
    /// Another node has the lock.
    Held,
    /// Another node has begun and has not finished.
    Unfinished,
    /// Another member of etcd is unhealthy or does not answer, or an alarm is raised.
    Members,
    /// One of two members would be missing outside of a maintenance window.
    TwoMembers,
    /// etcd does not answer, or grants no lease.
    Etcd,
    /// As `Etcd`, and this node waits for its slot.
    OwnTime,
    /// etcd does not allow its client to write the lock.
    Denied,
    /// A reason on this node, found after it got the lock.
    Node,
}

/// A refusal to act now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockRefusal {
    /// Kind of the reason.
    pub cause: Cause,
    /// The reason, for people.
    pub reason: String,
    /// Advice for the operator.
    pub hint: String,
    /// Time of the next try. `None` means the usual one.
    pub until: Option<Timestamp>,
}

impl LockRefusal {
    /// Returns it as a failure.
    pub fn failure(&self) -> Failure {
        Failure::new(format!("deferred: {}", self.reason)).hint(&self.hint)
    }
}

/// Decides about the lock.
///
/// | mode | etcd | | decision |
/// | --- | --- | --- | --- |
/// | off | any | | no lock |
/// | auto | no endpoint is known | | no lock: a worker |
/// | required | no endpoint is known | | wait |
/// | auto, required | lists one member, now or last time | it is meant to run here | no lock |
/// | auto, required | lists one member | it runs elsewhere: other nodes may use it too | lock |
/// | auto, required | grants leases to several members | | lock |
/// | auto, required | silent | no etcd or API server runs here | no lock: only files change |
/// | auto, required | silent, no majority, no space | a credential or a renewal is urgent | alone |
/// | auto, required | silent, no majority, no space | all credentials are valid for longer | wait |
/// | auto | denied | | alone |
/// | required | denied | | wait |
///
/// *Alone* means at once if a person runs the command. Otherwise the node waits for its slot.
pub fn decide(facts: &Facts) -> Decision {
    let last = match &facts.etcd {
        Etcd::Ready(members) => *members,
        _ => facts.stored.len(),
    };
    match (&facts.etcd, facts.mode) {
        (_, CoordinationMode::Off) => Decision::NoLock("[coordination] mode is off"),
        (Etcd::Unknown, CoordinationMode::Auto) => Decision::NoLock("this node knows of no etcd"),
        (Etcd::Unknown, CoordinationMode::Required) => wait(
            Cause::Etcd,
            "nothing says where etcd is, and [coordination] mode is required".into(),
            "set [etcd] endpoints, ca, certificate and key",
        ),
        _ if last == 1 && facts.is_member => Decision::NoLock("the cluster has one member"),
        (Etcd::Ready(_), _) => Decision::Lock,
        (Etcd::Silent(_), _) if !facts.runs_here => {
            Decision::NoLock("neither etcd nor an API server runs here, and no member answers")
        }
        (Etcd::Silent(why) | Etcd::Powerless(why), _) if nothing_is_lost(facts) => {
            alone(facts, format!("the lock in etcd is unavailable ({why})"))
        }
        (Etcd::Silent(why) | Etcd::Powerless(why), _) => wait(
            Cause::Etcd,
            format!("the lock in etcd is unavailable, and there is time: {why}"),
            "`etcdctl endpoint status --cluster` shows which members serve",
        ),
        (Etcd::Denied(why), CoordinationMode::Auto) => alone(
            facts,
            format!("etcd does not let us write the lock ({why}); {PERMISSION}"),
        ),
        (Etcd::Denied(why), CoordinationMode::Required) => wait(
            Cause::Denied,
            format!("etcd does not let us write the lock: {why}"),
            PERMISSION,
        ),
    }
}

/// Permission of the client, if etcd uses authentication.
const PERMISSION: &str = "give the user of its client certificate (its common name) a role that \
     may read and write keys that begin with /kubecertd/: \
     `etcdctl role grant-permission ROLE --prefix=true readwrite /kubecertd/`";

fn wait(cause: Cause, reason: String, hint: &str) -> Decision {
    Decision::Wait(LockRefusal {
        cause,
        reason,
        hint: hint.to_owned(),
        until: None,
    })
}

/// Returns true if waiting would be worse: the credential to reach the others is gone or soon will
/// be, or one would expire.
fn nothing_is_lost(facts: &Facts) -> bool {
    facts.urgent || facts.ends_soon
}

fn alone(facts: &Facts, why: String) -> Decision {
    if facts.attended {
        return Decision::Alone(format!(
            "{why}: continuing without it; make sure that kubecertd does not run on another node \
             (`kubecertd status` there)"
        ));
    }
    if facts.slot.is_open(facts.now) {
        return Decision::Alone(format!("{why}: continuing without it, in this node's slot"));
    }
    let opens = facts.slot.next(facts.now);
    Decision::Wait(LockRefusal {
        cause: Cause::OwnTime,
        reason: format!("{why}: this node waits for its own time, {}", text::date(opens)),
        hint: "`kubecertd renew` acts at once; make sure first that no other node is renewing".into(),
        until: Some(opens),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    const NOW: Timestamp = datetime!(2027-01-01 0:05 UTC);

    fn peers(count: u64) -> Vec<Peer> {
        let of = |id| Peer {
            id,
            name: format!("node-{id}"),
            client_urls: Vec::new(),
            is_learner: false,
        };
        (1..=count).map(of).collect()
    }

    fn facts(etcd: Etcd) -> Facts {
        let stored = peers(3);
        let slot = (1..=3)
            .map(|n| Slot::of(&format!("node-{n}"), "m", &stored))
            .find(|slot| slot.is_open(NOW));
        Facts {
            mode: CoordinationMode::Auto,
            etcd,
            is_member: true,
            runs_here: true,
            stored,
            ends_soon: false,
            urgent: false,
            attended: false,
            slot: slot.unwrap(),
            now: NOW,
        }
    }

    fn word(facts: &Facts) -> &'static str {
        match decide(facts) {
            Decision::Lock => "lock",
            Decision::NoLock(_) => "no lock",
            Decision::Alone(_) => "alone",
            Decision::Wait(_) => "wait",
        }
    }

    #[test]
    fn it_is_as_the_table_says() {
        let required = CoordinationMode::Required;
        let silent = || Etcd::Silent("x".into());
        let powerless = || Etcd::Powerless("x".into());
        let denied = || Etcd::Denied("x".into());
        let with = |etcd, change: &dyn Fn(&mut Facts)| {
            let mut facts = facts(etcd);
            change(&mut facts);
            word(&facts)
        };
        let as_is: &dyn Fn(&mut Facts) = &|_| {};
        for etcd in [Etcd::Unknown, silent(), powerless(), denied(), Etcd::Ready(3)] {
            assert_eq!(with(etcd, &|f| f.mode = CoordinationMode::Off), "no lock");
        }
        assert_eq!(with(Etcd::Unknown, as_is), "no lock");
        assert_eq!(with(Etcd::Unknown, &|f| f.mode = required), "wait");
        for mode in [CoordinationMode::Auto, required] {
            assert_eq!(with(Etcd::Ready(1), &|f| f.mode = mode), "no lock");
            assert_eq!(with(Etcd::Ready(3), &|f| f.mode = mode), "lock");
            assert_eq!(with(Etcd::Ready(1), &|f| f.is_member = false), "lock");
            assert_eq!(with(Etcd::Ready(2), &|f| f.stored = peers(1)), "lock", "it has grown");
            for etcd in [silent(), powerless()] {
                let with = |change: &dyn Fn(&mut Facts)| {
                    with(etcd.clone(), &|f| {
                        f.mode = mode;
                        change(f);
                    })
                };
                assert_eq!(with(&|f| f.stored = peers(1)), "no lock");
                assert_eq!(with(as_is), "wait");
                assert_eq!(with(&|f| f.attended = true), "wait", "there is time");
                assert_eq!(with(&|f| f.ends_soon = true), "alone");
                assert_eq!(with(&|f| f.urgent = true), "alone");
            }
            assert_eq!(
                with(silent(), &|f| {
                    f.mode = mode;
                    f.runs_here = false;
                }),
                "no lock"
            );
            assert_eq!(with(powerless(), &|f| f.runs_here = false), "wait");
        }
        assert_eq!(with(denied(), as_is), "alone");
        assert_eq!(with(denied(), &|f| f.mode = required), "wait");
    }

    #[test]
    fn alone_means_in_its_own_time_unless_a_person_looks_on() {
        let mut late = facts(Etcd::Denied("permission denied".into()));
        late.now = NOW + time::Duration::minutes(20);
        let Decision::Wait(blocked) = decide(&late) else {
            panic!("the slot is past its half")
        };
        let opens = blocked.until.unwrap();
        assert_eq!(opens, datetime!(2027-01-01 1:30 UTC), "three slots of half an hour");
        assert_eq!(
            word(&Facts {
                now: opens,
                ..late.clone()
            }),
            "alone"
        );
        let Decision::Alone(warning) = decide(&Facts { attended: true, ..late }) else {
            panic!("a person looks on")
        };
        assert!(warning.contains("role grant-permission") && warning.contains("kubecertd status"));
    }
}
