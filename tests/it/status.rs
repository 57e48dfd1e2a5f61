//! `status`: what the daemon left, for root and for everybody, while it runs and after.

use crate::support::daemon::Daemon;
use crate::support::{self, Node, clock, credential};
use serde_json::Value;

const RARELY: &str = "schedule = \"0 0 0 1 1 *\"\nclock_wait = \"0s\"\nspread = \"0s\"\n";
const OFTEN: &str = "schedule = \"*/2 * * * * *\"\nclock_wait = \"0s\"\n";

#[track_caller]
fn status(node: &Node) -> Value {
    node.run(clock::FRESH, &["status", "-o", "json"]).exits(0).json()
}

#[test]
fn status_before_the_first_run_of_the_daemon() {
    let node = Node::of(support::ECDSA);
    let ran = node.run(clock::FRESH, &["status"]);
    ran.exits(1)
        .complains("cannot show the status: the daemon has not assessed this node yet")
        .complains("hint: ");
}

#[test]
fn status_tells_the_past_the_next_cycle_and_the_daemons_state() {
    let node = Node::of(support::ECDSA);
    credential::named("etcd-server").make_due(&node);
    node.configure(OFTEN);
    let mut daemon = Daemon::start(&node, clock::FRESH, &[]);
    daemon.logs("cycle: renewed: etcd-server");
    daemon.says("STATUS=Waiting");
    let running = status(&node);
    assert_eq!(
        (&running["version"], &running["daemon"]["running"]),
        (&1.into(), &true.into())
    );
    let text = node.run(clock::FRESH, &["status"]).exits(0);
    assert!(text.stdout.starts_with("daemon           running (pid "), "{text}");
    daemon.terminate();
    assert_eq!(daemon.ends(), 0);
    let ended = status(&node);
    assert_eq!(ended["daemon"]["running"], false);
    let cycle = &ended["last_cycle"];
    assert!(
        cycle["at"].as_str().unwrap().starts_with("2026-11-24T00:00:"),
        "{cycle}"
    );
    assert!(ended["next_cycle"].as_str().unwrap() > ended["last_look"].as_str().unwrap());
    let rows = ended["credentials"].as_array().unwrap();
    assert_eq!(rows.len(), 12, "{rows:?}");
    let row = rows.iter().find(|row| row["name"] == "etcd-server").unwrap();
    assert_eq!(
        (&row["decision"], &row["expires"].as_str().unwrap()[..10]),
        (&Value::from("leave"), "2027-11-24"),
        "what is there after the cycle"
    );
    node.run(clock::FRESH, &["status"])
        .exits(0)
        .says("daemon           not running; this is its last status")
        .says("last cycle       Nov 24, 2026 00:00 UTC, ");
    let yaml = node.run(clock::FRESH, &["status", "-o", "yaml"]).exits(0);
    assert!(yaml.stdout.contains("\nversion: 1\n"), "{yaml}");
}

#[test]
fn a_killed_daemon_does_not_run_and_its_result_outlives_it() {
    let node = Node::of(support::ECDSA);
    node.configure(OFTEN);
    let mut daemon = Daemon::start(&node, clock::FRESH, &[]);
    daemon.logs("cycle: nothing due");
    daemon.says("STATUS=Waiting");
    let before = status(&node)["last_cycle"].clone();
    drop(daemon);
    assert_eq!(status(&node)["daemon"]["running"], false);
    node.configure(RARELY);
    let mut daemon = Daemon::start(&node, clock::FRESH, &[]);
    daemon.says("STATUS=Waiting");
    assert!(status(&node)["last_cycle"]["at"].as_str() >= before["at"].as_str());
}

#[test]
fn any_user_sees_the_public_copy_and_nothing_private_is_in_it() {
    let node = Node::of(support::ECDSA);
    node.configure(RARELY);
    let mut daemon = Daemon::start(&node, clock::FRESH, &[]);
    daemon.says("STATUS=Waiting");
    // The directory of the test is root's alone; on a node `/` and `/run` are open to everybody.
    support::set_mode(node.root().parent().unwrap(), 0o755);
    support::set_mode(&node.path("run"), 0o755);
    let as_nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_kubecertd"));
    let copy = node.root().parent().unwrap().join("kubecertd");
    std::fs::copy(program, &copy).unwrap();
    let out = std::process::Command::new(as_nobody[0])
        .args(&as_nobody[1..])
        .arg(&copy)
        .args(["status", "-o", "json", "--root"])
        .arg(node.root())
        .output()
        .unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let seen: Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(seen["credentials"].as_array().unwrap().len(), 12);
    assert_eq!(seen["daemon"]["running"], true);
    let entry = &node.snapshot().0["run/kubecertd/status.json"];
    assert_eq!(entry.mode & 0o7777, 0o644);
    let text = node.read("run/kubecertd/status.json");
    assert!(!text.contains("BEGIN") && !text.contains("serial"), "{text}");
    let state = &node.snapshot().0["var/lib/kubecertd/status.json"];
    assert_eq!(state.mode & 0o7777, 0o600);
}

#[test]
fn the_running_process_is_named_while_it_lives() {
    let node = Node::of(support::ECDSA);
    node.configure(RARELY);
    let mut daemon = Daemon::start(&node, clock::FRESH, &[]);
    daemon.says("STATUS=Waiting");
    assert_eq!(status(&node)["at_work"], Value::Null);
    let holder = format!("pid {}, renew", std::process::id());
    node.write("var/lib/kubecertd/lock", holder.as_bytes(), 0o600);
    assert_eq!(status(&node)["at_work"], holder);
    // No process has this number (proc_sys_kernel(5), pid_max).
    node.write("var/lib/kubecertd/lock", b"pid 4194999, renew", 0o600);
    assert_eq!(status(&node)["at_work"], Value::Null);
}

#[test]
fn a_damaged_status_file_does_not_stop_the_daemon() {
    let node = Node::of(support::ECDSA);
    node.configure(RARELY);
    for name in ["status.json", "daemon.json"] {
        node.write(&format!("var/lib/kubecertd/{name}"), b"{\"version\": [", 0o600);
    }
    support::set_mode(&node.path("var/lib/kubecertd"), 0o700);
    node.run(clock::FRESH, &["status"]).exits(1);
    let mut daemon = Daemon::start(&node, clock::FRESH, &[]);
    daemon.says("STATUS=Waiting");
    assert_eq!(status(&node)["daemon"]["running"], true);
}

#[test]
fn a_deferred_plan_is_shown_with_its_reason() {
    let node = Node::of(support::ECDSA);
    node.write("proc/4711/comm", b"kubeadm\n", 0o444);
    node.configure(RARELY);
    credential::named("etcd-server").make_due(&node);
    let mut daemon = Daemon::start(&node, clock::FRESH, &[]);
    daemon.says("STATUS=Waiting");
    let log = daemon.log();
    let plan =
        "the first assessment on this node changes nothing; the cycle at Jan 01, 2027 00:00 UTC will renew etcd-server";
    assert!(log.contains("due: etcd-server") && log.contains(plan), "{log}");
    let rows = status(&node)["credentials"].clone();
    let rows = rows.as_array().expect("a list");
    let due = rows.iter().filter(|row| row["decision"] == "renew");
    assert_eq!(due.map(|row| &row["name"]).collect::<Vec<_>>(), ["etcd-server"]);
    let problem = "deferred: kubeadm is running (pid 4711)";
    assert_eq!(status(&node)["problems"], Value::from(vec![problem]));
}
