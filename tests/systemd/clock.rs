//! A clock that nothing keeps, and one that is set.

use std::fs;
use std::time::Duration;

use crate::node::Node;
use crate::support::{self, credential};

const LEAF: &str = "front-proxy-client";

/// A clock that has jumped is doubted for a minute; the cycle that it made due follows.
const DOUBTED: Duration = Duration::from_secs(240);

#[test]
fn an_unsynchronized_clock_logs_the_plan_and_defers_the_cycle() {
    let node = Node::with_one_due(LEAF);
    fs::remove_file(node.path("etc/kubecertd/config.d/clock.toml")).expect("it was there");
    let leaf = credential::named(LEAF);
    let old = node.material(&leaf);
    // Also what it would do at once waits, fifteen minutes by default.
    node.write("etc/kubecertd/config.d/act.toml", "first_look = \"act\"\n");
    node.install();
    node.logs(&format!("due: {LEAF}"));
    let line = node.logs("cycle deferred: the clock is not synchronized yet; waiting up to ");
    assert_eq!(line["PRIORITY"], "4");
    assert!(node.material(&leaf) == old, "nothing was renewed");
    let status = node.run(&["kubecertd", "status"]).exits(0);
    assert!(status.stdout.contains("problem: cycle deferred: the clock"), "{status}");
    let row = status
        .stdout
        .lines()
        .find(|line| line.starts_with(LEAF))
        .expect("a row");
    assert!(row.contains(" renew "), "{status}");
}

/// The daemon's clock alone: the machine's is everybody's.
const FAKED: &str = "[Service]\nEnvironment=LD_PRELOAD=/usr/lib/libfaketime.so.1 FAKETIME_NO_CACHE=1 NO_FAKE_STAT=1 \
                     FAKETIME_DONT_FAKE_MONOTONIC=1 FAKETIME_TIMESTAMP_FILE=/etc/clock\n";

#[test]
fn a_clock_set_far_forward_is_doubted_before_the_renewal() {
    let node = Node::with_one_due(LEAF);
    let leaf = credential::named(LEAF);
    let old = node.material(&leaf);
    fs::copy(support::faketime_library(), node.path("usr/lib/libfaketime.so.1")).expect("libfaketime");
    node.write("etc/systemd/system/kubecertd.service.d/clock.conf", FAKED);
    node.write("etc/clock", "+0d");
    // Twenty days are left of it.
    node.write("etc/kubecertd/config.d/later.toml", "renew_before = \"10d\"\n");
    node.install();
    node.logs(&format!("nothing is due; the first will be {LEAF}"));

    node.write("etc/clock", "+12d");
    node.logs("the clock jumped ahead by 1");
    assert!(
        node.material(&leaf) == old,
        "nothing is renewed by a clock that is doubted"
    );
    node.wait_for(DOUBTED, "it is renewed", || node.material(&leaf) != old);
    node.logs(&format!("cycle: renewed: {LEAF}"));
    assert_eq!(node.property("NRestarts"), "0");
}
