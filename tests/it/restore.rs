//! `restore`: the files of a backup return to their places, as a transaction.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Command;

use crate::support::clock::{self, FRESH, MINUTE};
use crate::support::renewal::only_the_annotation_differs;
use crate::support::tree::{Kind, Snapshot, names, paths};
use crate::support::{self, ECDSA, Node, STRACE};

const SETS: &str = "var/lib/kubecertd/backups";
const FIRST: &str = "20261124T000000Z";

/// After the backup that [`FIRST`] is.
fn later() -> String {
    clock::later(FRESH, 10 * MINUTE)
}

/// A node with everything that a backup holds, and a set of it.
fn node() -> Node {
    let node = Node::of(ECDSA);
    let kubelet = "var/lib/kubelet";
    node.write(
        &format!("{kubelet}/config.yaml"),
        b"kind: KubeletConfiguration\n",
        0o644,
    );
    node.write(
        &format!("{kubelet}/kubeadm-flags.env"),
        b"KUBELET_KUBEADM_ARGS=\n",
        0o644,
    );
    node.write(&format!("{kubelet}/pki/kubelet-client-2026.pem"), b"old\n", 0o600);
    node.write(&format!("{kubelet}/pki/kubelet-client-2027.pem"), b"new\n", 0o600);
    symlink(
        "/var/lib/kubelet/pki/kubelet-client-2026.pem",
        node.path(&format!("{kubelet}/pki/kubelet-client-current.pem")),
    )
    .expect("a symlink");
    node.write(&format!("{kubelet}/pods/secret"), b"not kept", 0o600);
    let etcd_key = node.path("etc/kubernetes/pki/etcd/server.key");
    std::os::unix::fs::chown(&etcd_key, Some(1000), Some(1001)).expect("the tests run as root");
    let acl = Command::new("setfacl").args(["-m", "u:1002:r"]).arg(&etcd_key).status();
    assert!(acl.expect("setfacl starts").success());
    node.configure("[backup]\nkeep = 20\n");
    node.run(FRESH, &["backup", "create"]).exits(0);
    node
}

/// Returns the differences apart from inodes and times, which are new for a restored file, and the
/// manifests of pods that were restarted.
fn differs(before: &Snapshot, after: &Snapshot) -> BTreeMap<String, String> {
    let mut changes = before.changes(after);
    changes.retain(|_, change| {
        let kept: Vec<_> = change
            .split(' ')
            .filter(|part| !["inode", "modified"].contains(part))
            .collect();
        *change = kept.join(" ");
        !change.is_empty()
    });
    changes.retain(|path, change| !(path.contains("/manifests/") && change == "content"));
    changes
}

fn acl(node: &Node, path: &str) -> String {
    let output = Command::new("getfacl").args(["-cp"]).arg(node.path(path)).output();
    String::from_utf8(output.expect("getfacl starts").stdout).expect("UTF-8")
}

#[test]
fn deleted_kubernetes_and_kubelet_directories_come_back() {
    let node = node();
    let before = node.snapshot();
    let acl_before = acl(&node, "etc/kubernetes/pki/etcd/server.key");
    assert!(acl_before.contains("user:1002:r"), "{acl_before}");
    fs::remove_dir_all(node.path("etc/kubernetes")).expect("a directory");
    fs::remove_dir_all(node.path("var/lib/kubelet/pki")).expect("a directory");
    node.run(&later(), &["restore", FIRST]).exits(0).says("restored");
    assert_eq!(differs(&before, &node.snapshot()), BTreeMap::new());
    assert_eq!(acl(&node, "etc/kubernetes/pki/etcd/server.key"), acl_before);
    node.run(&later(), &["check-expiration"]).exits(0);
    node.run(&later(), &["restore", FIRST])
        .exits(0)
        .says(&format!("everything is as in {FIRST}"));
}

