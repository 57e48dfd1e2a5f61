//! Credentials that only the configuration knows.

mod support;

use std::fs;
use support::clock::FRESH;
use support::credential::{self, Material};
use support::openssl::Authority;
use support::{ECDSA, Node};

/// A cluster set up from binaries: other places, names and CAs.
#[test]
fn further_cas_certificates_and_kubeconfigs_are_renewed_by_name_and_glob() {
    let node = Node::of(ECDSA);
    let front = credential::named("front-proxy-client").material(&node);
    let pki = "etc/kubernetes/pki";
    for (from, to) in [("front-proxy-ca.crt", "ca.pem"), ("front-proxy-ca.key", "ca-key.pem")] {
        node.write(
            &format!("etc/ssl/own/{to}"),
            node.read(&format!("{pki}/{from}")).as_bytes(),
            0o600,
        );
    }
    for number in [1, 2] {
        node.write(
            &format!("etc/ssl/own/node-{number}.pem"),
            front.certificate.as_bytes(),
            0o644,
        );
        node.write(
            &format!("etc/ssl/own/node-{number}-key.pem"),
            front.key.as_bytes(),
            0o600,
        );
    }
    node.write(
        "srv/proxy.conf",
        node.read("etc/kubernetes/admin.conf").as_bytes(),
        0o600,
    );
    node.configure(
        "[[ca]]\nname = \"own-ca\"\npath = \"/etc/ssl/own/ca.pem\"\nkey = \"/etc/ssl/own/ca-key.pem\"\n\
         [[certificate]]\nname = \"own-*\"\npath = \"/etc/ssl/own/node-*.pem\"\nkey = \"/etc/ssl/own/node-*-key.pem\"\nca = \"own-ca\"\n\
         [[kubeconfig]]\nname = \"proxy\"\npath = \"/srv/proxy.conf\"\nca = \"ca\"\n",
    );
    let table = node.run(FRESH, &["check-expiration"]).exits(0).stdout;
    for name in ["own-1", "own-2", "proxy", "own-ca"] {
        assert!(
            table.lines().any(|line| line.split(' ').next() == Some(name)),
            "no row for {name}:\n{table}"
        );
    }
    let before = node.snapshot();
    let proxy = Material::in_kubeconfig(&node.read("srv/proxy.conf"), 0);
    node.run(FRESH, &["renew", "own-2", "proxy"]).exits(0);
    let changes = before.changes(&node.snapshot());
    assert_eq!(
        support::tree::paths(&changes),
        ["etc/ssl/own/node-2-key.pem", "etc/ssl/own/node-2.pem", "srv/proxy.conf"]
    );
    let renewed = Material {
        certificate: node.read("etc/ssl/own/node-2.pem"),
        key: node.read("etc/ssl/own/node-2-key.pem"),
    };
    credential::assert_renewed("own-2", &node.read("etc/ssl/own/ca.pem"), &front, &renewed, FRESH);
    let ca = fs::read_to_string(Authority::of(&node, "pki/ca").certificate).expect("the CA");
    credential::assert_renewed(
        "proxy",
        &ca,
        &proxy,
        &Material::in_kubeconfig(&node.read("srv/proxy.conf"), 0),
        FRESH,
    );
}
