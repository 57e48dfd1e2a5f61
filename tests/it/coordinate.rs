//! Control planes of more than one node: one acts at a time, by a lock in their own etcd. Real
//! members, mutual TLS.

use std::fs;
use std::process::Command;

use crate::support::clock::now;
use crate::support::cluster::{Cluster, Running, name, nodes, until};
use crate::support::credential::manifest;
use crate::support::daemon::Daemon;
use crate::support::etcd::free_port;
use crate::support::{self, ECDSA, Node};
use serde_json::Value;

const DIRECTORY: &str = "var/lib/metrics";
const HOLDER: &str = "/kubecertd/lock/holder";
const QUICK: &str = "[coordination]\nlease = \"15s\"\nwait = \"0s\"\n";
const PATIENT: &str = "[coordination]\nlease = \"15s\"\nwait = \"1m\"\n";
/// Credentials that are good for a year are due, and urgent.
const URGENT: &str = "validity = \"2000d\"\nrenew_before = \"400d\"\nurgent_before = \"400d\"\n";

fn mark(index: usize) -> String {
    format!("/kubecertd/lock/unfinished/{}", name(index))
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text:?}"))
}

/// Starts a renewal that takes seconds, and waits until it has begun to replace files.
#[track_caller]
fn begin(cluster: &Cluster, index: usize) -> Running {
    let running = cluster.spawn_slowly(index, &["renew", "all"]);
    let journal = cluster.nodes[index].path("var/lib/kubecertd/transaction.json");
    until("it has begun", || journal.exists(), || running.log());
    running
}

/// Signals the kubecertd that runs on a node itself, and not the process that started it.
fn signal(node: &Node, signal: &str) {
    let lock = node.read("var/lib/kubecertd/lock");
    let pid = lock.split([' ', ',']).nth(1).expect("`pid NUMBER, PURPOSE`").to_owned();
    let done = Command::new("kill").args([signal, &pid]).status();
    assert!(done.expect("kill starts").success(), "{lock}");
}

#[track_caller]
fn wait_for_the_end_of_the_lease(cluster: &Cluster, index: usize) {
    let gone = || !cluster.keys(index).contains(&HOLDER.to_owned());
    until("the lease ends", gone, || cluster.keys(index).join("\n"));
}

#[test]
fn the_lock_is_in_etcd_while_a_node_acts_and_gone_after_it() {
    let cluster = Cluster::start(3);
    cluster.configure(QUICK);
    let mut running = begin(&cluster, 0);
    let holder = json(&cluster.value(1, HOLDER));
    assert_eq!(holder["node"], "node-1");
    assert_eq!(holder["purpose"], "renew");
    let (_, members) = cluster.ctl(0, &["member", "list"]);
    let own = members.lines().find(|line| line.contains("node-1")).expect("a member");
    assert!(
        own.starts_with(holder["member"].as_str().expect("an id")),
        "{own}: {holder}"
    );
    assert_eq!(json(&cluster.value(2, &mark(0)))["node"], "node-1");
    cluster
        .run(1, &["renew", "all"])
        .exits(1)
        .complains("node-1 has the lock (renew, since ");
    assert_eq!(running.ends(), 0, "{}", running.log());
    assert!(cluster.keys(2).is_empty(), "{:?}", cluster.keys(2));
    let (_, leases) = cluster.ctl(0, &["lease", "list"]);
    assert!(leases.contains("found 0 leases"), "{leases}");
    cluster.run(1, &["renew", "all"]).exits(0);
}

#[test]
fn a_node_waits_for_another_one_and_says_for_whom() {
    let cluster = Cluster::start(3);
    cluster.configure(PATIENT);
    let mut first = begin(&cluster, 0);
    let mut second = cluster.spawn(1, &["renew", "all"]);
    second.says("waiting: node-1 has the lock (renew, since ");
    assert!(
        cluster.nodes[0].path("var/lib/kubecertd/transaction.json").exists(),
        "{}",
        first.log()
    );
    // Another process works meanwhile: the assessment from before the wait no longer holds.
    let admin = cluster.nodes[1].path("etc/kubernetes/admin.conf");
    let other = cluster.nodes[1].path("etc/kubernetes/.other");
    fs::copy(&admin, &other).expect("a copy");
    fs::rename(&other, &admin).expect("a rename");
    assert_eq!(
        (first.ends(), second.ends()),
        (0, 0),
        "{}\n{}",
        first.log(),
        second.log()
    );
    assert!(cluster.keys(2).is_empty());
}

