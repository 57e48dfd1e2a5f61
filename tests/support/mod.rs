//! Shared parts of the integration tests: nodes made from the fixture trees, the program run on
//! them at a given time, and oracles that are not the program's own code (openssl, and a DER reader
//! written for the tests).
//!
//! Needs root (owners, mounts), openssl and libfaketime, as CONTRIBUTING.md says.
#![allow(dead_code, reason = "each test binary uses a part of this module")]

pub mod chance;
pub mod clock;
pub mod cluster;
pub mod credential;
pub mod daemon;
pub mod der;
pub mod etcd;
pub mod fake_etcd;
pub mod metrics;
pub mod mount;
pub mod openssl;
pub mod page;
pub mod renewal;
pub mod tree;

use std::fs;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};
use tempfile::TempDir;
use tree::Snapshot;

pub const RSA: &str = "kubeadm-1.36-rsa2048";
pub const ECDSA: &str = "kubeadm-1.36-ecdsa-p256";
pub const EXPIRED: &str = "kubeadm-1.36-expired";
pub const OLD_RELEASE: &str = "kubeadm-1.20-rsa2048";

/// Maximum duration of a run. The slowest one makes eleven RSA keys in a debug build.
const DEADLINE_SECONDS: &str = "120";

/// The mtime of every file of a fresh node, 2026-11-23 18:50 UTC: older than a minute on every
/// clock the tests set, so that kubecertd does not take the copying of the fixture for a running
/// kubeadm.
const MODIFIED: Duration = Duration::from_secs(1_795_459_800);

/// A directory that is a node's root, removed at the end of the test.
pub struct Node {
    directory: TempDir,
}

/// Result of a run of the program.
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
    command: String,
}

pub fn fixture(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(path)
}

