//! Fleets of one to seven nodes through 10,000 days, on a virtual clock: nodes and members go down,
//! etcd loses its majority or its space, renewals fail and die, clocks are off. What each daemon
//! does is decided by the program's own pure functions ([`kubecertd::schedule`] and
//! [`kubecertd::coordinate`]); what they are told is made up by chance.
//!
//! `SIMULATION_SEED` says which 10,000 days; it is printed. `cargo test --test simulation --
//! --nocapture` prints the waits.

#[allow(dead_code, reason = "each test binary uses a part of this module")]
#[path = "../support/chance.rs"]
mod chance;

mod fleet;
mod node;
mod tally;
mod weather;

use fleet::Fleet;

const DAYS: i64 = 10_000;

fn seed() -> u64 {
    let set = std::env::var("SIMULATION_SEED").ok();
    set.map_or(7, |text| text.parse().expect("SIMULATION_SEED is a number"))
}

fn through(sizes: &[usize]) {
    let seed = seed();
    let mut alone = 0;
    for size in sizes {
        let mut fleet = Fleet::new(*size, seed);
        fleet.live(DAYS);
        println!("{}", fleet.tally.line(*size, DAYS, seed));
        fleet.tally.judge(*size);
        alone += fleet.tally.alone;
    }
    assert!(alone > 0, "no node ever acted in its own time");
}

#[test]
fn up_to_four_nodes_never_act_together_and_never_starve() {
    through(&[1, 2, 3, 4]);
}

#[test]
fn five_to_seven_nodes_never_act_together_and_never_starve() {
    through(&[5, 6, 7]);
}

/// The simulation can fail.
#[test]
fn a_fleet_that_takes_no_turns_is_found_to_act_together() {
    let mut fleet = Fleet::new(5, seed());
    fleet.mode = kubecertd::config::settings::CoordinationMode::Off;
    fleet.live(1000);
    assert!(fleet.tally.together > 10, "{}", fleet.tally.line(5, 1000, seed()));
}
