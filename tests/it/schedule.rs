//! When the daemon acts: what the first look does, what cannot wait, windows, what was missed,
//! where in the spread a node is.

use std::time::{Duration, Instant};

use crate::support::daemon::{Clock, DEADLINE, Daemon};
use crate::support::{self, Node, clock, credential};
use serde_json::Value;

const RARELY: &str = "schedule = \"0 0 0 1 1 *\"\nclock_wait = \"0s\"\nspread = \"0s\"\n";

fn status(node: &Node) -> Value {
    node.run(clock::FRESH, &["status", "-o", "json"]).exits(0).json()
}

#[track_caller]
fn wait_for(daemon: &mut Daemon, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !holds() {
        assert!(Instant::now() < deadline, "{}", daemon.log());
        daemon.listen(Duration::from_millis(50));
    }
}

#[track_caller]
fn end(mut daemon: Daemon) -> String {
    daemon.terminate();
    assert_eq!(daemon.ends(), 0, "{}", daemon.log());
    daemon.log()
}

/// Runs the daemon until it waits, and ends it.
#[track_caller]
fn one_look(node: &Node, moment: &str) -> String {
    let mut daemon = Daemon::start(node, moment, &[]);
    daemon.says("STATUS=Waiting");
    end(daemon)
}

#[test]
fn the_first_assessment_is_told_once() {
    let node = Node::of(support::ECDSA);
    credential::named("etcd-server").make_due(&node);
    node.configure(RARELY);
    let before = node.snapshot();
    let says =
        "the first assessment on this node changes nothing; the cycle at Jan 01, 2027 00:00 UTC will renew etcd-server";
    let log = one_look(&node, clock::FRESH);
    assert!(log.contains(says), "{log}");
    let log = one_look(&node, clock::FRESH);
    assert!(!log.contains("the first look"), "{log}");
    assert_eq!(before.changes(&node.snapshot()), Default::default());
}

#[test]
fn first_look_act_renews_at_once() {
    let node = Node::of(support::ECDSA);
    let leaf = credential::named("etcd-server");
    leaf.make_due(&node);
    node.configure(&format!("{RARELY}first_look = \"act\"\n"));
    let mut daemon = Daemon::start(&node, clock::FRESH, &[]);
    daemon.logs("cycle: renewed: etcd-server");
    end(daemon);
}

#[test]
fn urgent_leaves_are_renewed_at_once_others_on_schedule() {
    let node = Node::of(support::ECDSA);
    let [urgent, due] = ["etcd-server", "apiserver"].map(credential::named);
    urgent.set_validity(&node, &clock::later(clock::FRESH, -10 * clock::DAY), 15);
    due.make_due(&node);
    let old = due.material(&node);
    // Outside of every window, too: it cannot wait for one.
    let window = "[[window]]\ndays = [\"sat\"]\nstart = \"02:00\"\nlength = \"1h\"\n";
    node.configure(&format!("{RARELY}{window}"));
    let mut daemon = Daemon::start(&node, clock::FRESH, &[]);
    daemon.logs("cycle: renewed: etcd-server");
    daemon.says("STATUS=Waiting; the next cycle is at Jan 01, 2027 00:00 UTC");
    let log = end(daemon);
    assert_eq!(due.material(&node).certificate, old.certificate, "{log}");
    let row = status(&node);
    let row = |name: &str| {
        let rows = row["credentials"].as_array().unwrap();
        rows.iter().find(|row| row["name"] == name).unwrap().clone()
    };
    assert_eq!(row("etcd-server")["reason"], "it is not due");
    assert_eq!(
        row("apiserver")["reason"],
        "it is not urgent, and waits for the next cycle of the schedule"
    );
}

#[test]
fn a_cycle_outside_of_every_window_acts_when_one_opens() {
    let node = Node::of(support::ECDSA);
    let leaf = credential::named("etcd-server");
    leaf.make_due(&node);
    node.configure(
        "schedule = \"49 59 23 * * *\"\nclock_wait = \"0s\"\nspread = \"0s\"\n[[window]]\nstart = \"00:00\"\nlength = \"1h\"\n",
    );
    let old = leaf.material(&node);
    // 2026-11-23 23:59:45
    let mut daemon = Daemon::start(&node, &clock::later(clock::FRESH, -15), &[]);
    daemon.logs("deferred what is not urgent: it waits for the maintenance window of Nov 24, 2026 00:00 UTC");
    daemon.logs("cycle: nothing due");
    assert_eq!(leaf.material(&node).certificate, old.certificate, "{}", daemon.log());
    daemon.says("STATUS=Waiting; the next cycle is at Nov 24, 2026 00:00 UTC");
    daemon.logs("cycle: renewed: etcd-server");
    daemon.says("STATUS=Waiting; the next cycle is at Nov 24, 2026 23:59 UTC");
    end(daemon);
}