#[test]
fn a_node_that_dies_in_a_cycle_blocks_others_until_it_recovers() {
    let cluster = Cluster::start(3);
    cluster.configure(QUICK);
    let mut running = begin(&cluster, 0);
    signal(&cluster.nodes[0], "-KILL");
    running.ends();
    wait_for_the_end_of_the_lease(&cluster, 1);
    let before = cluster.nodes[1].snapshot();
    let blocked = cluster.run(1, &["renew", "all", "-o", "json"]).exits(1);
    assert_eq!(blocked.json()["outcome"], "blocked");
    blocked
        .complains("node-1 began at ")
        .complains("has not ended it")
        .complains("etcdctl del /kubecertd/lock/unfinished/node-1");
    let mut changed = before.changes(&cluster.nodes[1].snapshot());
    changed.retain(|path, _| !path.starts_with("var/lib/etcd/"));
    assert!(
        changed.keys().all(|path| path.starts_with("var/lib/kubecertd")),
        "{changed:?}"
    );
    assert!(!changed.keys().any(|path| path.contains("backups")), "{changed:?}");

    cluster.nodes[1].configure(&format!("{URGENT}{QUICK}"));
    cluster
        .run(1, &["renew"])
        .exits(0)
        .complains("urgent credentials are renewed although other nodes need attention first: node-1 began");

    cluster.run(0, &["recover"]).exits(0).says("removed its marker");
    assert!(cluster.keys(1).is_empty());
    cluster.run(2, &["renew", "all"]).exits(0);
}

#[test]
fn the_marker_of_a_removed_member_blocks_no_node() {
    let cluster = Cluster::start(3);
    cluster.configure(QUICK);
    let gone = "{\"node\":\"node-9\",\"member\":\"1234abcd\"}";
    assert!(cluster.ctl(0, &["put", &mark(8), gone]).0);
    cluster
        .run(0, &["renew", "all"])
        .exits(0)
        .says("removed the marker of node-9");
    assert!(cluster.keys(0).is_empty());
}

#[test]
fn a_restore_continues_without_an_unavailable_lock() {
    let cluster = Cluster::start(3);
    cluster.configure(QUICK);
    cluster.run(0, &["backup", "create"]).exits(0);
    cluster.nodes[0].remove("etc/kubernetes/admin.conf");
    assert!(
        cluster
            .ctl(0, &["put", HOLDER, "{\"node\":\"node-2\",\"purpose\":\"renew\"}"])
            .0
    );
    cluster
        .run(0, &["restore"])
        .exits(0)
        .complains("the restore continues without the cluster lock: node-2 has the lock");
    assert!(cluster.nodes[0].path("etc/kubernetes/admin.conf").exists());
}

#[test]
fn a_node_frozen_past_its_lease_takes_the_lock_again() {
    let cluster = Cluster::start(3);
    cluster.configure(PATIENT);
    let mut running = begin(&cluster, 0);
    signal(&cluster.nodes[0], "-STOP");
    wait_for_the_end_of_the_lease(&cluster, 1);
    cluster.run(1, &["renew", "all"]).exits(1).complains("node-1 began at ");
    signal(&cluster.nodes[0], "-CONT");
    assert_eq!(running.ends(), 0, "{}", running.log());
    assert!(
        running.log().contains("took the cluster lock again"),
        "{}",
        running.log()
    );
    assert!(cluster.keys(1).is_empty(), "{:?}", cluster.keys(1));
}

#[test]
fn the_lock_is_kept_while_the_own_member_restarts() {
    let mut cluster = Cluster::start(3);
    cluster.configure(QUICK);
    let mut running = begin(&cluster, 0);
    let lease = cluster.ctl(1, &["lease", "list"]).1;
    cluster.members[0].kill();
    assert_eq!(running.ends(), 0, "{}", running.log());
    assert!(!running.log().contains("again"), "{}", running.log());
    assert!(lease.contains("found 1 leases"), "{lease}");
    cluster.start_member(0);
    assert!(cluster.keys(0).is_empty());
}

