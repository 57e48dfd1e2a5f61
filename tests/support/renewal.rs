//! The effects of a renewal on the files of a node, and on no others.

use super::clock::FRESH;
use super::credential::{self, Credential, Material};
use super::tree::{self, Snapshot};
use super::{Node, assert_same_text};
use std::collections::BTreeMap;

pub const ANNOTATION: &str = "kubecertd.io/restarted-at";

/// Renews one credential and requires that only `files` changed, in place.
#[track_caller]
pub fn renew_replaces_only(node: &Node, name: &str, files: &[&str]) {
    let before = node.snapshot();
    node.run(FRESH, &["renew", name]).exits(0);
    let changes = before.changes(&node.snapshot());
    assert_eq!(tree::paths(&changes), files, "the files that changed");
    for (path, change) in changes {
        assert_eq!(change, "content inode modified", "{path}: mode and owner stay");
    }
}

pub fn materials(node: &Node, credentials: &[Credential]) -> BTreeMap<&'static str, Material> {
    credentials
        .iter()
        .map(|credential| (credential.name, credential.material(node)))
        .collect()
}

/// Requires that exactly these credentials were renewed since `before`, each as it must be, and
/// that the rest of the tree is the same.
#[track_caller]
pub fn exactly_these_were_renewed(
    node: &Node,
    before: &Snapshot,
    old: &BTreeMap<&str, Material>,
    renewed: &[Credential],
    moment: &str,
) {
    let after = node.snapshot();
    let changes = before.changes(&after);
    assert_eq!(
        tree::paths(&changes),
        credential::replaced(renewed),
        "the files that changed"
    );
    for (path, change) in &changes {
        assert_eq!(
            change, "content inode modified",
            "{path}: a replaced file keeps its mode and owner"
        );
    }
    for credential in renewed {
        credential.assert_renewed(node, &old[credential.name], &credential.material(node), moment);
        let path = credential.path();
        if path.ends_with(".conf") {
            only_the_credential_differs(
                &node.read(&path),
                std::str::from_utf8(before.bytes(&path)).expect("text"),
            );
        }
    }
    for path in changes.keys().filter(|path| path.contains("/manifests/")) {
        only_the_annotation_differs(&node.read(path), std::str::from_utf8(before.bytes(path)).expect("text"));
    }
}

/// Line by line: the values of two keys and nothing else.
#[track_caller]
fn only_the_credential_differs(new: &str, old: &str) {
    assert_eq!(
        new.split('\n').count(),
        old.split('\n').count(),
        "the kubeconfig has another number of lines"
    );
    let differing: Vec<(&str, &str)> = new
        .split('\n')
        .zip(old.split('\n'))
        .filter(|(new, old)| new != old)
        .collect();
    let keys = ["    client-certificate-data: ", "    client-key-data: "];
    assert_eq!(differing.len(), keys.len(), "{differing:?}");
    for ((new, old), key) in differing.into_iter().zip(keys) {
        assert!(
            new.starts_with(key) && old.starts_with(key),
            "more than a value changed: {old:?} became {new:?}"
        );
    }
}

/// One annotation below `metadata`, with a heading where there was none; every other byte as
/// before.
#[track_caller]
pub fn only_the_annotation_differs(new: &str, old: &str) {
    let mut lines: Vec<&str> = new.split_inclusive('\n').collect();
    let place = lines
        .iter()
        .position(|line| line.contains(ANNOTATION))
        .unwrap_or_else(|| panic!("no annotation in:\n{new}"));
    let metadata = lines
        .iter()
        .position(|line| *line == "metadata:\n")
        .expect("a pod has metadata");
    let spec = lines
        .iter()
        .position(|line| *line == "spec:\n")
        .expect("a pod has a spec");
    assert!(
        metadata < place && place < spec,
        "the annotation is not in the metadata:\n{new}"
    );
    assert!(
        lines[place].starts_with(&format!("    {ANNOTATION}: ")),
        "not a child of annotations: {:?}",
        lines[place]
    );
    lines.remove(place);
    if !old.contains("\n  annotations:\n") {
        let heading = lines
            .iter()
            .position(|line| *line == "  annotations:\n")
            .expect("a heading for the annotation");
        assert_eq!(heading + 1, place, "the heading is right above the annotation");
        lines.remove(heading);
    }
    assert_same_text(&lines.concat(), old, "the manifest without its new annotation");
}