#[test]
fn a_dry_run_shows_every_change_and_writes_nothing() {
    let node = node();
    node.remove("etc/kubernetes/pki/apiserver.key");
    node.rewrite("etc/kubernetes/scheduler.conf", b"damaged");
    support::set_mode(&node.path("etc/kubernetes/pki/sa.key"), 0o644);
    node.write("etc/kubernetes/pki/new.crt", b"not in the backup", 0o644);
    let before = node.snapshot();
    let report = node
        .run(&later(), &["restore", "--dry-run", "-o", "json"])
        .exits(0)
        .json();
    assert_eq!(before.every_change(&node.snapshot()), BTreeMap::new());
    let changes: BTreeMap<&str, String> = report["changes"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|row| (row["path"].as_str().expect("a path"), row["differs"].to_string()))
        .collect();
    assert_eq!(
        changes,
        BTreeMap::from([
            ("/etc/kubernetes/pki/apiserver.key", "[\"missing\"]".to_owned()),
            ("/etc/kubernetes/pki/sa.key", "[\"mode\"]".to_owned()),
            ("/etc/kubernetes/scheduler.conf", "[\"content\"]".to_owned()),
        ])
    );
    assert_eq!(report["left_alone"].to_string(), "[\"/etc/kubernetes/pki/new.crt\"]");
    let readers: Vec<_> = report["restarts"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|r| &r["reader"])
        .collect();
    assert_eq!(readers, ["kube-apiserver", "kube-controller-manager", "kube-scheduler"]);
}

#[test]
fn only_differing_files_are_restored_and_their_readers_restart() {
    let node = node();
    let set = node.snapshot();
    node.rewrite("etc/kubernetes/scheduler.conf", b"damaged");
    let before = node.snapshot();
    node.run(&later(), &["restore"])
        .exits(0)
        .says("still has to be restarted: kube-scheduler");
    let after = node.snapshot();
    let manifest = support::credential::manifest("kube-scheduler");
    assert_eq!(
        paths(&before.changes(&after)),
        [manifest.as_str(), "etc/kubernetes/scheduler.conf"]
    );
    assert_eq!(
        after.bytes("etc/kubernetes/scheduler.conf"),
        set.bytes("etc/kubernetes/scheduler.conf")
    );
    only_the_annotation_differs(
        &node.read(&manifest),
        std::str::from_utf8(set.bytes(&manifest)).expect("text"),
    );
    // The annotation of that restart does not count as a difference that restarts the pod again.
    node.run(&later(), &["restore", FIRST])
        .exits(0)
        .says(&format!("everything is as in {FIRST}"));
}

#[test]
fn a_restore_backs_up_the_files_that_it_replaces() {
    let node = node();
    node.run(&clock::later(FRESH, MINUTE), &["renew", "all"]).exits(0);
    let renewed = node.snapshot();
    node.run(&later(), &["restore", FIRST, "--only", "pki,kubeconfig"])
        .exits(0);
    let old = node.snapshot();
    assert!(renewed.changes(&old).contains_key("etc/kubernetes/pki/apiserver.crt"));
    let rows = node.run(&later(), &["backup", "list", "-o", "json"]).exits(0).json();
    let last = rows.as_array().expect("a list").last().expect("a backup").clone();
    assert_eq!(last["reason"], format!("before restoring {FIRST}"));
    let id = last["id"].as_str().expect("a name");
    node.run(
        &clock::later(FRESH, 20 * MINUTE),
        &["restore", id, "--only", "pki,kubeconfig"],
    )
    .exits(0);
    assert_eq!(differs(&renewed, &node.snapshot()), BTreeMap::new());
}

#[test]
fn only_the_named_parts_are_restored() {
    let parts = [
        ("pki", "etc/kubernetes/pki/ca.crt"),
        ("kubeconfig", "etc/kubernetes/admin.conf"),
        ("manifests", "etc/kubernetes/manifests/etcd.yaml"),
        ("kubelet", "var/lib/kubelet/config.yaml"),
    ];
    let node = node();
    for (part, path) in parts {
        for (_, damaged) in parts {
            node.rewrite(damaged, b"damaged");
        }
        let before = node.snapshot();
        let moment = clock::later(FRESH, 10 * MINUTE);
        node.run(&moment, &["restore", FIRST, "--only", part]).exits(0);
        let mut changed = before.changes(&node.snapshot());
        changed.retain(|path, _| !path.contains("/manifests/kube-"));
        assert_eq!(paths(&changed), [path], "{part}");
    }
}