#[test]
fn a_member_that_is_down_blocks_etcd_work_unless_urgent() {
    let mut cluster = Cluster::start(3);
    cluster.configure(QUICK);
    cluster.members[2].kill();
    cluster
        .run(0, &["renew", "all"])
        .exits(1)
        .complains("etcd's member node-3 does not serve");
    cluster.run(0, &["renew", "scheduler.conf"]).exits(0);
    cluster.nodes[0].configure(&format!("{URGENT}{QUICK}"));
    cluster
        .run(0, &["renew"])
        .exits(0)
        .complains("although other nodes need attention first: etcd's member node-3");
    cluster.start_member(2);
    cluster.run(1, &["renew", "all"]).exits(0);
}

#[test]
fn a_member_lost_during_the_backup_stops_the_cycle() {
    let mut cluster = Cluster::start(3);
    cluster.configure(QUICK);
    let before = cluster.nodes[0].read("etc/kubernetes/admin.conf");
    let mut running = cluster.spawn_slowly(0, &["renew", "all"]);
    let backups = cluster.nodes[0].path("var/lib/kubecertd/backups");
    let begun = || fs::read_dir(&backups).is_ok_and(|mut sets| sets.next().is_some());
    until("the backup has begun", begun, || running.log());
    assert!(cluster.keys(0).contains(&HOLDER.to_owned()), "with the lock");
    cluster.members[2].kill();
    assert_eq!(running.ends(), 1, "{}", running.log());
    running.says("deferred: etcd's member node-3 does not serve");
    assert_eq!(cluster.nodes[0].read("etc/kubernetes/admin.conf"), before);
    assert!(cluster.keys(0).is_empty(), "{:?}", cluster.keys(0));
}

#[test]
fn a_member_lost_before_the_etcd_restart_rolls_back() {
    let mut cluster = Cluster::start(3);
    cluster.configure(&format!("{QUICK}[restart]\nscope = \"all\"\n"));
    let node = &cluster.nodes[0];
    let paths = ["etc/kubernetes/admin.conf", "etc/kubernetes/pki/etcd/server.crt"];
    let (before, manifest) = (paths.map(|path| node.read(path)), node.read(&manifest("etcd")));
    let mut running = begin(&cluster, 0);
    cluster.members[2].kill();
    assert_eq!(running.ends(), 1, "{}", running.log());
    running.says("deferred: etcd's member node-3 does not serve");
    running.says("rolling back");
    let node = &cluster.nodes[0];
    assert_eq!(paths.map(|path| node.read(path)), before);
    assert_eq!(
        node.read(&support::credential::manifest("etcd")),
        manifest,
        "etcd is not touched"
    );
    assert!(cluster.keys(0).is_empty(), "{:?}", cluster.keys(0));
}

#[test]
fn a_learner_that_still_catches_up_blocks_the_others() {
    let cluster = Cluster::start(3);
    cluster.configure(QUICK);
    let peer = format!("--peer-urls=https://127.0.0.1:{}", free_port());
    // A cluster that has just started takes none.
    let add = || cluster.ctl(0, &["member", "add", "node-4", "--learner", &peer]);
    until("it is added", || add().0, || cluster.ctl(0, &["member", "list"]).1);
    cluster
        .run(0, &["renew", "etcd-server"])
        .exits(1)
        .complains("is a learner that still catches up");
}

#[test]
fn an_etcd_without_space_gives_no_lock_and_a_person_may_wait() {
    let nodes = nodes(3);
    for node in &nodes {
        let text = node.read(&manifest("etcd"));
        let quota = "    - --quota-backend-bytes=1000000\n    - --snapshot-count";
        node.rewrite(
            &manifest("etcd"),
            text.replace("    - --snapshot-count", quota).as_bytes(),
        );
    }
    let cluster = Cluster::of(nodes);
    cluster.configure(QUICK);
    let value = "x".repeat(100_000);
    until(
        "it is full",
        || !cluster.ctl(0, &["put", "/filler", &value]).0,
        || cluster.ctl(0, &["alarm", "list"]).1,
    );
    cluster
        .run(0, &["renew", "all"])
        .exits(1)
        .complains("the lock in etcd is unavailable, and there is time")
        .complains("database space exceeded");
    cluster.nodes[0].configure(&format!("{URGENT}{QUICK}"));
    cluster
        .run(0, &["renew"])
        .exits(0)
        .complains("continuing without it; make sure that kubecertd does not run on another node");
}

