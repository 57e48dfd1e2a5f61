//! `kubecertd run` as systemd sees it, and what a request to end does in the middle of a cycle.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::support::daemon::{DEADLINE, Daemon};
use crate::support::{self, Node, clock, credential};

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !holds() {
        assert!(Instant::now() < deadline, "{what} did not happen");
        std::thread::sleep(Duration::from_millis(50));
    }
}

const OFTEN: &str = "schedule = \"*/2 * * * * *\"\nclock_wait = \"0s\"\n";

#[test]
fn the_daemon_tells_systemd_its_state_and_renews_what_is_due() {
    let node = Node::of(support::ECDSA);
    let leaf = credential::named("etcd-server");
    leaf.make_due(&node);
    node.configure(OFTEN);
    let old = leaf.material(&node);
    let mut daemon = Daemon::start(&node, clock::FRESH, &[]);
    daemon.says("READY=1");
    daemon.says("STATUS=Waiting; the next cycle is at Nov 24, 2026");
    daemon.says("WATCHDOG=1");
    wait_until("the renewal", || leaf.material(&node).certificate != old.certificate);
    for step in ["Running a cycle", "Backing up", "Renewing etcd-server"] {
        daemon.says(&format!("STATUS={step}"));
    }
    wait_until("the report", || daemon.log().contains("cycle: renewed: etcd-server"));
    daemon.terminate();
    assert_eq!(daemon.ends(), 0, "{}", daemon.log());
    daemon.says("STOPPING=1");
    leaf.assert_renewed(&node, &old, &leaf.material(&node), clock::FRESH);
    let log = daemon.log();
    assert_eq!(
        log.matches("cycle: renewed").count(),
        1,
        "one renewal, not one per cycle:\n{log}"
    );
}

#[test]
fn the_first_assessment_at_start_changes_nothing() {
    let node = Node::of(support::ECDSA);
    credential::named("etcd-server").make_due(&node);
    node.configure("spread = \"0s\"\n");
    let before = node.snapshot();
    let mut daemon = Daemon::start(&node, clock::FRESH, &[]);
    daemon.says("READY=1");
    daemon.says(
        "STATUS=Waiting; the next cycle is at Nov 24, 2026 03:17 UTC, the next assessment at Nov 24, 2026 03:17 UTC",
    );
    daemon.terminate();
    assert_eq!(daemon.ends(), 0);
    assert!(daemon.log().contains("due: etcd-server"), "{}", daemon.log());
    assert_eq!(before.changes(&node.snapshot()), Default::default());
}

#[test]
fn a_blocked_credential_is_not_announced_as_the_next_one() {
    let node = Node::of(support::ECDSA);
    credential::named("etcd-server").make_due(&node);
    node.remove("etc/kubernetes/pki/etcd/ca.key");
    node.configure("spread = \"0s\"\n");
    let mut daemon = Daemon::start(&node, clock::FRESH, &[]);
    daemon.says("STATUS=Waiting");
    daemon.terminate();
    assert_eq!(daemon.ends(), 0);
    let log = daemon.log();
    assert!(
        log.contains("nothing that is due can be renewed now: etcd-server"),
        "{log}"
    );
    assert!(!log.contains("the first will be"), "{log}");
}

#[test]
fn a_bad_configuration_ends_the_daemon_with_78() {
    let node = Node::of(support::ECDSA);
    node.configure("schedule = \"never\"\n");
    let mut daemon = Daemon::start(&node, clock::FRESH, &[]);
    assert_eq!(daemon.ends(), 78);
    assert!(daemon.log().contains("config.toml:1:12: schedule"), "{}", daemon.log());
}

/// strace delivers SIGTERM at the nth rename(2), counted per thread.
fn sigterm_at_rename(n: usize, trace: &Path) -> Vec<String> {
    let words = [
        "strace",
        "-f",
        "-qq",
        "-e",
        "trace=rename,renameat,renameat2",
        "-e",
        "signal=none",
        "-o",
    ];
    let mut words: Vec<String> = words.map(str::to_owned).to_vec();
    words.push(trace.display().to_string());
    words.extend([
        "-e".to_owned(),
        format!("inject=rename,renameat,renameat2:signal=SIGTERM:when={n}"),
    ]);
    words
}

/// Number of renames in a traced run over a file of the node, apart from kubecertd's own state.
fn replaced(trace: &Path) -> usize {
    let text = std::fs::read_to_string(trace).unwrap();
    let is_own = |l: &str| {
        ["/var/lib/kubecertd", "/run/kubecertd"]
            .iter()
            .any(|own| l.contains(own))
    };
    text.lines()
        .filter(|l| l.contains("rename") && l.contains(".kubecertd-new") && !is_own(l))
        .count()
}

#[test]
fn sigterm_gives_up_before_the_first_rename_or_rolls_back() {
    let mut undone = 0;
    let mut given_up = 0;
    for n in 1.. {
        let node = Node::of(support::ECDSA);
        let before = node.snapshot();
        let trace = node.scratch("trace");
        let wrapper = sigterm_at_rename(n, &trace);
        let wrapper: Vec<&str> = wrapper.iter().map(String::as_str).collect();
        let ran = node.run_under(&wrapper, clock::FRESH, &["renew", "all"]);
        if ran.code == 0 {
            // The request came when everything was in place.
            break;
        }
        let ran = ran.exits(1).says("asked to stop");
        assert_eq!(
            before.changes(&node.snapshot()),
            Default::default(),
            "SIGTERM at rename {n}: {ran}"
        );
        match replaced(&trace) {
            0 => given_up += 1,
            _ => undone += 1,
        }
    }
    assert!(given_up >= 1, "no point before the first rename was tried");
    assert!(undone >= 18, "only {undone} points after the first rename were tried");
}

#[test]
fn the_daemon_rolls_a_cycle_back_on_sigterm() {
    let node = Node::of(support::ECDSA);
    for name in ["etcd-server", "apiserver", "scheduler.conf"] {
        credential::named(name).make_due(&node);
    }
    node.configure(OFTEN);
    let before = node.snapshot();
    let trace = node.scratch("trace");
    // The first renames of the worker are the first look's four, then the cycle's look's, the
    // backup's and the journal's; the tenth is of a credential.
    let wrapper = sigterm_at_rename(10, &trace);
    let wrapper: Vec<&str> = wrapper.iter().map(String::as_str).collect();
    let mut daemon = Daemon::start(&node, clock::FRESH, &wrapper);
    daemon.says("STOPPING=1");
    assert_eq!(daemon.ends(), 0, "{}", daemon.log());
    assert!(replaced(&trace) > 0, "it was stopped before anything was replaced");
    assert!(daemon.log().contains("asked to stop"), "{}", daemon.log());
    assert_eq!(before.changes(&node.snapshot()), Default::default());
}
