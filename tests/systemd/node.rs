//! A booted Debian with the tree of a kubeadm node.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::support::credential::{self, Credential, Material};
use crate::support::{self, clock};

/// No command on the node takes longer.
const COMMAND_SECONDS: &str = "300";
/// A boot takes three seconds on an idle machine.
const BOOT: Duration = Duration::from_secs(180);
/// For what a node does by itself.
pub const SOON: Duration = Duration::from_secs(90);

pub struct Node {
    directory: TempDir,
    nspawn: Child,
    /// Process 1 of the node, by its id on this machine.
    init: u32,
}

/// Result of a command on the node.
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
    command: String,
}

/// A directory below target/, made by `make e2e-systemd`.
pub fn made(path: &str) -> PathBuf {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("target").join(path);
    assert!(
        directory.exists(),
        "{} is missing: run make e2e-systemd",
        directory.display()
    );
    directory
}

/// The package in this directory whose name ends so.
pub fn package(directory: &str, end: &str) -> PathBuf {
    let directory = made(&format!("packages/{directory}"));
    let entries = fs::read_dir(&directory).expect("a directory");
    let mut all: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    all.retain(|path| path.to_str().expect("a path in UTF-8").ends_with(end));
    match &all[..] {
        [one] => one.clone(),
        _ => panic!("{}: one package {end} and not {all:?}", directory.display()),
    }
}

impl Node {
    /// Debian alone, with the package of this tree in /root.
    pub fn empty() -> Self {
        let base = made("systemd/base");
        let parent = base.parent().expect("a directory").to_owned();
        let directory = TempDir::with_prefix_in("node-", parent).expect("a directory beside it");
        let root = directory.path().join("root");
        run(Command::new("cp").args(["-a", "--reflink=auto"]).args([&base, &root]));
        fs::copy(package("out", ".deb"), root.join("root/kubecertd_0_amd64.deb")).expect("a copy of the package");
        let mut node = Node {
            nspawn: nspawn(&root),
            directory,
            init: 0,
        };
        let begin = Instant::now();
        while !node.is_up() {
            assert!(begin.elapsed() < BOOT, "it does not boot");
            thread::sleep(Duration::from_millis(100));
        }
        node
    }

    /// With kubeadm's tree, in which one certificate ends in twenty days of the machine's clock and
    /// the others in a year.
    pub fn with_one_due(name: &str) -> Self {
        let tree = support::Node::of(support::ECDSA);
        let from = clock::later(&clock::now(), -10 * clock::DAY);
        for leaf in credential::all_of(support::ECDSA) {
            leaf.set_validity(&tree, &from, if leaf.name == name { 30 } else { 375 });
        }
        let node = Self::empty();
        for part in ["etc/kubernetes", "var/lib/etcd"] {
            let to = node.path(part);
            run(Command::new("cp").arg("-a").args([&tree.path(part), &to]));
        }
        node.sh("chown -R 0:0 /etc/kubernetes /var/lib/etcd").exits(0);
        // Nothing keeps the clock of this node: it would be waited for.
        node.write("etc/kubecertd/config.d/clock.toml", "clock_wait = \"0s\"\n");
        node
    }

    fn is_up(&mut self) -> bool {
        let pid = self.nspawn.id();
        assert!(
            self.nspawn.try_wait().expect("a child").is_none(),
            "systemd-nspawn has ended"
        );
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        let Some(init) = children.split_whitespace().next().and_then(|pid| pid.parse().ok()) else {
            return false;
        };
        self.init = init;
        let state = self.run(&["systemctl", "is-system-running"]).stdout;
        // In a container some of Debian's own units may fail.
        ["running", "degraded"].contains(&state.trim())
    }

    /// A path on the node: `etc/kubernetes/admin.conf`.
    pub fn path(&self, path: &str) -> PathBuf {
        assert!(!path.starts_with('/'), "{path} would leave the node");
        self.directory.path().join("root").join(path)
    }

    #[track_caller]
    pub fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    #[track_caller]
    pub fn write(&self, path: &str, content: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
        fs::write(&path, content).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }

    pub fn material(&self, leaf: &Credential) -> Material {
        let [certificate, key] = &leaf.files()[..] else {
            panic!("{} is no pair", leaf.name)
        };
        Material {
            certificate: self.read(certificate),
            key: self.read(key),
        }
    }