#[test]
fn of_two_members_one_is_touched_in_a_maintenance_window_only() {
    let cluster = Cluster::start(2);
    cluster.configure(QUICK);
    cluster
        .run(0, &["renew", "all"])
        .exits(1)
        .complains("a cluster of two members stands still while one of them restarts")
        .complains("add a [[window]]");
    cluster.configure(&format!("{QUICK}[[window]]\nstart = \"00:00\"\nlength = \"24h\"\n"));
    cluster.run(0, &["renew", "all"]).exits(0);
    assert!(cluster.keys(1).is_empty());
}

#[test]
fn a_client_that_may_not_write_learns_the_permission_it_needs() {
    let cluster = Cluster::start(3);
    let files = "[backup]\nbefore_renewal = \"files\"\n";
    cluster.configure(&format!("{files}{QUICK}"));
    let (root, client) = ("kube-etcd-healthcheck-client", "kube-apiserver-etcd-client");
    for arguments in [
        &["user", "add", "root", "--no-password"][..],
        &["user", "grant-role", "root", "root"],
        &["user", "add", root, "--no-password"],
        &["user", "grant-role", root, "root"],
        &["user", "add", client, "--no-password"],
        &["role", "add", "kubernetes"],
        &[
            "role",
            "grant-permission",
            "kubernetes",
            "--prefix=true",
            "readwrite",
            "/registry/",
        ],
        &["user", "grant-role", client, "kubernetes"],
        &["auth", "enable"],
    ] {
        let (done, said) = cluster.ctl(0, arguments);
        assert!(done, "{arguments:?}: {said}");
    }
    cluster
        .run(0, &["renew", "all"])
        .exits(0)
        .complains("etcd does not let us write the lock (etcdserver: permission denied)")
        .complains("etcdctl role grant-permission ROLE --prefix=true readwrite /kubecertd/");
    let required = QUICK.replace("lease", "mode = \"required\"\nlease");
    cluster.configure(&format!("{files}{required}"));
    cluster
        .run(1, &["renew", "all"])
        .exits(1)
        .complains("readwrite /kubecertd/");
    let grant = [
        "role",
        "grant-permission",
        "kubernetes",
        "--prefix=true",
        "readwrite",
        "/kubecertd/",
    ];
    assert!(cluster.ctl(0, &grant).0);
    let ran = cluster.run(1, &["renew", "all"]).exits(0);
    assert!(!ran.stderr.contains("does not let us"), "{ran}");
}

#[test]
fn the_only_member_of_a_cluster_writes_no_key() {
    let cluster = Cluster::start(1);
    for mode in ["auto", "required"] {
        cluster.configure(&format!("[coordination]\nmode = \"{mode}\"\n"));
        cluster.run(0, &["renew", "all"]).exits(0);
    }
    let (_, status) = cluster.ctl(0, &["endpoint", "status", "-w", "json"]);
    assert_eq!(
        json(&status)[0]["Status"]["header"]["revision"],
        1,
        "nothing was ever written: {status}"
    );
}

#[test]
fn a_node_without_etcd_renews_without_a_lock_unless_required() {
    let node = Node::of(ECDSA);
    for reader in ["etcd", "kube-apiserver"] {
        node.remove(&manifest(reader));
    }
    node.configure("[coordination]\nmode = \"required\"\n");
    let run = || node.run(support::clock::FRESH, &["renew", "scheduler.conf"]);
    run()
        .exits(1)
        .complains("nothing says where etcd is")
        .complains("[etcd] endpoints");
    node.configure("");
    run().exits(0);
}

#[test]
fn a_switched_off_lock_is_never_asked_for() {
    let mut cluster = Cluster::start(3);
    cluster.configure("[coordination]\nmode = \"off\"\n");
    cluster.members[2].kill();
    cluster.run(0, &["renew", "all"]).exits(0);
    assert!(cluster.keys(0).is_empty());
    assert!(!cluster.nodes[0].path("var/lib/kubecertd/members.json").exists());
}

