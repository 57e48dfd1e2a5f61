//! A real etcd with the certificates of a node, as its manifest starts it: started and ended by the
//! test, on 127.0.0.1.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::Node;
use super::clock::now;
use super::credential::manifest;

/// Maximum wait for a condition.
const DEADLINE: Duration = Duration::from_secs(60);

/// One member.
pub struct Etcd {
    child: Option<Child>,
    arguments: Vec<String>,
    log: std::path::PathBuf,
    /// The port of its client API on 127.0.0.1.
    pub client_port: u16,
}

/// Returns a port that no process listens on now. Each process has its own part of those below the
/// kernel's (`ip_local_port_range`), so that neither another test nor the end of another connection
/// takes it before it is used.
pub fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let step = std::process::id()
            .wrapping_mul(50)
            .wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = 10_000 + u16::try_from(step % 20_000).expect("it is less");
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// A node whose credentials are good at the machine's own time, and whose etcd manifest names ports
/// that are free here.
pub fn node(tree: &str) -> Node {
    let node = Node::of(tree);
    node.run(&now(), &["renew", "all", "--force"]).exits(0);
    std::fs::remove_dir_all(node.path("var/lib/kubecertd")).expect("the state of the renewal");
    std::fs::remove_dir_all(node.path("var/lib/etcd")).expect("the data that is no etcd's");
    let [client, peer, metrics] = [free_port(), free_port(), free_port()];
    let path = manifest("etcd");
    let text = node.read(&path);
    let text = text.replace(
        "--listen-client-urls=https://127.0.0.1:2379,https://10.0.0.11:2379",
        &format!("--listen-client-urls=https://127.0.0.1:{client}"),
    );
    let text = text.replace("https://10.0.0.11:2379", &format!("https://127.0.0.1:{client}"));
    let text = text.replace("https://10.0.0.11:2380", &format!("https://127.0.0.1:{peer}"));
    let text = text.replace("http://127.0.0.1:2381", &format!("http://127.0.0.1:{metrics}"));
    node.rewrite(&path, text.as_bytes());
    node
}

impl Etcd {
    /// Starts the member that the node's manifest describes; its paths are below the node's root.
    pub fn start(node: &Node) -> Self {
        let mut etcd = Self::of(node);
        etcd.run();
        etcd.is_healthy(node);
        etcd
    }

    /// The member that the node's manifest describes, not started yet.
    pub fn of(node: &Node) -> Self {
        let root = node.root();
        let below = |path: &str| format!("={}{path}", root.display());
        // Flags that etcd 3.4 does not have yet.
        let newer = ["--feature-gates", "--watch-progress-notify-interval", "--experimental"];
        let text = node.read(&manifest("etcd"));
        let flags = text.lines().filter_map(|line| line.strip_prefix("    - --"));
        let flags = flags.map(|flag| format!("--{flag}"));
        let flags = flags.filter(|flag| !newer.iter().any(|newer| flag.starts_with(newer)));
        let arguments: Vec<String> = flags
            .map(|flag| {
                flag.replace("=/etc/kubernetes", &below("/etc/kubernetes"))
                    .replace("=/var/lib/etcd", &below("/var/lib/etcd"))
            })
            .collect();
        let client_port = arguments
            .iter()
            .find_map(|flag| {
                flag.strip_prefix("--listen-client-urls=")?
                    .rsplit_once(':')?
                    .1
                    .parse()
                    .ok()
            })
            .expect("a port");
        Self {
            child: None,
            arguments,
            log: node.scratch("etcd.log"),
            client_port,
        }
    }

    /// Starts it (again), without waiting.
    pub fn run(&mut self) {
        let log = std::fs::File::create(&self.log).expect("a log");
        let child = Command::new("etcd")
            .args(&self.arguments)
            .env("ETCD_UNSUPPORTED_ARCH", "arm64")
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log"))
            .stderr(log)
            .spawn()
            .expect("etcd starts");
        self.child = Some(child);
    }

