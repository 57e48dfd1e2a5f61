//! A real node: started, observed and ended by the test.

use std::fs;
use std::io::{BufRead, BufReader, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// Address of the node's API server.
pub const API: &str = "10.0.0.11:6443";
/// Namespaces, images and kubeadm's phases take ten seconds on an idle machine.
const START: Duration = Duration::from_secs(180);
/// From the start of the kubelet until all four components are healthy: twenty seconds on an idle
/// machine.
pub const SETTLE: Duration = Duration::from_secs(180);
/// No command on the node takes longer.
const COMMAND_SECONDS: &str = "300";
/// parts.sh: they are not available on this system.
const NOT_HERE: i32 = 77;

pub struct Node {
    /// Process 1 of the node ends when this is closed.
    life: Option<ChildStdin>,
    shell: Child,
    /// Name of the node and of its cgroups.
    pub name: String,
    /// Process 1 of the node, by its id on this machine.
    init: String,
    path: String,
}

/// Result of a command on the node.
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
    pub took: Duration,
    command: String,
}

impl Node {
    /// A node whose four components are healthy, or `None` if its parts are not available.
    pub fn up() -> Option<Self> {
        let begin = Instant::now();
        let parts = parts()?;
        let repository = env!("CARGO_MANIFEST_DIR");
        let binary = Path::new(env!("CARGO_BIN_EXE_kubecertd"));
        let target = binary.parent().expect("the binary is in a directory");
        let mut log = tempfile::tempfile().expect("a temporary file");
        // In a session of its own: a signal to the test's process group leaves it the time to
        // remove its cgroups.
        let mut shell = Command::new("setsid")
            .arg(format!("{repository}/packaging/e2e/node.sh"))
            .args([&parts, Path::new(repository), target])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log.try_clone().expect("a second handle"))
            .spawn()
            .expect("setsid(1) starts");
        let life = shell.stdin.take();
        let Some(line) = first_line(&mut shell) else {
            let mut said = String::new();
            log.rewind().expect("a file can be read again");
            log.read_to_string(&mut said).expect("its output is UTF-8");
            panic!("the node did not start within {START:?}:\n{said}");
        };
        let mut words = line.split_whitespace().skip(1).map(str::to_owned);
        let (name, init) = words.next().zip(words.next()).expect("node NAME PID");
        let path = format!("{}/bin:/usr/sbin:/usr/bin:/sbin:/bin", parts.display());
        let node = Node {
            life,
            shell,
            name,
            init,
            path,
        };
        node.settle();
        println!("node {}: up after {:.1} s", node.name, begin.elapsed().as_secs_f64());
        Some(node)
    }

    /// Waits until every component is healthy.
    #[track_caller]
    pub fn settle(&self) {
        self.wait("all four components are healthy", SETTLE, || {
            self.unhealthy().is_empty()
        });
    }

    /// Waits for a condition, and panics with what the node's parts say of it when it does not come
    /// true.
    #[track_caller]
    pub fn wait(&self, what: &str, limit: Duration, holds: impl Fn() -> bool) -> Duration {
        let begin = Instant::now();
        while !holds() {
            assert!(
                begin.elapsed() <= limit,
                "not within {limit:?}: {what}\n{}",
                self.state()
            );
            thread::sleep(Duration::from_millis(100));
        }
        begin.elapsed()
    }

    /// Returns the logs that a person would read first.
    fn state(&self) -> String {
        let script = "(tail -n 5 /var/log/pods/*/*/*.log; grep -v network.plugin /var/log/kubelet.log | tail -n 15) | cut -c -300;
            ls -la /etc/kubernetes/manifests";
        format!("unhealthy: {:?}\n{}", self.unhealthy(), self.run(&["sh", "-c", script]))
    }

    /// A path on the node as this machine sees it: `/etc/kubernetes/admin.conf`.
    pub fn path(&self, path: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{path}", self.init))
    }

    #[track_caller]
    pub fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// Writes a file of root's (0600), in one rename from a name that the kubelet does not read.
    #[track_caller]
    pub fn write(&self, path: &str, content: &str) {
        let (directory, name) = path.rsplit_once('/').expect("an absolute path");
        let new = format!("{directory}/.{name}.e2e");
        self.run_with(
            &["sh", "-c", &format!("umask 077 && cat >{new} && mv {new} {path}")],
            content,
        )
        .exits(0);
    }

    pub fn configure(&self, toml: &str) {
        self.run(&["install", "-d", "-m", "0755", "/etc/kubecertd"]).exits(0);
        self.write("/etc/kubecertd/config.toml", toml);
    }

    /// Path of the node's network namespace.
    pub fn network(&self) -> String {
        format!("/proc/{}/ns/net", self.init)
    }

    fn entered(&self) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["-a", "-t", &self.init, "env", "-i"]);
        command.args([&format!("PATH={}", self.path), "HOME=/root", "TZ=UTC"]);
        command.stdin(Stdio::null());
        command
    }

    /// Runs a command on the node.
    #[track_caller]
    pub fn run(&self, command: &[&str]) -> Ran {
        self.run_with(command, "")
    }

    /// As [`Self::run`], with this on its standard input.
    #[track_caller]
    pub fn run_with(&self, command: &[&str], input: &str) -> Ran {
        let begin = Instant::now();
        let mut child = self
            .entered()
            .args(["timeout", "-s", "KILL", COMMAND_SECONDS])
            .args(command)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("nsenter(1) starts");
        // A command that does not read its input may have ended already.
        let _ = child.stdin.take().expect("it is a pipe").write_all(input.as_bytes());
        let output = child.wait_with_output().expect("it can be waited for");
        let ran = Ran::new(command.join(" "), &output, begin.elapsed());
        assert!(ran.code != 137, "killed after {COMMAND_SECONDS} s, it hangs: {ran}");
        ran
    }

    /// Runs the binary on the node.
    #[track_caller]
    pub fn kubecertd(&self, args: &[&str]) -> Ran {
        let ran = self.run(&[&[env!("CARGO_BIN_EXE_kubecertd")], args].concat());
        assert!(!ran.stderr.contains("panicked at"), "it panics: {ran}");
        ran
    }

    /// Starts the binary on the node, and leaves it running.
    pub fn start_kubecertd(&self, args: &[&str]) -> Child {
        self.entered()
            .arg(env!("CARGO_BIN_EXE_kubecertd"))
            .args(args)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("nsenter(1) starts")
    }

    /// kubectl with the admin.conf that is on the node now.
    #[track_caller]
    pub fn kubectl(&self, args: &[&str]) -> Ran {
        let credential = [
            "kubectl",
            "--kubeconfig",
            "/etc/kubernetes/admin.conf",
            "--request-timeout=10s",
        ];
        self.run(&[&credential, args].concat())
    }

    pub fn stop_kubelet(&self) {
        self.run(&["/run/e2e/stop-kubelet"]).exits(0);
    }

    pub fn start_kubelet(&self) {
        self.run(&["/run/e2e/start-kubelet"]).exits(0);
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        drop(self.life.take());
        // It ends within seconds, or is left to the machine: nothing here can do more than end its
        // process 1.
        let _ = self.shell.wait();
    }
}

