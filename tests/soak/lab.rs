//! The lab: a network and nodes in it, in namespaces of the test's own.

use std::io::{BufRead, BufReader, Write as _};
use std::process::{Command, Stdio};

use super::node::Node;
use super::support::chance::Chance;

/// Set in the second process of a test, which is alone with its lab.
const INSIDE: &str = "KUBECERTD_SOAK_INSIDE";

/// The bridge that all nodes hang on, and the test's own address there.
const BRIDGE: &str = "br0";
const OWN: &str = "10.77.0.1/24";

/// A hardware address that no interface has: what is sent there is lost, as in a network that is
/// cut.
const NOWHERE: &str = "02:00:00:00:00:01";

/// Runs `body` in mount, network and process namespaces of its own, with a temporary directory in
/// memory: the test starts itself again. Everything in them ends with it, also when another process
/// kills it. `test` is the calling test, by its whole name; a wrong one is an error.
pub fn alone(test: &str, body: fn()) {
    if std::env::var_os(INSIDE).is_some() {
        ip(&["link", "add", BRIDGE, "type", "bridge"]);
        ip(&["address", "add", OWN, "dev", BRIDGE]);
        ip(&["link", "set", BRIDGE, "up"]);
        ip(&["link", "set", "lo", "up"]);
        run(
            "mount",
            &[
                "-t",
                "tmpfs",
                "-o",
                "mode=0755",
                "none",
                &std::env::temp_dir().display().to_string(),
            ],
        );
        return body();
    }
    let directory = tempfile::TempDir::with_prefix("kubecertd-soak-").expect("a temporary directory");
    let mut child = Command::new("setpriv")
        .args(["--pdeathsig", "KILL"])
        .args([
            "unshare",
            "--mount",
            "--propagation",
            "private",
            "--net",
            "--pid",
            "--fork",
            "--kill-child",
            "--mount-proc",
        ])
        .arg(std::env::current_exe().expect("the path of this test"))
        .args(["--exact", test, "--nocapture"])
        .env(INSIDE, "1")
        .env("TMPDIR", directory.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("setpriv(1) starts");
    let mut ran = false;
    for line in BufReader::new(child.stdout.take().expect("a pipe")).lines() {
        let line = line.expect("its output is UTF-8");
        ran |= line.contains("1 passed");
        println!("{line}");
    }
    let status = child.wait().expect("a child of ours");
    assert!(status.success() && ran, "{test} fails inside its namespaces ({status})");
}

/// A control plane: nodes that trust each other, and the wires between them.
pub struct Lab {
    pub nodes: Vec<Node>,
}

impl Lab {
    /// Starts `count` nodes whose etcd members have found each other.
    pub fn of(count: usize) -> Self {
        let nodes: Vec<Node> = (0..count).map(|number| Node::new(number, count)).collect();
        let lab = Lab { nodes };
        for node in &lab.nodes {
            let (outside, inside) = (wire(node.number), format!("inside{}", node.number));
            ip(&["link", "add", &outside, "type", "veth", "peer", "name", &inside]);
            ip(&["link", "set", &inside, "netns", &node.init.to_string()]);
            ip(&["link", "set", &outside, "master", BRIDGE, "up"]);
            node.network(&["link", "set", &inside, "name", "eth0"]);
            node.network(&["address", "add", &format!("{}/24", node.address), "dev", "eth0"]);
            node.network(&["link", "set", "eth0", "up"]);
        }
        lab.nodes.iter().for_each(Node::keep_etcd_running);
        lab.nodes.iter().for_each(Node::etcd_is_well);
        lab
    }

    /// Loses everything that two nodes send each other.
    pub fn cut(&self, one: usize, other: usize) {
        for (from, to) in [(one, other), (other, one)] {
            let to = &self.nodes[to].address;
            self.nodes[from].network(&[
                "neighbour",
                "replace",
                to,
                "lladdr",
                NOWHERE,
                "dev",
                "eth0",
                "nud",
                "permanent",
            ]);
        }
    }

    pub fn mend(&self, one: usize, other: usize) {
        for (from, to) in [(one, other), (other, one)] {
            let to = &self.nodes[to].address;
            self.nodes[from].network(&["neighbour", "delete", to, "dev", "eth0"]);
        }
    }

    /// Takes a node off the network, or puts it back.
    pub fn unplug(&self, node: usize) {
        ip(&["link", "set", &wire(node), "down"]);
    }

    pub fn plug(&self, node: usize) {
        ip(&["link", "set", &wire(node), "up"]);
    }

    /// A node by chance.
    pub fn any(&self, chance: &mut Chance) -> usize {
        chance.below(self.nodes.len())
    }
}

fn wire(number: usize) -> String {
    format!("wire{number}")
}

fn ip(arguments: &[&str]) {
    run("ip", arguments);
}

#[track_caller]
pub fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {}: {said}", arguments.join(" "));
}

/// One line of the record, shown at once.
pub fn say(line: &str) {
    println!("{line}");
    let _ = std::io::stdout().flush();
}
