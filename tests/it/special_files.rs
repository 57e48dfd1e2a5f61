//! Special files in place of a certificate, or files that are far too large: a row with a
//! reason, and nothing waits or fills memory.

use crate::support::clock::FRESH;
use crate::support::credential;
use crate::support::{self, ECDSA, Node, tree};
use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;

/// 256 MiB of memory: a process that reads a file of 1 GiB as a whole fails.
const LITTLE_MEMORY: [&str; 2] = ["prlimit", "--data=268435456"];

fn make(program: &str, path: &Path, args: &[&str]) {
    let status = Command::new(program)
        .arg(path)
        .args(args)
        .status()
        .expect("coreutils start");
    assert!(status.success(), "{program} {}", path.display());
}

/// `etcd-server`'s certificate becomes what `put` makes of its path; the table says so and stays
/// whole.
#[track_caller]
fn node_with(put: impl FnOnce(&Path)) -> Node {
    let node = Node::of(ECDSA);
    let path = node.path("etc/kubernetes/pki/etcd/server.crt");
    fs::remove_file(&path).expect("a certificate");
    put(&path);
    let before = node.snapshot();
    for verb in ["check-expiration", "plan"] {
        let ran = node.run_under(&LITTLE_MEMORY, FRESH, &[verb]);
        let ran = if verb == "plan" {
            ran
        } else {
            ran.exits(4).complains("/etc/kubernetes/pki/etcd/server.crt")
        };
        for credential in credential::all_of(ECDSA) {
            let there = ran
                .stdout
                .lines()
                .any(|line| line.split_whitespace().any(|word| word == credential.name));
            assert!(there, "no row for {}: {ran}", credential.name);
        }
    }
    assert!(before.every_change(&node.snapshot()).is_empty());
    node
}

#[track_caller]
fn is_a_row_with_a_reason_and_the_others_are_renewed(put: impl FnOnce(&Path)) {
    let node = node_with(put);
    let before = node.snapshot();
    node.run_under(&LITTLE_MEMORY, FRESH, &["renew", "all"])
        .exits(4)
        .complains("/etc/kubernetes/pki/etcd/server.crt");
    let changes = before.changes(&node.snapshot());
    assert_eq!(
        tree::paths(&changes),
        credential::replaced(&credential::all_but(&["etcd-server"]))
    );
}

#[test]
fn a_fifo_is_a_row_with_a_reason_and_the_others_are_renewed() {
    is_a_row_with_a_reason_and_the_others_are_renewed(|path| make("mkfifo", path, &[]));
}

#[test]
fn a_socket_is_a_row_with_a_reason_and_the_others_are_renewed() {
    is_a_row_with_a_reason_and_the_others_are_renewed(|path| drop(UnixListener::bind(path).expect("a socket")));
}

/// `/dev/zero`: endless for a process that reads to the end.
#[test]
fn a_device_node_affects_only_its_credential() {
    is_a_row_with_a_reason_and_the_others_are_renewed(|path| make("mknod", path, &["c", "1", "5"]));
}

#[test]
fn a_symlink_loop_affects_only_its_credential() {
    is_a_row_with_a_reason_and_the_others_are_renewed(|path| {
        symlink("loop.crt", path).expect("a symlink");
        symlink("server.crt", path.with_file_name("loop.crt")).expect("a symlink");
    });
}

#[test]
fn a_directory_affects_only_its_credential() {
    is_a_row_with_a_reason_and_the_others_are_renewed(|path| fs::create_dir(path).expect("a directory"));
}

/// A hole of 1 GiB; `renew` is not asked to copy it into a backup here.
#[test]
fn a_file_of_1_gib_is_a_row_with_a_reason() {
    node_with(|path| {
        fs::File::create(path)
            .expect("a file")
            .set_len(1 << 30)
            .expect("a hole");
    });
}

#[test]
fn a_fifo_in_place_of_a_kubeconfig_or_a_manifest_does_not_hang() {
    let node = Node::of(ECDSA);
    for path in [
        "etc/kubernetes/scheduler.conf",
        "etc/kubernetes/manifests/kube-apiserver.yaml",
        "etc/kubernetes/pki/ca.crt",
    ] {
        fs::remove_file(node.path(path)).expect("a file");
        make("mkfifo", &node.path(path), &[]);
        node.run(FRESH, &["check-expiration"]).exits(4);
    }
}

/// A key, the key and the certificate of a CA, a kubeconfig, a manifest and a service account key,
/// each another thing.
#[test]
fn special_files_affect_only_what_depends_on_them() {
    let node = Node::of(ECDSA);
    let put = |path: &str, put: &dyn Fn(&Path)| {
        let path = node.path(&format!("etc/kubernetes/{path}"));
        fs::remove_file(&path).expect("a file");
        put(&path);
    };
    put("pki/apiserver.key", &|path| make("mkfifo", path, &[]));
    put("pki/sa.key", &|path| make("mknod", path, &["c", "1", "8"]));
    put("pki/front-proxy-ca.key", &|path| {
        drop(UnixListener::bind(path).expect("a socket"));
    });
    put("pki/etcd/ca.crt", &|path| fs::create_dir(path).expect("a directory"));
    put("admin.conf", &|path| make("mknod", path, &["c", "1", "5"]));
    put("manifests/etcd.yaml", &|path| {
        symlink("etcd.yaml", path).expect("a symlink");
    });
    let table = node.run_under(&LITTLE_MEMORY, FRESH, &["check-expiration"]).exits(4);
    let before = node.snapshot();
    let ran = node.run_under(&LITTLE_MEMORY, FRESH, &["renew", "all"]).exits(4);
    for (what, reason) in [
        ("apiserver: /etc/kubernetes/pki/apiserver.key", "is not a regular file"),
        ("admin.conf: /etc/kubernetes/admin.conf", "is not a regular file"),
    ] {
        let said = |ran: &support::Ran| {
            ran.stderr
                .lines()
                .any(|line| line.contains(what) && line.contains(reason))
        };
        assert!(
            said(&table) && said(&ran),
            "nothing says that {what} {reason}: {table}{ran}"
        );
    }
    let ran = ran.complains("/etc/kubernetes/pki/front-proxy-ca.key is not a regular file");
    let ran = ran.complains("/etc/kubernetes/pki/etcd/ca.crt is a directory");
    ran.complains("/etc/kubernetes/manifests/etcd.yaml is a loop of symlinks");
    let renewed = [
        "apiserver-kubelet-client",
        "controller-manager.conf",
        "scheduler.conf",
        "super-admin.conf",
    ];
    let renewed: Vec<_> = renewed.into_iter().map(credential::named).collect();
    let changes = before.changes(&node.snapshot());
    assert_eq!(tree::paths(&changes), credential::replaced(&renewed));
}
