//! docs/operations.md: every command in it is run as it stands there, in the situation that its
//! heading names.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::clock::now;
use crate::support::cluster::Cluster;
use crate::support::credential::manifest;
use crate::support::daemon::Daemon;
use crate::support::etcd::{self, Etcd};
use crate::support::tree::names;
use crate::support::{ECDSA, EXPIRED, Node, Ran};

const SETS: &str = "var/lib/kubecertd/backups";
const DATA: &str = "var/lib/etcd";

/// Heading to its commands, in order.
fn commands() -> BTreeMap<String, Vec<String>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operations.md");
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let (mut heading, mut inside, mut found) = (String::new(), false, BTreeMap::new());
    for line in text.lines() {
        if let Some(words) = line.strip_prefix("## ") {
            heading = words.to_owned();
        } else if line.starts_with("```") {
            assert!(inside || line == "```sh", "a block of another kind: {line}");
            inside = !inside;
        } else if inside {
            let list: &mut Vec<String> = found.entry(heading.clone()).or_default();
            list.push(line.to_owned());
        }
    }
    found
}

struct Place {
    node: Node,
    etcd: Option<Etcd>,
}

impl Place {
    fn new(node: Node) -> Self {
        Place { node, etcd: None }
    }

    /// A node with a running etcd, and a set of it.
    fn with_etcd() -> (Self, String) {
        let node = etcd::node(ECDSA);
        let path = manifest("etcd");
        node.rewrite(
            &path,
            node.read(&path).replace("/etcd:3.6.8-0", "/etcd:3.4.23-0").as_bytes(),
        );
        node.remove(&manifest("kube-apiserver"));
        node.configure("[restart]\ntimeout = \"20s\"\n");
        let etcd = Etcd::start(&node);
        etcd.put(&node, "/registry/a", "b");
        node.run(&now(), &["backup", "create"]).exits(0);
        let set = names(&node.path(SETS)).pop().expect("a backup");
        let place = Place { node, etcd: Some(etcd) };
        (place, set)
    }

    /// Runs the commands of a section; `codes` are the exit codes of those that do not end with 0.
    fn run(&mut self, heading: &str, names: &[(&str, &str)], codes: &[(&str, i32)]) -> Vec<Ran> {
        let all = commands();
        let lines = all.get(heading).unwrap_or_else(|| panic!("no section {heading:?}"));
        let mut ran = Vec::new();
        for line in lines {
            let fill = |word: &str| {
                names
                    .iter()
                    .fold(word.to_owned(), |word, (name, is)| word.replace(name, is))
            };
            let words: Vec<String> = line.split_whitespace().map(fill).collect();
            let code = codes
                .iter()
                .find(|(command, _)| command == line)
                .map_or(0, |(_, code)| *code);
            if words[0] == "kubecertd" {
                let words: Vec<&str> = words[1..].iter().map(String::as_str).collect();
                ran.push(self.kubecertd(&words).exits(code));
                continue;
            }
            let below = |word: &String| match word.strip_prefix('/') {
                Some(path) => self.node.path(path).display().to_string(),
                None => word.clone(),
            };
            let status = Command::new(&words[0]).args(words[1..].iter().map(below)).status();
            assert!(status.is_ok_and(|status| status.success()), "{line}");
        }
        ran
    }

    fn kubecertd(&mut self, words: &[&str]) -> Ran {
        let node = &self.node;
        let run = || node.run(&now(), words);
        match &mut self.etcd {
            Some(etcd) => etcd.under_a_kubelet(node, run),
            None => run(),
        }
    }

    fn has_its_key(&mut self) {
        let etcd = self.etcd.as_mut().expect("an etcd");
        etcd.is_healthy(&self.node);
        assert_eq!(etcd.everything(&self.node, "/registry/"), "/registry/a\nb\n");
    }
}

/// One test for each section that has commands.
#[test]
fn every_section_with_commands_is_tried_here() {
    let source = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file!())).expect("this file");
    let tried: Vec<_> = source
        .split("const SECTION: &str = \"")
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
        .collect();
    let mut sections: Vec<_> = commands().into_keys().collect();
    let mut tried: Vec<_> = tried
        .into_iter()
        .map(str::to_owned)
        .filter(|name| !name.starts_with(")."))
        .collect();
    sections.sort();
    tried.sort();
    assert_eq!(tried, sections);
}

#[test]
fn ready_for_it() {
    const SECTION: &str = "Prepare";
    let (mut place, _) = Place::with_etcd();
    let ran = place.run(SECTION, &[], &[]);
    assert!(
        ran[1].stdout.contains("snapshot, revision") && ran[2].stdout.contains(": good"),
        "{}",
        ran[2]
    );
}

