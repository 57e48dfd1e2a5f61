//! CAs: bundles, and CAs that end before their leaves would.

use crate::support::clock::{self, DAY, FRESH};
use crate::support::credential;
use crate::support::renewal::renew_replaces_only;
use crate::support::{Node, RSA, der, fixture};
use std::fs;

const PKI: &str = "etc/kubernetes/pki";

#[test]
fn in_a_ca_bundle_the_ca_with_a_key_signs() {
    let node = Node::of(RSA);
    let path = format!("{PKI}/ca.crt");
    let real = node.read(&path);
    let retired = fs::read_to_string(fixture("kubeadm-1.20-rsa2048/etc/kubernetes/pki/ca.crt"))
        .expect("another CA of the same name");
    node.rewrite(&path, format!("{retired}{real}").as_bytes());
    let old = credential::named("apiserver").material(&node);
    renew_replaces_only(
        &node,
        "apiserver",
        &["etc/kubernetes/pki/apiserver.crt", "etc/kubernetes/pki/apiserver.key"],
    );
    credential::assert_renewed(
        "apiserver",
        &real,
        &old,
        &credential::named("apiserver").material(&node),
        FRESH,
    );
}

/// The row of a credential in the document of `plan -o json`.
fn plan(node: &Node, moment: &str, name: &str) -> serde_json::Value {
    let document = node.run(moment, &["plan", "-o", "json"]).exits(0).json();
    let rows = document["credentials"].as_array().expect("a list");
    rows.iter()
        .find(|row| row["name"] == name)
        .unwrap_or_else(|| panic!("no {name}: {document:#}"))
        .clone()
}

#[test]
fn a_ca_with_40_days_left_clamps_a_leaf_once_and_then_blocks_it() {
    let node = Node::of(RSA);
    let apiserver = credential::named("apiserver");
    apiserver
        .authority(&node)
        .set_validity(&clock::later(FRESH, -60 * DAY), 100);
    apiserver.make_due(&node);
    let old = apiserver.material(&node);
    renew_replaces_only(
        &node,
        "apiserver",
        &["etc/kubernetes/pki/apiserver.crt", "etc/kubernetes/pki/apiserver.key"],
    );
    let clamped = apiserver.material(&node);
    apiserver.assert_renewed(&node, &old, &clamped, FRESH);
    let left = der::Certificate::from_pem(&clamped.certificate).not_after - clock::seconds(FRESH);
    assert_eq!(left, 40 * DAY, "the leaf ends with its CA");

    let next = clock::later(FRESH, 15 * DAY);
    let before = node.snapshot();
    node.run(&next, &["renew"]).exits(0).says("the CA ends first");
    let changes = before.changes(&node.snapshot());
    assert!(changes.is_empty(), "renewed again without a gain: {changes:?}");
    let row = plan(&node, &next, "apiserver");
    assert_eq!(row["decision"], "blocked", "{row:#}");
    assert!(
        row["reason"]
            .as_str()
            .is_some_and(|reason| reason.contains("the CA ends first")),
        "{row:#}"
    );

    node.run(&next, &["renew", "apiserver", "--force"]).exits(0);
    apiserver.assert_renewed(&node, &clamped, &apiserver.material(&node), &next);
}
