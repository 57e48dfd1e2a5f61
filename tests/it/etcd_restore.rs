//! The worst day: data and PKI are gone, and every key is read back from a backup. A real etcd; the
//! test plays the kubelet, which ends etcd when its manifest is taken out and starts it when the
//! manifest is there.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::support::clock::now;
use crate::support::credential::manifest;
use crate::support::etcd::{self, Etcd};
use crate::support::tree::names;
use crate::support::{self, ECDSA, Node, Ran};

const SETS: &str = "var/lib/kubecertd/backups";
const DATA: &str = "var/lib/etcd";

/// A node with a running member, whose manifest names the version that is installed, and no other
/// component.
fn node() -> Node {
    let node = etcd::node(ECDSA);
    let etcd = manifest("etcd");
    node.rewrite(
        &etcd,
        node.read(&etcd).replace("/etcd:3.6.8-0", "/etcd:3.4.23-0").as_bytes(),
    );
    node.remove(&manifest("kube-apiserver"));
    node.configure("[restart]\ntimeout = \"20s\"\n");
    node
}

fn set(node: &Node) -> String {
    names(&node.path(SETS)).pop().expect("a backup")
}

fn write_keys(etcd: &Etcd, node: &Node) -> String {
    for n in 0..25 {
        etcd.put(node, &format!("/registry/{n}"), &format!("value {n}"));
    }
    etcd.everything(node, "/registry/")
}

#[test]
fn after_data_and_pki_are_destroyed_every_key_comes_back() {
    for sealed in [false, true] {
        let node = node();
        if sealed {
            node.configure("[restart]\ntimeout = \"20s\"\n[backup]\ncompress = \"zstd\"\n");
        }
        let mut etcd = Etcd::start(&node);
        let keys = write_keys(&etcd, &node);
        node.run(&now(), &["backup", "create"])
            .exits(0)
            .says("verified etcd's snapshot");
        let set = set(&node);
        etcd.put(&node, "/registry/later", "not in the backup");
        etcd.kill();
        fs::remove_dir_all(node.path(DATA)).expect("the data");
        fs::remove_dir_all(node.path("etc/kubernetes/pki")).expect("the PKI");
        node.run(&now(), &["restore", &set]).exits(0);
        let ran = etcd.under_a_kubelet(&node, || node.run(&now(), &["restore", &set, "--etcd"]));
        ran.exits(0).says(&format!("restored etcd from the snapshot in {set}"));
        etcd.is_healthy(&node);
        assert_eq!(etcd.everything(&node, "/registry/"), keys);
        let left = names(&node.path("var/lib"));
        let is_half = |name: &&String| name.ends_with("-new") || name.ends_with("-snapshot");
        assert_eq!(left.iter().find(is_half), None, "{left:?}");
        assert_eq!(names(&node.path("etc/kubernetes/manifests")).len(), 3);
        for record in ["etcd-restore.json", "parked.json", "transaction.json"] {
            assert!(
                !node.path(&format!("var/lib/kubecertd/{record}")).exists(),
                "{record} is left"
            );
        }
    }
}

#[test]
fn going_back_while_etcd_runs_keeps_the_data_of_today_aside() {
    let node = node();
    let mut etcd = Etcd::start(&node);
    let keys = write_keys(&etcd, &node);
    node.run(&now(), &["backup", "create"]).exits(0);
    etcd.put(&node, "/registry/later", "not in the backup");
    let before = node.snapshot();
    let would = node.run(&now(), &["restore", "--etcd", "--dry-run"]).exits(0);
    would
        .says("take out /etc/kubernetes/manifests/etcd.yaml")
        .says("keep the old one as /var/lib/etcd.kubecertd-");
    let mut changed = before.every_change(&node.snapshot());
    changed.retain(|path, _| !path.starts_with(DATA));
    assert_eq!(changed, Default::default(), "a dry run writes nothing");
    let ran = etcd.under_a_kubelet(&node, || node.run(&now(), &["restore", "--etcd"]));
    ran.exits(0).says("the old data is kept: /var/lib/etcd.kubecertd-");
    etcd.is_healthy(&node);
    assert_eq!(etcd.everything(&node, "/registry/"), keys);
    let directories = names(&node.path("var/lib"));
    let aside = directories
        .iter()
        .find(|name| name.starts_with("etcd.kubecertd-"))
        .expect("the old directory");
    assert!(node.path(&format!("var/lib/{aside}/member/snap/db")).exists());
}

