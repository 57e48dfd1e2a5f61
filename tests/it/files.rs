//! The attributes of a replaced file: modes, owners, symlinks, hard links.

use crate::support::clock::FRESH;
use crate::support::credential::{self, Material};
use crate::support::renewal::renew_replaces_only;
use crate::support::{Node, RSA, fixture, set_mode, tree};
use std::fs;
use std::os::unix::fs::{MetadataExt, chown, symlink};

const PKI: &str = "etc/kubernetes/pki";

#[test]
fn odd_modes_and_owners_are_kept() {
    let node = Node::of(RSA);
    let [certificate, key] = ["crt", "key"].map(|extension| format!("{PKI}/front-proxy-client.{extension}"));
    for (path, mode, uid, gid) in [(&certificate, 0o664, 1000, 4), (&key, 0o440, 65_534, 1000)] {
        chown(node.path(path), Some(uid), Some(gid)).expect("the tests run as root");
        set_mode(&node.path(path), mode);
    }
    renew_replaces_only(&node, "front-proxy-client", &[&certificate, &key]);
}

#[test]
fn a_symlinked_pair_stays_and_its_targets_are_replaced() {
    let node = Node::of(RSA);
    let targets = ["crt", "key"].map(|extension| format!("etc/kubernetes/store/apiserver.{extension}"));
    fs::create_dir(node.path("etc/kubernetes/store")).expect("a new directory");
    for target in &targets {
        let name = target.rsplit('/').next().expect("a file name");
        let link = node.path(&format!("{PKI}/{name}"));
        fs::rename(&link, node.path(target)).expect("a rename");
        // An absolute target is seen from the node's root, as in a chroot.
        let to = if name.ends_with("key") {
            format!("/{target}")
        } else {
            format!("../store/{name}")
        };
        symlink(to, &link).expect("a symlink");
    }
    let material = || Material {
        certificate: node.read(&targets[0]),
        key: node.read(&targets[1]),
    };
    let old = material();
    renew_replaces_only(&node, "apiserver", &targets.each_ref().map(String::as_str));
    credential::named("apiserver").assert_renewed(&node, &old, &material(), FRESH);
}

#[test]
fn hard_links_in_the_scanned_directories_are_linked_again() {
    let node = Node::of(RSA);
    let [name, other] = ["apiserver.crt", "etcd/copy-of-apiserver.crt"].map(|name| format!("{PKI}/{name}"));
    fs::hard_link(node.path(&name), node.path(&other)).expect("a hard link");
    node.run(FRESH, &["renew", "apiserver"]).exits(0);
    let [first, second] = [&name, &other].map(|path| fs::metadata(node.path(path)).expect("a file"));
    assert_eq!(
        (first.ino(), first.nlink()),
        (second.ino(), 2),
        "both names are one file again"
    );
    let fixture = fs::read_to_string(fixture(RSA).join(&name)).expect("the old certificate");
    assert_ne!(node.read(&other), fixture, "and it is the new one");
}

#[test]
fn a_hard_link_elsewhere_blocks_only_that_leaf() {
    let node = Node::of(RSA);
    fs::create_dir_all(node.path("srv/web")).expect("a directory");
    fs::hard_link(
        node.path(&format!("{PKI}/apiserver.key")),
        node.path("srv/web/apiserver.key"),
    )
    .expect("a hard link");
    let before = node.snapshot();
    node.run(FRESH, &["renew", "apiserver"])
        .exits(1)
        .complains("/etc/kubernetes/pki/apiserver.key");
    assert_eq!(before.changes(&node.snapshot()), tree::Changes::new());
    node.run(FRESH, &["renew", "all"])
        .exits(4)
        .complains("/etc/kubernetes/pki/apiserver.key");
    let changes = before.changes(&node.snapshot());
    assert_eq!(
        tree::paths(&changes),
        credential::replaced(&credential::all_but(&["apiserver"]))
    );
}