#[test]
fn restored_keys_keep_their_mode_and_symlinks_their_target() {
    let node = node();
    let current = node.path("var/lib/kubelet/pki/kubelet-client-current.pem");
    fs::remove_file(&current).expect("a symlink");
    symlink("/var/lib/kubelet/pki/kubelet-client-2027.pem", &current).expect("a symlink");
    node.remove("etc/kubernetes/pki/ca.key");
    // A default ACL of the directory would open any file that is made in it.
    let acl = Command::new("setfacl")
        .args(["-d", "-m", "u:1003:r"])
        .arg(node.path("etc/kubernetes/pki"))
        .status();
    assert!(acl.expect("setfacl starts").success());
    node.run(&later(), &["restore"])
        .exits(0)
        .says("still has to be restarted: kubelet");
    let after = node.snapshot();
    assert_eq!(
        after.0["var/lib/kubelet/pki/kubelet-client-current.pem"].kind,
        Kind::Symlink("/var/lib/kubelet/pki/kubelet-client-2026.pem".into())
    );
    assert_eq!(after.0["etc/kubernetes/pki/ca.key"].mode & 0o7777, 0o600);
    assert!(!self::acl(&node, "etc/kubernetes/pki/ca.key").contains("1003"));
}

#[test]
fn a_bad_or_untrusted_backup_is_refused() {
    let node = node();
    node.rewrite("etc/kubernetes/admin.conf", b"damaged");
    let before = node.snapshot();
    let set = node.path(&format!("{SETS}/{FIRST}"));
    for mode in [0o750, 0o701] {
        support::set_mode(&set, mode);
        node.run(&later(), &["restore", FIRST])
            .exits(1)
            .complains("cannot restore 20261124T000000Z: other users can change it");
    }
    support::set_mode(&set, 0o700);
    std::os::unix::fs::chown(&set, Some(1000), None).expect("the tests run as root");
    node.run(&later(), &["restore", FIRST])
        .exits(1)
        .complains("belongs to user 1000");
    std::os::unix::fs::chown(&set, Some(0), None).expect("the tests run as root");
    fs::write(set.join("files/etc/kubernetes/pki/ca.key"), "x").expect("a write");
    node.run(&later(), &["restore", FIRST])
        .exits(1)
        .complains("it is damaged: /etc/kubernetes/pki/ca.key is damaged");
    node.run(&later(), &["restore", FIRST, "--dry-run"]).exits(1);
    node.run(&later(), &["restore", "20200101T000000Z"])
        .exits(2)
        .complains("cannot find the backup");
    assert_eq!(before.changes(&node.snapshot()), BTreeMap::new());
    assert_eq!(names(&node.path(SETS)), [FIRST], "and no backup is taken for it");
}

#[test]
fn an_obstacle_is_named_and_stops_the_whole_restore() {
    let node = node();
    node.rewrite("etc/kubernetes/admin.conf", b"damaged");
    node.remove("etc/kubernetes/pki/sa.pub");
    symlink("elsewhere", node.path("etc/kubernetes/pki/sa.pub")).expect("a symlink");
    node.remove("etc/kubernetes/pki/sa.key");
    fs::create_dir(node.path("etc/kubernetes/pki/sa.key")).expect("a directory");
    let before = node.snapshot();
    let ran = node.run(&later(), &["restore"]).exits(1);
    let ran = ran.complains("/etc/kubernetes/pki/sa.pub is a file in the backup and a symlink now");
    ran.complains("/etc/kubernetes/pki/sa.key is a directory")
        .says("hint: move these paths aside");
    assert_eq!(before.changes(&node.snapshot()), BTreeMap::new());
    node.run(&later(), &["restore", "--only", "kubeconfig"]).exits(0);
}

#[test]
fn a_restore_that_fails_half_way_is_rolled_back() {
    let node = node();
    fs::remove_dir_all(node.path("etc/kubernetes/pki/etcd")).expect("a directory");
    node.rewrite("etc/kubernetes/admin.conf", b"damaged");
    node.rewrite("etc/kubernetes/pki/ca.key", b"damaged");
    let before = node.snapshot();
    let immutable = node.path("etc/kubernetes/pki/ca.key");
    let set = |flag: &str| {
        Command::new("chattr")
            .arg(flag)
            .arg(&immutable)
            .status()
            .is_ok_and(|s| s.success())
    };
    if !set("+i") {
        println!("skipped: this file system knows no immutable files");
        return;
    }
    let ran = node.run(&later(), &["restore"]);
    assert!(set("-i"));
    ran.exits(1).complains("ca.key.kubecertd-old: operation not permitted");
    assert_eq!(before.changes(&node.snapshot()), BTreeMap::new());
    assert!(!node.path("var/lib/kubecertd/transaction.json").exists());
}

