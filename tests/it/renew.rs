//! `renew`: which credentials are replaced, that the new ones are right, and that nothing else on
//! the node changes.

use crate::support::clock::{self, DUE, FRESH};
use crate::support::credential;
use crate::support::renewal::{exactly_these_were_renewed, materials};
use crate::support::{self, Node, RSA};
use serde_json::Value;

#[track_caller]
fn renew_all_replaces_every_pair_and_nothing_else(fixture: &str, count: usize) {
    let node = Node::of(fixture);
    let all = credential::all_of(fixture);
    assert_eq!(all.len(), count);
    let (before, old) = (node.snapshot(), materials(&node, &all));
    node.run(FRESH, &["renew", "all"]).exits(0);
    exactly_these_were_renewed(&node, &before, &old, &all, FRESH);
}

#[test]
fn renew_all_replaces_only_the_11_pairs_of_a_1_36_rsa_node() {
    renew_all_replaces_every_pair_and_nothing_else(RSA, 11);
}

#[test]
fn renew_all_replaces_only_the_11_pairs_of_a_1_36_ecdsa_node() {
    renew_all_replaces_every_pair_and_nothing_else(support::ECDSA, 11);
}

#[test]
fn renew_all_replaces_only_the_10_pairs_of_a_1_20_node() {
    renew_all_replaces_every_pair_and_nothing_else(support::OLD_RELEASE, 10);
}

#[test]
fn renew_all_on_an_expired_node_includes_the_kubelets_pair() {
    renew_all_replaces_every_pair_and_nothing_else(support::EXPIRED, 12);
}

#[test]
fn every_leaf_of_an_expired_node_is_due_without_being_named() {
    let node = Node::of(support::EXPIRED);
    let all = credential::all_of(support::EXPIRED);
    let (before, old) = (node.snapshot(), materials(&node, &all));
    node.run(FRESH, &["renew"]).exits(0);
    exactly_these_were_renewed(&node, &before, &old, &all, FRESH);
}

#[track_caller]
fn only_the_due_leaf_is_replaced(name: &str) {
    let node = Node::of(RSA);
    let due = credential::named(name);
    due.make_due(&node);
    let (before, old) = (node.snapshot(), materials(&node, &[due]));
    node.run(FRESH, &["renew"]).exits(0);
    exactly_these_were_renewed(&node, &before, &old, &[due], FRESH);
    let renewed = node.snapshot();
    node.run(&clock::later(FRESH, clock::MINUTE), &["renew"]).exits(0);
    let again = renewed.changes(&node.snapshot());
    assert!(again.is_empty(), "it is not due any more: {again:?}");
}

#[test]
fn a_due_pair_is_the_only_one_replaced() {
    only_the_due_leaf_is_replaced("apiserver");
}

#[test]
fn a_due_pair_in_the_etcd_directory_is_the_only_one_replaced() {
    only_the_due_leaf_is_replaced("etcd-server");
}

#[test]
fn a_due_kubeconfig_alone_is_replaced_and_its_reader_restarts() {
    only_the_due_leaf_is_replaced("scheduler.conf");
}

#[test]
fn a_due_kubeconfig_that_people_read_restarts_nothing() {
    only_the_due_leaf_is_replaced("admin.conf");
}

#[test]
fn named_credentials_are_renewed_although_not_due() {
    let node = Node::of(RSA);
    let wanted = ["etcd-peer", "super-admin.conf"].map(credential::named);
    let (before, old) = (node.snapshot(), materials(&node, &wanted));
    node.run(FRESH, &["renew", "etcd-peer", "super-admin.conf"]).exits(0);
    exactly_these_were_renewed(&node, &before, &old, &wanted, FRESH);
}

#[test]
fn nothing_due_changes_nothing_and_takes_no_backup() {
    let node = Node::of(RSA);
    let before = node.snapshot();
    let document = node.renew(FRESH, &[], 0);
    assert_eq!(document["backup"], Value::Null, "{document:#}");
    let after = node.snapshot();
    let changes = before.changes(&after);
    assert!(changes.is_empty(), "{changes:?}");
    let sets: Vec<&String> = after
        .0
        .keys()
        .filter(|path| path.starts_with("var/lib/kubecertd/backups/"))
        .collect();
    assert!(sets.is_empty(), "a backup of nothing: {sets:?}");
}

#[test]
fn a_dry_run_writes_nothing_at_all() {
    let node = Node::of(RSA);
    let before = node.snapshot();
    for args in [
        &["renew", "--dry-run"][..],
        &["renew", "all", "--dry-run"],
        &["renew", "all", "--force", "--dry-run", "-o", "json"],
    ] {
        node.run(DUE, args).exits(0);
        let changes = before.every_change(&node.snapshot());
        assert!(changes.is_empty(), "{args:?} changed {changes:?}");
    }
    let ran = node.run(DUE, &["renew", "--dry-run"]).exits(0);
    for credential in credential::all_of(RSA) {
        assert!(
            ran.stdout.contains(credential.name),
            "{} would be renewed: {ran}",
            credential.name
        );
    }
}

