//! `check-expiration`: kubeadm's own output is the judge, byte for byte, at the clock of kubeadm's
//! run.

use crate::support::clock::{self, FRESH};
use crate::support::credential::{self, Credential};
use crate::support::{self, Node, RSA, assert_same_text, expected, kubeadm_clock, openssl};
use serde_json::Value;
use std::fs;

const FORMATS: [&str; 3] = ["text", "json", "yaml"];

/// Rows of an external etcd that kubecertd may show although kubeadm does not: that leaf must be
/// renewed too.
const ALLOWED_WITH_EXTERNAL_ETCD: [&str; 2] = ["apiserver-etcd-client", "etcd-ca"];

#[track_caller]
fn prints_what_kubeadm_printed(node: &Node, state: &str) {
    for format in FORMATS {
        let ran = node
            .run(&kubeadm_clock(state, format), &["check-expiration", "-o", format])
            .exits(0);
        assert_same_text(&ran.stdout, &expected(state, format), &format!("{state} as {format}"));
    }
    let ran = node.run(&kubeadm_clock(state, "text"), &["check-expiration"]).exits(0);
    assert_same_text(&ran.stdout, &expected(state, "text"), &format!("{state} without -o"));
}

#[test]
fn a_1_36_rsa_node_prints_as_in_kubeadm() {
    prints_what_kubeadm_printed(&Node::of(RSA), RSA);
}

#[test]
fn a_1_36_ecdsa_node_prints_as_in_kubeadm() {
    prints_what_kubeadm_printed(&Node::of(support::ECDSA), support::ECDSA);
}

#[test]
fn a_1_20_node_prints_as_in_kubeadm() {
    prints_what_kubeadm_printed(&Node::of(support::OLD_RELEASE), support::OLD_RELEASE);
}

#[test]
fn an_expired_node_prints_as_in_kubeadm() {
    prints_what_kubeadm_printed(&Node::of(support::EXPIRED), support::EXPIRED);
}

#[test]
fn a_ca_without_its_key_is_externally_managed_as_in_kubeadm() {
    let node = Node::of(RSA);
    node.remove("etc/kubernetes/pki/ca.key");
    prints_what_kubeadm_printed(&node, "kubeadm-1.36-rsa2048.no-ca-key");
}

#[test]
fn missing_leaves_are_rows_as_in_kubeadm() {
    let node = Node::of(RSA);
    node.remove("etc/kubernetes/super-admin.conf");
    node.remove("etc/kubernetes/pki/apiserver-etcd-client.crt");
    prints_what_kubeadm_printed(&node, "kubeadm-1.36-rsa2048.two-missing");
}

/// The node as the fixtures' README derives it. The kube-apiserver manifest still names 127.0.0.1.
fn node_with_external_etcd() -> Node {
    let node = Node::of(RSA);
    for leaf in ["server", "peer", "healthcheck-client"] {
        node.remove(&format!("etc/kubernetes/pki/etcd/{leaf}.crt"));
        node.remove(&format!("etc/kubernetes/pki/etcd/{leaf}.key"));
    }
    node.remove("etc/kubernetes/pki/etcd/ca.key");
    node.remove(&credential::manifest("etcd"));
    node
}

fn point_apiserver_at(node: &Node, servers: &str) {
    let path = credential::manifest("kube-apiserver");
    let old = node.read(&path);
    let new = old.replace(
        "--etcd-servers=https://127.0.0.1:2379",
        &format!("--etcd-servers={servers}"),
    );
    assert_ne!(old, new, "the manifest has the flag");
    node.rewrite(&path, new.as_bytes());
}

/// Takes the rows out that kubeadm does not have.
fn without_allowed_rows(printed: &str, format: &str) -> String {
    let name_is = |row: &Value| ALLOWED_WITH_EXTERNAL_ETCD.iter().any(|name| row["name"] == *name);
    match format {
        "json" => {
            let mut document: Value = serde_json::from_str(printed).expect("JSON");
            for list in ["certificates", "certificateAuthorities"] {
                document[list]
                    .as_array_mut()
                    .expect("a list")
                    .retain(|row| !name_is(row));
            }
            document.to_string()
        }
        "yaml" => {
            let hidden = |item: &&str| {
                !ALLOWED_WITH_EXTERNAL_ETCD
                    .iter()
                    .any(|name| item.contains(&format!("\n  name: {name}\n")))
            };
            // A row begins with `- `; the key after a list ends it, and belongs to no row.
            let marked = printed
                .replace("\n- ", "\n\0- ")
                .replace("\ncertificates:", "\n\0certificates:")
                .replace("\nkind:", "\n\0kind:");
            marked.split('\0').filter(hidden).collect()
        }
        _ => {
            let hidden = |line: &&str| {
                !ALLOWED_WITH_EXTERNAL_ETCD
                    .iter()
                    .any(|name| line.split(' ').next() == Some(name))
            };
            printed.split_inclusive('\n').filter(hidden).collect()
        }
    }
}

