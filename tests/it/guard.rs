//! The reasons why a scheduled cycle waits: a running kubeadm, another renewal, a clock that cannot
//! be right.

use std::time::{Duration, Instant};

use crate::support::daemon::Daemon;
use crate::support::{self, Node, clock, credential};

const OFTEN: &str = "schedule = \"* * * * * *\"\nclock_wait = \"0s\"\n";

/// A node with one leaf that is due, and a daemon whose schedule fires every second.
fn due_node() -> Node {
    let node = Node::of(support::ECDSA);
    credential::named("etcd-server").make_due(&node);
    node.configure(OFTEN);
    node
}

/// Runs the daemon until its log says why it defers the cycle, and requires that nothing was
/// replaced.
#[track_caller]
fn defers(node: &Node, moment: &str, reason: &str) {
    let before = node.snapshot();
    let mut daemon = Daemon::start(node, moment, &[]);
    daemon.logs("cycle deferred: ");
    assert!(daemon.log().contains(reason), "not for {reason:?}:\n{}", daemon.log());
    daemon.terminate();
    assert_eq!(daemon.ends(), 0);
    assert_eq!(before.changes(&node.snapshot()), Default::default());
}

#[test]
fn a_running_kubeadm_defers_the_daemon_and_only_warns_a_person() {
    let node = due_node();
    node.write("proc/4711/comm", b"kubeadm\n", 0o444);
    defers(&node, clock::FRESH, "kubeadm is running (pid 4711)");
    node.run(clock::FRESH, &["renew"])
        .exits(0)
        .complains("kubeadm is running (pid 4711)");
}

/// Sets the time at which a file changed.
fn changed_at(node: &Node, path: &str, moment: &str) {
    let since_1970 = Duration::from_secs(clock::seconds(moment).try_into().unwrap());
    let file = std::fs::File::open(node.path(path)).unwrap();
    file.set_modified(std::time::SystemTime::UNIX_EPOCH + since_1970)
        .unwrap();
}

#[test]
fn a_staged_kubeadm_upgrade_defers_the_daemon_for_an_hour() {
    let node = due_node();
    let directory = "etc/kubernetes/tmp/kubeadm-upgraded-manifests";
    node.write(&format!("{directory}/etcd.yaml"), b"", 0o600);
    for path in [&format!("{directory}/etcd.yaml"), directory] {
        changed_at(&node, path, &clock::later(clock::FRESH, -50 * clock::MINUTE));
    }
    defers(&node, clock::FRESH, "kubeadm may be running");
    let mut daemon = Daemon::start(&node, &clock::later(clock::FRESH, 20 * clock::MINUTE), &[]);
    daemon.logs("cycle: renewed: etcd-server");
}

#[test]
fn files_just_written_by_another_process_defer_the_daemon() {
    let node = due_node();
    let path = "etc/kubernetes/pki/apiserver.crt";
    changed_at(&node, path, &clock::later(clock::FRESH, -20));
    defers(
        &node,
        clock::FRESH,
        "/etc/kubernetes/pki/apiserver.crt changed within the last minute",
    );

    // The second renewal does not count the first one as another tool's.
    for name in ["apiserver", "scheduler.conf"] {
        node.run(clock::FRESH, &["renew", name]).exits(0);
    }
    // The time of a file is the machine's, not the one that the run was given.
    let record = "var/lib/kubecertd/written.json";
    let mut written: serde_json::Value = serde_json::from_str(&node.read(record)).expect("JSON");
    for file in written.as_array_mut().expect("a list") {
        file["modified"] = (clock::seconds(clock::FRESH) - 20).into();
    }
    node.write(record, written.to_string().as_bytes(), 0o600);
    // kubeadm writes into the file that we have put there.
    changed_at(&node, path, &clock::later(clock::FRESH, -10));
    defers(&node, clock::FRESH, "apiserver.crt changed within the last minute");
    changed_at(&node, path, &clock::later(clock::FRESH, -20));
    let mut daemon = Daemon::start(&node, clock::FRESH, &[]);
    daemon.logs("cycle: renewed: etcd-server");
    let log = daemon.log();
    assert!(!log.contains("another program may be renewing"), "{log}");
}

