//! Renewals on a healthy node, from the mildest restart to a kill in the middle of the boldest.

use super::components::{self, API_SERVER, CONTROLLER_MANAGER, ETCD, Process, SCHEDULER};
use super::node::{Node, Ran};
use super::outage::{Polls, baseline};
use super::pki::CREDENTIALS;
use super::scenario;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, Instant};

const MANIFESTS: &str = "/etc/kubernetes/manifests";

#[test]
fn a_running_control_plane_is_renewed() {
    scenario::run(&[
        ("scope needed: nobody notices, and everything is proven", nobody_notices),
        (
            "scope all: the outage is compared with the documented way's",
            outage_is_compared,
        ),
        ("a manifest broken by somebody else", a_broken_manifest),
        ("the kubelet is stopped", without_a_kubelet),
        ("killed while a manifest is parked", killed_while_parked),
    ]);
}

/// `renew all -o json` on a node whose credentials and processes are told apart from those before.
pub struct Renewal {
    pub ran: Ran,
    pub polls: Polls,
    before: BTreeMap<&'static str, String>,
    processes: BTreeMap<&'static str, Process>,
}

impl Renewal {
    pub fn of(node: &Node, toml: &str) -> Self {
        Self::of_these(node, toml, &["all"])
    }

    /// Of these credentials only: a kube-apiserver of 1.20 takes up to a minute to read its files
    /// again.
    pub fn of_these(node: &Node, toml: &str, names: &[&str]) -> Self {
        node.configure(toml);
        let (before, processes) = (node.serials(), node.processes());
        let poller = node.poll();
        let ran = node.kubecertd(&[&["renew"], names, &["-o", "json"]].concat());
        Renewal {
            ran,
            polls: poller.stop(),
            before,
            processes,
        }
    }

    /// The components that are other processes than before, or none any more.
    pub fn restarted(&self, node: &Node) -> Vec<&'static str> {
        let now = node.processes();
        let same = |component: &&str| now.get(component) == self.processes.get(component);
        components::ALL
            .into_iter()
            .filter(|component| !same(component))
            .collect()
    }

    /// The credentials whose files have another certificate than before.
    pub fn renewed(&self, node: &Node) -> Vec<&'static str> {
        let now = node.serials();
        let names = CREDENTIALS.into_iter().map(|(name, _)| name);
        names.filter(|name| now[name] != self.before[name]).collect()
    }

    /// Credential and kind of proof, as the report has them.
    pub fn proofs(&self) -> BTreeSet<(String, String)> {
        let document = self.ran.json();
        let proofs = document["proofs"]
            .as_array()
            .unwrap_or_else(|| panic!("no proofs: {}", self.ran));
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        proofs
            .iter()
            .map(|proof| (text(&proof["credential"]), text(&proof["proof"])))
            .collect()
    }
}

pub fn all_names() -> Vec<&'static str> {
    CREDENTIALS.into_iter().map(|(name, _)| name).collect()
}

fn nobody_notices(node: &Node) {
    let renewal = Renewal::of(node, "[restart]\nscope = \"needed\"\n");
    println!(
        "{}; the run took {:.1} s",
        renewal.polls,
        renewal.ran.took.as_secs_f64()
    );
    assert_eq!(renewal.ran.code, 0, "{}", renewal.ran);
    assert_eq!(renewal.renewed(node), all_names());
    assert_eq!(
        renewal.restarted(node),
        [CONTROLLER_MANAGER, SCHEDULER],
        "{}",
        renewal.ran
    );
    let proofs = [
        ("admin.conf", "accepted"),
        ("apiserver", "served"),
        ("apiserver-etcd-client", "accepted"),
        ("apiserver-kubelet-client", "accepted"),
        ("controller-manager.conf", "restarted"),
        ("etcd-healthcheck-client", "accepted"),
        ("etcd-peer", "served"),
        ("etcd-server", "served"),
        ("front-proxy-client", "assumed"),
        ("scheduler.conf", "restarted"),
    ];
    let proofs = proofs.map(|(credential, proof)| (credential.to_owned(), proof.to_owned()));
    assert_eq!(renewal.proofs(), BTreeSet::from(proofs), "{}", renewal.ran);
    assert!(renewal.polls.tried > 10, "the poller polls: {}", renewal.polls);
    assert_eq!(renewal.polls.failed, 0, "{}", renewal.polls);
    node.uses_its_files();
    node.settle();
}

/// Prints the outages as ratios; `make bench` has the bound. One sample on a shared machine is
/// noise.
fn outage_is_compared(node: &Node) {
    let documented = baseline(node);
    let [touch, park] = ["touch", "park"].map(|method| {
        node.settle();
        let renewal = Renewal::of(
            node,
            &format!("[restart]\nscope = \"all\"\nmethod = \"{method}\"\ngrace = \"1s\"\n"),
        );
        assert_eq!(renewal.ran.code, 0, "{}", renewal.ran);
        assert_eq!(renewal.renewed(node), all_names());
        assert_eq!(renewal.restarted(node), components::ALL, "{}", renewal.ran);
        node.uses_its_files();
        renewal.polls
    });
    println!("all four restarted                        API server unreachable");
    for (how, polls) in [
        ("moved out, 20 s, moved back", documented),
        ("kubecertd, touch, grace 1 s", touch),
        ("kubecertd, park, grace 1 s", park),
    ] {
        let ratio = polls.outage.as_secs_f64() / documented.outage.as_secs_f64();
        println!("{how:<40} {polls}, {ratio:.2} of the first");
    }
    assert!(
        park.failed > 0,
        "an API server that is restarted is away for a moment: {park}"
    );
}