#[test]
fn a_cold_copy_of_a_stopped_member_brings_every_key_back() {
    let node = node();
    let mut etcd = Etcd::start(&node);
    let keys = write_keys(&etcd, &node);
    etcd.stop();
    node.run(&now(), &["backup", "create"]).exits(0);
    let rows = node.run(&now(), &["backup", "list", "-o", "json"]).exits(0).json();
    assert_eq!(rows[0]["etcd"], "copy of a stopped member");
    let set = set(&node);
    let was = node.snapshot();
    fs::remove_dir_all(node.path(DATA)).expect("the data");
    fs::remove_dir_all(node.path("etc/kubernetes/pki")).expect("the PKI");
    node.run(&now(), &["restore", &set, "--only", "pki"]).exits(0);
    let ran = etcd.under_a_kubelet(&node, || node.run(&now(), &["restore", &set, "--etcd"]));
    ran.exits(0).says(&format!("restored etcd from the copy in {set}"));
    etcd.is_healthy(&node);
    assert_eq!(etcd.everything(&node, "/registry/"), keys);
    let is = node.snapshot();
    let attributes = |tree: &support::tree::Snapshot| {
        let entry = &tree.0["var/lib/etcd/member/snap/db"];
        (entry.mode, entry.uid, entry.gid, tree.0[DATA].mode)
    };
    assert_eq!(attributes(&is), attributes(&was));
}

#[test]
fn etcd_that_fails_with_restored_data_gets_its_own_back() {
    let node = node();
    node.configure("[restart]\ntimeout = \"5s\"\n");
    let mut etcd = Etcd::start(&node);
    write_keys(&etcd, &node);
    node.run(&now(), &["backup", "create"]).exits(0);
    etcd.put(&node, "/registry/later", "of today");
    let today = etcd.everything(&node, "/registry/");
    // No kubelet starts the member until the deadline is over and the manifest comes back for the
    // second time.
    let manifest = node.path(&manifest("etcd"));
    let done = AtomicBool::new(false);
    let ran = thread::scope(|scope| {
        scope.spawn(|| {
            wait_for(&manifest, false);
            etcd.stop();
            wait_for(&manifest, true);
            // With no kubelet to wait for, it is away for a moment only the second time; it comes
            // back with another annotation.
            let first = fs::read_to_string(&manifest).expect("it is there");
            wait_until("the manifest comes back once more", || {
                fs::read_to_string(&manifest).is_ok_and(|now| now != first)
            });
            etcd.run();
            done.store(true, Ordering::Relaxed);
        });
        node.run(&now(), &["restore", "--etcd"])
    });
    ran.exits(1).complains("etcd does not start with the restored data");
    etcd.is_healthy(&node);
    assert_eq!(etcd.everything(&node, "/registry/"), today);
    assert_eq!(names(&node.path("var/lib")), ["etcd", "kubecertd"]);
}

fn wait_for(path: &Path, wanted: bool) {
    let what = format!("{} exists: {wanted}", path.display());
    wait_until(&what, || path.exists() == wanted);
}

fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(std::time::Instant::now() < deadline, "within a minute: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// Tells if the restore lived long enough to be killed at its nth rename.
fn killed_at(node: &Node, nth: usize) -> bool {
    let root = node.root().display().to_string();
    let ran = std::process::Command::new("strace")
        .args(["-qq", "-o", "/dev/null", "-e", "trace=rename,renameat,renameat2"])
        .args([
            "-e",
            &format!("inject=rename,renameat,renameat2:signal=KILL:when={nth}"),
        ])
        .args([env!("CARGO_BIN_EXE_kubecertd"), "--root", &root, "restore", "--etcd"])
        .output()
        .expect("strace starts");
    ran.status.code().is_none()
}

/// Killed at each rename: `recover` leaves a data directory and a manifest in their places, the old
/// directory's data or the restored one's.
#[test]
fn an_etcd_restore_killed_at_any_rename_leaves_whole_data() {
    let node = node();
    let mut etcd = Etcd::start(&node);
    write_keys(&etcd, &node);
    node.run(&now(), &["backup", "create"]).exits(0);
    etcd.put(&node, "/registry/later", "of today");
    etcd.stop();
    node.configure("[restart]\ntimeout = \"5s\"\n");
    let copy = node.scratch("today");
    let cp = |from: &Path, to: &Path| {
        let done = std::process::Command::new("cp").arg("-a").args([from, to]).status();
        assert!(done.expect("cp starts").success());
    };
    cp(&node.path(DATA), &copy);
    let (mut old, mut new) = (0, 0);
    for nth in 1.. {
        let was_killed = killed_at(&node, nth);
        node.run(&now(), &["recover"]).exits(0);
        assert!(node.path(&manifest("etcd")).exists(), "killed at rename {nth}");
        assert!(
            node.path(&format!("{DATA}/member/snap/db")).exists(),
            "killed at rename {nth}"
        );
        let db = |directory: &Path| fs::read(directory.join("member/snap/db")).expect("the database");
        if db(&node.path(DATA)) == db(&copy) {
            old += 1;
        } else {
            etcd.run();
            etcd.is_healthy(&node);
            let everything = etcd.everything(&node, "/registry/");
            assert!(
                everything.contains("value 24") && !everything.contains("of today"),
                "{everything}"
            );
            etcd.stop();
            new += 1;
        }
        let left: Vec<_> = names(&node.path("var/lib"))
            .into_iter()
            .filter(|name| name.starts_with("etcd."))
            .collect();
        assert!(
            left.iter()
                .all(|name| !name.ends_with("-new") && !name.ends_with("-snapshot")),
            "{left:?}"
        );
        for name in left {
            fs::remove_dir_all(node.path(&format!("var/lib/{name}"))).expect("the old directory");
        }
        fs::remove_dir_all(node.path(DATA)).expect("the data");
        cp(&copy, &node.path(DATA));
        if !was_killed {
            break;
        }
    }
    println!("{old} with the old data, {new} with the restored");
    assert!(old > 2 && new > 0, "{old} with the old data, {new} with the restored");
}

#[test]
fn another_version_of_the_tool_only_prints_the_procedure() {
    let node = node();
    let etcd = Etcd::start(&node);
    node.run(&now(), &["backup", "create"]).exits(0);
    drop(etcd);
    let path = manifest("etcd");
    node.rewrite(
        &path,
        node.read(&path).replace("/etcd:3.4.23-0", "/etcd:3.6.8-0").as_bytes(),
    );
    let before = node.snapshot();
    let ran = node.run(&now(), &["restore", "--etcd"]).exits(1);
    let ran = ran
        .complains("cannot restore etcd on this node alone: no suitable etcdutl or etcdctl:")
        .complains("is 3.4, but the server is 3.6");
    ran.says("snapshot restore /var/lib/kubecertd/backups/")
        .says("--name master01 --initial-cluster master01=https://127.0.0.1:")
        .says("--bump-revision 1000000000 --mark-compacted");
    assert_eq!(before.changes(&node.snapshot()), Default::default());
}

#[test]
fn restoring_etcd_on_three_members_only_prints_commands() {
    let node = node();
    let members = etcd::three(&node);
    members[0].put(&node, "/a", "b");
    node.run(&now(), &["backup", "create"])
        .exits(0)
        .says("verified etcd's snapshot");
    let set = set(&node);
    let list: serde_json::Value =
        serde_json::from_str(&node.read(&format!("{SETS}/{set}/manifest.json"))).expect("JSON");
    assert_eq!(list["etcd"]["snapshot"]["members"].as_array().map(Vec::len), Some(3));
    let before = node.snapshot();
    let refused = |ran: Ran| {
        let ran = ran
            .exits(1)
            .complains("cannot restore etcd on this node alone: the cluster has 3 members");
        let ran = ran.says("# on master01").says("# on master02").says("# on master03");
        let cluster = ran.stdout.split("--initial-cluster ").nth(1).expect("the flag");
        assert_eq!(
            cluster
                .split(' ')
                .next()
                .expect("a value")
                .matches("=https://127.0.0.1:")
                .count(),
            3,
            "{ran}"
        );
    };
    refused(node.run(&now(), &["restore", "--etcd"]));
    // With no member left to ask, and a manifest that names one member as kubeadm writes it on the
    // first node.
    drop(members);
    let path = manifest("etcd");
    let text = node.read(&path);
    let line = text
        .lines()
        .find(|line| line.contains("--initial-cluster="))
        .expect("the flag");
    let first = line.split(',').next().expect("a member");
    node.rewrite(&path, text.replace(line, first).as_bytes());
    refused(node.run(&now(), &["restore", &set, "--etcd"]));
    // A copy of the data directory does not say how many there are; the snapshot before it does.
    node.run(&now(), &["backup", "create"]).exits(0);
    let copy = self::set(&node);
    assert_ne!(copy, set);
    refused(node.run(&now(), &["restore", &copy, "--etcd"]));
    let mut changed = before.changes(&node.snapshot());
    changed.retain(|path, _| !path.starts_with(DATA) && *path != manifest("etcd"));
    assert_eq!(changed, Default::default());
}
