//! Restarts: which manifests get the annotation, and that nothing else in them changes.

mod support;

use support::clock::{self, FRESH};
use support::credential;
use support::renewal::{ANNOTATION, only_the_annotation_differs};
use support::{Node, RSA};

/// The manifests that differ from the fixture after `renew NAMES` under a `[restart]` scope.
fn manifests_touched(scope: &str, names: &[&str]) -> Vec<String> {
    let node = Node::of(RSA);
    node.configure(&format!("[restart]\nscope = \"{scope}\"\n"));
    let before = node.snapshot();
    node.run(FRESH, &[&["renew"], names].concat()).exits(0);
    let changes = before.changes(&node.snapshot());
    assert!(
        changes.keys().any(|path| path.contains("/pki/")),
        "something was renewed: {changes:?}"
    );
    let manifests = changes.into_keys().filter(|path| path.contains("/manifests/"));
    manifests
        .inspect(|path| {
            only_the_annotation_differs(&node.read(path), std::str::from_utf8(before.bytes(path)).expect("text"))
        })
        .collect()
}

#[test]
fn scope_never_touches_no_manifest() {
    assert_eq!(manifests_touched("never", &["all"]), Vec::<String>::new());
}

#[test]
fn scope_all_touches_the_manifest_of_every_reader() {
    let all = ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"].map(credential::manifest);
    assert_eq!(manifests_touched("all", &["all"]), all);
}

#[test]
fn scope_all_leaves_readers_of_other_credentials_alone() {
    assert_eq!(
        manifests_touched("all", &["front-proxy-client"]),
        [credential::manifest("kube-apiserver")]
    );
}

#[test]
fn a_second_renewal_changes_the_annotation_instead_of_adding_one() {
    let node = Node::of(RSA);
    let path = credential::manifest("kube-scheduler");
    node.run(FRESH, &["renew", "scheduler.conf"]).exits(0);
    let first = node.read(&path);
    node.run(&clock::later(FRESH, clock::DAY), &["renew", "scheduler.conf"])
        .exits(0);
    let second = node.read(&path);
    assert_ne!(
        first, second,
        "the kubelet restarts a pod only when its manifest differs"
    );
    assert_eq!(second.matches(ANNOTATION).count(), 1, "{second}");
    let differing = first.lines().zip(second.lines()).filter(|(a, b)| a != b).count();
    assert_eq!(
        (differing, second.lines().count()),
        (1, first.lines().count()),
        "{second}"
    );
}

/// The manifests folder is where the kubelet looks, not always /etc/kubernetes/manifests.
#[test]
fn the_reader_is_restarted_in_the_static_pod_path_of_the_kubelet() {
    let node = Node::of(RSA);
    std::fs::rename(node.path("etc/kubernetes/manifests"), node.path("etc/static-pods")).expect("a rename");
    node.write(
        "var/lib/kubelet/config.yaml",
        b"kind: KubeletConfiguration\nstaticPodPath: /etc/static-pods\n",
        0o644,
    );
    let old = node.read("etc/static-pods/kube-scheduler.yaml");
    node.run(FRESH, &["renew", "scheduler.conf"]).exits(0);
    only_the_annotation_differs(&node.read("etc/static-pods/kube-scheduler.yaml"), &old);
}
