//! What befalls a round, at moments of chance.

use std::fmt;
use std::time::{Duration, Instant};

use super::support::chance::Chance;
use super::checker::What;
use super::client::Clients;
use super::lab::Lab;
use super::node;
use super::operator::Operator;
use super::watch::Seen;

/// The shortest lease that the configuration takes, and what its holder must be frozen beyond.
pub const LEASE: Duration = Duration::from_secs(15);

/// Nobody holds the lock for longer than this without anybody having it.
const SOMEBODY: Duration = Duration::from_secs(15);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// Everybody at the same moment, and nothing else.
    Together,
    /// The holder is killed, and started again.
    Killed,
    /// The holder is stopped for a moment, or past the end of its lease.
    Paused,
    Frozen,
    /// A member is killed, and comes back.
    MemberDown,
    /// Two nodes do not hear each other for a while; or for longer than a lease.
    Cut,
    LongCut,
    /// A node is off the network for a while.
    Unplugged,
}

/// In the order in which they are gone through; what costs a lease comes once.
pub const ALL: [Fault; 8] = [
    Fault::Together,
    Fault::Killed,
    Fault::MemberDown,
    Fault::Cut,
    Fault::Unplugged,
    Fault::Paused,
    Fault::Frozen,
    Fault::LongCut,
];

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Together => "together",
            Self::Killed => "holder killed",
            Self::Paused => "holder paused",
            Self::Frozen => "holder frozen past its lease",
            Self::MemberDown => "member down",
            Self::Cut => "two nodes cut",
            Self::LongCut => "two nodes cut past a lease",
            Self::Unplugged => "node unplugged",
        })
    }
}

/// Lets it happen, and puts everything right again. Says what happened to whom.
pub fn let_happen(fault: Fault, lab: &Lab, operators: &[Operator<'_>], seen: &Seen, chance: &mut Chance) -> String {
    match fault {
        Fault::Together => String::new(),
        Fault::Killed => {
            let Some(holder) = caught(lab, seen, chance) else {
                return missed();
            };
            let at = seen.elapsed();
            let killed = operators[holder].signal("-KILL");
            format!("{} at {:.2} s ({killed})", node::name(holder), at.as_secs_f64())
        }
        Fault::Paused => stopped(lab, operators, seen, chance, (200, 4000)),
        Fault::Frozen => {
            let lease = u64::try_from(LEASE.as_millis()).expect("a short time");
            stopped(lab, operators, seen, chance, (lease + 500, lease + 4000))
        }
        Fault::MemberDown => {
            let victim = &lab.nodes[lab.any(chance)];
            std::thread::sleep(chance.milliseconds(0, 2000));
            victim.take_etcd_down();
            seen.add(victim.number, What::Down);
            std::thread::sleep(chance.milliseconds(500, 6000));
            victim.let_etcd_up();
            victim.etcd_is_well();
            seen.add(victim.number, What::Up);
            victim.name.clone()
        }
        Fault::Cut => cut(lab, chance, (500, 6000)),
        Fault::LongCut => cut(lab, chance, (16_000, 19_000)),
        Fault::Unplugged => {
            let victim = lab.any(chance);
            std::thread::sleep(chance.milliseconds(0, 2000));
            lab.unplug(victim);
            seen.add(victim, What::Down);
            std::thread::sleep(chance.milliseconds(500, 6000));
            lab.plug(victim);
            lab.nodes[victim].etcd_is_well();
            seen.add(victim, What::Up);
            node::name(victim)
        }
    }
}

/// Between two nodes a network neither delivers nor refuses anything.
fn cut(lab: &Lab, chance: &mut Chance, (least, most): (u64, u64)) -> String {
    let (one, other) = chance.two(lab.nodes.len());
    std::thread::sleep(chance.milliseconds(0, 2000));
    lab.cut(one, other);
    std::thread::sleep(chance.milliseconds(least, most));
    lab.mend(one, other);
    format!("{} and {}", node::name(one), node::name(other))
}

fn stopped(
    lab: &Lab,
    operators: &[Operator<'_>],
    seen: &Seen,
    chance: &mut Chance,
    (least, most): (u64, u64),
) -> String {
    let Some(holder) = caught(lab, seen, chance) else {
        return missed();
    };
    let at = seen.elapsed();
    let stopped = operators[holder].signal("-STOP");
    let time = chance.milliseconds(least, most);
    std::thread::sleep(time);
    operators[holder].signal("-CONT");
    let (name, from) = (node::name(holder), at.as_secs_f64());
    format!("{name} at {from:.2} s for {:.1} s ({stopped})", time.as_secs_f64())
}

fn missed() -> String {
    "nobody held it".to_owned()
}

/// Who holds the lock, a random moment after it was had or after the first replacement; none when nobody does in time.
fn caught(lab: &Lab, seen: &Seen, chance: &mut Chance) -> Option<usize> {
    let by_journal = chance.one_in(2);
    // The first turns are as good as the last.
    let turns_to_wait = chance.below(lab.nodes.len());
    let mut clients = Clients::of(lab);
    let mut had = Vec::new();
    let deadline = Instant::now() + SOMEBODY;
    while Instant::now() < deadline {
        let holder = if by_journal {
            seen.open().first().copied()
        } else {
            holder(lab, &mut clients)
        };
        if let Some(holder) = holder {
            if !had.contains(&holder) {
                had.push(holder);
            }
            if had.len() > turns_to_wait {
                let most = if by_journal { 120 } else { 500 };
                std::thread::sleep(chance.milliseconds(0, most));
                return Some(holder);
            }
        }
        std::thread::sleep(Duration::from_millis(4));
    }
    None
}

/// The node that the lock's key names.
pub fn holder(lab: &Lab, clients: &mut Clients) -> Option<usize> {
    let found = clients.below("/kubecertd/lock/holder", Duration::from_secs(1)).ok()?;
    let (_, value) = found.first()?;
    lab.nodes
        .iter()
        .position(|node| value.contains(&format!("\"{}\"", node.name)))
}
