//! A cluster of control-plane nodes on loopback: a root each, and a real etcd member each that
//! talks to the others over mutual TLS.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::clock::now;
use super::credential::manifest;
use super::etcd::{Etcd, free_port};
use super::{ECDSA, Node, Ran, STRACE};

/// Maximum wait for a condition.
const DEADLINE: Duration = Duration::from_secs(60);

/// Nodes and their members, in one order. The nodes are called `node-1`, `node-2` and so on, and so
/// are the members.
pub struct Cluster {
    pub nodes: Vec<Node>,
    pub members: Vec<Etcd>,
}

/// A kubecertd that a test started, with its output in a file; killed when the test ends.
pub struct Running {
    pub child: Child,
    log: std::path::PathBuf,
}

pub fn name(index: usize) -> String {
    format!("node-{}", index + 1)
}

/// Makes the nodes of one cluster, with credentials that are valid at the machine's own time.
/// Nothing runs yet.
pub fn nodes(count: usize) -> Vec<Node> {
    let first = Node::of(ECDSA);
    first.run(&now(), &["renew", "all", "--force"]).exits(0);
    std::fs::remove_dir_all(first.path("var/lib/kubecertd")).expect("the state of the renewal");
    std::fs::remove_dir_all(first.path("var/lib/etcd")).expect("the data that is no etcd's");
    // Old times: the guard waits a minute after files have changed.
    let old = Command::new("find")
        .arg(first.path("etc/kubernetes"))
        .args(["-type", "f", "-exec", "touch", "-d", "1 hour ago", "{}", "+"])
        .status();
    assert!(old.expect("find starts").success());
    let others: Vec<_> = (1..count).map(|_| Node::like(&first)).collect();
    let nodes: Vec<_> = std::iter::once(first).chain(others).collect();
    let ports: Vec<[u16; 3]> = nodes.iter().map(|_| [free_port(), free_port(), free_port()]).collect();
    let peers = ports.iter().enumerate();
    let peers = peers.map(|(n, [_, peer, _])| format!("{}=https://127.0.0.1:{peer}", name(n)));
    let all = peers.collect::<Vec<_>>().join(",");
    for (n, (node, ports)) in nodes.iter().zip(&ports).enumerate() {
        node.write("etc/hostname", format!("{}\n", name(n)).as_bytes(), 0o644);
        describe(node, &name(n), ports, &all);
    }
    nodes
}

/// Writes the node's manifests so that they speak of this member.
fn describe(node: &Node, name: &str, [client, peer, metrics]: &[u16; 3], all: &str) {
    let path = manifest("etcd");
    let (client, peer) = (
        format!("https://127.0.0.1:{client}"),
        format!("https://127.0.0.1:{peer}"),
    );
    let text = node.read(&path);
    let lines = text.lines().map(|line| {
        let flag = line.trim_start().strip_prefix("- --").unwrap_or_default();
        let (flag, _) = flag.split_once('=').unwrap_or_default();
        let value = match flag {
            "name" => name,
            "listen-client-urls" | "advertise-client-urls" => &client,
            "listen-peer-urls" | "initial-advertise-peer-urls" => &peer,
            "listen-metrics-urls" => &format!("http://127.0.0.1:{metrics}"),
            "initial-cluster" => all,
            _ => return format!("{line}\n"),
        };
        format!("    - --{flag}={value}\n")
    });
    node.rewrite(&path, lines.collect::<String>().as_bytes());
    // No API server runs here, and a node whose API server is down counts as unhealthy.
    node.remove(&manifest("kube-apiserver"));
}

impl Cluster {
    /// Starts a cluster of `count` members, and waits until each of them serves.
    pub fn start(count: usize) -> Self {
        Self::of(nodes(count))
    }

    /// Starts the members that these nodes' manifests describe.
    pub fn of(nodes: Vec<Node>) -> Self {
        let mut members: Vec<_> = nodes.iter().map(Etcd::of).collect();
        members.iter_mut().for_each(Etcd::run);
        for (member, node) in members.iter_mut().zip(&nodes) {
            member.is_healthy(node);
        }
        Self { nodes, members }
    }

