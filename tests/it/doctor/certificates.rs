//! Certificates, CAs, keys, and copies of kubeconfigs.

use std::fs;
use std::os::unix::fs::chown;

use serde_json::Value;

use super::{diagnosis, finds, healthy, of_check};
use crate::support::clock::{self, DAY, FRESH};
use crate::support::openssl::Authority;
use crate::support::{self, ECDSA, EXPIRED, Node, RSA, credential, set_mode};

#[test]
fn expired_unreadable_and_overdue_certificates_are_found() {
    let node = healthy(ECDSA);
    let leaf = credential::named("etcd-server");
    leaf.set_validity(&node, &clock::later(FRESH, -40 * DAY), 10);
    finds(
        &node,
        FRESH,
        ["credentials", "fault", "etcd-server"],
        "expired on Oct 25, 2026",
        "kubecertd renew etcd-server",
    );
    leaf.set_validity(&node, &clock::later(FRESH, -40 * DAY), 43);
    finds(
        &node,
        FRESH,
        ["credentials", "warning", "etcd-server"],
        "was not renewed in time",
        "kubecertd renew etcd-server",
    );
    node.rewrite(&leaf.path(), b"");
    finds(
        &node,
        FRESH,
        ["credentials", "fault", "etcd-server"],
        "cannot be read: /etc/kubernetes/pki/etcd/server.crt is empty",
        "restore --dry-run",
    );

    let other = healthy(ECDSA);
    other.rewrite(
        "etc/kubernetes/pki/apiserver.key",
        other.read("etc/kubernetes/pki/sa.key").as_bytes(),
    );
    let found = of_check(&other, FRESH, "credentials");
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with("apiserver: its pair is broken"), "{found:?}");
}

#[test]
fn a_kubelet_conf_with_an_expired_certificate_is_found() {
    let node = healthy(EXPIRED);
    let found = of_check(&node, FRESH, "kubelet");
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(
        found[0].starts_with("kubelet.conf: /etc/kubernetes/kubelet.conf refers to a certificate that expired on ")
            && found[0].contains("embedded, so that the kubelet never rotates it"),
        "{found:?}"
    );
}

#[test]
fn a_ca_that_ends_soon_or_cannot_sign_is_found() {
    let ca = "ca ends";
    // The fixture's CAs have ten years.
    let node = healthy(ECDSA);
    for (days, severity, message) in [
        (200, "warning", "are valid for less than 365d"),
        (20, "fault", "every certificate that it signed expires with it"),
    ] {
        renew_authority(&node, "front-proxy-ca", days);
        let found = of_check(&node, FRESH, "authorities");
        assert_eq!(found.len(), 1, "{ca} in {days} days: {found:?}");
        assert!(
            found[0].starts_with("front-proxy-ca: expires ") && found[0].contains(message),
            "{found:?}"
        );
        let (code, _) = diagnosis(&node, FRESH);
        assert_eq!(code, if severity == "fault" { 1 } else { 4 });
    }
    let node = healthy(ECDSA);
    node.rewrite(
        "etc/kubernetes/pki/front-proxy-ca.key",
        node.read("etc/kubernetes/pki/sa.key").as_bytes(),
    );
    let found = of_check(&node, FRESH, "authorities");
    assert!(found.len() == 1 && found[0].contains("cannot sign"), "{found:?}");
    let expired = healthy(EXPIRED);
    assert!(!of_check(&expired, "2040-01-01 00:00:00", "authorities").is_empty());
    let external = healthy(ECDSA);
    external.remove("etc/kubernetes/pki/front-proxy-ca.key");
    assert_eq!(
        of_check(&external, FRESH, "authorities"),
        Vec::<String>::new(),
        "its key is kept elsewhere"
    );
}

/// The same CA and key, valid for this many days from now.
fn renew_authority(node: &Node, base: &str, days: i64) {
    let ca = Authority::of(node, &format!("pki/{base}"));
    let path = format!("etc/kubernetes/pki/{base}.crt");
    let key = fs::read_to_string(&ca.key).expect("a key");
    let certificate = ca.reissue(&node.read(&path), &key, None, &clock::later(FRESH, -DAY), days + 1);
    node.rewrite(&path, certificate.as_bytes());
}

#[test]
fn names_that_certificates_miss_are_found() {
    let node = healthy(ECDSA);
    let admin = node.read("etc/kubernetes/admin.conf");
    node.rewrite(
        "etc/kubernetes/admin.conf",
        admin
            .replace("k8s-api.example.internal", "lb.example.internal")
            .as_bytes(),
    );
    finds(
        &node,
        FRESH,
        ["names", "fault", "apiserver"],
        "does not include lb.example.internal, which /etc/kubernetes/admin.conf uses to connect",
        "kubeadm init phase certs apiserver",
    );
    node.rewrite(
        "etc/kubernetes/admin.conf",
        admin
            .replace(
                "    server: https://k8s-api.example.internal:6443",
                "    server: https://lb.example.internal:6443\n    tls-server-name: k8s-api.example.internal",
            )
            .as_bytes(),
    );
    assert_eq!(
        of_check(&node, FRESH, "names"),
        Vec::<String>::new(),
        "the client asks for another name"
    );
}

