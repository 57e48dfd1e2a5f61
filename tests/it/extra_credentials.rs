//! Credentials that only the configuration knows.

use crate::support::clock::FRESH;
use crate::support::credential::{self, Material};
use crate::support::openssl::Authority;
use crate::support::{self, ECDSA, Node};
use std::fs;

/// A cluster set up from binaries: other places, names and CAs.
#[test]
fn extra_cas_pairs_and_kubeconfigs_are_renewed_by_name_and_glob() {
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

/// A directory that does not exist holds nothing; one that cannot be listed is a row, since there
/// may be something in it.
#[test]
fn a_pattern_reports_an_unlistable_directory_not_a_missing_one() {
    let node = Node::of(ECDSA);
    let pattern = |directory: &str| {
        format!(
            "[[certificate]]\nname = \"own-*\"\npath = \"{directory}/*.pem\"\nkey = \"{directory}/*-key.pem\"\nca = \"ca\"\n"
        )
    };
    for missing in ["/etc/none", "/none/at/all"] {
        node.configure(&pattern(missing));
        let ran = node.run(FRESH, &["check-expiration"]).exits(0);
        assert!(!ran.stdout.contains("own-"), "{ran}");
    }
    node.write("srv/file", b"", 0o600);
    std::os::unix::fs::symlink("loop", node.path("srv/loop")).expect("a symlink");
    for (directory, reason) in [
        ("/srv/file", "cannot be read: not a directory"),
        ("/srv/loop", "is a loop of symlinks"),
    ] {
        node.configure(&pattern(directory));
        let ran = node.run(FRESH, &["check-expiration"]).exits(4);
        ran.complains(&format!("own-*: {directory}/*.pem {reason}"));
    }
}

#[test]
fn an_unlistable_manifests_directory_is_only_a_warning() {
    let node = Node::of(ECDSA);
    let directory = node.path("etc/kubernetes/manifests");
    fs::remove_dir_all(&directory).expect("the directory");
    node.write("etc/kubernetes/manifests", b"", 0o600);
    node.run(FRESH, &["renew", "scheduler.conf"])
        .exits(0)
        .complains("/etc/kubernetes/manifests/ cannot be read: not a directory");
}