fn a_broken_manifest(node: &Node) {
    let path = format!("{MANIFESTS}/kube-scheduler.yaml");
    let (good, broken) = (node.read(&path), "apiVersion: v1\nkind: Pod\n  metadata: [\n");
    node.write(&path, broken);
    let names = ["controller-manager.conf", "scheduler.conf"];
    let renewal = Renewal::of_these(node, "[restart]\nscope = \"needed\"\ntimeout = \"60s\"\n", &names);
    assert_eq!(node.read(&path), broken, "what somebody is at work on is left alone");
    let ran = &renewal.ran;
    assert!(ran.stdout.contains("kube-scheduler.yaml"), "it is reported: {ran}");
    // Both are renewed, and one is not proven.
    assert_eq!(ran.code, 0, "{ran}");
    assert_eq!(renewal.renewed(node), names);
    let proof = |credential: &str, proof: &str| (credential.to_owned(), proof.to_owned());
    let proofs = [proof(names[0], "restarted"), proof(names[1], "pending")];
    assert_eq!(renewal.proofs(), BTreeSet::from(proofs), "{ran}");
    assert!(renewal.restarted(node).contains(&CONTROLLER_MANAGER), "{ran}");
    for untouched in [ETCD, API_SERVER] {
        assert!(
            !renewal.restarted(node).contains(&untouched),
            "{untouched} was restarted: {ran}"
        );
    }
    assert_eq!(renewal.polls.failed, 0, "{}", renewal.polls);
    node.write(&path, &good);
    node.settle();
    node.uses_its_files();
}

fn without_a_kubelet(node: &Node) {
    node.stop_kubelet();
    let names = ["controller-manager.conf", "scheduler.conf"];
    let renewal = Renewal::of_these(node, "[restart]\nscope = \"needed\"\ntimeout = \"20s\"\n", &names);
    let ran = &renewal.ran;
    assert!(
        ran.took < Duration::from_secs(120),
        "it does not wait for nobody: {ran}"
    );
    assert_eq!(ran.code, 0, "{ran}");
    assert_eq!(renewal.renewed(node), names);
    assert_eq!(renewal.restarted(node), [""; 0], "nobody would start them again: {ran}");
    let document = ran.json();
    let pending = document["pending_restarts"].as_array().expect("a list").iter();
    let pending: Vec<_> = pending
        .map(|restart| restart["reader"].as_str().unwrap_or_default())
        .collect();
    assert_eq!(pending, [CONTROLLER_MANAGER, SCHEDULER], "{ran}");
    assert_eq!(renewal.polls.failed, 0, "{}", renewal.polls);
    node.uses_its_files();

    // The kubelet is back: the next cycle does what was left.
    node.start_kubelet();
    node.wait("the kubelet answers", Duration::from_secs(60), || {
        node.answers_plainly(10248, "/healthz").contains(" 200 ")
    });
    node.kubecertd(&["renew"]).exits(0);
    assert_eq!(renewal.restarted(node), [CONTROLLER_MANAGER, SCHEDULER]);
}

fn killed_while_parked(node: &Node) {
    node.configure("[restart]\nscope = \"all\"\nmethod = \"park\"\n");
    let before: BTreeMap<_, _> = manifests(node)
        .into_iter()
        .map(|name| (name.clone(), manifest(node, &name)))
        .collect();
    assert_eq!(before.len(), 4);
    let processes = node.processes();
    let mut run = node.start_kubecertd(&["renew", "all"]);
    let begin = Instant::now();
    while manifests(node).len() == before.len() {
        assert!(
            begin.elapsed() < Duration::from_secs(120),
            "no manifest was parked within two minutes"
        );
        assert!(
            run.try_wait().expect("it is ours").is_none(),
            "it ended without having parked a manifest"
        );
        thread::sleep(Duration::from_millis(2));
    }
    kill(&mut run);
    let left = manifests(node);
    let parked: Vec<_> = before.keys().filter(|name| !left.contains(*name)).collect();
    println!("killed while {parked:?} were parked");
    assert!(!parked.is_empty(), "one came back in the meantime: {left:?}");
    for component in parked.iter().map(|name| name.trim_end_matches(".yaml")) {
        node.wait("the kubelet has ended the parked pod", Duration::from_secs(60), || {
            node.processes().get(component) != processes.get(component)
        });
    }

    node.kubecertd(&["recover"]).exits(0);
    assert_eq!(
        manifests(node).len(),
        4,
        "every manifest is there: {:?}",
        manifests(node)
    );
    let annotation = |text: &str| {
        text.lines()
            .find(|line| line.contains("kubecertd.io/restarted-at"))
            .map(str::to_owned)
    };
    for name in parked {
        let (now, then) = (annotation(&manifest(node, name)), annotation(&before[name]));
        assert_ne!(now, then, "{name} has a fresh annotation");
    }
    for name in left {
        assert_eq!(manifest(node, &name), before[&name], "{name} was not its turn yet");
    }
    node.settle();
    node.kubecertd(&["renew"]).exits(0);
    node.settle();
    node.uses_its_files();
}

/// Names that the kubelet reads.
fn manifests(node: &Node) -> BTreeSet<String> {
    let entries = fs::read_dir(node.path(MANIFESTS))
        .expect("the manifests directory")
        .flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    names.filter(|name| !name.starts_with('.')).collect()
}

fn manifest(node: &Node, name: &str) -> String {
    node.read(&format!("{MANIFESTS}/{name}"))
}

/// Ends the binary that nsenter(1) runs: nsenter's one child, which has the node's process numbers.
fn kill(nsenter: &mut Child) {
    let pid = nsenter.id();
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).expect("nsenter runs");
    let killed = Command::new("kill")
        .arg("-KILL")
        .args(children.split_whitespace())
        .status();
    assert!(killed.expect("kill(1) starts").success(), "killed {children}");
    nsenter.wait().expect("it can be waited for");
}