/// The directory of the real parts; `None` if they are not available.
fn parts() -> Option<PathBuf> {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| repository.join("target"), PathBuf::from);
    let parts = target.join("e2e-parts");
    let status = Command::new(repository.join("packaging/e2e/parts.sh"))
        .arg(&parts)
        .status()
        .expect("parts.sh starts");
    if status.code() == Some(NOT_HERE) && std::env::var_os("CI").is_none() {
        println!("skipped: the parts of a real node cannot be had on this system");
        return None;
    }
    assert!(status.success(), "parts.sh: {status}");
    Some(parts)
}

fn first_line(shell: &mut Child) -> Option<String> {
    let stdout = shell.stdout.take().expect("it is a pipe");
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut line = String::new();
        if BufReader::new(stdout).read_line(&mut line).is_ok_and(|read| read > 0) {
            // No process listens any more when the deadline has passed.
            let _ = sender.send(line);
        }
    });
    receiver.recv_timeout(START).ok()
}

impl Ran {
    fn new(command: String, output: &Output, took: Duration) -> Self {
        Ran {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            took,
            command,
        }
    }

    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self}");
        self
    }

    /// Both streams hold this text between them.
    #[track_caller]
    pub fn says(self, text: &str) -> Self {
        assert!(
            self.stdout.contains(text) || self.stderr.contains(text),
            "nothing says {text:?}: {self}"
        );
        self
    }

    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("stdout is no JSON: {error}: {self}"))
    }
}

impl std::fmt::Display for Ran {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{}\nexit code {} after {:.1} s\n--- stdout\n{}--- stderr\n{}---",
            self.command,
            self.code,
            self.took.as_secs_f64(),
            self.stdout,
            self.stderr
        )
    }
}
