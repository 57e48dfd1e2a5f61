//! `backup create | list | verify | prune`, as a person uses them.

use std::fs;

use crate::support::clock::{self, DAY, FRESH};
use crate::support::{self, ECDSA, Node};

const SETS: &str = "var/lib/kubecertd/backups";

fn ids(node: &Node) -> Vec<String> {
    let rows = node.run(FRESH, &["backup", "list", "-o", "json"]).exits(0).json();
    let ids = rows
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["id"].as_str().unwrap().to_owned());
    ids.collect()
}

#[test]
fn a_manual_backup_is_listed_and_touches_nothing_else() {
    let node = Node::of(ECDSA);
    let before = node.snapshot();
    let directory = node.run(FRESH, &["backup", "create"]).exits(0).stdout;
    assert_eq!(directory, "/var/lib/kubecertd/backups/20261124T000000Z\n");
    assert_eq!(before.changes(&node.snapshot()), Default::default());
    let rows = node.run(FRESH, &["backup", "list", "-o", "json"]).exits(0).json();
    assert_eq!(rows[0]["id"], "20261124T000000Z");
    assert_eq!(rows[0]["reason"], "manual");
    assert!(
        rows[0]["files"].as_u64().unwrap() > 30 && rows[0]["bytes"].as_u64().unwrap() > 30_000,
        "{rows:#}"
    );
    node.run(FRESH, &["backup", "list"]).exits(0).says("manual");
    node.run(FRESH, &["backup", "verify"])
        .exits(0)
        .says("20261124T000000Z: good");
}

#[test]
fn a_damaged_missing_or_readable_file_makes_a_backup_bad() {
    type Damage = fn(&Node, &str);
    let damages: [(&str, Damage); 4] = [
        ("is damaged", |node, path| {
            let mut bytes = fs::read(node.path(path)).unwrap();
            bytes[10] ^= 1;
            fs::write(node.path(path), bytes).unwrap();
        }),
        ("is damaged", |node, path| {
            let bytes = fs::read(node.path(path)).unwrap();
            fs::write(node.path(path), &bytes[..bytes.len() - 1]).unwrap();
        }),
        ("cannot be read: no such file", |node, path| {
            fs::remove_file(node.path(path)).unwrap();
        }),
        ("other users can read it", |node, path| {
            let set = path.split("/files/").next().unwrap();
            support::set_mode(&node.path(set), 0o755);
        }),
    ];
    for (what, damage) in damages {
        let node = Node::of(ECDSA);
        node.run(FRESH, &["backup", "create"]).exits(0);
        damage(
            &node,
            &format!("{SETS}/20261124T000000Z/files/etc/kubernetes/pki/etcd/server.key"),
        );
        let ran = node
            .run(FRESH, &["backup", "verify", "20261124T000000Z"])
            .exits(1)
            .complains(what);
        assert!(
            what.starts_with("other users") || ran.stderr.contains("/etc/kubernetes/pki/etcd/server.key"),
            "{ran}"
        );
    }
}

#[test]
fn a_backup_without_its_list_is_listed_as_bad_with_the_reason() {
    let node = Node::of(ECDSA);
    node.run(FRESH, &["backup", "create"]).exits(0);
    fs::write(node.path(&format!("{SETS}/20261124T000000Z/manifest.json")), "{").unwrap();
    node.run(FRESH, &["backup", "list"]).exits(0).says("cannot be used");
    node.run(FRESH, &["backup", "verify"])
        .exits(1)
        .complains("cannot parse ");
    node.run(FRESH, &["backup", "verify", "20200101T000000Z"])
        .exits(2)
        .complains("cannot find the backup");
}

#[test]
fn prune_follows_the_configuration_and_lists_what_it_removes() {
    let node = Node::of(ECDSA);
    for day in 0..6 {
        node.run(&clock::later(FRESH, day * DAY), &["backup", "create"])
            .exits(0);
    }
    assert_eq!(ids(&node).len(), 5, "[backup] keep = 5");
    node.configure("[backup]\nkeep = 1\nkeep_within = \"49h\"\n");
    let now = clock::later(FRESH, 5 * DAY);
    let would = node.run(&now, &["backup", "prune", "--dry-run"]).exits(0).stdout;
    assert_eq!(ids(&node).len(), 5, "a dry run removes nothing");
    let did = node.run(&now, &["backup", "prune"]).exits(0).stdout;
    assert_eq!(did, would);
    assert_eq!(ids(&node), ["20261127T000000Z", "20261128T000000Z", "20261129T000000Z"]);
    // A bound of bytes below two sets leaves the newest.
    node.configure("[backup]\nmax_size = \"50KiB\"\n");
    node.run(&now, &["backup", "prune"]).exits(0);
    assert_eq!(ids(&node), ["20261129T000000Z"]);
}

#[test]
fn an_interrupted_backup_is_not_listed_and_is_removed() {
    let node = Node::of(ECDSA);
    node.write(&format!("{SETS}/.unfinished-20261101T000000Z/files/x"), b"half", 0o600);
    assert_eq!(ids(&node), [""; 0]);
    node.run(FRESH, &["backup", "create"]).exits(0);
    assert!(!node.path(&format!("{SETS}/.unfinished-20261101T000000Z")).exists());
}

#[test]
fn a_thousand_backups_are_listed_and_pruned() {
    let node = Node::of(ECDSA);
    node.run(FRESH, &["backup", "create"]).exits(0);
    let list = fs::read(node.path(&format!("{SETS}/20261124T000000Z/manifest.json"))).unwrap();
    for n in 0..1000 {
        let id = format!("202611{:02}T{:02}{:02}00Z", n / 100 + 1, n % 100 / 60, n % 60);
        node.write(&format!("{SETS}/{id}/manifest.json"), &list, 0o600);
    }
    for verb in [&["backup", "list"][..], &["backup", "prune"]] {
        let ran = node.run(FRESH, verb).exits(0);
        assert!(ran.stdout.lines().count() >= 996, "{ran}");
    }
    assert_eq!(ids(&node).len(), 5);
}

#[test]
fn every_run_warns_of_backups_that_others_could_read() {
    for path in [SETS.to_owned(), format!("{SETS}/20261124T000000Z")] {
        let node = Node::of(ECDSA);
        node.run(FRESH, &["backup", "create"]).exits(0);
        assert!(
            !node
                .run(FRESH, &["backup", "list"])
                .exits(0)
                .stderr
                .contains("others than root")
        );
        support::set_mode(&node.path(&path), 0o750);
        let what = format!("users other than root can read backups, which hold keys: /{path} is 0750");
        node.run(FRESH, &["backup", "list"]).exits(0).complains(&what);
        node.run(FRESH, &["renew", "etcd-peer"]).exits(0).complains(&what);
    }
}
