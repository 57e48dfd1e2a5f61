//! Rounds: everybody renews everything at the same moment, something happens, and the checker
//! judges.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use super::checker::{Event, Violation, What, check};
use super::client::Clients;
use super::faults::{self, Fault, LEASE};
use super::lab::{self, Lab, say};
use super::node::STATE;
use super::operator::Operator;
use super::support::chance::Chance;
use super::watch::Watch;

/// By then every node of a round is renewed.
const ROUND: Duration = Duration::from_secs(120);

/// A fault that costs a lease comes once in this many rounds.
const LONG_EVERY: usize = 20;

/// Clocks are at most this many seconds off, each way. A certificate begins five minutes before its
/// issuer's now: a node whose clock is further behind another's takes that one's member for unwell
/// until then.
const SKEW: usize = 140;

/// True if the nodes take the cluster lock.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Turns {
    Taken,
    Off,
}

/// The plan of a round.
pub struct Plan {
    pub fault: Fault,
    /// etcd is restarted on every node.
    pub restarts: bool,
    pub skews: Vec<i64>,
}

#[test]
fn three_nodes_take_turns_under_every_fault() {
    lab::alone("rounds::three_nodes_take_turns_under_every_fault", || {
        soak(3, rounds() * 3 / 4);
    });
}

#[test]
fn five_nodes_take_turns_under_every_fault() {
    lab::alone("rounds::five_nodes_take_turns_under_every_fault", || {
        soak(5, rounds() / 4);
    });
}

/// The checker can fail, and the lock is what keeps it from failing.
#[test]
fn without_the_lock_the_checker_finds_overlaps() {
    lab::alone("rounds::without_the_lock_the_checker_finds_overlaps", || {
        let lab = Lab::of(3);
        let seed = seed();
        let found = (0..10).find_map(|number| {
            let mut chance = Chance::new(seed, number);
            let plan = Plan {
                fault: Fault::Together,
                restarts: number % 2 == 1,
                skews: vec![0; 3],
            };
            let (events, _) = play(&lab, &plan, Turns::Off, &mut chance);
            let wrong = check(&events, lab.nodes.len());
            let overlaps = wrong
                .iter()
                .filter(|wrong| matches!(wrong, Violation::Beside { .. }))
                .count();
            say(&format!(
                "without the lock, round {number} of seed {seed}: {overlaps} overlaps"
            ));
            lab.nodes.iter().for_each(super::node::Node::etcd_is_well);
            (overlaps > 0).then_some(overlaps)
        });
        assert!(
            found.is_some(),
            "ten rounds without an overlap: the checker sees nothing"
        );
    });
}

/// `SOAK_ROUNDS`: by default as many as every fault needs to befall three nodes once.
fn rounds() -> usize {
    let set = std::env::var("SOAK_ROUNDS").ok();
    set.map_or(15, |text| text.parse().expect("SOAK_ROUNDS is a number"))
}

/// `SOAK_SEED`, or the time.
pub fn seed() -> u64 {
    let now = || super::support::clock::seconds(&super::support::clock::now()).unsigned_abs();
    let set = std::env::var("SOAK_SEED").ok();
    set.map_or_else(now, |text| text.parse().expect("SOAK_SEED is a number"))
}

/// Every fault comes before any comes twice, but for the long ones, which come once in this many
/// rounds.
fn plan(number: usize, members: usize, chance: &mut Chance) -> Plan {
    let (short, long) = faults::ALL.split_at(faults::ALL.len() - 3);
    let fault = match number % LONG_EVERY {
        8 => long[0],
        9 => long[1],
        10 => long[2],
        _ => short[number % short.len()],
    };
    let is_skewed = chance.one_in(2);
    let mut skew = || i64::try_from(chance.below(2 * SKEW + 1)).expect("minutes") - SKEW as i64;
    let skews = (0..members).map(|_| match fault {
        // A daemon waits while the clock is behind what its node has seen, which it says: none was
        // further ahead than this.
        Fault::Daemons => SKEW as i64,
        _ if is_skewed => skew(),
        _ => 0,
    });
    let skews = skews.collect();
    Plan {
        fault,
        restarts: !chance.one_in(3),
        skews,
    }
}

fn soak(members: usize, rounds: usize) {
    let seed = seed();
    say(&format!("{members} nodes, {rounds} rounds, SOAK_SEED={seed}"));
    let lab = Lab::of(members);
    let began = Instant::now();
    let (mut wrong, mut kinds) = (Vec::new(), BTreeMap::<Fault, usize>::new());
    let mut longest = Duration::ZERO;
    for number in 0..rounds {
        let mut chance = Chance::new(seed, number);
        let plan = plan(number, members, &mut chance);
        *kinds.entry(plan.fault).or_default() += 1;
        let before: Vec<_> = lab.nodes.iter().map(|node| node.serial("etcd/server.crt")).collect();
        let (events, what) = play(&lab, &plan, Turns::Taken, &mut chance);
        let took = events.last().map_or(Duration::ZERO, |event| event.at);
        longest = longest.max(took);
        lab.nodes.iter().for_each(super::node::Node::etcd_is_well);
        let found = judged(&lab, &events, &before);
        say(&line(number, &plan, &what, &events, found.len()));
        refusals(&events)
            .iter()
            .for_each(|refusal| say(&format!("    {refusal}")));
        if !found.is_empty() {
            say(&format!("{}\n{}", found.join("\n"), told(&events)));
            wrong.extend(found.into_iter().map(|found| format!("round {number}: {found}")));
        }
    }
    let kinds: Vec<_> = kinds.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
    say(&format!(
        "{members} nodes: {rounds} rounds in {:.0} s ({}), the longest {:.1} s, {} violations",
        began.elapsed().as_secs_f64(),
        kinds.join(", "),
        longest.as_secs_f64(),
        wrong.len()
    ));
    assert!(wrong.is_empty(), "SOAK_SEED={seed}:\n{}", wrong.join("\n"));
}

