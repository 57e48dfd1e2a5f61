//! A client that keeps writing through all endpoints while all nodes are renewed one after the
//! other, and their etcd members are restarted.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::checker::{What, check};
use super::client::Clients;
use super::faults::Fault;
use super::lab::{self, Lab, say};
use super::operator::Operator;
use super::rounds::{Plan, Turns, configuration, seed};
use super::support::chance::Chance;
use super::watch::Watch;

/// A write that failed is tried again, and is written by then.
const MENDED: Duration = Duration::from_secs(5);
/// Renewals one after the other, each with a restart of etcd.
const RENEWALS: Duration = Duration::from_secs(120);
/// Rollings: each starts with the leader somewhere else.
const TIMES: usize = 3;

#[derive(Default)]
struct Written {
    writes: usize,
    failed: usize,
    longest: Duration,
}

#[test]
fn a_rolling_renewal_of_three_nodes_loses_no_write() {
    lab::alone("rolling::a_rolling_renewal_of_three_nodes_loses_no_write", || {
        let lab = Lab::of(3);
        for time in 0..TIMES {
            let written = roll(&lab, &mut Chance::new(seed(), time));
            say(&format!(
                "rolling renewal {time}: {} writes through all endpoints, {} failed at first, the longest was mended after {:.2} s",
                written.writes,
                written.failed,
                written.longest.as_secs_f64()
            ));
            assert!(written.writes > 100, "the client hardly wrote");
        }
    });
}

fn roll(lab: &Lab, chance: &mut Chance) -> Written {
    let plan = Plan {
        fault: Fault::Together,
        restarts: true,
        skews: Vec::new(),
    };
    for node in &lab.nodes {
        node.tree.configure(&configuration(&plan, Turns::Taken));
    }
    let watch = Watch::begin(lab);
    let done = AtomicBool::new(false);
    let written = std::thread::scope(|scope| {
        let writer = scope.spawn(|| write(lab, &done));
        let deadline = Instant::now() + RENEWALS;
        std::thread::scope(|scope| {
            for node in &lab.nodes {
                let (seen, mut own) = (&watch.seen, Chance::new(chance.below(usize::MAX) as u64, node.number));
                scope.spawn(move || Operator::new(node, 0).renew(seen, &mut own, deadline));
            }
        });
        done.store(true, Ordering::Relaxed);
        writer.join().expect("every write is mended in time")
    });
    let events = watch.seen.all();
    assert_eq!(check(&events, lab.nodes.len()), []);
    let restarts = events
        .iter()
        .filter(|event| matches!(event.what, What::Restarted(_)))
        .count();
    assert!(restarts >= lab.nodes.len(), "{restarts} restarts: {events:?}");
    written
}

fn write(lab: &Lab, done: &AtomicBool) -> Written {
    let mut clients = Clients::of(lab);
    let mut written = Written::default();
    while !done.load(Ordering::Relaxed) {
        let value = written.writes.to_string();
        let (took, failed) = clients
            .put("/soak/rolling", &value, MENDED)
            .unwrap_or_else(|reason| panic!("{reason}"));
        written.writes += 1;
        if failed > 0 {
            written.failed += 1;
            written.longest = written.longest.max(took);
        }
    }
    let last = clients.below("/soak/rolling", MENDED).expect("it can be read");
    assert_eq!(last, [("/soak/rolling".to_owned(), (written.writes - 1).to_string())]);
    written
}