    /// Plays the kubelet while a command runs: ends the member when its manifest is taken out,
    /// starts it when the manifest is there, and again when it has ended by itself.
    pub fn under_a_kubelet<T>(&mut self, node: &Node, run: impl FnOnce() -> T) -> T {
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let wanted = node.path(&manifest("etcd")).exists();
                    match (wanted, self.is_running()) {
                        (true, false) => self.run(),
                        (false, true) => self.stop(),
                        _ => {}
                    }
                    std::thread::sleep(Duration::from_millis(20));
                }
            });
            let ran = run();
            done.store(true, Ordering::Relaxed);
            ran
        })
    }

    pub fn is_running(&mut self) -> bool {
        let child = self.child.as_mut();
        child.is_some_and(|child| child.try_wait().expect("a child of ours").is_none())
    }

    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("it runs").id()
    }

    /// Waits until it answers.
    #[track_caller]
    pub fn is_healthy(&mut self, node: &Node) {
        let deadline = Instant::now() + DEADLINE;
        while !self.ctl(node, &["endpoint", "health"]).0 {
            let ended = self.child.as_mut().and_then(|child| child.try_wait().ok()?);
            assert!(
                ended.is_none() && Instant::now() < deadline,
                "etcd does not answer ({ended:?}):\n{}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Runs etcdctl with the healthcheck client's certificate. Returns if it succeeded, and its
    /// output.
    pub fn ctl(&self, node: &Node, arguments: &[&str]) -> (bool, String) {
        let output = self.command(node, arguments).output().expect("etcdctl starts");
        let text = format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        (output.status.success(), text)
    }

    fn command(&self, node: &Node, arguments: &[&str]) -> Command {
        let pki = node.path("etc/kubernetes/pki/etcd");
        let of = |name: &str| pki.join(name).display().to_string();
        let mut command = Command::new("etcdctl");
        command
            .env("ETCDCTL_API", "3")
            .args(["--endpoints", &self.endpoint()])
            .args(["--cacert", &of("ca.crt"), "--cert", &of("healthcheck-client.crt")])
            .args(["--key", &of("healthcheck-client.key"), "--command-timeout", "20s"])
            .args(arguments);
        command
    }

    #[track_caller]
    pub fn put(&self, node: &Node, key: &str, value: &str) {
        let (done, said) = self.ctl(node, &["put", key, value]);
        assert!(done, "put {key}: {said}");
    }

    /// A value that is too long for a command line.
    #[track_caller]
    pub fn put_long(&self, node: &Node, key: &str, value: &str) {
        use std::io::Write as _;
        let mut child = self
            .command(node, &["put", key])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("etcdctl starts");
        let mut pipe = child.stdin.take().expect("a pipe");
        pipe.write_all(value.as_bytes()).expect("etcdctl reads");
        drop(pipe);
        assert!(child.wait().expect("a child of ours").success(), "put {key}");
    }

    /// Every key and value, as etcdctl prints them.
    #[track_caller]
    pub fn everything(&self, node: &Node, prefix: &str) -> String {
        let (done, said) = self.ctl(node, &["get", "--prefix", prefix]);
        assert!(done, "get {prefix}: {said}");
        said
    }

    /// Sends SIGTERM and waits for its end.
    pub fn stop(&mut self) {
        self.signal("-TERM");
        self.wait();
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.signal("-KILL");
        self.wait();
    }

    /// The URL of its client API, for etcdctl.
    pub fn endpoint(&self) -> String {
        format!("https://127.0.0.1:{}", self.client_port)
    }

    fn signal(&self, signal: &str) {
        let done = Command::new("kill").args([signal, &self.pid().to_string()]).status();
        assert!(done.expect("kill starts").success());
    }

    fn wait(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.wait().expect("a child of ours");
        }
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Three members that share the node's certificates; the first is the one of its manifest, which
/// names all three afterwards.
pub fn three(node: &Node) -> Vec<Etcd> {
    let path = manifest("etcd");
    let text = node.read(&path);
    let own = text
        .lines()
        .find_map(|line| line.split_once("--initial-cluster="))
        .expect("the flag")
        .1;
    let others = ["master02", "master03"].map(|name| (name, free_port(), free_port()));
    let cluster: Vec<_> = std::iter::once(own.to_owned())
        .chain(
            others
                .iter()
                .map(|(name, peer, _)| format!("{name}=https://127.0.0.1:{peer}")),
        )
        .collect();
    node.rewrite(&path, text.replace(own, &cluster.join(",")).as_bytes());
    let first = Etcd::of(node);
    let mut all = Vec::new();
    for (name, peer, client) in others {
        let flag = |flag: &String| {
            let (key, _) = flag.split_once('=').unwrap_or((flag, ""));
            match key {
                "--name" => format!("{key}={name}"),
                "--data-dir" => format!("{key}={}", node.scratch(name).display()),
                "--listen-client-urls" | "--advertise-client-urls" => format!("{key}=https://127.0.0.1:{client}"),
                "--listen-peer-urls" | "--initial-advertise-peer-urls" => format!("{key}=https://127.0.0.1:{peer}"),
                "--listen-metrics-urls" => format!("{key}=http://127.0.0.1:{}", free_port()),
                _ => flag.clone(),
            }
        };
        all.push(Etcd {
            child: None,
            arguments: first.arguments.iter().map(flag).collect(),
            log: node.scratch(&format!("{name}.log")),
            client_port: client,
        });
    }
    all.insert(0, first);
    all.iter_mut().for_each(Etcd::run);
    all.iter_mut().for_each(|member| member.is_healthy(node));
    all
}

/// Fills the store with `count` keys below `/filler/` of a mebibyte each.
pub fn fill(etcd: &Etcd, node: &Node, count: usize) {
    let value = "0123456789abcdef".repeat(1 << 16);
    for n in 0..count {
        etcd.put_long(node, &format!("/filler/{n:06}"), &value);
    }
}