#[test]
fn an_unknown_name_is_a_usage_error_and_changes_nothing() {
    let node = Node::of(RSA);
    let before = node.snapshot();
    node.run(FRESH, &["renew", "apiserver", "apisever"])
        .exits(2)
        .complains("apisever");
    node.run(FRESH, &["renew", "all", "apisever"])
        .exits(2)
        .complains("`all` includes them");
    let changes = before.changes(&node.snapshot());
    assert!(changes.is_empty(), "{changes:?}");
}

#[test]
fn the_json_document_says_what_was_done() {
    let node = Node::of(RSA);
    let document = node.renew(FRESH, &["all"], 0);
    assert_eq!(document["exit"], 0, "{document:#}");
    assert!(document["outcome"].is_string(), "{document:#}");
    let backup = document["backup"].as_str().expect("the directory of the backup");
    assert!(backup.contains("/var/lib/kubecertd/backups/20261124T0000"), "{backup}");
    let mut names: Vec<&str> = document["credentials"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|row| row["name"].as_str())
        .collect();
    names.sort_unstable();
    for credential in credential::all_of(RSA) {
        assert!(
            names.contains(&credential.name),
            "{} is not in {names:?}",
            credential.name
        );
    }
    assert_eq!(
        readers(&document),
        ["kube-controller-manager", "kube-scheduler"],
        "{document:#}"
    );
}

fn readers(document: &Value) -> Vec<&str> {
    document["pending_restarts"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|restart| restart["reader"].as_str().expect("a name"))
        .collect()
}

#[test]
fn leaves_of_a_ca_without_its_key_are_left() {
    let node = Node::of(RSA);
    node.remove("etc/kubernetes/pki/ca.key");
    let external = credential::names(&credential::signed_by("pki/ca"));
    let others = credential::all_but(&external);
    assert_eq!((external.len(), others.len()), (6, 5));
    let (before, old) = (node.snapshot(), materials(&node, &others));
    node.run(FRESH, &["renew", "all"]).exits(0);
    exactly_these_were_renewed(&node, &before, &old, &others, FRESH);
}

/// An external etcd: no data to back up, no etcd leaves, and a client whose CA is
/// elsewhere.
#[test]
fn a_node_with_an_external_etcd_has_its_other_seven_renewed() {
    let node = Node::of(RSA);
    let apiserver = credential::manifest("kube-apiserver");
    let elsewhere = node
        .read(&apiserver)
        .replace("https://127.0.0.1:2379", "https://10.0.0.50:2379");
    node.rewrite(&apiserver, elsewhere.as_bytes());
    for name in ["etcd-healthcheck-client", "etcd-peer", "etcd-server"] {
        for file in credential::named(name).files() {
            node.remove(&file);
        }
    }
    node.remove("etc/kubernetes/pki/etcd/ca.key");
    node.remove(&credential::manifest("etcd"));
    std::fs::remove_dir_all(node.path("var/lib/etcd")).expect("etcd's data");
    let others = credential::all_but(&credential::names(&credential::signed_by("pki/etcd/ca")));
    let (before, old) = (node.snapshot(), materials(&node, &others));
    node.run(FRESH, &["renew", "all"]).exits(0);
    exactly_these_were_renewed(&node, &before, &old, &others, FRESH);
}

#[test]
fn a_missing_leaf_is_not_created_and_not_a_failure() {
    let node = Node::of(RSA);
    node.remove("etc/kubernetes/super-admin.conf");
    node.remove("etc/kubernetes/pki/apiserver-etcd-client.crt");
    let others = credential::all_but(&["super-admin.conf", "apiserver-etcd-client"]);
    let (before, old) = (node.snapshot(), materials(&node, &others));
    node.run(FRESH, &["renew", "all"]).exits(0);
    exactly_these_were_renewed(&node, &before, &old, &others, FRESH);
}

/// kubeadm 1.36 stops after two of eleven here, with a half renewed node.
#[test]
fn without_the_etcd_ca_certificate_seven_others_are_renewed() {
    let node = Node::of(RSA);
    node.remove("etc/kubernetes/pki/etcd/ca.crt");
    let others = credential::all_but(&credential::names(&credential::signed_by("pki/etcd/ca")));
    assert_eq!(others.len(), 7);
    let (before, old) = (node.snapshot(), materials(&node, &others));
    node.run(FRESH, &["renew", "all"])
        .exits(4)
        .says("/etc/kubernetes/pki/etcd/ca.crt");
    exactly_these_were_renewed(&node, &before, &old, &others, FRESH);
}
