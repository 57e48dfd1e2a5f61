//! Many files, each of them small enough: what is read of all together is bounded too, and what is
//! left out says so.

use std::fs;

use crate::amplified;
use crate::bounded::{self, Run};
use crate::der::{self, element, extension};
use crate::support::clock::FRESH;
use crate::support::credential::{self, Credential};
use crate::support::tree::Snapshot;
use crate::support::{ECDSA, Node, RSA};

const MIB: usize = 1 << 20;
const KUBERNETES: &str = "etc/kubernetes";
const MANIFESTS: &str = "etc/kubernetes/manifests";
const FURTHER: &str = "etc/further";
const CLIENT: &str = "etc/kubernetes/pki/apiserver-kubelet-client";

const PAIRS: &str =
    "[[certificate]]\nname = \"further-*\"\npath = \"/etc/further/*.crt\"\nkey = \"/etc/further/*.key\"\nca = \"ca\"\n";
const CONFIGS: &str = "[[kubeconfig]]\nname = \"further-*\"\npath = \"/etc/further/*.conf\"\nca = \"ca\"\n";

/// A look and a cycle stay within the bounds of [`bounded`], and the eleven credentials of kubeadm
/// are renewed with any files next to them.
#[track_caller]
fn the_eleven_are_renewed(node: &Node) -> Run {
    bounded::run(node, FRESH, &["check-expiration"]);
    renews(node, &["renew", "all"], &credential::all_of(ECDSA))
}

#[track_caller]
fn renews(node: &Node, args: &[&str], wanted: &[Credential]) -> Run {
    let before = Snapshot::of(&node.path(KUBERNETES));
    let run = bounded::run(node, FRESH, args);
    let after = Snapshot::of(&node.path(KUBERNETES));
    for credential in wanted {
        let path = credential.path();
        let path = path.strip_prefix("etc/kubernetes/").expect("a file of kubeadm's");
        assert!(before.0[path] != after.0[path], "{path} is not renewed: {run}");
    }
    run
}

/// `text`, repeated up to the limit of 1 MiB.
fn filled(text: &str) -> String {
    text.repeat(MIB / text.len())
}

/// `text` and a comment that fills this many bytes.
fn with_comment(text: &str, bytes: usize) -> String {
    format!("{text}# {}\n", "x".repeat(bytes - text.len() - 3))
}

/// The node's apiserver-kubelet-client, whose only extension fills nearly all that a file may have.
fn large_leaf(node: &Node) -> String {
    let value = extension(&[0x2a, 3, 4], &vec![0; 700_000]);
    let extensions = element(0xa3, &element(0x30, &value));
    der::with_field(&node.read(&format!("{CLIENT}.crt")), der::EXTENSIONS, &extensions)
}

fn put_pair(node: &Node, number: usize, leaf: &str) {
    node.write(&format!("{FURTHER}/{number}.crt"), leaf.as_bytes(), 0o644);
    let key = node.read(&format!("{CLIENT}.key"));
    node.write(&format!("{FURTHER}/{number}.key"), key.as_bytes(), 0o600);
}

#[test]
fn kubeconfigs_and_manifests_of_1_mib_are_not_read() {
    let node = Node::of(ECDSA);
    let config = with_comment(&node.read("etc/kubernetes/admin.conf"), MIB);
    let manifest = with_comment(&node.read(&credential::manifest("kube-scheduler")), MIB);
    for number in 0..30 {
        node.write(&format!("{FURTHER}/{number}.conf"), config.as_bytes(), 0o600);
    }
    for number in 0..100 {
        node.write(&format!("{MANIFESTS}/{number}.yaml"), manifest.as_bytes(), 0o600);
    }
    node.configure(CONFIGS);
    let run = the_eleven_are_renewed(&node);
    assert_eq!(run.code, Some(4), "{run}");
    for what in [
        "further-29: /etc/further/29.conf is larger than",
        "99.yaml is larger than 128 KiB",
    ] {
        assert!(run.stderr.contains(what), "nothing says {what}: {run}");
    }
}

