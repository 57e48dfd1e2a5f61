//! Disks that are full or read-only, at each place that a renewal writes to: exit 1, the path in
//! the message, the node as it was.

use crate::support::clock::FRESH;
use crate::support::mount::{Mount, in_own_namespace};
use crate::support::tree::{Changes, names};
use crate::support::{ECDSA, Node};
use std::fs;
use std::io::Write;
use std::path::Path;

const BACKUPS: &str = "var/lib/kubecertd/backups";
const PKI: &str = "etc/kubernetes/pki";
const PAGE: usize = 4096;

/// `renew all` fails and names the path; then every file is as before (a file may have been put
/// back from its copy).
#[track_caller]
fn renewal_fails_and_leaves_the_node_as_it_was(node: &Node, path: &str, reason: &str) {
    let before = node.snapshot();
    node.run(FRESH, &["renew", "all"])
        .exits(1)
        .complains(path)
        .complains(reason);
    assert_eq!(before.changes_after_undo(&node.snapshot()), Changes::new());
}

/// Puts the PKI on a disk of its own, and fills it but for `free` pages of memory.
fn pki_on_a_full_disk(node: &Node, free: usize) -> Mount {
    let (pki, aside) = (node.path(PKI), node.scratch("pki"));
    fs::rename(&pki, &aside).expect("a rename");
    fs::create_dir(&pki).expect("a new directory");
    let mount = Mount::memory(&pki, "size=512k,mode=0755");
    move_all(&aside, &pki);
    let filler = pki.join("filler");
    let mut file = fs::File::create(&filler).expect("a new file");
    while file.write_all(&[b'x'; PAGE]).is_ok() {}
    let pages = file.metadata().expect("a file").len() as usize / PAGE;
    file.set_len(((pages - free) * PAGE) as u64).expect("a shorter file");
    mount
}

fn move_all(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).expect("a directory") {
        let entry = entry.expect("a directory entry");
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            fs::create_dir(&target).expect("a new directory");
            move_all(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), &target).expect("a copy");
            let modified = entry.metadata().and_then(|data| data.modified()).expect("an mtime");
            fs::File::open(&target)
                .expect("the copy")
                .set_modified(modified)
                .expect("an mtime");
        }
    }
}

#[test]
fn a_full_backup_disk_stops_the_renewal() {
    in_own_namespace(|| {
        let node = Node::of(ECDSA);
        fs::create_dir_all(node.path(BACKUPS)).expect("a directory");
        let _mount = Mount::memory(&node.path(BACKUPS), "size=64k,mode=0700");
        renewal_fails_and_leaves_the_node_as_it_was(&node, BACKUPS, "no space left");
        assert_eq!(names(&node.path(BACKUPS)), [""; 0], "half a backup is no backup");
    });
}

#[test]
fn a_full_pki_disk_leaves_the_node_as_it_was() {
    in_own_namespace(|| {
        // From no space at all to space for all new files but the last ones: 14 files of a page
        // each are written.
        for free in [0, 1, 2, 7, 12] {
            let node = Node::of(ECDSA);
            let _mount = pki_on_a_full_disk(&node, free);
            renewal_fails_and_leaves_the_node_as_it_was(&node, PKI, "no space left");
        }
    });
}

#[test]
fn a_read_only_pki_leaves_the_node_as_it_was() {
    in_own_namespace(|| {
        let node = Node::of(ECDSA);
        let _mount = Mount::read_only(&node.path(PKI));
        renewal_fails_and_leaves_the_node_as_it_was(&node, PKI, "read-only file system");
    });
}

#[test]
fn a_read_only_etcd_pki_leaves_the_node_as_it_was() {
    in_own_namespace(|| {
        let node = Node::of(ECDSA);
        let _mount = Mount::read_only(&node.path(&format!("{PKI}/etcd")));
        renewal_fails_and_leaves_the_node_as_it_was(&node, "etc/kubernetes/pki/etcd", "read-only file system");
    });
}

#[test]
fn a_read_only_manifests_directory_leaves_the_node_as_it_was() {
    in_own_namespace(|| {
        let node = Node::of(ECDSA);
        let _mount = Mount::read_only(&node.path("etc/kubernetes/manifests"));
        renewal_fails_and_leaves_the_node_as_it_was(&node, "etc/kubernetes/manifests", "read-only file system");
    });
}

#[test]
fn a_read_only_state_directory_stops_only_the_renewal() {
    in_own_namespace(|| {
        let node = Node::of(ECDSA);
        fs::create_dir_all(node.path("var/lib/kubecertd")).expect("a directory");
        let _mount = Mount::read_only(&node.path("var/lib/kubecertd"));
        node.run(FRESH, &["check-expiration"]).exits(0);
        node.run(FRESH, &["plan"]).exits(0);
        renewal_fails_and_leaves_the_node_as_it_was(&node, "var/lib/kubecertd", "read-only file system");
    });
}

/// An assessment of a node that is mounted read-only, say from a rescue system.
#[test]
fn a_read_only_node_can_be_assessed() {
    in_own_namespace(|| {
        let node = Node::of(ECDSA);
        let _mount = Mount::read_only(&node.root());
        for args in [&["check-expiration"][..], &["plan"], &["renew", "all", "--dry-run"]] {
            node.run(FRESH, args).exits(0).says("super-admin.conf");
        }
    });
}
