//! Several scenarios on one node, one after the other: a node takes half a minute to start.

use super::node::Node;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

pub type Scenario = (&'static str, fn(&Node));

/// Runs them in this order. One that fails gives the next one a fresh node, and fails the test at
/// its end.
pub fn run(scenarios: &[Scenario]) {
    let mut failed = Vec::new();
    let mut node = None;
    for (name, scenario) in scenarios {
        let Some(on) = node.take().or_else(fresh) else { return };
        println!("--- {name}");
        let begin = Instant::now();
        let result = catch_unwind(AssertUnwindSafe(|| {
            on.settle();
            scenario(&on);
        }));
        let seconds = begin.elapsed().as_secs_f64();
        println!(
            "--- {name}: {} after {seconds:.1} s",
            if result.is_ok() { "ok" } else { "FAILED" }
        );
        match result {
            Ok(()) => node = Some(on),
            Err(_) => failed.push(name),
        }
    }
    assert!(failed.is_empty(), "failed: {failed:?}");
}

fn fresh() -> Option<Node> {
    let node = Node::up()?;
    node.mark();
    Some(node)
}
