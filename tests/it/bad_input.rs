//! Bad files: each is reported by name, nothing of its credential is touched, and the others are
//! renewed.

use crate::support::clock::{self, DAY, FRESH};
use crate::support::credential;
use crate::support::openssl::Authority;
use crate::support::{ECDSA, Node, RSA, Ran, expected, fixture, set_mode, tree};
use std::fs;

const PKI: &str = "etc/kubernetes/pki";

/// Requires that the affected credentials are reported with `file`, left alone, and that the others
/// are renewed.
///
/// - `renew` of only them: exit 1, the tree as it was.
/// - `renew all`: exit 4, and exactly the files of the others have changed.
#[track_caller]
fn the_others_are_renewed(node: &Node, affected: &[&str], file: &str) {
    let before = node.snapshot();
    node.run(FRESH, &[&["renew"], affected].concat())
        .exits(1)
        .complains(file);
    let changes = before.changes(&node.snapshot());
    assert!(changes.is_empty(), "renew {affected:?} changed {changes:?}");
    node.run(FRESH, &["renew", "all"]).exits(4).complains(file);
    let changes = before.changes(&node.snapshot());
    assert_eq!(
        tree::paths(&changes),
        credential::replaced(&credential::all_but(affected))
    );
}

/// The table has a row for each of the eleven, exit 4 says that some could not be read, and stderr
/// names the file.
#[track_caller]
fn the_table_is_whole(ran: Ran, unreadable: &[&str], file: &str) {
    let ran = ran.exits(4).complains(file);
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    for line in expected(ECDSA, "text").lines() {
        let name = line.split(' ').next().expect("a first word");
        // Residual times differ from kubeadm's by hours; `364d` holds for both clocks.
        let same = ran.stdout.lines().any(|got| words(got) == words(line));
        let there = ran.stdout.lines().any(|got| words(got).iter().any(|word| word == name));
        let wanted = if unreadable.contains(&name) { there } else { same };
        assert!(wanted, "{line:?} is not in {ran}");
    }
}

/// One leaf spoilt: the table, `renew` of that leaf and `renew all`.
#[track_caller]
fn one_bad_leaf(name: &str, spoil: impl FnOnce(&Node, &str)) {
    let node = Node::of(ECDSA);
    let path = credential::named(name).path();
    spoil(&node, &path);
    let file = format!("/{path}");
    the_table_is_whole(node.run(FRESH, &["check-expiration"]), &[name], &file);
    the_others_are_renewed(&node, &[name], &file);
}

#[test]
fn an_empty_certificate_is_reported_and_the_others_are_renewed() {
    one_bad_leaf("etcd-server", |node, path| node.rewrite(path, b""));
}

#[test]
fn a_truncated_certificate_is_reported() {
    one_bad_leaf("apiserver", |node, path| {
        let whole = node.read(path);
        node.rewrite(path, &whole.as_bytes()[..whole.len() / 2]);
    });
}

#[test]
fn a_certificate_with_truncated_der_is_reported() {
    one_bad_leaf("apiserver", |node, path| {
        let whole = node.read(path);
        let lines: Vec<&str> = whole.lines().collect();
        let kept = [&lines[..4], &lines[lines.len() - 1..]].concat().join("\n");
        node.rewrite(path, kept.as_bytes());
    });
}

#[test]
fn a_key_in_place_of_a_certificate_is_reported() {
    one_bad_leaf("front-proxy-client", |node, path| {
        let key = node.read(&path.replace(".crt", ".key"));
        node.rewrite(path, key.as_bytes());
    });
}

#[test]
fn a_certificate_of_zeros_is_reported() {
    one_bad_leaf("apiserver-kubelet-client", |node, path| node.rewrite(path, &[0; 4096]));
}

#[test]
fn a_kubeconfig_that_is_not_yaml_is_reported() {
    one_bad_leaf("scheduler.conf", |node, path| {
        node.rewrite(path, b"users: [\n  - {name: 'half\n");
    });
}

#[test]
fn a_kubeconfig_that_is_not_utf8_is_reported() {
    one_bad_leaf("admin.conf", |node, path| {
        node.rewrite(path, b"kind: Config\nusers: \xff\xfe\n");
    });
}

#[test]
fn a_kubeconfig_without_the_user_of_its_context_is_reported() {
    one_bad_leaf("controller-manager.conf", |node, path| {
        let text = node.read(path).replace(
            "- name: system:kube-controller-manager\n  user:",
            "- name: somebody-else\n  user:",
        );
        node.rewrite(path, text.as_bytes());
    });
}

#[test]
fn a_kubeconfig_without_its_current_context_is_reported() {
    one_bad_leaf("super-admin.conf", |node, path| {
        let text = node.read(path).replace("current-context: ", "current-context: not-");
        node.rewrite(path, text.as_bytes());
    });
}

#[test]
fn a_kubeconfig_without_a_certificate_in_its_data_is_reported() {
    one_bad_leaf("scheduler.conf", |node, path| {
        let text = node
            .read(path)
            .replace("client-certificate-data: LS0t", "client-certificate-data: TG9y");
        node.rewrite(path, text.as_bytes());
    });
}