    /// The same configuration on every node.
    pub fn configure(&self, toml: &str) {
        self.nodes.iter().for_each(|node| node.configure(toml));
    }

    /// Starts a member again that was stopped or killed, and waits until it serves.
    pub fn start_member(&mut self, index: usize) {
        self.members[index].run();
        self.members[index].is_healthy(&self.nodes[index]);
    }

    /// Runs etcdctl through one node's member. Returns if it succeeded, and its output.
    pub fn ctl(&self, index: usize, arguments: &[&str]) -> (bool, String) {
        self.members[index].ctl(&self.nodes[index], arguments)
    }

    /// Returns the value of a key as another client of etcd sees it; empty if it does not exist.
    #[track_caller]
    pub fn value(&self, index: usize, key: &str) -> String {
        let (done, said) = self.ctl(index, &["get", "--print-value-only", key]);
        assert!(done, "get {key}: {said}");
        said.trim_end().to_owned()
    }

    /// The keys below `/kubecertd/`.
    #[track_caller]
    pub fn keys(&self, index: usize) -> Vec<String> {
        let (done, said) = self.ctl(index, &["get", "--prefix", "--keys-only", "/kubecertd/"]);
        assert!(done, "get: {said}");
        said.lines()
            .filter(|line| line.starts_with('/'))
            .map(str::to_owned)
            .collect()
    }

    /// Runs the binary on a node, at the machine's own time.
    pub fn run(&self, index: usize, arguments: &[&str]) -> Ran {
        self.nodes[index].run(&now(), arguments)
    }

    /// Starts the binary on a node, at the machine's own time.
    pub fn spawn(&self, index: usize, arguments: &[&str]) -> Running {
        self.spawn_under(&[], index, arguments)
    }

    /// Starts the binary with a pause before each rename, so that replacing takes seconds.
    pub fn spawn_slowly(&self, index: usize, arguments: &[&str]) -> Running {
        let inject = "inject=rename,renameat,renameat2:delay_enter=250000";
        let strace = [&STRACE[..], &["-e", "trace=rename,renameat,renameat2", "-e", inject]].concat();
        self.spawn_under(&strace, index, arguments)
    }

    fn spawn_under(&self, wrapper: &[&str], index: usize, arguments: &[&str]) -> Running {
        let node = &self.nodes[index];
        let log = node.scratch(&format!("kubecertd-{}.log", arguments.join("-")));
        let file = std::fs::File::create(&log).expect("a log");
        let line = [wrapper, &[env!("CARGO_BIN_EXE_kubecertd")]].concat();
        let child = Command::new(line[0])
            .args(&line[1..])
            .arg("--root")
            .arg(node.root())
            .args(arguments)
            .env_remove("JOURNAL_STREAM")
            .env_remove("NOTIFY_SOCKET")
            .stdin(Stdio::null())
            .stdout(file.try_clone().expect("a log"))
            .stderr(file)
            .spawn()
            .expect("kubecertd starts");
        Running { child, log }
    }
}

impl Running {
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits until its output holds this text.
    #[track_caller]
    pub fn says(&self, text: &str) {
        until(
            &format!("it says {text:?}"),
            || self.log().contains(text),
            || self.log(),
        );
    }

    /// Waits for its end and returns the exit code.
    #[track_caller]
    pub fn ends(&mut self) -> i32 {
        let deadline = Instant::now() + DEADLINE;
        loop {
            if let Some(status) = self.child.try_wait().expect("a child of ours") {
                return status.code().unwrap_or(-1);
            }
            assert!(Instant::now() < deadline, "it does not end:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Sends a signal, as kill(1) names it: `-STOP`, `-CONT`, `-KILL`, `-TERM`.
    pub fn signal(&self, signal: &str) {
        let done = Command::new("kill")
            .args([signal, &self.child.id().to_string()])
            .status();
        assert!(done.expect("kill starts").success());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until something holds.
#[track_caller]
pub fn until(what: &str, mut holds: impl FnMut() -> bool, log: impl Fn() -> String) {
    let deadline = Instant::now() + DEADLINE;
    while !holds() {
        assert!(Instant::now() < deadline, "never: {what}\n{}", log());
        std::thread::sleep(Duration::from_millis(50));
    }
}