#[track_caller]
fn prints_what_kubeadm_printed_of_an_external_etcd(node: &Node) {
    let state = "kubeadm-1.36-rsa2048.external-etcd";
    for format in FORMATS {
        let ran = node
            .run(&kubeadm_clock(state, format), &["check-expiration", "-o", format])
            .exits(0);
        let wanted = without_allowed_rows(&expected(state, format), format);
        assert_same_text(
            &without_allowed_rows(&ran.stdout, format),
            &wanted,
            &format!("{state} as {format}"),
        );
    }
}

#[test]
fn external_etcd_prints_as_kubeadm_except_the_client() {
    prints_what_kubeadm_printed_of_an_external_etcd(&node_with_external_etcd());
}

#[test]
fn external_etcd_is_recognized_from_etcd_servers() {
    let node = node_with_external_etcd();
    point_apiserver_at(&node, "https://10.0.0.50:2379,https://etcd-2.example.internal:2379");
    prints_what_kubeadm_printed_of_an_external_etcd(&node);
}

#[test]
fn an_external_etcd_without_files_on_the_node_is_not_mentioned() {
    let node = node_with_external_etcd();
    point_apiserver_at(&node, "https://10.0.0.50:2379");
    for file in ["apiserver-etcd-client.crt", "apiserver-etcd-client.key", "etcd/ca.crt"] {
        node.remove(&format!("etc/kubernetes/pki/{file}"));
    }
    prints_what_kubeadm_printed(&node, "kubeadm-1.36-rsa2048.external-etcd");
}

#[test]
fn deleted_leaves_of_a_local_etcd_are_missing_not_external() {
    let node = Node::of(RSA);
    for leaf in ["server", "peer", "healthcheck-client"] {
        node.remove(&format!("etc/kubernetes/pki/etcd/{leaf}.crt"));
    }
    let ran = node.run(FRESH, &["check-expiration"]).exits(0);
    for name in ["etcd-server", "etcd-peer", "etcd-healthcheck-client"] {
        let row = format!("!MISSING! {name} ");
        assert!(ran.stdout.contains(&row), "no row {row:?}: {ran}");
    }
}

#[test]
fn manifests_are_found_by_the_static_pod_path_of_the_kubelet() {
    let node = node_with_external_etcd();
    point_apiserver_at(&node, "https://10.0.0.50:2379");
    fs::rename(node.path("etc/kubernetes/manifests"), node.path("etc/static-pods")).expect("a rename");
    let kubelet =
        "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\nstaticPodPath: /etc/static-pods\n";
    node.write("var/lib/kubelet/config.yaml", kubelet.as_bytes(), 0o644);
    prints_what_kubeadm_printed_of_an_external_etcd(&node);
}

/// The row of a table that begins with this name.
#[track_caller]
fn row<'a>(table: &'a str, name: &str) -> &'a str {
    let mut rows = table
        .lines()
        .filter(|line| line.split_whitespace().any(|word| word == name));
    rows.next().unwrap_or_else(|| panic!("no row for {name} in:\n{table}"))
}