#[test]
fn a_clock_set_back_defers_the_daemon_and_warns_a_person() {
    let node = due_node();
    let looked = clock::seconds(&clock::later(clock::FRESH, 5 * clock::DAY));
    let record = format!("{{\"at\":{looked},\"boot_id\":\"another\",\"uptime\":1,\"trusted\":{looked}}}");
    node.write("var/lib/kubecertd/last-look.json", record.as_bytes(), 0o600);
    defers(
        &node,
        clock::FRESH,
        "the clock says Nov 24, 2026 00:00 UTC, but the time is Nov 29, 2026 00:00 UTC at least",
    );
    let node = due_node();
    node.write("var/lib/kubecertd/last-look.json", record.as_bytes(), 0o600);
    node.run(clock::FRESH, &["renew"]).exits(0).complains("at least");
}

#[test]
fn a_forward_jump_of_the_clock_defers_for_one_assessment() {
    let node = Node::of(support::ECDSA);
    node.configure("schedule = \"0 0 0 1 1 *\"\nclock_wait = \"0s\"\n");
    let mut daemon = Daemon::start(&node, clock::FRESH, &[]);
    daemon.says("READY=1");
    daemon.terminate();
    assert_eq!(daemon.ends(), 0);
    let before = node.snapshot();

    // In the same boot, seconds later, the clock says almost a year later: everything seems to be
    // due.
    node.configure(OFTEN);
    let mut daemon = Daemon::start(&node, clock::DUE, &[]);
    daemon.logs("the clock jumped ahead by");
    let log = daemon.log();
    assert!(log.contains("due: admin.conf, apiserver"), "the plan is shown: {log}");
    assert!(!log.contains(" ends on "), "by a clock that may be wrong: {log}");
    assert_eq!(
        before.changes(&node.snapshot()).len(),
        1,
        "only the configuration was written"
    );
    daemon.logs("cycle: renewed: admin.conf, apiserver");
}

#[test]
fn a_certainly_expired_leaf_is_renewed_on_a_doubtful_clock() {
    let node = Node::of(support::ECDSA);
    node.configure("schedule = \"0 0 0 1 1 *\"\nclock_wait = \"0s\"\n");
    let mut daemon = Daemon::start(&node, clock::FRESH, &[]);
    daemon.says("READY=1");
    drop(daemon);
    // It ended before the other certificates began.
    let leaf = credential::named("etcd-server");
    leaf.set_validity(&node, &clock::later(clock::FRESH, -40 * clock::DAY), 10);
    credential::named("apiserver").make_due(&node);
    node.configure(OFTEN);
    let old = leaf.material(&node);
    let mut daemon = Daemon::start(&node, &clock::later(clock::FRESH, 5 * clock::DAY), &[]);
    // The assessment at start has seen the jump; it is repeated for the first cycle.
    daemon.logs("etcd-server");
    let deadline = Instant::now() + Duration::from_secs(60);
    while leaf.material(&node).certificate == old.certificate {
        assert!(Instant::now() < deadline, "{}", daemon.log());
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_second_kubecertd_waits_for_the_first_and_names_it() {
    let node = Node::of(support::ECDSA);
    node.run(clock::FRESH, &["plan"]).exits(0);
    node.write("var/lib/kubecertd/lock", b"", 0o600);
    let lock = node.hold_lock();
    std::fs::write(node.path("var/lib/kubecertd/lock"), "pid 4711, renew").unwrap();
    // What does not write does not wait, and recover leaves a living process alone.
    node.run(clock::FRESH, &["check-expiration"]).exits(0);
    node.run(clock::FRESH, &["recover"]).exits(0).says("pid 4711, renew");
    let before = node.snapshot();
    let root = node.root();
    let waiting = std::thread::spawn(move || {
        support::kubecertd(
            &[],
            clock::FRESH,
            &["--root", root.to_str().unwrap(), "renew", "apiserver"],
        )
    });
    std::thread::sleep(Duration::from_millis(500));
    assert!(!waiting.is_finished(), "it did not wait");
    assert_eq!(before.changes(&node.snapshot()), Default::default());
    drop(lock);
    waiting.join().unwrap().exits(0).says("pid 4711, renew");
}