/// Killed at every rename of a restore; `recover` makes of it the node before or the node after,
/// and the same command can be given again.
#[test]
fn a_restore_killed_at_any_rename_is_rolled_back_or_finished() {
    let (mut undone, mut finished) = (0, 0);
    for nth in 1.. {
        let node = Node::of(ECDSA);
        node.write("var/lib/kubelet/pki/a.pem", b"a\n", 0o600);
        symlink("a.pem", node.path("var/lib/kubelet/pki/kubelet-client-current.pem")).expect("a symlink");
        node.run(FRESH, &["backup", "create"]).exits(0);
        let whole = node.snapshot();
        fs::remove_dir_all(node.path("etc/kubernetes/pki/etcd")).expect("a directory");
        fs::remove_file(node.path("var/lib/kubelet/pki/kubelet-client-current.pem")).expect("a symlink");
        node.rewrite("etc/kubernetes/pki/apiserver.crt", b"damaged");
        node.rewrite("etc/kubernetes/admin.conf", b"damaged");
        let damaged = node.snapshot();
        let inject = format!("inject=rename,renameat,renameat2:signal=KILL:when={nth}");
        let root = node.root().display().to_string();
        let status = Command::new(STRACE[0])
            .args(&STRACE[1..])
            .args(["-e", "trace=rename,renameat,renameat2", "-e", &inject])
            .arg("env")
            .arg(format!("LD_PRELOAD={}", support::faketime_library()))
            .args(["TZ=UTC", "FAKETIME_DONT_FAKE_MONOTONIC=1", "NO_FAKE_STAT=1"])
            .arg(format!("FAKETIME=@{}", later()))
            .args([env!("CARGO_BIN_EXE_kubecertd"), "--root", &root, "restore", FIRST])
            .output()
            .expect("strace starts");
        let was_killed = status.status.code().is_none();
        node.run(&later(), &["recover"]).exits(0);
        let after = node.snapshot();
        let (to_damaged, to_whole) = (differs(&damaged, &after), differs(&whole, &after));
        match (to_damaged.is_empty(), to_whole.is_empty()) {
            (true, false) => undone += 1,
            (false, true) => finished += 1,
            _ => panic!("killed at rename {nth}, it is neither: {to_damaged:?}, {to_whole:?}"),
        }
        node.run(&later(), &["restore", FIRST]).exits(0);
        assert_eq!(
            differs(&whole, &node.snapshot()),
            BTreeMap::new(),
            "killed at rename {nth}, then restored"
        );
        if !was_killed {
            break;
        }
    }
    println!("{undone} undone, {finished} finished");
    assert!(undone > 8 && finished > 1, "{undone} undone, {finished} finished");
}