/// A table line with its columns parted by single spaces: a longer row elsewhere moves the columns.
fn squeezed(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[track_caller]
fn wide_names_path_serial_key_and_readers(tree: &str, algorithm: &str, size: &str) {
    let node = Node::of(tree);
    let ran = node.run(FRESH, &["check-expiration", "-o", "wide"]).exits(0);
    for credential in credential::all_of(tree) {
        let row = row(&ran.stdout, credential.name);
        let path = format!("/{}", credential.path());
        assert!(row.contains(&path), "{path} is not in {row:?}");
        let serial = openssl::serial(&credential.material(&node).certificate);
        let digits = row.replace(':', "").to_uppercase();
        assert!(
            digits.split_whitespace().any(|word| word == serial),
            "serial {serial} is not in {row:?}"
        );
        assert!(
            row.contains(algorithm) && row.contains(size),
            "{algorithm} {size} is not in {row:?}"
        );
    }
    let readers = [
        ("apiserver", "kube-apiserver"),
        ("apiserver-etcd-client", "kube-apiserver"),
        ("apiserver-kubelet-client", "kube-apiserver"),
        ("front-proxy-client", "kube-apiserver"),
        ("controller-manager.conf", "kube-controller-manager"),
        ("scheduler.conf", "kube-scheduler"),
        ("etcd-server", "etcd"),
        ("etcd-peer", "etcd"),
    ];
    for (name, reader) in readers {
        let row = row(&ran.stdout, name);
        assert!(
            row.split([' ', ',']).any(|word| word == reader),
            "the reader {reader} of {name} is not in {row:?}"
        );
    }
}

#[test]
fn wide_names_path_serial_key_and_readers_of_rsa_leaves() {
    wide_names_path_serial_key_and_readers(RSA, "RSA", "2048");
}

#[test]
fn wide_names_path_serial_key_and_readers_of_ecdsa_leaves() {
    wide_names_path_serial_key_and_readers(support::ECDSA, "ECDSA", "256");
}

/// The table of a node on which some leaves cannot be read: the other rows are kubeadm's, the exit
/// code is 4, each reason has a path.
#[track_caller]
fn unreadable_rows_do_not_hide_the_others(node: &Node, unreadable: &[Credential]) {
    let moment = kubeadm_clock(RSA, "text");
    let ran = node.run(&moment, &["check-expiration"]).exits(4);
    for line in expected(RSA, "text").lines() {
        let name = line.split(' ').next().expect("a first word");
        if unreadable.iter().any(|credential| credential.name == name) {
            row(&ran.stdout, name);
        } else {
            assert!(
                ran.stdout.lines().any(|got| squeezed(got) == squeezed(line)),
                "{line:?} is not in {ran}"
            );
        }
    }
    let document = node.run(&moment, &["check-expiration", "-o", "json"]).exits(4).json();
    let rows = document["certificates"].as_array().expect("a list");
    assert_eq!(rows.len(), 11, "{document:#}");
    for credential in unreadable {
        let row = rows
            .iter()
            .find(|row| row["name"] == credential.name)
            .unwrap_or_else(|| panic!("no {}: {document:#}", credential.name));
        assert_eq!(
            (&row["expirationDate"], &row["missing"]),
            (&Value::Null, &Value::Bool(false)),
            "{row:#}"
        );
    }
    for credential in unreadable {
        node.run(&moment, &["check-expiration"])
            .complains(&format!("/{}", credential.path()));
    }
}

#[test]
fn unreadable_leaves_are_rows_and_the_others_stay() {
    let node = Node::of(RSA);
    node.rewrite("etc/kubernetes/pki/etcd/server.crt", b"");
    node.rewrite(
        "etc/kubernetes/pki/apiserver.crt",
        b"-----BEGIN CERTIFICATE-----\nnot base64!\n-----END CERTIFICATE-----\n",
    );
    node.rewrite("etc/kubernetes/admin.conf", b"users: {");
    unreadable_rows_do_not_hide_the_others(
        &node,
        &["admin.conf", "apiserver", "etcd-server"].map(credential::named),
    );
}

/// kubeadm 1.36 prints nothing but an error here, just when it is needed.
#[test]
fn an_expired_leaf_of_an_external_ca_is_a_row() {
    let node = Node::of(RSA);
    credential::named("apiserver").set_validity(&node, "2026-10-01 00:00:00", 30);
    node.remove("etc/kubernetes/pki/ca.key");
    let ran = node.run(&kubeadm_clock(RSA, "text"), &["check-expiration"]).exits(0);
    let row = squeezed(row(&ran.stdout, "apiserver"));
    assert_eq!(row, "apiserver Oct 31, 2026 00:00 UTC <invalid> ca yes", "{ran}");
    assert_eq!(
        ran.stdout.lines().filter(|line| line.contains(" yes ")).count(),
        7,
        "six leaves and their CA are external: {ran}"
    );
}

/// The command only reads: nothing is written, not even kubecertd's own state directory.
#[test]
fn check_expiration_leaves_no_trace_on_the_node() {
    let node = Node::of(RSA);
    let before = node.snapshot();
    for args in [
        &["check-expiration", "-o", "wide"][..],
        &["plan", "-o", "yaml"],
        &["plan", "-o", "json"],
        &["config", "show"],
    ] {
        node.run(clock::DUE, args).exits(0).says("/etc/kubernetes");
        let changes = before.every_change(&node.snapshot());
        assert!(changes.is_empty(), "{args:?} changed {changes:?}");
    }
}

#[test]
fn root_is_accepted_before_and_after_the_command() {
    let node = Node::of(RSA);
    let root = node.root().display().to_string();
    let before = node.run(FRESH, &["check-expiration"]).exits(0).says("super-admin.conf");
    let after = support::kubecertd(&[], FRESH, &["check-expiration", "--root", &root]).exits(0);
    assert_same_text(&after.stdout, &before.stdout, "--root after the verb");
}
