//! The backup that `renew` takes before it replaces anything.

use crate::support::clock::{self, FRESH, MINUTE};
use crate::support::tree::{self, Entry, Kind, Snapshot};
use crate::support::{self, ECDSA, Node};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

const BACKUPS: &str = "var/lib/kubecertd/backups";

/// The directories that a backup holds as a whole; the kubeconfigs next to them come on top.
const KEPT: [&str; 3] = ["etc/kubernetes/pki", "etc/kubernetes/manifests", "var/lib/etcd"];

/// The finished sets in the backup directory, oldest first.
fn sets(node: &Node) -> Vec<String> {
    tree::names(&node.path(BACKUPS))
}

fn manifest_of(node: &Node, set: &str) -> Value {
    serde_json::from_str(&node.read(&format!("{BACKUPS}/{set}/manifest.json"))).expect("JSON")
}

/// The entries of a manifest by path, without the leading slash.
fn entries(manifest: &Value) -> BTreeMap<String, &Value> {
    let entries = manifest["entries"].as_array().expect("a list");
    entries
        .iter()
        .map(|entry| {
            (
                entry["path"]
                    .as_str()
                    .expect("a path")
                    .trim_start_matches('/')
                    .to_owned(),
                entry,
            )
        })
        .collect()
}

fn is_kept(path: &str) -> bool {
    let within = |directory: &str| {
        path.strip_prefix(directory)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    path.starts_with("etc/kubernetes/") && path.ends_with(".conf") || KEPT.into_iter().any(within)
}

fn sha256(node: &Node, path: &str) -> String {
    let output = Command::new("sha256sum")
        .arg(node.path(path))
        .output()
        .expect("sha256sum starts");
    String::from_utf8(output.stdout)
        .expect("ASCII")
        .split(' ')
        .next()
        .expect("a sum")
        .to_owned()
}

/// A mode as the manifest writes it: a number, or a string of octal digits.
fn mode(value: &Value) -> u32 {
    match value {
        Value::String(octal) => u32::from_str_radix(octal.trim_start_matches("0o"), 8).expect("octal digits"),
        number => number.as_u64().expect("a mode") as u32,
    }
}

/// A time as the manifest writes it, in whole seconds: a number, or RFC 3339.
fn time(value: &Value) -> i64 {
    match value {
        Value::String(text) => clock::seconds(&text[..19]),
        number => number.as_f64().expect("seconds since 1970").floor() as i64,
    }
}

#[track_caller]
fn entry_is_right(path: &str, wanted: &Entry, entry: &Value) {
    let kind = match wanted.kind {
        Kind::Directory => "directory",
        Kind::Symlink(_) => "symlink",
        _ => "file",
    };
    assert_eq!(entry["kind"], kind, "{path}: {entry:#}");
    assert_eq!(
        (entry["uid"].as_u64(), entry["gid"].as_u64()),
        (Some(wanted.uid.into()), Some(wanted.gid.into())),
        "{path}: {entry:#}"
    );
    if let Kind::Symlink(target) = &wanted.kind {
        assert_eq!(entry["target"], target.as_str(), "{path}: {entry:#}");
        return;
    }
    assert_eq!(
        format!("{:o}", mode(&entry["mode"]) & 0o7777),
        format!("{:o}", wanted.mode & 0o7777),
        "{path}: {entry:#}"
    );
    assert_eq!(time(&entry["mtime"]), wanted.modified.0, "{path}: {entry:#}");
}

/// Compares a backup on disk with the tree as it was.
#[track_caller]
fn set_holds(node: &Node, set: &str, before: &Snapshot) {
    let manifest = manifest_of(node, set);
    let entries = entries(&manifest);
    for (path, wanted) in before.0.iter().filter(|(path, _)| is_kept(path)) {
        let entry = entries
            .get(path)
            .unwrap_or_else(|| panic!("{path} is not in the manifest"));
        entry_is_right(path, wanted, entry);
        let Kind::File(bytes) = &wanted.kind else {
            continue;
        };
        let copy = format!("{BACKUPS}/{set}/files/{path}");
        assert_eq!(
            &fs::read(node.path(&copy)).unwrap_or_else(|error| panic!("{copy}: {error}")),
            bytes,
            "{path}: other bytes"
        );
        assert_eq!(entry["sha256"], sha256(node, &copy), "{path}: {entry:#}");
        assert_eq!(entry["size"].as_u64(), Some(bytes.len() as u64), "{path}: {entry:#}");
    }
    let copies = Snapshot::of(&node.path(&format!("{BACKUPS}/{set}/files")));
    for (path, copy) in copies.0.iter().filter(|(_, copy)| matches!(copy.kind, Kind::File(_))) {
        assert!(
            entries.contains_key(path),
            "{path} is in the backup but not in its manifest"
        );
        let wider = copy.mode & !before.0[path].mode & 0o777;
        assert_eq!(
            wider, 0,
            "{path}: the copy is open to more people than the file was: {:o}",
            copy.mode
        );
    }
}

#[test]
fn a_backup_keeps_owner_mode_mtime_and_checksum() {
    let node = Node::of(ECDSA);
    std::os::unix::fs::chown(node.path("etc/kubernetes/scheduler.conf"), Some(1000), Some(1001))
        .expect("the tests run as root");
    support::set_mode(&node.path("etc/kubernetes/scheduler.conf"), 0o640);
    fs::rename(
        node.path("etc/kubernetes/pki/sa.pub"),
        node.path("etc/kubernetes/pki/sa-1.pub"),
    )
    .expect("a rename");
    symlink("sa-1.pub", node.path("etc/kubernetes/pki/sa.pub")).expect("a symlink");
    let before = node.snapshot();
    let document = node.renew(FRESH, &["all"], 0);
    let sets = sets(&node);
    assert_eq!(sets.len(), 1, "{sets:?}");
    let suffix = format!("/{BACKUPS}/{}", sets[0]);
    assert!(
        document["backup"].as_str().is_some_and(|path| path.ends_with(&suffix)),
        "{document:#}"
    );
    assert!(
        sets[0].starts_with("20261124T0000") && sets[0].len() == "20261124T000000Z".len(),
        "{sets:?}"
    );
    set_holds(&node, &sets[0], &before);
    let manifest = manifest_of(&node, &sets[0]);
    assert_eq!(manifest["format"], 1);
    for key in ["node", "created", "reason"] {
        assert!(
            manifest[key].as_str().is_some_and(|text| !text.is_empty()),
            "{key}: {}",
            manifest[key]
        );
    }
}

#[test]
fn backups_are_closed_to_everybody_but_root() {
    let node = Node::of(ECDSA);
    node.run(FRESH, &["renew", "etcd-server"]).exits(0);
    let after = node.snapshot();
    for directory in ["var/lib/kubecertd", BACKUPS, &format!("{BACKUPS}/{}", sets(&node)[0])] {
        let entry = &after.0[directory];
        assert_eq!(
            (entry.mode & 0o7777, entry.uid, entry.gid),
            (0o700, 0, 0),
            "{directory}"
        );
    }
}

#[test]
fn the_etcd_data_directory_is_where_the_etcd_manifest_says() {
    let node = Node::of(ECDSA);
    fs::create_dir(node.path("srv")).expect("a new directory");
    fs::rename(node.path("var/lib/etcd"), node.path("srv/etcd-data")).expect("a rename");
    let path = support::credential::manifest("etcd");
    node.rewrite(
        &path,
        node.read(&path).replace("/var/lib/etcd", "/srv/etcd-data").as_bytes(),
    );
    let bytes = fs::read(node.path("srv/etcd-data/member/snap/db")).expect("the data");
    node.run(FRESH, &["renew", "etcd-server"]).exits(0);
    let copy = format!("{BACKUPS}/{}/files/srv/etcd-data/member/snap/db", sets(&node)[0]);
    assert_eq!(fs::read(node.path(&copy)).expect("the copy"), bytes);
}

#[test]
fn the_newest_backups_are_kept_and_nothing_else_is_removed() {
    let node = Node::of(ECDSA);
    node.configure("[backup]\nkeep = 2\n");
    node.write(
        &format!("{BACKUPS}/notes/why.txt"),
        b"not a backup of kubecertd's",
        0o600,
    );
    for (directory, mode) in [("var/lib/kubecertd", 0o700), (BACKUPS, 0o700)] {
        support::set_mode(&node.path(directory), mode);
    }
    for round in 0..3 {
        node.run(&clock::later(FRESH, round * MINUTE), &["renew", "etcd-peer"])
            .exits(0);
    }
    let before = node.snapshot();
    node.run(&clock::later(FRESH, 3 * MINUTE), &["renew", "etcd-peer"])
        .exits(0);
    let names = sets(&node);
    assert_eq!(names.len(), 3, "two sets and the directory of somebody else: {names:?}");
    assert!(
        names[0].starts_with("20261124T0002") && names[1].starts_with("20261124T0003") && names[2] == "notes",
        "{names:?}"
    );
    set_holds(&node, &names[1], &before);
}

#[test]
fn a_backup_elsewhere_goes_where_the_config_says() {
    let node = Node::of(ECDSA);
    node.configure("[backup]\ndirectory = \"/srv/certificate-backups\"\n");
    let document = node.renew(FRESH, &["etcd-peer"], 0);
    let set = document["backup"]
        .as_str()
        .expect("a directory")
        .rsplit('/')
        .next()
        .expect("a name");
    let copy = node.path(&format!(
        "srv/certificate-backups/{set}/files/etc/kubernetes/pki/etcd/peer.key"
    ));
    assert!(copy.is_file(), "{}", copy.display());
    assert!(!node.path(BACKUPS).join(set).exists(), "and nowhere else");
}

/// Two runs within one second, as an operator's loop makes them: the second must not spoil the
/// first one's set.
#[test]
fn two_runs_in_one_second_leave_two_backups_or_a_clear_error() {
    let node = Node::of(ECDSA);
    let first = node.snapshot();
    node.run(FRESH, &["renew", "etcd-peer"]).exits(0);
    let second = node.snapshot();
    let ran = node.run(FRESH, &["renew", "etcd-peer"]);
    let names = sets(&node);
    set_holds(&node, &names[0], &first);
    if ran.code == 0 {
        assert_eq!(names.len(), 2, "{names:?}");
        set_holds(&node, &names[1], &second);
    } else {
        ran.exits(1).complains("backup");
        assert!(
            second.changes(&node.snapshot()).is_empty(),
            "nothing is replaced without a backup"
        );
    }
}