#[test]
fn the_daemon_names_the_holder_and_clears_its_own_marker() {
    let cluster = Cluster::start(3);
    let due = "first_look = \"act\"\nvalidity = \"2000d\"\nrenew_before = \"400d\"\n";
    let metrics = format!("[metrics]\ntextfile_directory = \"/{DIRECTORY}\"\n");
    cluster.configure(&format!("{due}{QUICK}{metrics}"));
    fs::create_dir_all(cluster.nodes[0].path(DIRECTORY)).expect("a directory");
    for key in [mark(0), mark(1)] {
        assert!(
            cluster
                .ctl(
                    0,
                    &[
                        "put",
                        &key,
                        "{\"purpose\":\"renew\",\"since\":\"2027-01-01T00:00:00Z\"}"
                    ]
                )
                .0
        );
    }
    let node = &cluster.nodes[0];
    let mut daemon = Daemon::start(node, &now(), &[]);
    daemon.logs("cycle deferred: node-2 began at 2027-01-01T00:00:00Z (renew) and has not ended it");
    assert_eq!(cluster.keys(1), [mark(1)], "{}", daemon.log());
    // The status, and then the metrics, are written when the task has ended.
    let read = || fs::read_to_string(node.path("var/lib/kubecertd/status.json")).unwrap_or_default();
    until("the status says it", || read().contains("node-2 began"), read);
    let status = json(&read());
    let status = &status["coordination"];
    the_metrics_say_that_node_2_has_not_ended(node);
    assert_eq!(status["blocked_by"], "unfinished");
    assert_eq!(status["members"], serde_json::json!(["node-1", "node-2", "node-3"]));
    assert_eq!(status["unfinished"][0]["node"], "node-2");
    assert!(
        status["blocked"]
            .as_str()
            .is_some_and(|why| why.contains("node-2 began"))
    );
    cluster
        .run(0, &["status"])
        .exits(0)
        .says("unfinished       node-2 (renew, since 2027-01-01T00:00:00Z)")
        .says("blocked          node-2 began");
    daemon.terminate();
    assert_eq!(daemon.ends(), 0);
    let list = fs::read(node.path("var/lib/kubecertd/members.json")).expect("the list");
    assert_eq!(
        json(&String::from_utf8(list).expect("text")).as_array().map(Vec::len),
        Some(3)
    );
}

fn the_metrics_say_that_node_2_has_not_ended(node: &Node) {
    let metrics = || fs::read_to_string(node.path(DIRECTORY).join("kubecertd.prom")).unwrap_or_default();
    for line in [
        "kubecertd_cluster_members 3",
        "kubecertd_cluster_lock_blocked{reason=\"unfinished\"} 1",
        "kubecertd_cluster_unfinished_since_timestamp_seconds{holder=\"node-2\",purpose=\"renew\"} 1798761600",
    ] {
        until(line, || metrics().lines().any(|there| there == line), metrics);
    }
    let metrics = metrics();
    for (name, wanted) in [("last_failure", true), ("last_success", false)] {
        let begin = format!("kubecertd_step_{name}_timestamp_seconds{{step=\"coordinate\"}}");
        assert_eq!(metrics.contains(&begin), wanted, "{begin}: {metrics}");
    }
    assert!(
        !metrics.contains("step=\"backup\"") && !metrics.contains("step=\"cycle\""),
        "nothing of a cycle was begun: {metrics}"
    );
}

#[test]
fn systemd_is_told_for_whom_the_daemon_waits() {
    let cluster = Cluster::start(3);
    let due = "first_look = \"act\"\nvalidity = \"2000d\"\nrenew_before = \"400d\"\n";
    cluster.configure(&format!("{due}{PATIENT}"));
    let (done, said) = cluster.ctl(0, &["lease", "grant", "10"]);
    assert!(done, "{said}");
    let lease = format!("--lease={}", said.split_whitespace().nth(1).expect("an id"));
    let holder = "{\"node\":\"node-2\",\"purpose\":\"renew\"}";
    assert!(cluster.ctl(0, &["put", &lease, HOLDER, holder]).0);
    let mut daemon = Daemon::start(&cluster.nodes[0], &now(), &[]);
    daemon.says("STATUS=Waiting for node-2 (renew)");
    // That node died: its lease ends, and it had begun nothing.
    daemon.logs("cycle: renewed");
    daemon.terminate();
    assert_eq!(daemon.ends(), 0);
    assert!(cluster.keys(0).is_empty());
}
