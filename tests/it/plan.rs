//! `plan`: what a renewal would do and why, and its exit codes.

use crate::support::clock::{self, DAY, DUE, FRESH};
use crate::support::credential;
use crate::support::{ECDSA, Node, der};
use serde_json::Value;

fn plan(node: &Node, moment: &str) -> Value {
    node.run(moment, &["plan", "-o", "json"]).exits(0).json()
}

#[track_caller]
fn row<'a>(document: &'a Value, name: &str) -> &'a Value {
    let rows = document["credentials"].as_array().expect("a list");
    let row = rows.iter().find(|row| row["name"] == name);
    row.unwrap_or_else(|| panic!("no {name} in {document:#}"))
}

fn readers(document: &Value) -> Vec<&str> {
    let restarts = document["restarts"].as_array().expect("a list");
    restarts
        .iter()
        .filter_map(|restart| restart["reader"].as_str())
        .collect()
}

#[test]
fn a_credential_that_is_not_due_tells_its_due_date() {
    let node = Node::of(ECDSA);
    let document = plan(&node, FRESH);
    for credential in credential::all_of(ECDSA) {
        let row = row(&document, credential.name);
        assert_eq!(row["decision"], "leave", "{row:#}");
        assert_eq!(row["path"], format!("/{}", credential.path()), "{row:#}");
        let end = der::Certificate::from_pem(&credential.material(&node).certificate).not_after;
        let said = |key: &str| clock::seconds(row[key].as_str().unwrap_or_else(|| panic!("no {key}: {row:#}")));
        assert_eq!((said("expires"), said("due")), (end, end - 30 * DAY), "{row:#}");
    }
    assert_eq!(readers(&document), Vec::<&str>::new(), "{document:#}");
}

#[test]
fn a_due_credential_is_renewed_and_its_readers_restarted() {
    let node = Node::of(ECDSA);
    credential::named("scheduler.conf").make_due(&node);
    let document = plan(&node, FRESH);
    for credential in credential::all_of(ECDSA) {
        let wanted = if credential.name == "scheduler.conf" {
            "renew"
        } else {
            "leave"
        };
        assert_eq!(
            row(&document, credential.name)["decision"],
            wanted,
            "{}",
            credential.name
        );
    }
    assert_eq!(readers(&document), ["kube-scheduler"], "{document:#}");
    let manifest = &document["restarts"][0]["manifest"];
    assert_eq!(
        manifest, "/etc/kubernetes/manifests/kube-scheduler.yaml",
        "{document:#}"
    );
}

#[test]
fn the_threshold_is_the_configured_one() {
    let node = Node::of(ECDSA);
    credential::named("etcd-peer").make_due(&node);
    node.configure("renew_before = \"19d\"\n");
    assert_eq!(row(&plan(&node, FRESH), "etcd-peer")["decision"], "leave");
    node.configure("renew_before = \"21d\"\n");
    assert_eq!(row(&plan(&node, FRESH), "etcd-peer")["decision"], "renew");
}

#[test]
fn external_missing_and_unreadable_leaves_are_named_as_such() {
    let node = Node::of(ECDSA);
    node.remove("etc/kubernetes/pki/front-proxy-ca.key");
    node.remove("etc/kubernetes/super-admin.conf");
    node.rewrite("etc/kubernetes/pki/apiserver.crt", b"");
    let document = node.run(DUE, &["plan", "-o", "json"]).json();
    let decisions = [
        ("front-proxy-client", "blocked"),
        ("super-admin.conf", "missing"),
        ("apiserver", "unreadable"),
        ("etcd-server", "renew"),
    ];
    for (name, decision) in decisions {
        let row = row(&document, name);
        assert_eq!(row["decision"], decision, "{row:#}");
        assert!(
            row["reason"].as_str().is_some_and(|reason| !reason.is_empty()),
            "no reason: {row:#}"
        );
    }
    let unreadable = row(&document, "apiserver");
    assert_eq!(
        (&unreadable["due"], &unreadable["expires"]),
        (&Value::Null, &Value::Null),
        "{unreadable:#}"
    );
}

#[test]
fn exit_code_10_means_due_and_only_on_request() {
    let node = Node::of(ECDSA);
    node.run(FRESH, &["plan", "--exit-code"])
        .exits(0)
        .says("scheduler.conf");
    node.run(DUE, &["plan"]).exits(0).says("scheduler.conf");
    node.run(DUE, &["plan", "--exit-code"]).exits(10).says("scheduler.conf");
}

/// Nothing can be done about an external CA's leaf here, so nothing is due.
#[test]
fn a_leaf_that_cannot_be_renewed_here_is_not_due() {
    let node = Node::of(ECDSA);
    for ca in ["ca", "etcd/ca", "front-proxy-ca"] {
        node.remove(&format!("etc/kubernetes/pki/{ca}.key"));
    }
    node.run(DUE, &["plan", "--exit-code"]).exits(0).says("blocked");
}

#[test]
fn an_unknown_command_or_option_is_a_usage_error() {
    let node = Node::of(ECDSA);
    for args in [
        &["renw"][..],
        &["plan", "--exitcode"],
        &["plan", "-o", "xml"],
        &["check-expiration", "apiserver"],
    ] {
        node.run(FRESH, args).exits(2);
    }
}