/// Edits on such a file cannot be proven to change only the two values.
#[test]
fn a_kubeconfig_with_an_alias_on_the_way_is_refused() {
    let node = Node::of(ECDSA);
    let path = "etc/kubernetes/scheduler.conf";
    let text = node.read(path).replace("  user:\n", "  user: &credential\n") + "- name: twin\n  user: *credential\n";
    node.rewrite(path, text.as_bytes());
    the_others_are_renewed(&node, &["scheduler.conf"], "/etc/kubernetes/scheduler.conf");
}

/// Files are refused before anything is replaced: one such kubeconfig does not keep the
/// rest of the node old.
#[test]
fn a_kubeconfig_with_multiline_data_is_refused() {
    let node = Node::of(ECDSA);
    let path = "etc/kubernetes/admin.conf";
    let text = node.read(path);
    let (before, value) = text.split_once("client-key-data: ").expect("a key");
    let (first, second) = value.trim_end().split_at(64);
    node.rewrite(
        path,
        format!("{before}client-key-data: |\n      {first}\n      {second}\n").as_bytes(),
    );
    node.run(FRESH, &["check-expiration"]).exits(0);
    the_others_are_renewed(&node, &["admin.conf"], "/etc/kubernetes/admin.conf");
}

#[test]
fn a_ca_key_of_another_ca_signs_nothing() {
    let node = Node::of(ECDSA);
    let key = node.read(&format!("{PKI}/etcd/ca.key"));
    node.rewrite(&format!("{PKI}/front-proxy-ca.key"), key.as_bytes());
    the_others_are_renewed(&node, &["front-proxy-client"], "/etc/kubernetes/pki/front-proxy-ca.key");
}

#[test]
fn a_malformed_ca_key_signs_nothing() {
    let node = Node::of(ECDSA);
    node.rewrite(
        &format!("{PKI}/front-proxy-ca.key"),
        b"-----BEGIN EC PRIVATE KEY-----\n",
    );
    the_others_are_renewed(&node, &["front-proxy-client"], "/etc/kubernetes/pki/front-proxy-ca.key");
}

/// The key's public part is that of the certificate, its private part is not.
#[test]
fn a_ca_key_with_a_damaged_private_part_signs_nothing() {
    let node = Node::of(RSA);
    let path = format!("{PKI}/front-proxy-ca.key");
    let mut lines: Vec<_> = node.read(&path).lines().map(str::to_owned).collect();
    // The last line but one: inside of the last of the nine numbers.
    let at = lines.len() - 3;
    lines[at] = lines[at].chars().rev().collect();
    node.rewrite(&path, (lines.join("\n") + "\n").as_bytes());
    the_others_are_renewed(&node, &["front-proxy-client"], "/etc/kubernetes/pki/front-proxy-ca.key");
}

#[test]
fn an_expired_ca_signs_nothing() {
    let node = Node::of(ECDSA);
    Authority::of(&node, "pki/front-proxy-ca").set_validity(&clock::later(FRESH, -40 * DAY), 30);
    the_others_are_renewed(&node, &["front-proxy-client"], "/etc/kubernetes/pki/front-proxy-ca.crt");
    node.run(FRESH, &["renew", "front-proxy-client", "--force"])
        .exits(1)
        .complains("expired");
}

#[test]
fn a_certificate_that_is_not_a_ca_signs_nothing() {
    let node = Node::of(ECDSA);
    let leaf = credential::named("front-proxy-client").material(&node);
    node.rewrite(&format!("{PKI}/front-proxy-ca.crt"), leaf.certificate.as_bytes());
    node.rewrite(&format!("{PKI}/front-proxy-ca.key"), leaf.key.as_bytes());
    the_others_are_renewed(&node, &["front-proxy-client"], "/etc/kubernetes/pki/front-proxy-ca.crt");
}

#[test]
fn a_ca_that_is_unreadable_affects_its_own_leaves_only() {
    let node = Node::of(ECDSA);
    node.rewrite(&format!("{PKI}/etcd/ca.crt"), b"");
    let affected = credential::names(&credential::signed_by("pki/etcd/ca"));
    the_others_are_renewed(&node, &affected, "/etc/kubernetes/pki/etcd/ca.crt");
}

#[test]
fn when_every_ca_has_expired_nothing_is_done() {
    let node = Node::of(ECDSA);
    let before = node.snapshot();
    let ran = node
        .run("2037-01-01 00:00:00", &["renew", "all"])
        .exits(1)
        .complains("expired");
    for ca in ["ca", "etcd/ca", "front-proxy-ca"] {
        assert!(
            ran.stderr.contains(&format!("/{PKI}/{ca}.crt")),
            "{ca} is not named: {ran}"
        );
    }
    let changes = before.changes(&node.snapshot());
    assert!(changes.is_empty(), "{changes:?}");
}

/// Root without the right to read what it may not: what a confined service sees.
const CONFINED: [&str; 3] = [
    "setpriv",
    "--inh-caps=-all",
    "--bounding-set=-dac_override,-dac_read_search",
];