/// As large as is still read: together they are more than a scan holds.
#[test]
fn too_many_large_kubeconfigs_and_manifests_are_left_out() {
    let node = Node::of(ECDSA);
    let size = 127 << 10;
    let config = with_comment(&node.read("etc/kubernetes/admin.conf"), size);
    let manifest = with_comment(&node.read(&credential::manifest("kube-scheduler")), size);
    for number in 0..100 {
        node.write(&format!("{FURTHER}/{number}.conf"), config.as_bytes(), 0o600);
        node.write(&format!("{MANIFESTS}/{number}.yaml"), manifest.as_bytes(), 0o600);
    }
    node.configure(CONFIGS);
    let run = the_eleven_are_renewed(&node);
    assert!(
        run.code == Some(4) && run.stderr.contains("is left out: a scan holds"),
        "{run}"
    );
}

/// 2,000 files of 1 MiB: certificates with a long chain behind them, and keys with as much text
/// behind them.
#[test]
fn a_pattern_for_1000_pairs_of_1_mib_leaves_most_of_them_out() {
    let node = Node::of(ECDSA);
    let leaf = node.read(&format!("{CLIENT}.crt"));
    let chain = leaf.clone() + &filled(&node.read("etc/kubernetes/pki/ca.crt"));
    let key = with_comment(&node.read(&format!("{CLIENT}.key")), MIB);
    // One file a kind on disk, behind 1,000 symlinks.
    node.write("srv/chain.pem", &chain.as_bytes()[..MIB.min(chain.len())], 0o644);
    node.write("srv/key.pem", key.as_bytes(), 0o600);
    fs::create_dir(node.path(FURTHER)).expect("a new directory");
    for number in 0..1000 {
        let link = |target: &str, end: &str| {
            std::os::unix::fs::symlink(target, node.path(&format!("{FURTHER}/{number}.{end}"))).expect("a symlink");
        };
        link("/srv/chain.pem", "crt");
        link("/srv/key.pem", "key");
    }
    node.configure(PAIRS);
    let run = the_eleven_are_renewed(&node);
    assert!(
        run.code == Some(4) && run.stderr.contains("is left out: a scan holds"),
        "{run}"
    );
}

/// Certificates whose one extension is nearly all of them: what is issued for them is as large.
#[test]
fn pairs_of_1_mib_are_renewed_as_far_as_they_are_read() {
    let node = Node::of(ECDSA);
    let leaf = large_leaf(&node);
    for number in 0..12 {
        put_pair(&node, number, &leaf);
    }
    node.configure(PAIRS);
    let run = the_eleven_are_renewed(&node);
    assert!(
        run.code == Some(4) && run.stderr.contains("is left out: a scan holds"),
        "{run}"
    );
}

/// The largest pairs that are read, and YAML that costs most in everything else.
#[test]
fn large_pairs_and_hostile_yaml_at_once_stay_within_the_bounds() {
    let node = Node::of(ECDSA);
    let leaf = large_leaf(&node);
    for number in 0..12 {
        put_pair(&node, number, &leaf);
    }
    node.configure(PAIRS);
    for some in amplified::YAML.chunks(4) {
        for (growth, name) in some.iter().cycle().zip([
            "admin.conf",
            "controller-manager.conf",
            "scheduler.conf",
            "super-admin.conf",
        ]) {
            let text = growth.text_of((127 << 10) - 64);
            node.write(&format!("{KUBERNETES}/{name}"), text.as_bytes(), 0o600);
            node.write(&format!("{MANIFESTS}/{name}.yaml"), text.as_bytes(), 0o600);
        }
        bounded::run(&node, FRESH, &["plan"]);
    }
    renews(&node, &["renew", "all"], &credential::signed_by("pki/etcd/ca"));
}