#[test]
fn addresses_of_the_node_that_certificates_miss_are_found() {
    let node = healthy(ECDSA);
    for (manifest, old, new, severity, about) in [
        (
            "kube-apiserver",
            "--advertise-address=10.0.0.11",
            "--advertise-address=10.0.0.99",
            "warning",
            "apiserver",
        ),
        (
            "etcd",
            "--advertise-client-urls=https://10.0.0.11:",
            "--advertise-client-urls=https://10.0.0.99:",
            "fault",
            "etcd-server",
        ),
        (
            "etcd",
            "--initial-advertise-peer-urls=https://10.0.0.11:",
            "--initial-advertise-peer-urls=https://[fd00::9]:",
            "fault",
            "etcd-peer",
        ),
    ] {
        let path = credential::manifest(manifest);
        let text = node.read(&path);
        assert!(text.contains(old));
        node.rewrite(&path, text.replace(old, new).as_bytes());
        let name = if new.contains("fd00") { "fd00::9" } else { "10.0.0.99" };
        finds(
            &node,
            FRESH,
            ["names", severity, about],
            &format!("does not include {name}"),
            "move its .crt and .key",
        );
        node.rewrite(&path, text.as_bytes());
    }
}

#[test]
fn a_credential_that_will_be_renewed_late_is_found_before() {
    let node = healthy(ECDSA);
    chown(node.path("etc/kubernetes/pki/etcd"), Some(2379), None).expect("an owner");
    let found = of_check(&node, FRESH, "refused");
    assert_eq!(found.len(), 3, "{found:?}");
    assert!(found[0].contains("will not be renewed when it is due: /etc/kubernetes/pki/etcd/healthcheck-client.crt can be replaced by users other than root"), "{found:?}");
}

#[test]
fn mismatched_service_account_keys_are_found() {
    let node = healthy(ECDSA);
    let other = fs::read_to_string(support::fixture(&format!("{RSA}/etc/kubernetes/pki/sa.pub"))).expect("a key");
    node.rewrite("etc/kubernetes/pki/sa.pub", other.as_bytes());
    finds(
        &node,
        FRESH,
        ["service-account", "fault", "/etc/kubernetes/pki/sa.key"],
        "are not a pair",
        "openssl pkey -in /etc/kubernetes/pki/sa.key -pubout",
    );
}

#[test]
fn keys_that_others_may_use_are_found() {
    for (path, mode, owner, severity, message) in [
        ("pki/ca.key", 0o604, (0, 0), "fault", "every user of the node"),
        ("admin.conf", 0o644, (0, 0), "fault", "every user of the node"),
        (
            "pki/apiserver.key",
            0o640,
            (0, 999),
            "warning",
            "group 999 can access this key",
        ),
        (
            "pki/etcd/server.key",
            0o600,
            (2379, 2379),
            "warning",
            "belongs to user 2379",
        ),
    ] {
        let node = healthy(ECDSA);
        let path = format!("etc/kubernetes/{path}");
        chown(node.path(&path), Some(owner.0), Some(owner.1)).expect("an owner");
        set_mode(&node.path(&path), mode);
        finds(
            &node,
            FRESH,
            ["modes", severity, &format!("/{path}")],
            message,
            &format!("/{path}"),
        );
    }
    let node = healthy(ECDSA);
    set_mode(&node.path("etc/kubernetes/pki/ca.key"), 0o640);
    assert_eq!(diagnosis(&node, FRESH).1, Vec::<Value>::new(), "root's own group");
}

#[test]
fn a_copy_that_does_not_change_with_its_original_is_noted() {
    let node = healthy(ECDSA);
    node.configure("[[kubeconfig_copy]]\npath = \"/root/.kube/config\"\nof = \"admin.conf\"\n");
    node.write(
        "root/.kube/config",
        node.read("etc/kubernetes/scheduler.conf").as_bytes(),
        0o600,
    );
    finds(
        &node,
        FRESH,
        ["copies", "note", "/root/.kube/config"],
        "is not updated with admin.conf: it does not hold the credential",
        "compare it with /etc/kubernetes/admin.conf",
    );
    node.rewrite("root/.kube/config", node.read("etc/kubernetes/admin.conf").as_bytes());
    assert_eq!(diagnosis(&node, FRESH).1, Vec::<Value>::new());
}