#[test]
fn more_than_one_node() {
    const SECTION: &str = "More than one control-plane node";
    let mut cluster = Cluster::start(3);
    let mut daemon = Daemon::start(&cluster.nodes[1], &now(), &[]);
    daemon.says("Waiting; ");
    drop(daemon);
    let mark = "/kubecertd/lock/unfinished/node-2";
    assert!(cluster.ctl(0, &["put", mark, "{}"]).0);
    let node = cluster.nodes.remove(1);
    let ran = Place::new(node).run(SECTION, &[], &[]);
    assert!(
        ran[0].stdout.contains("members          node-1, node-2, node-3"),
        "{}",
        ran[0]
    );
    assert!(cluster.keys(0).is_empty(), "{}", ran[1]);
}

#[test]
fn i_do_not_know_why() {
    const SECTION: &str = "The cluster is down, and I do not know why";
    let mut place = Place::new(Node::of(EXPIRED));
    let before = place.node.snapshot();
    let ran = place.run(SECTION, &[], &[("kubecertd doctor", 1)]);
    assert!(ran[0].stdout.starts_with("fault "), "{}", ran[0]);
    assert!(ran[1].stdout.contains("<invalid>"), "{}", ran[1]);
    assert_eq!(before.changes(&place.node.snapshot()), Default::default());
}

#[test]
fn certificates_have_ended() {
    const SECTION: &str = "Certificates have expired, and the CA keys are on the node";
    let mut place = Place::new(Node::of(EXPIRED));
    let ran = place.run(SECTION, &[], &[]);
    assert!(!ran[2].stdout.contains("<invalid>"), "{}", ran[2]);
}

#[test]
fn files_are_gone_or_wrong_and_the_restore_was_the_wrong_one() {
    const SECTION: &str = "Certificates, keys, kubeconfigs or manifests are gone or wrong";
    let mut place = Place::new(Node::of(ECDSA));
    place.node.run(&now(), &["backup", "create"]).exits(0);
    let set = names(&place.node.path(SETS)).remove(0);
    let admin = place.node.read("etc/kubernetes/admin.conf");
    place.node.run(&now(), &["renew", "admin.conf"]).exits(0);
    let renewed = place.node.read("etc/kubernetes/admin.conf");
    fs::remove_dir_all(place.node.path("etc/kubernetes/pki")).expect("the PKI");
    place.run(SECTION, &[("ID", &set)], &[]);
    assert_eq!(place.node.read("etc/kubernetes/admin.conf"), admin);
    second(place, &renewed);
}

fn second(mut place: Place, renewed: &str) {
    const SECTION: &str = "The restore was the wrong one";
    let last = names(&place.node.path(SETS)).pop().expect("a backup");
    place.run(SECTION, &[("LAST", &last)], &[]);
    assert_eq!(place.node.read("etc/kubernetes/admin.conf"), renewed);
}

#[test]
fn the_data_of_the_only_member_is_gone() {
    const SECTION: &str = "The data of etcd is gone or damaged, on the only control-plane node";
    let (mut place, set) = Place::with_etcd();
    place.etcd.as_mut().expect("an etcd").kill();
    fs::remove_dir_all(place.node.path(DATA)).expect("the data");
    fs::remove_dir_all(place.node.path("etc/kubernetes/pki")).expect("the PKI");
    place.run(SECTION, &[("ID", &set)], &[]);
    place.has_its_key();
}

#[test]
fn the_data_of_several_members_is_gone() {
    const SECTION: &str = "The data of etcd is gone or damaged, with several control-plane nodes";
    let node = etcd::node(ECDSA);
    let members = etcd::three(&node);
    node.run(&now(), &["backup", "create"]).exits(0);
    let set = names(&node.path(SETS)).remove(0);
    drop(members);
    let mut place = Place::new(node);
    let ran = place.run(SECTION, &[("ID", &set)], &[("kubecertd restore ID --etcd", 1)]);
    assert!(ran[0].stdout.contains("# on master03"), "{}", ran[0]);
}

#[test]
fn the_node_is_lost() {
    const SECTION: &str = "The node is lost, and a backup was copied away";
    let (mut place, set) = Place::with_etcd();
    place.etcd.as_mut().expect("an etcd").stop();
    let away = place.node.path("mnt");
    fs::create_dir(&away).expect("a directory");
    fs::rename(place.node.path(&format!("{SETS}/{set}")), away.join(&set)).expect("a rename");
    for directory in ["var/lib/kubecertd", DATA, "etc/kubernetes"] {
        fs::remove_dir_all(place.node.path(directory)).expect("a directory");
    }
    place.run(SECTION, &[("ID", &set)], &[]);
    place.has_its_key();
}
