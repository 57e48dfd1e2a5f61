//! One node: a kubeadm tree that is the root of its own namespaces, its etcd member, and what is
//! done to it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use super::support::credential::manifest;
use super::support::openssl::{Authority, openssl};
use super::support::{self, clock, faketime_library, set_mode};

/// No condition is waited for longer.
const DEADLINE: Duration = Duration::from_secs(60);

/// The journal of a transaction, and the directory that restarts leave files in.
pub const STATE: &str = "var/lib/kubecertd";
pub const EVENTS: &str = "events";

pub struct Node {
    pub number: usize,
    pub name: String,
    pub address: String,
    pub tree: support::Node,
    /// Process 1 of the node, as the test sees it.
    pub init: u32,
    arguments: Vec<String>,
    /// The node ends when this is closed.
    _life: ChildStdin,
    shell: Child,
    etcd: std::sync::Mutex<Option<Child>>,
}

pub fn name(number: usize) -> String {
    format!("master{:02}", number + 1)
}

pub fn address(number: usize) -> String {
    format!("10.77.0.{}", number + 11)
}

impl Node {
    /// The node with this number among `count`. All have the same CAs; its etcd does not run yet.
    pub fn new(number: usize, count: usize) -> Self {
        let tree = support::Node::of(support::ECDSA);
        tree.run(&clock::now(), &["renew", "all", "--force"]).exits(0);
        for directory in ["var/lib/kubecertd", "var/lib/etcd"] {
            fs::remove_dir_all(tree.path(directory)).expect("what the renewal and the fixture left");
        }
        for (directory, mode) in [
            (STATE, 0o700),
            ("var/lib/etcd", 0o700),
            (EVENTS, 0o755),
            ("var/log", 0o755),
        ] {
            fs::create_dir_all(tree.path(directory)).expect("a new directory");
            set_mode(&tree.path(directory), mode);
        }
        let (name, address) = (name(number), address(number));
        tree.write("etc/hostname", format!("{name}\n").as_bytes(), 0o644);
        tree.write("etc/machine-id", format!("{:032x}\n", number + 1).as_bytes(), 0o444);
        for script in ["etcd.sh", "restart.sh"] {
            tree.write(&format!("opt/{script}"), &script_text(script), 0o755);
        }
        for kind in ["server", "peer"] {
            issue(&tree, kind, &name, &address);
        }
        let arguments = etcd_arguments(&tree, number, count);
        let (shell, life, init) = boot(&tree, &name);
        Node {
            number,
            name,
            address,
            tree,
            init,
            arguments,
            _life: life,
            shell,
            etcd: std::sync::Mutex::new(None),
        }
    }

