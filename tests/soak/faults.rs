//! The faults of a round, at random moments.

use std::fmt;
use std::ops::Range;
use std::time::{Duration, Instant};

use super::checker::What;
use super::client::Clients;
use super::lab::Lab;
use super::node;
use super::operator::Operator;
use super::support::chance::Chance;
use super::watch::Seen;

/// The shortest lease that the configuration takes, and what its holder must be frozen beyond.
pub const LEASE: Duration = Duration::from_secs(15);

/// The lock is free within this time after its holder is gone.
const SOMEBODY: Duration = Duration::from_secs(15);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// Everybody at the same moment, and nothing else.
    Together,
    /// The same, by daemons that start in the same second and find everything due.
    Daemons,
    /// The holder is killed, and started again.
    Killed,
    /// The holder is stopped for a moment, or past the end of its lease.
    Paused,
    Frozen,
    /// The holder is stopped past the end of its lease, and so is who has the lock after it; the
    /// first continues before the second.
    BothFrozen,
    /// A member is killed, and comes back.
    MemberDown,
    /// The same, while the holder is stopped for less than a lease.
    MemberDownWhilePaused,
    /// Two nodes do not hear each other for a while; or for longer than a lease.
    Cut,
    LongCut,
    /// A node is off the network for a while.
    Unplugged,
}

/// In the order in which they are gone through; what costs a lease comes once.
pub const ALL: [Fault; 11] = [
    Fault::Together,
    Fault::Daemons,
    Fault::Killed,
    Fault::MemberDown,
    Fault::Cut,
    Fault::Unplugged,
    Fault::Paused,
    Fault::MemberDownWhilePaused,
    Fault::Frozen,
    Fault::BothFrozen,
    Fault::LongCut,
];

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Together => "together",
            Self::Daemons => "daemons together",
            Self::Killed => "holder killed",
            Self::Paused => "holder paused",
            Self::Frozen => "holder frozen past its lease",
            Self::BothFrozen => "holder and the next one frozen past their leases",
            Self::MemberDown => "member down",
            Self::MemberDownWhilePaused => "member down while the holder is paused",
            Self::Cut => "two nodes cut",
            Self::LongCut => "two nodes cut past a lease",
            Self::Unplugged => "node unplugged",
        })
    }
}