#[test]
fn an_archive_is_restored_only_if_it_can_be_opened() {
    let node = Node::of(ECDSA);
    let key = node.scratch("passphrase");
    fs::write(&key, "a test passphrase").expect("a write");
    let openssl = |way: &str| {
        let pass = format!("file:{}", key.display());
        format!("[\"openssl\", \"enc\", \"-aes-256-cbc\", {way}\"-pbkdf2\", \"-pass\", \"{pass}\"]")
    };
    let seal = format!("[backup]\ncompress = \"zstd\"\nencrypt_with = {}\n", openssl(""));
    node.configure(&seal);
    node.run(FRESH, &["backup", "create"]).exits(0);
    let set = format!("{SETS}/{FIRST}");
    assert_eq!(names(&node.path(&set)), ["files.tar.zst.enc", "manifest.json"]);
    let sealed = fs::read(node.path(&format!("{set}/files.tar.zst.enc"))).expect("the archive");
    assert!(sealed.starts_with(b"Salted__"), "openssl wrote it");
    let mode = fs::metadata(node.path(&format!("{set}/files.tar.zst.enc")))
        .expect("the archive")
        .permissions();
    assert_eq!(mode.mode() & 0o7777, 0o600);
    node.run(FRESH, &["backup", "verify"])
        .exits(0)
        .says("good (content not checked: [backup] decrypt_with is not set)");
    let before = node.snapshot();
    fs::remove_dir_all(node.path("etc/kubernetes/pki")).expect("a directory");
    node.run(&later(), &["restore", FIRST])
        .exits(1)
        .complains("it is encrypted")
        .says("hint: set [backup] decrypt_with");
    node.configure(&format!("{seal}decrypt_with = {}\n", openssl("\"-d\", ")));
    node.run(FRESH, &["backup", "verify"])
        .exits(0)
        .says(&format!("{FIRST}: good\n"));
    node.run(&later(), &["restore", FIRST, "--only", "pki"]).exits(0);
    let mut left = differs(&before, &node.snapshot());
    left.remove("etc/kubecertd/config.toml");
    assert_eq!(left, BTreeMap::new());
    // With another key there is an error that says so, and nothing is restored from rubbish.
    fs::write(&key, "another passphrase").expect("a write");
    fs::remove_dir_all(node.path("etc/kubernetes/pki")).expect("a directory");
    node.run(&later(), &["restore", FIRST])
        .exits(1)
        .complains("cannot use openssl: exit status: 1");
    assert!(!node.path("etc/kubernetes/pki").exists());
}

/// The program may ask for a passphrase on the terminal, which only the caller's group can read.
/// Its arguments may be relative paths.
#[test]
fn an_archive_program_keeps_the_callers_group_and_directory() {
    let node = Node::of(ECDSA);
    let group = |pid: &str| format!("$(cut -d' ' -f5 /proc/{pid}/stat)");
    let script = format!(
        "[ {} = {} ] && [ -f Cargo.toml ] && exec cat",
        group("$$"),
        group("$PPID")
    );
    node.configure(&format!("[backup]\nencrypt_with = [\"sh\", \"-c\", \"{script}\"]\n"));
    node.run(FRESH, &["backup", "create"]).exits(0);
    assert_eq!(
        names(&node.path(&format!("{SETS}/{FIRST}"))),
        ["files.tar.enc", "manifest.json"]
    );
}

#[test]
fn a_failing_archive_program_is_named_and_the_backup_kept_plain() {
    let theirs = tempfile::tempdir().expect("a directory");
    let script = theirs.path().join("encrypt");
    fs::write(&script, "#!/bin/sh\ncat\n").expect("a write");
    support::set_mode(&script, 0o777);
    for (command, what) in [
        ("/bin/false", "cannot use /bin/false: exit status: 1\n"),
        (
            "kubecertd-no-such-program",
            "cannot run kubecertd-no-such-program: it is not installed",
        ),
        (&script.display().to_string(), "is writable by everybody"),
    ] {
        let node = Node::of(ECDSA);
        node.configure(&format!("[backup]\nencrypt_with = [\"{command}\"]\n"));
        node.run(FRESH, &["backup", "create"]).exits(4).complains(what);
        assert_eq!(
            names(&node.path(&format!("{SETS}/{FIRST}"))),
            ["files", "manifest.json"]
        );
        // What was left plain is sealed by the next one that can.
        node.configure(
            "[backup]\nencrypt_with = [\"openssl\", \"enc\", \"-aes-256-cbc\", \"-pbkdf2\", \"-k\", \"x\"]\n",
        );
        node.run(&later(), &["backup", "create"]).exits(0);
        assert_eq!(
            names(&node.path(&format!("{SETS}/{FIRST}"))),
            ["files.tar.enc", "manifest.json"]
        );
    }
}

#[test]
fn the_restored_backup_is_not_pruned_by_the_one_before_it() {
    let node = Node::of(ECDSA);
    node.configure("[backup]\nkeep = 1\n");
    node.run(FRESH, &["backup", "create"]).exits(0);
    node.rewrite("etc/kubernetes/admin.conf", b"damaged");
    node.run(&later(), &["restore", FIRST]).exits(0);
    assert_eq!(names(&node.path(SETS)), [FIRST, "20261124T001000Z"]);
}