    /// A command on the node.
    pub fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command
            .args(["--target", &self.init.to_string()])
            .args(["--mount", "--net", "--uts", "--pid", "--root", "--wd=/"])
            .arg(program)
            .args(arguments)
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .stdin(Stdio::null());
        command
    }

    /// kubecertd on the node, with a wall clock that is this many seconds off.
    pub fn kubecertd(&self, skew: i64, arguments: &[&str]) -> Command {
        let library = format!("LD_PRELOAD={}", faketime_library());
        let skew = format!("FAKETIME={skew:+}");
        let clock = [
            &library,
            &skew,
            "FAKETIME_DONT_FAKE_MONOTONIC=1",
            "NO_FAKE_STAT=1",
            "/opt/kubecertd",
        ];
        self.command("env", &[&clock[..], arguments].concat())
    }

    /// ip(8) inside the node's network.
    #[track_caller]
    pub fn network(&self, arguments: &[&str]) {
        let target = self.init.to_string();
        super::lab::run("nsenter", &[&["--target", &target, "--net", "ip"], arguments].concat());
    }

    pub fn endpoint(&self) -> String {
        format!("https://{}:2379", self.address)
    }

    pub fn keep_etcd_running(&self) {
        let arguments: Vec<&str> = self.arguments.iter().map(String::as_str).collect();
        let mut command = self.command("/opt/etcd.sh", &arguments);
        command.env("ETCD_UNSUPPORTED_ARCH", "arm64");
        let child = command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("nsenter(1) starts");
        *self.etcd.lock().expect("no panic holds it") = Some(child);
    }

    /// Ends the member and holds it down.
    pub fn take_etcd_down(&self) {
        self.tree.write("run/etcd.down", b"", 0o644);
        let pid = fs::read_to_string(self.tree.path("run/etcd.pid")).expect("it was started");
        // It may have ended a moment ago, for a restart.
        let _ = self
            .command("kill", &["-KILL", pid.trim()])
            .stderr(Stdio::null())
            .status();
    }

    pub fn let_etcd_up(&self) {
        let _ = fs::remove_file(self.tree.path("run/etcd.down"));
    }

    /// Waits until the member answers, with a quorum.
    #[track_caller]
    pub fn etcd_is_well(&self) {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let (well, said) = self.ctl(&["endpoint", "health"]);
            if well {
                return;
            }
            let log = fs::read_to_string(self.tree.path("var/log/etcd.log")).unwrap_or_default();
            let end: Vec<&str> = log.lines().rev().take(20).collect();
            assert!(
                Instant::now() < deadline,
                "{}: etcd does not answer: {said}\n{}",
                self.name,
                end.join("\n")
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// etcdctl on the node: whether it succeeded, and what it printed.
    pub fn ctl(&self, arguments: &[&str]) -> (bool, String) {
        let pki = "/etc/kubernetes/pki/etcd";
        let (ca, certificate, key) = (
            format!("{pki}/ca.crt"),
            format!("{pki}/healthcheck-client.crt"),
            format!("{pki}/healthcheck-client.key"),
        );
        let options = [
            "--endpoints",
            "https://127.0.0.1:2379",
            "--cacert",
            &ca,
            "--cert",
            &certificate,
            "--key",
            &key,
            "--command-timeout",
            "3s",
        ];
        let mut command = self.command("etcdctl", &[&options[..], arguments].concat());
        let output = command.env("ETCDCTL_API", "3").output().expect("nsenter(1) starts");
        let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        (output.status.success(), text.concat())
    }

    pub fn serial(&self, certificate: &str) -> String {
        support::openssl::serial(&self.tree.read(&format!("etc/kubernetes/pki/{certificate}")))
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // Process 1 of the node takes everything with it.
        let _ = self.shell.kill();
        let _ = self.shell.wait();
        if let Some(mut etcd) = self.etcd.lock().ok().and_then(|mut etcd| etcd.take()) {
            let _ = etcd.kill();
            let _ = etcd.wait();
        }
    }
}

fn script(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/soak").join(name)
}

fn script_text(name: &str) -> Vec<u8> {
    fs::read(script(name)).expect("a script of this test")
}

/// The pair of an etcd member under its own name and address, as kubeadm makes it.
fn issue(tree: &support::Node, kind: &str, name: &str, address: &str) {
    let key = openssl(&["ecparam", "-name", "prime256v1", "-genkey", "-noout"]);
    let extensions = format!(
        "keyUsage=critical,digitalSignature,keyEncipherment\nextendedKeyUsage=serverAuth,clientAuth\n\
         basicConstraints=critical,CA:FALSE\nauthorityKeyIdentifier=keyid\n\
         subjectAltName=DNS:{name},DNS:localhost,IP:{address},IP:127.0.0.1\n"
    );
    let from = clock::later(&clock::now(), -clock::DAY);
    let certificate = Authority::of(tree, "pki/etcd/ca").issue(&key, &format!("/CN={name}"), &extensions, &from, 365);
    tree.rewrite(&format!("etc/kubernetes/pki/etcd/{kind}.crt"), certificate.as_bytes());
    tree.rewrite(&format!("etc/kubernetes/pki/etcd/{kind}.key"), key.as_bytes());
}

/// Writes the manifest of a member of a cluster of `count`, of the version that is installed, and
/// gives its flags.
fn etcd_arguments(tree: &support::Node, number: usize, count: usize) -> Vec<String> {
    let path = manifest("etcd");
    let cluster: Vec<_> = (0..count)
        .map(|n| format!("{}=https://{}:2380", name(n), address(n)))
        .collect();
    let text = tree.read(&path);
    // What 3.4 does not know yet.
    let newer = ["--feature-gates", "--watch-progress-notify-interval"];
    let lines = text
        .lines()
        .filter(|line| !newer.iter().any(|flag| line.contains(flag)));
    let text = lines.map(|line| format!("{line}\n")).collect::<String>();
    let text = text
        .replace("master01=https://10.0.0.11:2380", &cluster.join(","))
        .replace(
            "--name=master01",
            &format!("--name={}\n    - --initial-cluster-state=new", name(number)),
        )
        .replace("10.0.0.11", &address(number))
        .replace("registry.k8s.io/etcd:3.6.8-0", "registry.k8s.io/etcd:3.4.23-0");
    tree.rewrite(&path, text.as_bytes());
    let api = manifest("kube-apiserver");
    tree.rewrite(&api, tree.read(&api).replace("10.0.0.11", &address(number)).as_bytes());
    let flags = text.lines().filter_map(|line| line.strip_prefix("    - --"));
    flags.map(|flag| format!("--{flag}")).collect()
}

/// Starts the node's namespaces and waits until its root is the root.
fn boot(tree: &support::Node, name: &str) -> (Child, ChildStdin, u32) {
    let mut shell = Command::new("unshare")
        .args(["--mount", "--net", "--uts", "--pid", "--fork", "--kill-child"])
        .arg(script("node.sh"))
        .arg(tree.root())
        .args([name, env!("CARGO_BIN_EXE_kubecertd")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("unshare(1) starts");
    let mut line = String::new();
    let output = shell.stdout.take().expect("a pipe");
    BufReader::new(output).read_line(&mut line).expect("node.sh speaks");
    assert_eq!(line, "ready\n", "node.sh fails");
    let init = child_of(shell.id()).expect("unshare(1) has a child");
    let life = shell.stdin.take().expect("a pipe");
    (shell, life, init)
}

/// The only child of a process: what unshare(1) and nsenter(1) run.
pub fn child_of(parent: u32) -> Option<u32> {
    let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).ok()?;
    children.split_whitespace().next()?.parse().ok()
}
