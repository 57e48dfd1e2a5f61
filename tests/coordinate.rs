//! Control planes of more than one node: one acts at a time, by a lock in their own etcd. Real members, mutual TLS.

mod support;

use serde_json::Value;
use support::cluster::{Cluster, name, until};

const HOLDER: &str = "/kubecertd/lock/holder";
const QUICK: &str = "[coordination]\nlease = \"15s\"\nwait = \"0s\"\n";
const PATIENT: &str = "[coordination]\nlease = \"15s\"\nwait = \"1m\"\n";

fn mark(index: usize) -> String {
    format!("/kubecertd/lock/unfinished/{}", name(index))
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text:?}"))
}

#[test]
fn the_lock_is_in_etcd_while_a_node_acts_and_gone_after_it() {
    let cluster = Cluster::start(3);
    cluster.configure(QUICK);
    let mut running = cluster.spawn_slowly(0, &["renew", "all"]);
    until("it has begun", || cluster.keys(1).len() == 2, || running.log());
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
    let mut first = cluster.spawn_slowly(0, &["renew", "all"]);
    until("it has begun", || cluster.keys(1).len() == 2, || first.log());
    let mut second = cluster.spawn(1, &["renew", "all"]);
    second.says("waiting: node-1 has the lock (renew, since ");
    assert!(
        cluster.nodes[0].path("var/lib/kubecertd/transaction.json").exists(),
        "{}",
        first.log()
    );
    assert_eq!(
        (first.ends(), second.ends()),
        (0, 0),
        "{}\n{}",
        first.log(),
        second.log()
    );
    assert!(cluster.keys(2).is_empty());
}