/// A file of `fixtures/expected`, as kubeadm printed it.
pub fn expected(state: &str, format: &str) -> String {
    let path = fixture(&format!("expected/{state}/check-expiration.{format}"));
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The clock of the kubeadm run that printed a state in a format. The table has no seconds: any
/// clock of that minute will do.
///
/// This clock is ten times slower than the real one: a busy machine has ten seconds to start a
/// program within kubeadm's second.
pub fn kubeadm_clock(state: &str, format: &str) -> String {
    let document = if format == "text" { "json" } else { format };
    format!("{} x0.1", clock::of_expiration_document(&expected(state, document)))
}

impl Node {
    /// A copy of a fixture tree with the modes that kubeadm gives, and an etcd member directory
    /// with something in it.
    pub fn of(tree: &str) -> Self {
        let node = Node {
            directory: TempDir::with_prefix("kubecertd-node-").expect("a temporary directory"),
        };
        fs::create_dir(node.root()).expect("the root of the node");
        copy(&fixture(tree), &node.root());
        for (path, bytes) in [
            ("snap/db", 20_480),
            ("snap/0000000000000001-0000000000002711.snap", 500),
            ("wal/0.wal", 64_000),
        ] {
            let content: Vec<u8> = (0..bytes)
                .map(|i: u32| (i.wrapping_mul(2_654_435_761) >> 24) as u8)
                .collect();
            node.write(&format!("var/lib/etcd/member/{path}"), &content, 0o600);
        }
        for directory in [
            "var/lib/etcd",
            "var/lib/etcd/member",
            "var/lib/etcd/member/snap",
            "var/lib/etcd/member/wal",
        ] {
            set_mode(&node.path(directory), 0o700);
        }
        set_mode(&node.path("etc/kubernetes/manifests"), 0o700);
        node
    }

    /// Another node with the same files.
    pub fn like(other: &Self) -> Self {
        let node = Node {
            directory: TempDir::with_prefix("kubecertd-node-").expect("a temporary directory"),
        };
        let done = Command::new("cp").arg("-a").arg(other.root()).arg(node.root()).status();
        assert!(done.expect("cp starts").success());
        node
    }

    pub fn root(&self) -> PathBuf {
        self.directory.path().join("root")
    }

    /// A path on the node: `etc/kubernetes/admin.conf`.
    pub fn path(&self, path: &str) -> PathBuf {
        assert!(!path.starts_with('/'), "{path} would leave the node");
        self.root().join(path)
    }

    /// A path next to the node's root, for files that do not belong to the node.
    pub fn scratch(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// Writes a file of root's with this mode and the mtime of a fresh node; missing directories
    /// get 0755.
    pub fn write(&self, path: &str, content: &[u8], mode: u32) {
        write(&self.path(path), content, mode);
    }

    /// Replaces the content; mode and owner stay.
    pub fn rewrite(&self, path: &str, content: &[u8]) {
        let mut file = fs::OpenOptions::new()
            .write(true)
            .truncate(true)
            .open(self.path(path))
            .unwrap_or_else(|error| panic!("{path}: {error}"));
        file.write_all(content).expect("a write");
        settle(&file);
    }

    pub fn remove(&self, path: &str) {
        fs::remove_file(self.path(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    }

    pub fn configure(&self, toml: &str) {
        self.write("etc/kubecertd/config.toml", toml.as_bytes(), 0o644);
    }

    pub fn snapshot(&self) -> Snapshot {
        Snapshot::of(&self.root())
    }

    /// Holds the node's lock, as a running kubecertd does, until the file is dropped. The file
    /// exists once a command has written.
    pub fn hold_lock(&self) -> fs::File {
        let lock = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .open(self.path("var/lib/kubecertd/lock"))
            .expect("the node's lock");
        lock.lock().expect("a lock that nobody holds");
        lock
    }

    /// Runs `kubecertd --root ROOT ARGS` with a clock that starts at `moment` (UTC) and advances
    /// from there.
    pub fn run(&self, moment: &str, args: &[&str]) -> Ran {
        self.run_under(&[], moment, args)
    }

    /// As [`Self::run`], started by another program, say setpriv.
    pub fn run_under(&self, wrapper: &[&str], moment: &str, args: &[&str]) -> Ran {
        let root = self.root();
        let all = [&["--root", root.to_str().expect("a path in UTF-8")], args].concat();
        kubecertd(wrapper, moment, &all)
    }

    /// `renew` with `-o json`, and its document.
    pub fn renew(&self, moment: &str, names: &[&str], code: i32) -> serde_json::Value {
        self.run(moment, &[&["renew", "-o", "json"], names].concat())
            .exits(code)
            .json()
    }
}

/// strace(1) that follows a program and its children and prints nothing, for the faults that `-e
/// inject` adds.
pub const STRACE: [&str; 5] = ["strace", "-f", "-qq", "-o", "/dev/null"];

/// Runs the binary. `timeout` and the wrapper keep the real clock: libfaketime would otherwise bend
/// the deadline itself.
pub fn kubecertd(wrapper: &[&str], moment: &str, args: &[&str]) -> Ran {
    let mut command = Command::new("timeout");
    command
        .args(["-s", "KILL", DEADLINE_SECONDS])
        .args(wrapper)
        .arg("env")
        .arg(format!("LD_PRELOAD={}", faketime_library()));
    // NO_FAKE_STAT: the times of files stay what they are, otherwise a backup would keep a bent
    // mtime.
    command
        .args(["TZ=UTC", "FAKETIME_DONT_FAKE_MONOTONIC=1", "NO_FAKE_STAT=1"])
        .arg(format!("FAKETIME=@{moment}"));
    command.arg(env!("CARGO_BIN_EXE_kubecertd")).args(args);
    command
        .env_remove("JOURNAL_STREAM")
        .env_remove("NOTIFY_SOCKET")
        .env_remove("RUST_BACKTRACE");
    let output = command.output().expect("timeout(1) starts");
    let ran = Ran {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout).expect("stdout is UTF-8"),
        stderr: String::from_utf8(output.stderr).expect("stderr is UTF-8"),
        command: format!("kubecertd {} at {moment}", args.join(" ")),
    };
    assert!(
        ran.code != 137 && ran.code != -1,
        "killed after {DEADLINE_SECONDS} s, it hangs: {ran}"
    );
    assert!(!ran.stderr.contains("panicked at"), "it panics: {ran}");
    assert!(
        !format!("{}{}", ran.stdout, ran.stderr).contains("-----BEGIN"),
        "PEM in its output: {ran}"
    );
    ran
}

pub fn faketime_library() -> String {
    let machine = format!(
        "/usr/lib/{}-linux-gnu/faketime/libfaketime.so.1",
        std::env::consts::ARCH
    );
    let places = [
        machine.as_str(),
        "/usr/lib64/faketime/libfaketime.so.1",
        "/usr/lib/faketime/libfaketime.so.1",
    ];
    let found = places.iter().find(|place| Path::new(place).exists());
    (*found.expect("libfaketime is installed (Debian: faketime)")).to_owned()
}

impl std::fmt::Display for Ran {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{}\nexit code {}\n--- stdout\n{}--- stderr\n{}---",
            self.command, self.code, self.stdout, self.stderr
        )
    }
}

impl Ran {
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self}");
        self
    }

    /// Requires this text in one of the two streams.
    #[track_caller]
    pub fn says(self, text: &str) -> Self {
        assert!(
            self.stdout.contains(text) || self.stderr.contains(text),
            "nothing says {text:?}: {self}"
        );
        self
    }

    /// Requires this text in stderr.
    #[track_caller]
    pub fn complains(self, text: &str) -> Self {
        assert!(self.stderr.contains(text), "stderr does not say {text:?}: {self}");
        self
    }

    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("stdout is no JSON: {error}: {self}"))
    }
}

/// Requires that two texts are equal. The message shows only the first line that differs.
#[track_caller]
pub fn assert_same_text(got: &str, wanted: &str, what: &str) {
    if got == wanted {
        return;
    }
    let line = got.lines().zip(wanted.lines()).take_while(|(a, b)| a == b).count();
    let show = |text: &str| format!("{:?}", text.lines().nth(line));
    panic!(
        "{what}: line {} differs\n   got {}\nwanted {}\n--- got all of\n{got}---",
        line + 1,
        show(got),
        show(wanted)
    );
}

fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap_or_else(|error| panic!("{}: {error}", from.display())) {
        let entry = entry.expect("a directory entry");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("a file type").is_dir() {
            fs::DirBuilder::new()
                .mode(0o755)
                .create(&target)
                .expect("a new directory");
            copy(&entry.path(), &target);
        } else {
            let public = target
                .extension()
                .is_some_and(|extension| extension == "crt" || extension == "pub");
            write(
                &target,
                &fs::read(entry.path()).expect("a fixture"),
                if public { 0o644 } else { 0o600 },
            );
        }
    }
}

fn write(path: &Path, content: &[u8], mode: u32) {
    let directory = path.parent().expect("a file is in a directory");
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(directory)
        .unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let mut file = fs::File::create(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    file.write_all(content).expect("a write");
    settle(&file);
    set_mode(path, mode);
}

fn settle(file: &fs::File) {
    file.set_modified(SystemTime::UNIX_EPOCH + MODIFIED).expect("an mtime");
}

pub fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}