/// Lets it happen, and puts everything right again. Says what happened to whom.
pub fn let_happen(fault: Fault, lab: &Lab, operators: &[Operator<'_>], seen: &Seen, chance: &mut Chance) -> String {
    match fault {
        Fault::Together | Fault::Daemons => String::new(),
        Fault::Killed => {
            let Some(holder) = caught(lab, seen, chance) else {
                return missed();
            };
            let at = seen.elapsed();
            let killed = operators[holder].signal("-KILL");
            format!("{} at {:.2} s ({killed})", node::name(holder), at.as_secs_f64())
        }
        Fault::Paused => stopped(lab, operators, seen, chance, 200..4000),
        Fault::Frozen => {
            let lease = u64::try_from(LEASE.as_millis()).expect("a short time");
            stopped(lab, operators, seen, chance, lease + 500..lease + 4000)
        }
        Fault::BothFrozen => both_frozen(lab, operators, seen, chance),
        Fault::MemberDown => {
            let victim = lab.any(chance);
            std::thread::sleep(chance.milliseconds(0, 2000));
            member_down(lab, victim, seen, chance.milliseconds(500, 6000), || ());
            node::name(victim)
        }
        Fault::MemberDownWhilePaused => {
            let Some(holder) = lock_taken(lab, seen) else {
                return missed();
            };
            operators[holder].signal("-STOP");
            let victim = (holder + 1 + chance.below(lab.nodes.len() - 1)) % lab.nodes.len();
            member_down(lab, victim, seen, chance.milliseconds(4000, 6000), || {
                operators[holder].signal("-CONT");
                std::thread::sleep(Duration::from_secs(3));
            });
            format!("{}, {} is paused", node::name(victim), node::name(holder))
        }
        Fault::Cut => cut(lab, chance, 500..6000),
        Fault::LongCut => cut(lab, chance, 16_000..19_000),
        Fault::Unplugged => {
            let victim = lab.any(chance);
            std::thread::sleep(chance.milliseconds(0, 2000));
            lab.unplug(victim);
            seen.add(victim, What::Down);
            std::thread::sleep(chance.milliseconds(500, 6000));
            seen.add(victim, What::Up);
            lab.plug(victim);
            lab.nodes[victim].etcd_is_well();
            node::name(victim)
        }
    }
}

/// Holds a member down for this time, and while what follows runs.
fn member_down(lab: &Lab, victim: usize, seen: &Seen, time: Duration, then: impl FnOnce()) {
    let node = &lab.nodes[victim];
    node.take_etcd_down();
    seen.add(victim, What::Down);
    std::thread::sleep(time);
    then();
    seen.add(victim, What::Up);
    node.let_etcd_up();
    node.etcd_is_well();
}

/// Neither may continue from where it was stopped: the second, which has begun, is between its
/// first replacement and its proof.
fn both_frozen(lab: &Lab, operators: &[Operator<'_>], seen: &Seen, chance: &mut Chance) -> String {
    let Some(first) = lock_taken(lab, seen) else {
        return missed();
    };
    operators[first].signal("-STOP");
    let next = || seen.open().into_iter().find(|node| *node != first);
    let second = until(LEASE + SOMEBODY, next);
    if let Some(second) = second {
        operators[second].signal("-STOP");
        std::thread::sleep(LEASE + chance.milliseconds(1000, 2000));
    }
    operators[first].signal("-CONT");
    if let Some(second) = second {
        std::thread::sleep(chance.milliseconds(2000, 5000));
        operators[second].signal("-CONT");
    }
    format!(
        "{}, then {}",
        node::name(first),
        second.map_or_else(|| "nobody".into(), node::name)
    )
}

/// Returns the node that has just taken the lock and has not begun yet.
fn lock_taken(lab: &Lab, seen: &Seen) -> Option<usize> {
    let mut clients = Clients::of(lab);
    until(SOMEBODY, || {
        holder(lab, &mut clients).filter(|holder| !seen.open().contains(holder))
    })
}

fn until<T>(limit: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + limit;
    while Instant::now() < deadline {
        if let Some(found) = look() {
            return Some(found);
        }
        std::thread::sleep(Duration::from_millis(4));
    }
    None
}

/// Between two nodes a network neither delivers nor refuses anything.
fn cut(lab: &Lab, chance: &mut Chance, time: Range<u64>) -> String {
    let (one, other) = chance.two(lab.nodes.len());
    std::thread::sleep(chance.milliseconds(0, 2000));
    lab.cut(one, other);
    std::thread::sleep(chance.milliseconds(time.start, time.end));
    lab.mend(one, other);
    format!("{} and {}", node::name(one), node::name(other))
}

fn stopped(lab: &Lab, operators: &[Operator<'_>], seen: &Seen, chance: &mut Chance, time: Range<u64>) -> String {
    let Some(holder) = caught(lab, seen, chance) else {
        return missed();
    };
    let at = seen.elapsed();
    let stopped = operators[holder].signal("-STOP");
    let time = chance.milliseconds(time.start, time.end);
    std::thread::sleep(time);
    operators[holder].signal("-CONT");
    let (name, from) = (node::name(holder), at.as_secs_f64());
    format!("{name} at {from:.2} s for {:.1} s ({stopped})", time.as_secs_f64())
}

fn missed() -> String {
    "nobody held it".to_owned()
}

/// Returns the node that holds the lock, a random moment after it was taken or after the first
/// replacement; `None` if no node does in time.
fn caught(lab: &Lab, seen: &Seen, chance: &mut Chance) -> Option<usize> {
    let by_journal = chance.one_in(2);
    // The first turns are as good as the last.
    let turns_to_wait = chance.below(lab.nodes.len());
    let mut clients = Clients::of(lab);
    let mut had = Vec::new();
    let holder = until(SOMEBODY, || {
        let holder = if by_journal {
            seen.open().first().copied()
        } else {
            holder(lab, &mut clients)
        }?;
        if !had.contains(&holder) {
            had.push(holder);
        }
        (had.len() > turns_to_wait).then_some(holder)
    });
    std::thread::sleep(chance.milliseconds(0, if by_journal { 60 } else { 200 }));
    holder
}

/// The node that the lock's key names.
pub fn holder(lab: &Lab, clients: &mut Clients) -> Option<usize> {
    let found = clients.below("/kubecertd/lock/holder", Duration::from_secs(1)).ok()?;
    let (_, value) = found.first()?;
    lab.nodes
        .iter()
        .position(|node| value.contains(&format!("\"{}\"", node.name)))
}
