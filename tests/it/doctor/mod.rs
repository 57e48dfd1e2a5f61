//! `doctor`: each check speaks on a node that has what it looks for, and is silent on a healthy
//! one.

mod certificates;
mod surroundings;

use std::fs;
use std::os::unix::fs::symlink;

use crate::support::clock::FRESH;
use crate::support::{ECDSA, Node, OLD_RELEASE, RSA, Ran, set_mode};
use serde_json::Value;

const MANIFESTS: &str = "etc/kubernetes/manifests";
const KUBELET: &str = "var/lib/kubelet/config.yaml";
const UNITS: &str = "usr/lib/systemd/system";
const ENABLED: &str = "etc/systemd/system/multi-user.target.wants";

/// A node with a kubelet that rotates and the service installed, enabled and running: this test
/// stands in its process's place.
fn healthy(tree: &str) -> Node {
    let node = Node::of(tree);
    node.write(
        KUBELET,
        b"kind: KubeletConfiguration\nstaticPodPath: /etc/kubernetes/manifests\nrotateCertificates: true\n",
        0o644,
    );
    node.write(
        &format!("{UNITS}/kubecertd.service"),
        b"[Service]\nExecStart=/usr/bin/kubecertd run\n",
        0o644,
    );
    enable(&node, "kubecertd.service");
    let pid = std::process::id();
    let status = serde_json::json!({"daemon": {"running": true, "pid": pid, "started_ticks": started_ticks(pid)}});
    node.write("var/lib/kubecertd/status.json", status.to_string().as_bytes(), 0o600);
    set_mode(&node.path("var/lib/kubecertd"), 0o700);
    node
}

fn enable(node: &Node, unit: &str) {
    fs::create_dir_all(node.path(ENABLED)).expect("a directory");
    symlink(format!("/{UNITS}/{unit}"), node.path(&format!("{ENABLED}/{unit}"))).expect("a symlink");
}

/// The 22nd field of proc_pid_stat(5).
fn started_ticks(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("a process");
    let mut fields = stat.rsplit_once(')').expect("a name").1.split_whitespace();
    fields.nth(19).expect("a start").parse().expect("ticks")
}

fn diagnosis(node: &Node, moment: &str) -> (i32, Vec<Value>) {
    let ran = node.run(moment, &["doctor", "-o", "json"]);
    let document = ran.json();
    let findings = document["findings"].as_array().expect("a list").clone();
    // The synchronization of this machine's clock does not concern the node.
    let of_the_node = |finding: &Value| {
        !finding["message"]
            .as_str()
            .is_some_and(|m| m.starts_with("is not synchronized"))
    };
    (ran.code, findings.into_iter().filter(of_the_node).collect())
}

/// Requires a single finding with this check, severity and subject, with these texts in message and
/// hint, and its exit code.
#[track_caller]
fn finds(node: &Node, moment: &str, finding: [&str; 3], message: &str, hint: &str) {
    let [check, severity, about] = finding;
    let (code, findings) = diagnosis(node, moment);
    let [finding] = &findings[..] else {
        panic!("{} findings: {findings:#?}", findings.len())
    };
    let text = |key: &str| finding[key].as_str().unwrap_or_default();
    let found = (text("check"), text("severity"), text("about"));
    assert_eq!(found, (check, severity, about), "{finding:#}");
    assert!(text("message").contains(message), "not {message:?}: {finding:#}");
    assert!(text("hint").contains(hint), "not {hint:?}: {finding:#}");
    let wanted = match (check, severity) {
        ("configuration", _) => 78,
        (_, "fault") => 1,
        (_, "warning") => 4,
        _ => 0,
    };
    assert_eq!(code, wanted, "{finding:#}");
}

/// The findings of one check, as `about: message`.
fn of_check(node: &Node, moment: &str, check: &str) -> Vec<String> {
    let (_, findings) = diagnosis(node, moment);
    let of_it = findings.iter().filter(|finding| finding["check"] == check);
    let words = |finding: &Value| {
        format!(
            "{}: {}",
            finding["about"].as_str().unwrap(),
            finding["message"].as_str().unwrap()
        )
    };
    of_it.map(words).collect()
}

#[test]
fn on_a_healthy_node_nothing_is_wrong_and_nothing_is_written() {
    for tree in [RSA, ECDSA, OLD_RELEASE] {
        let node = healthy(tree);
        let before = node.snapshot();
        let (code, findings) = diagnosis(&node, FRESH);
        assert_eq!((code, findings), (0, Vec::new()), "{tree}");
        assert_eq!(before.every_change(&node.snapshot()), Default::default());
    }
}

#[test]
fn the_worst_finding_comes_first_with_a_hint() {
    let node = healthy(ECDSA);
    let ran = node.run(FRESH, &["doctor"]);
    assert!(ran.stdout.contains(" checks)\n"), "{ran}");
    node.write(
        &format!("{MANIFESTS}/notes.txt"),
        b"metadata: {name: x}\nspec: {containers: [{name: x}]}\n",
        0o600,
    );
    set_mode(&node.path("etc/kubernetes/pki/sa.key"), 0o644);
    let ran: Ran = node.run(FRESH, &["doctor"]).exits(1);
    let lines: Vec<_> = ran.stdout.lines().collect();
    assert_eq!(
        lines[..4],
        [
            "fault    /etc/kubernetes/pki/sa.key: has mode 0644: every user of the node can access this key",
            "         hint: chmod 0600 /etc/kubernetes/pki/sa.key",
            "warning  /etc/kubernetes/manifests/notes.txt: does not have the name of a manifest, but the kubelet reads it anyway",
            "         hint: mv /etc/kubernetes/manifests/notes.txt /root/",
        ],
        "{ran}"
    );
    assert!(ran.stdout.contains("\n1 fault, "), "{ran}");
    node.run(FRESH, &["doctor", "-o", "yaml"]).exits(1).says("worst: fault");
}

#[test]
fn on_a_worker_and_before_kubeadm_nothing_is_a_fault() {
    let node = healthy(ECDSA);
    fs::remove_dir_all(node.path("etc/kubernetes")).expect("a directory");
    let (code, findings) = diagnosis(&node, FRESH);
    assert_eq!((code, findings), (0, Vec::new()));
}

#[test]
fn a_bad_configuration_is_a_finding_among_others() {
    let node = healthy(ECDSA);
    node.configure("\nschedul = \"x\"\n");
    finds(
        &node,
        FRESH,
        ["configuration", "fault", "/etc/kubecertd/config.toml:2"],
        "schedul: unknown field",
        "kubecertd config check",
    );
    set_mode(&node.path("etc/kubernetes/pki/sa.key"), 0o604);
    let (code, findings) = diagnosis(&node, FRESH);
    assert_eq!((code, findings.len()), (78, 2), "{findings:#?}");
}

#[test]
fn remains_of_an_interrupted_run_are_found() {
    let node = healthy(ECDSA);
    node.write("var/lib/kubecertd/transaction.json", b"{}", 0o600);
    finds(
        &node,
        FRESH,
        ["interrupted", "fault", "kubecertd"],
        "neither completed nor rolled back",
        "kubecertd recover",
    );
}