/// Everything that is wrong after a round, in words.
fn judged(lab: &Lab, events: &[Event], before: &[String]) -> Vec<String> {
    let mut found: Vec<_> = check(events, lab.nodes.len())
        .iter()
        .map(|wrong| format!("{wrong:?}"))
        .collect();
    for (node, before) in lab.nodes.iter().zip(before) {
        if node.serial("etcd/server.crt") == *before {
            found.push(format!(
                "{} says that it renewed, and has its old certificate",
                node.name
            ));
        }
        let left = super::support::tree::names(&node.tree.path(STATE));
        found.extend(
            left.iter()
                .filter(|name| name.contains("transaction"))
                .map(|name| format!("{}: {name} is left", node.name)),
        );
    }
    match Clients::of(lab).below("/kubecertd/lock/", Duration::from_secs(10)) {
        Ok(keys) => found.extend(
            keys.iter()
                .map(|(key, value)| format!("{key} is left in etcd: {value}")),
        ),
        Err(reason) => found.push(format!("etcd cannot be read: {reason}")),
    }
    found
}

/// Plays a round: what was seen, and what happened to whom.
fn play(lab: &Lab, plan: &Plan, turns: Turns, chance: &mut Chance) -> (Vec<Event>, String) {
    for node in &lab.nodes {
        node.tree.configure(&configuration(plan, turns));
        // A daemon acts at once where none has run before.
        let _ = std::fs::remove_file(node.tree.path("var/lib/kubecertd/daemon.json"));
    }
    let watch = Watch::begin(lab);
    let seen = &watch.seen;
    let operators: Vec<_> = lab
        .nodes
        .iter()
        .zip(&plan.skews)
        .map(|(node, skew)| Operator::new(node, *skew))
        .collect();
    let deadline = Instant::now() + ROUND;
    let what = std::thread::scope(|scope| {
        for (number, operator) in operators.iter().enumerate() {
            let mut own = Chance::new(chance.below(usize::MAX) as u64, number);
            scope.spawn(move || match plan.fault {
                Fault::Daemons => operator.run_a_daemon(seen, deadline),
                _ => operator.renew(seen, &mut own, deadline),
            });
        }
        faults::let_happen(plan.fault, lab, &operators, seen, chance)
    });
    let events = seen.all();
    (events, what)
}

/// Every leaf has time enough for nothing to be urgent. It is renewed because it is named; or by a
/// daemon, for which all that other rounds left is due.
pub fn configuration(plan: &Plan, turns: Turns) -> String {
    let lives = match plan.fault {
        Fault::Daemons => "validity = \"60d\"\nrenew_before = \"30d\"\nfirst_look = \"act\"\n",
        _ => "validity = \"25d\"\nrenew_before = \"10d\"\n",
    };
    let mut text = lives.to_owned()
        + "urgent_before = \"1d\"\nclock_wait = \"0s\"\nspread = \"0s\"\n\
        [backup]\nkeep = 2\n[restart]\nscope = \"all\"\ntimeout = \"30s\"\n";
    if plan.restarts {
        text += "[[reader]]\nname = \"etcd\"\nexec = [\"/opt/restart.sh\", \"etcd\"]\n";
    }
    let mode = if turns == Turns::Taken { "required" } else { "off" };
    let _ = writeln!(
        text,
        "[coordination]\nmode = \"{mode}\"\nlease = \"{}s\"\nwait = \"1m\"",
        LEASE.as_secs()
    );
    text
}

fn line(number: usize, plan: &Plan, what: &str, events: &[Event], wrong: usize) -> String {
    let count = |is: fn(&What) -> bool| events.iter().filter(|event| is(&event.what)).count();
    let runs = count(|what| matches!(what, What::Exited { .. }));
    let began = count(|what| matches!(what, What::Begins));
    let restarts = count(|what| matches!(what, What::Restarted(_)));
    let took = events.last().map_or(0.0, |event| event.at.as_secs_f64());
    let skewed = if plan.skews.iter().any(|skew| *skew != plan.skews[0]) {
        ", clocks differ"
    } else {
        ""
    };
    format!(
        "round {number}: {}{} {what}{skewed}: {took:.1} s, {runs} runs, {began} transactions, {restarts} restarts, {wrong} violations",
        plan.fault,
        if what.is_empty() { "" } else { ":" },
    )
}

/// The messages of runs that renewed nothing, each once.
fn refusals(events: &[Event]) -> BTreeSet<String> {
    let words = events.iter().filter_map(|event| match &event.what {
        What::Exited { code, words } if ![0, 4, -1].contains(code) => Some((event.node, *code, words)),
        _ => None,
    });
    let last = words.filter_map(|(node, code, words)| {
        let line = words.lines().rev().find(|line| line.starts_with("kubecertd: "))?;
        Some(format!(
            "{} exit {code}: {}",
            super::node::name(node),
            line.trim_start_matches("kubecertd: ")
        ))
    });
    last.collect()
}

/// All events of a round that went wrong.
fn told(events: &[Event]) -> String {
    let mut text = String::new();
    for event in events {
        let _ = match &event.what {
            What::Exited { code, words } => writeln!(
                text,
                "  {:8.3} {} exit {code}\n{words}",
                event.at.as_secs_f64(),
                event.node
            ),
            what => writeln!(text, "  {:8.3} {} {what:?}", event.at.as_secs_f64(), event.node),
        };
    }
    text
}