#[test]
fn a_cycle_missed_while_stopped_is_caught_up_at_start() {
    let node = Node::of(support::ECDSA);
    node.configure("schedule = \"* * * * * *\"\nclock_wait = \"0s\"\nspread = \"0s\"\n");
    let mut daemon = Daemon::start(&node, clock::FRESH, &[]);
    daemon.logs("cycle: nothing due");
    end(daemon);
    node.configure(RARELY);
    one_look(&node, "2026-12-25 00:00:00");
    assert_eq!(status(&node)["next_cycle"], "2027-01-01T00:00:00Z", "it was not missed");
    let mut daemon = Daemon::start(&node, "2027-01-02 00:00:00", &[]);
    daemon.logs("cycle: nothing due");
    daemon.says("STATUS=Waiting; the next cycle is at Jan 01, 2028 00:00 UTC");
    end(daemon);
}

#[test]
fn each_node_has_its_own_moment_within_the_spread_and_keeps_it() {
    let moment = |machine: &str, name: &str| {
        let node = Node::of(support::ECDSA);
        node.write("etc/machine-id", format!("{machine}\n").as_bytes(), 0o444);
        node.write("etc/hostname", format!("{name}\n").as_bytes(), 0o644);
        one_look(&node, clock::FRESH);
        status(&node)["next_cycle"].as_str().unwrap().to_owned()
    };
    let (one, two) = ("0f5f7f1f00aa4c0f9a1b2c3d4e5f6071", "0f5f7f1f00aa4c0f9a1b2c3d4e5f6072");
    let all = [moment(one, "cp-1"), moment(one, "cp-2"), moment(two, "cp-1")];
    for at in &all {
        let range = "2026-11-24T03:17:00Z".."2026-11-24T04:17:00Z";
        assert!(range.contains(&at.as_str()), "{all:?}");
    }
    assert!(all[0] != all[1] && all[0] != all[2] && all[1] != all[2], "{all:?}");
    assert_eq!(moment(one, "cp-1"), all[0], "it moved");
}

#[test]
fn a_fault_is_logged_once_a_day() {
    let node = Node::of(support::ECDSA);
    node.rewrite("etc/kubernetes/pki/apiserver.crt", b"no certificate");
    node.configure(RARELY);
    let says = |moment: &str| one_look(&node, moment).matches("apiserver needs attention").count();
    assert_eq!(says(clock::FRESH), 1);
    assert_eq!(says(&clock::later(clock::FRESH, 3600)), 0);
    assert_eq!(says(&clock::later(clock::FRESH, clock::DAY)), 1);
    let problems = status(&node)["problems"].to_string();
    assert!(problems.contains("apiserver needs attention"), "{problems}");
}

#[test]
fn a_machine_without_a_kubernetes_directory_is_waited_for() {
    let node = Node::of(support::ECDSA);
    std::fs::rename(node.path("etc/kubernetes"), node.path("etc/later")).unwrap();
    node.configure("schedule = \"* * * * * *\"\nclock_wait = \"0s\"\nspread = \"0s\"\n");
    let mut daemon = Daemon::start(&node, clock::FRESH, &[]);
    daemon.says("READY=1");
    daemon.logs("there is no /etc/kubernetes yet; waiting for this node to become a control plane");
    let leaf = credential::named("etcd-server");
    std::fs::rename(node.path("etc/later"), node.path("etc/kubernetes")).unwrap();
    leaf.make_due(&node);
    let old = leaf.material(&node);
    wait_for(&mut daemon, || leaf.material(&node).certificate != old.certificate);
    end(daemon);
}

const DAILY: &str = "schedule = \"0 0 3 * * *\"\nspread = \"0s\"\nclock_wait = \"0s\"\n";

#[test]
fn a_clock_that_steps_back_does_not_silence_the_daemon() {
    let node = Node::of(support::ECDSA);
    node.configure(DAILY);
    let wall = Clock::new(&node, "2026-11-25 02:00:00");
    let mut daemon = Daemon::start_on(&node, &wall);
    daemon.says("STATUS=Waiting; the next cycle is at Nov 25, 2026 03:00 UTC");
    // By the new time the next cycle comes in seconds, by the old one in a day.
    wall.set("2026-11-24 02:59:55");
    daemon.logs("cycle: nothing due");
    end(daemon);
}

#[test]
fn a_clock_that_steps_forward_makes_a_skipped_cycle_due() {
    let node = Node::of(support::ECDSA);
    node.configure(DAILY);
    let wall = Clock::new(&node, "2026-11-25 02:00:00");
    let mut daemon = Daemon::start_on(&node, &wall);
    daemon.says("STATUS=Waiting; the next cycle is at Nov 25, 2026 03:00 UTC");
    wall.set("2026-11-25 09:00:00");
    daemon.logs("cycle: nothing due");
    daemon.says("STATUS=Waiting; the next cycle is at Nov 26, 2026 03:00 UTC");
    end(daemon);
}

#[test]
fn a_cycle_runs_at_its_hour_after_a_change_to_summer_time() {
    let node = Node::of(support::ECDSA);
    node.configure(&format!("{DAILY}timezone = \"Europe/Dublin\"\n"));
    // Dublin changes to summer time on 2027-03-28 at 01:00 UTC: 03:00 there is 02:00 UTC.
    let mut daemon = Daemon::start(&node, "2027-03-27 02:59:55", &[]);
    daemon.logs("cycle: nothing due");
    daemon.says("STATUS=Waiting; the next cycle is at Mar 28, 2027 02:00 UTC");
    end(daemon);
}
