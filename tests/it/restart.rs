//! Restarts: which manifests get the annotation, and that nothing else in them changes.

use crate::support::clock::{self, FRESH};
use crate::support::credential;
use crate::support::renewal::{ANNOTATION, only_the_annotation_differs};
use crate::support::{Node, RSA};

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
            only_the_annotation_differs(&node.read(path), std::str::from_utf8(before.bytes(path)).expect("text"));
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
fn a_second_renewal_changes_the_same_annotation() {
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

/// The manifests directory is where the kubelet looks, not always /etc/kubernetes/manifests.
#[test]
fn the_component_restarts_in_the_kubelets_static_pod_path() {
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

fn pending(document: &serde_json::Value) -> Vec<&str> {
    let pending = document["pending_restarts"].as_array().expect("a list");
    pending
        .iter()
        .map(|left| left["reader"].as_str().expect("a name"))
        .collect()
}

/// FRESH is a Tuesday, at midnight.
const CLOSED: &str = "[[window]]\ndays = [\"sat\"]\nstart = \"02:00\"\nlength = \"1h\"\n";

#[test]
fn a_restart_outside_of_every_window_waits_and_is_recorded() {
    let node = Node::of(RSA);
    node.configure(CLOSED);
    let before = node.snapshot();
    let report = node.renew(FRESH, &["scheduler.conf"], 0);
    assert_eq!(pending(&report), ["kube-scheduler"]);
    assert_eq!(report["proofs"][0]["proof"], "pending", "{report:#}");
    let manifests = || {
        before
            .changes(&node.snapshot())
            .into_keys()
            .filter(|path| path.contains("/manifests/"))
    };
    assert_eq!(manifests().count(), 0, "the pod is left alone");
    assert!(node.path("var/lib/kubecertd/pending-restarts.json").exists());
    // On Saturday at two it is open.
    let report = node.renew("2026-11-28 02:30:00", &["admin.conf"], 0);
    assert_eq!(
        pending(&report),
        ["kube-scheduler"],
        "no kubelet runs that could restart it"
    );
}

#[test]
fn a_restart_that_is_urgent_does_not_wait_for_a_window() {
    let node = Node::of(RSA);
    node.configure(CLOSED);
    let leaf = credential::named("scheduler.conf");
    leaf.set_validity(&node, &clock::later(FRESH, -300 * clock::DAY), 303);
    let before = node.snapshot();
    node.renew(FRESH, &[], 0);
    let changes = before.changes(&node.snapshot());
    assert!(
        changes.contains_key(&credential::manifest("kube-scheduler")),
        "{changes:?}"
    );
}

#[test]
fn a_duplicate_pod_is_reported_with_the_stray_file() {
    let node = Node::of(RSA);
    let path = credential::manifest("kube-scheduler");
    node.write(&format!("{path}.bak"), node.read(&path).as_bytes(), 0o600);
    let before = node.snapshot();
    let ran = node.run(FRESH, &["renew", "all"]).exits(0);
    let ran = ran.complains("kube-scheduler.yaml.bak does not have the name of a manifest");
    ran.complains("all make a pod kube-scheduler; the kubelet runs one of them, and none is restarted");
    let changes = before.changes(&node.snapshot());
    let manifests: Vec<_> = changes.keys().filter(|path| path.contains("/manifests/")).collect();
    assert_eq!(manifests, [&credential::manifest("kube-controller-manager")]);
}

/// On another root a unit or a command would be this machine's.
#[test]
fn another_root_never_restarts_units_or_runs_commands() {
    let node = Node::of(RSA);
    let witness = node.scratch("witness");
    node.configure(&format!(
        "[[reader]]\nname = \"kube-scheduler\"\nexec = [\"/usr/bin/touch\", \"{}\"]\n\
         [[reader]]\nname = \"kube-controller-manager\"\nunit = \"kubecertd-test-none.service\"\n",
        witness.display()
    ));
    let report = node.renew(FRESH, &["all"], 0);
    assert_eq!(pending(&report), ["kube-controller-manager", "kube-scheduler"]);
    assert!(!witness.exists(), "the command ran");
}

#[test]
fn any_next_command_brings_a_parked_manifest_back() {
    let parked = |node: &Node| {
        let path = credential::manifest("kube-scheduler");
        let dot = path.replace("kube-scheduler.yaml", ".kube-scheduler.yaml.kubecertd-parked");
        let text = node.read(&path);
        std::fs::rename(node.path(&path), node.path(&dot)).expect("a rename");
        let record = format!("[\"/{path}\"]");
        std::fs::create_dir_all(node.path("var/lib/kubecertd")).expect("a directory");
        node.write("var/lib/kubecertd/parked.json", record.as_bytes(), 0o600);
        (path, dot, text)
    };
    for verb in [&["recover"][..], &["renew", "admin.conf"], &["backup", "create"]] {
        let node = Node::of(RSA);
        let (path, dot, old) = parked(&node);
        node.run(FRESH, verb).exits(0);
        only_the_annotation_differs(&node.read(&path), &old);
        assert!(!node.path(&dot).exists() && !node.path("var/lib/kubecertd/parked.json").exists());
    }
    // Another process wrote one in its place meanwhile, which stays.
    let node = Node::of(RSA);
    let (path, dot, _) = parked(&node);
    node.write(&path, b"kind: Pod\n", 0o600);
    node.run(FRESH, &["recover"]).exits(0);
    assert_eq!(node.read(&path), "kind: Pod\n");
    assert!(!node.path(&dot).exists());
}