    /// Runs a command in the namespaces and the cgroup of the node.
    pub fn run(&self, words: &[&str]) -> Ran {
        let output = Command::new("nsenter")
            .args(["-t", &self.init.to_string(), "-m", "-p", "-u", "-i", "-n", "-C"])
            .args([
                "env",
                "-i",
                "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
                "LC_ALL=C.UTF-8",
                "HOME=/root",
                "DEBIAN_FRONTEND=noninteractive",
            ])
            .args(["timeout", COMMAND_SECONDS])
            .args(words)
            .stdin(Stdio::null())
            .output()
            .expect("nsenter(1) starts");
        Ran {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            command: words.join(" "),
        }
    }

    /// A line of shell, in /root.
    pub fn sh(&self, line: &str) -> Ran {
        self.run(&["sh", "-c", &format!("cd /root && {line}")])
    }

    pub fn install(&self) {
        self.sh("apt-get install -y ./kubecertd_*_amd64.deb").exits(0);
    }

    /// Returns the journal of the daemon and its commands.
    pub fn journal(&self) -> Vec<serde_json::Value> {
        let out = self
            .run(&["journalctl", "-o", "json", "--no-pager", "-t", "kubecertd"])
            .exits(0)
            .stdout;
        let lines = out
            .lines()
            .map(|line| serde_json::from_str(line).expect("journalctl prints JSON"));
        lines.collect()
    }

    /// The first line of the journal with this in its message, once it is there.
    #[track_caller]
    pub fn logs(&self, text: &str) -> serde_json::Value {
        let says = |line: &serde_json::Value| line["MESSAGE"].as_str().is_some_and(|message| message.contains(text));
        self.wait(&format!("the journal says: {text}"), || self.journal().iter().any(says));
        self.journal().into_iter().find(says).expect("it was there")
    }

    /// A property of kubecertd.service.
    pub fn property(&self, name: &str) -> String {
        let ran = self.run(&["systemctl", "show", "--value", "-p", name, "kubecertd"]);
        ran.exits(0).stdout.trim().to_owned()
    }

    /// Waits until the condition holds, and says what the node says of itself where it does not.
    #[track_caller]
    pub fn wait(&self, what: &str, holds: impl Fn() -> bool) {
        self.wait_for(SOON, what, holds);
    }

    /// The same, for what takes its time.
    #[track_caller]
    pub fn wait_for(&self, limit: Duration, what: &str, holds: impl Fn() -> bool) {
        let begin = Instant::now();
        while !holds() {
            if begin.elapsed() > limit {
                let status = self
                    .sh("systemctl status --no-pager -l kubecertd; journalctl -o short-iso --no-pager | tail -n 60");
                panic!("not within {limit:?}: {what}\n{status}");
            }
            thread::sleep(Duration::from_millis(200));
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // The end of process 1 is the end of all others of the node, and of systemd-nspawn.
        if self.init != 0 {
            let _ = Command::new("kill").args(["-KILL", &self.init.to_string()]).status();
        }
        let _ = Command::new("timeout")
            .args(["20", "tail", &format!("--pid={}", self.nspawn.id()), "-f", "/dev/null"])
            .status();
        let _ = self.nspawn.kill();
        let _ = self.nspawn.wait();
    }
}

fn nspawn(root: &Path) -> Child {
    Command::new("systemd-nspawn")
        .env("SYSTEMD_NSPAWN_UNIFIED_HIERARCHY", "1")
        .arg("-D")
        .arg(root)
        .arg(format!("--machine=kubecertd-{}", std::process::id()))
        .args([
            "--register=no",
            "--keep-unit",
            "--private-network",
            "--boot",
            "--console=passive",
            "--quiet",
        ])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::inherit())
        .spawn()
        .expect("systemd-nspawn starts")
}

#[track_caller]
pub fn run(command: &mut Command) {
    let output = command.output().expect("it starts");
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

impl Ran {
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self}");
        self
    }

    #[track_caller]
    pub fn says(self, text: &str) -> Self {
        assert!(
            self.stdout.contains(text) || self.stderr.contains(text),
            "{text:?} is missing in {self}"
        );
        self
    }
}

impl fmt::Display for Ran {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "`{}`: exit code {}\n{}{}",
            self.command, self.code, self.stdout, self.stderr
        )
    }
}