#[test]
fn an_unreadable_directory_is_reported_next_to_the_others() {
    let node = Node::of(ECDSA);
    let directory = node.path(&format!("{PKI}/etcd"));
    set_mode(&directory, 0);
    let ran = node.run_under(&CONFINED, FRESH, &["check-expiration"]);
    let renewed = node.run_under(&CONFINED, FRESH, &["renew", "etcd-server"]);
    set_mode(&directory, 0o755);
    let ran = ran
        .exits(4)
        .complains("/etc/kubernetes/pki/etcd")
        .complains("permission denied");
    for name in ["admin.conf", "apiserver", "front-proxy-client", "scheduler.conf"] {
        let row = format!("{name} Nov 23, 2027 18:43 UTC 364d");
        let found = ran
            .stdout
            .lines()
            .any(|line| line.split_whitespace().collect::<Vec<_>>().join(" ").starts_with(&row));
        assert!(found, "{row:?} is not in {ran}");
    }
    renewed.exits(1).complains("/etc/kubernetes/pki/etcd");
}

#[test]
fn a_file_in_place_of_a_directory_is_reported() {
    let node = Node::of(ECDSA);
    fs::remove_dir_all(node.path(&format!("{PKI}/etcd"))).expect("the directory is gone");
    node.write(&format!("{PKI}/etcd"), b"not a directory\n", 0o644);
    node.run(FRESH, &["check-expiration"])
        .exits(4)
        .complains("/etc/kubernetes/pki/etcd");
    let affected = credential::names(&credential::signed_by("pki/etcd/ca"));
    the_others_are_renewed(&node, &affected, "/etc/kubernetes/pki/etcd");
}

/// A user that may write to the directory may replace its files, or point it elsewhere.
#[test]
fn a_directory_writable_by_others_blocks_its_credentials() {
    let node = Node::of(ECDSA);
    set_mode(&node.path(&format!("{PKI}/etcd")), 0o777);
    the_others_are_renewed(
        &node,
        &["etcd-healthcheck-client", "etcd-peer", "etcd-server"],
        "/etc/kubernetes/pki/etcd",
    );
}

#[test]
fn without_a_pki_directory_nothing_is_done() {
    let node = Node::of(ECDSA);
    fs::rename(node.path(PKI), node.scratch("pki")).expect("a rename");
    let before = node.snapshot();
    node.run(FRESH, &["renew", "all"])
        .exits(1)
        .complains("/etc/kubernetes/pki");
    assert!(
        before.changes(&node.snapshot()).is_empty(),
        "the kubeconfigs are left as they are"
    );
}

#[test]
fn a_mismatched_pair_is_reported_and_repaired_by_the_next_cycle() {
    let node = Node::of(ECDSA);
    let apiserver = credential::named("apiserver");
    let mut old = apiserver.material(&node);
    let foreign =
        fs::read_to_string(fixture(ECDSA).join(PKI).join("apiserver-kubelet-client.key")).expect("another key");
    node.rewrite(&format!("{PKI}/apiserver.key"), foreign.as_bytes());
    let reason = "its pair is broken: /etc/kubernetes/pki/apiserver.key does not match its certificate";
    node.run(FRESH, &["plan"]).says(reason);
    // It is due at once.
    node.run(FRESH, &["renew"]).exits(0);
    old.key = foreign;
    apiserver.assert_renewed(&node, &old, &apiserver.material(&node), FRESH);
}

/// As with kubeadm, which never reads the old key.
#[test]
fn a_pair_without_its_key_is_replaced() {
    let node = Node::of(ECDSA);
    let apiserver = credential::named("apiserver");
    let old = apiserver.material(&node);
    node.remove(&format!("{PKI}/apiserver.key"));
    node.run(FRESH, &["renew", "apiserver"]).exits(0);
    apiserver.assert_renewed(&node, &old, &apiserver.material(&node), FRESH);
    let mode = node.snapshot().0[&format!("{PKI}/apiserver.key")].mode;
    assert_eq!(format!("{:o}", mode & 0o7777), "600");
}

#[test]
fn a_manifest_that_is_not_yaml_is_left_alone_and_reported() {
    let node = Node::of(ECDSA);
    let path = credential::manifest("kube-scheduler");
    node.rewrite(&path, b"metadata: {\n");
    let before = node.snapshot();
    let ran = node.run(FRESH, &["renew", "scheduler.conf"]);
    ran.says(&format!("/{path}"));
    let after = node.snapshot();
    assert_eq!(
        before.0[&path], after.0[&path],
        "a manifest that we do not understand is not ours to edit"
    );
}

#[test]
fn an_unknown_key_in_the_config_stops_everything() {
    let node = Node::of(ECDSA);
    node.configure("renew_before = \"30d\"\nrenew_bfore = \"20d\"\n");
    let before = node.snapshot();
    for args in [
        &["renew", "all"][..],
        &["check-expiration"],
        &["plan"],
        &["config", "check"],
    ] {
        node.run(FRESH, args)
            .exits(78)
            .complains("/etc/kubecertd/config.toml:2:")
            .complains("renew_bfore");
    }
    let changes = before.changes(&node.snapshot());
    assert!(changes.is_empty(), "{changes:?}");
}
