//! A configuration that another user than root could write is not read: it decides which files
//! root replaces.

use crate::support::clock::{DUE, FRESH};
use crate::support::{ECDSA, Node, set_mode};
use std::os::unix::fs::{chown, symlink};

const MAIN: &str = "etc/kubecertd/config.toml";
const DROP_INS: &str = "etc/kubecertd/config.d";

/// Every command refuses it, not only `config check`: it decides which files root writes.
#[track_caller]
fn is_not_trusted(spoil: impl FnOnce(&Node), path: &str) {
    let node = Node::of(ECDSA);
    node.configure("[backup]\nkeep = 3\n");
    node.write(&format!("{DROP_INS}/10-keep.toml"), b"[backup]\nkeep = 4\n", 0o644);
    node.run(FRESH, &["config", "check"]).exits(0);
    spoil(&node);
    let before = node.snapshot();
    for args in [&["config", "check"][..], &["renew"], &["check-expiration"], &["plan"]] {
        node.run(DUE, args).exits(78).complains(path);
    }
    assert!(before.changes(&node.snapshot()).is_empty());
}

#[test]
fn a_config_of_another_owner_is_refused() {
    is_not_trusted(
        |node| chown(node.path(MAIN), Some(1000), None).expect("root"),
        "/etc/kubecertd/config.toml",
    );
}

#[test]
fn a_config_that_others_may_write_is_refused() {
    is_not_trusted(|node| set_mode(&node.path(MAIN), 0o666), "/etc/kubecertd/config.toml");
}

#[test]
fn a_drop_in_of_another_owner_is_refused() {
    let path = format!("{DROP_INS}/10-keep.toml");
    is_not_trusted(
        |node| chown(node.path(&path), Some(1000), None).expect("root"),
        &format!("/{path}"),
    );
}

#[test]
fn a_drop_in_that_others_may_write_is_refused() {
    let path = format!("{DROP_INS}/10-keep.toml");
    is_not_trusted(|node| set_mode(&node.path(&path), 0o646), &format!("/{path}"));
}

/// A user that may write to the directory may put any file in it.
#[test]
fn a_drop_in_directory_that_others_may_write_is_refused() {
    is_not_trusted(|node| set_mode(&node.path(DROP_INS), 0o777), &format!("/{DROP_INS}"));
}

#[test]
fn a_config_directory_of_another_owner_is_refused() {
    is_not_trusted(
        |node| chown(node.path("etc/kubecertd"), Some(1000), None).expect("root"),
        "/etc/kubecertd",
    );
}

#[test]
fn a_drop_in_that_links_to_a_file_of_another_owner_is_refused() {
    let path = format!("{DROP_INS}/20-link.toml");
    let spoil = |node: &Node| {
        node.write("srv/keep.toml", b"[backup]\nkeep = 8\n", 0o644);
        chown(node.path("srv/keep.toml"), Some(1000), None).expect("root");
        symlink("../../../srv/keep.toml", node.path(&path)).expect("a symlink");
    };
    is_not_trusted(spoil, ".toml");
}