/// A pair as large as one with an RSA-4096 key.
fn widest_pair(node: &Node) -> (String, String) {
    let leaf = node.read(&format!("{CLIENT}.crt"));
    let key = node.read(&format!("{CLIENT}.key"));
    (with_comment(&leaf, 2700), with_comment(&key, 3300))
}

#[test]
fn a_thousand_pairs_are_renewed_in_one_cycle() {
    let node = Node::of(ECDSA);
    let (leaf, key) = widest_pair(&node);
    for number in 0..1000 {
        node.write(&format!("{FURTHER}/{number}.crt"), leaf.as_bytes(), 0o644);
        node.write(&format!("{FURTHER}/{number}.key"), key.as_bytes(), 0o600);
    }
    node.configure(PAIRS);
    let run = the_eleven_are_renewed(&node);
    assert_eq!(run.code, Some(0), "{run}");
    for number in 0..1000 {
        for (end, old) in [("crt", &leaf), ("key", &key)] {
            let path = format!("{FURTHER}/{number}.{end}");
            assert_ne!(node.read(&path), *old, "{path} is not renewed: {run}");
        }
    }
}

#[test]
fn a_pattern_of_1000_pairs_is_planned_and_1001_are_refused() {
    let node = Node::of(RSA);
    let leaf = node.read(&format!("{CLIENT}.crt"));
    (0..1000).for_each(|number| put_pair(&node, number, &leaf));
    node.configure(PAIRS);
    for verb in ["check-expiration", "plan"] {
        let run = bounded::run(&node, FRESH, &[verb]);
        assert_eq!(run.code, Some(0), "{run}");
        assert!(run.stdout.contains("further-999 "), "{run}");
    }
    put_pair(&node, 1000, &leaf);
    let run = bounded::run(&node, FRESH, &["check-expiration"]);
    let reason = "further-*: /etc/further/*.crt stands for 1001 files, and no more than 1000 are read";
    assert!(run.code == Some(4) && run.stderr.contains(reason), "{run}");
}

#[test]
fn a_manifests_directory_with_2000_files_is_reported() {
    let node = Node::of(ECDSA);
    for number in 0..2000 {
        node.write(&format!("{MANIFESTS}/{number}"), b"", 0o600);
    }
    let run = the_eleven_are_renewed(&node);
    assert!(run.stderr.contains("manifests/ holds 2004 files"), "{run}");
}

/// The journal is our own, and may be damaged like any file.
#[test]
fn a_journal_as_large_as_is_read_is_recovered_within_the_bounds() {
    let node = Node::of(ECDSA);
    let entry = r#"{"credential":"","path":"/a","old":null,"new":"","kept":null}"#;
    let entries = vec![entry; (8 << 20) / (entry.len() + 1) - 10].join(",");
    let journal =
        format!(r#"{{"format":1,"cycle":"","phase":"installing","backup":"/b","files":[{entries}],"restarts":[]}}"#);
    node.write("var/lib/kubecertd/transaction.json", journal.as_bytes(), 0o600);
    let run = bounded::run(&node, FRESH, &["recover"]);
    assert_eq!(run.code, Some(0), "{run}");
}

/// 1,000 names of one file in the list of each of the 1,000.
#[test]
fn a_file_with_1000_names_that_are_all_credentials_is_blocked() {
    let node = Node::of(ECDSA);
    for end in ["crt", "key"] {
        let text = node.read(&format!("{CLIENT}.{end}"));
        let first = format!("{FURTHER}/0.{end}");
        node.write(&first, text.as_bytes(), 0o600);
        for number in 1..1000 {
            fs::hard_link(node.path(&first), node.path(&format!("{FURTHER}/{number}.{end}"))).expect("a second name");
        }
    }
    node.configure(PAIRS);
    let run = the_eleven_are_renewed(&node);
    assert_eq!(run.code, Some(4), "{run}");
}
