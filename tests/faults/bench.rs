//! The place of the trees, the way kubecertd runs on them, and the number of runs at once.

use super::image::Image;
use super::trace::{self, Call};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// No leaf of the fixture is due then.
pub const FIRST: &str = "2026-11-24 00:00:00";
/// Still none is due, but a renewal gains a day.
pub const SECOND: &str = "2026-11-26 00:00:00";

/// A run takes 0.1 s, or some seconds on a machine that is busy with other tests; after this it
/// hangs.
const DEADLINE: Duration = Duration::from_secs(60);

/// Maximum number of repetitions of a run that libfaketime has changed. It makes a semaphore named
/// by the process id, and does without where a process that was killed has left one of that name;
/// then its calls, and so the counts of all, are others.
const TRIES: usize = 5;

/// strace stops only at the calls that are traced. A signal is lost then, since the kernel takes
/// none at that kind of stop.
const FAST: &str = "--seccomp-bpf";

const MEMORY: &str = "/dev/shm";

/// A directory of trees, in memory where it keeps extended attributes; removed at the end of the
/// test.
pub struct Bench {
    directory: TempDir,
    next: AtomicUsize,
}

/// Result of a run.
pub struct Ran {
    pub output: Output,
    pub calls: Vec<Call>,
}

/// One tree on disk; removed when it is dropped, since thousands are made.
pub struct Tree {
    pub root: PathBuf,
}

impl Bench {
    pub fn new() -> Self {
        let in_memory = TempDir::with_prefix_in("kubecertd-faults-", MEMORY)
            .ok()
            .filter(|directory| {
                let probe = directory.path().join("probe");
                std::fs::write(&probe, "").is_ok() && xattr::set(&probe, "user.probe", b"1").is_ok()
            });
        let directory =
            in_memory.unwrap_or_else(|| TempDir::with_prefix("kubecertd-faults-").expect("a temporary directory"));
        Bench {
            directory,
            next: AtomicUsize::new(0),
        }
    }

    fn fresh_path(&self, kind: &str) -> PathBuf {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.directory.path().join(format!("{kind}{number}"))
    }

    pub fn tree(&self, image: &Image) -> Tree {
        let root = self.fresh_path("tree");
        image.write(&root);
        Tree { root }
    }

    /// Runs kubecertd under strace with these further options. The trace holds the calls that they
    /// ask for.
    fn traced(&self, tree: &Tree, moment: &str, args: &[&str], strace: &[&str]) -> Ran {
        let log = self.fresh_path("log");
        let mut command = with_deadline("strace");
        command.args(["-f", "-qq", "-y", "-xx", "-o"]).arg(&log).args(strace);
        for variable in clock(moment) {
            command.args(["-E", &variable]);
        }
        let started = Instant::now();
        let output = command
            .arg(program())
            .arg("--root")
            .arg(&tree.root)
            .args(args)
            .output()
            .expect("timeout(1) starts");
        complain_when_late(started, args);
        let text = std::fs::read_to_string(&log).expect("the trace");
        std::fs::remove_file(&log).expect("the trace is ours");
        let calls = trace::parse(&text, &tree.root);
        let by_others = trace::by_others(&text, &tree.root);
        assert!(
            by_others.is_empty(),
            "not all writes come from the main thread: {by_others:?}"
        );
        remove_shared_memory(&text);
        Ran { output, calls }
    }

    /// Runs kubecertd undisturbed on a fresh tree and lists all its calls, each with so much of the
    /// data that it writes.
    pub fn listed(&self, image: &Image, args: &[&str], data: &str) -> (Tree, Vec<Call>) {
        for _ in 0..TRIES {
            let tree = self.tree(image);
            let ran = self.traced(&tree, FIRST, args, &[FAST, "-s", data, "-e", &trace::all_calls()]);
            assert_eq!(
                exit_code(&ran.output),
                Some(0),
                "kubecertd {}: {}",
                args.join(" "),
                said(&ran.output)
            );
            let refused =
                |call: &Call| call.name == "link" && !call.succeeded() && call.bytes(1).starts_with(MEMORY.as_bytes());
            if !ran.calls.iter().any(refused) {
                return (tree, ran.calls);
            }
        }
        panic!("{MEMORY} is full of semaphores that killed processes have left");
    }

    /// Runs kubecertd on a fresh tree with a fault (`signal=SIGKILL`, `error=EIO`) at one point;
    /// `plus` is `+` for all later calls of the same name too. A run that took another way than the
    /// listed one shows that in its own trace, and is done again.
    pub fn at_point(
        &self,
        image: &Image,
        args: &[&str],
        point: &trace::Point,
        fault: &str,
        plus: &str,
    ) -> Result<(Tree, Image, Ran), String> {
        let inject = format!("inject={}:{fault}:when={}{plus}", point.call, point.nth);
        let trace = format!("trace={}", point.call);
        let mut options = vec!["-e", &trace, "-e", &inject];
        if !fault.starts_with("signal") {
            options.push(FAST);
        }
        for _ in 0..TRIES {
            let tree = self.tree(image);
            let before = Image::read(&tree.root);
            let ran = self.traced(&tree, FIRST, args, &options);
            if point.is_in(&ran.calls) {
                return Ok((tree, before, ran));
            }
        }
        Err("the run never came to this point".to_owned())
    }
}

/// Runs kubecertd on a tree, undisturbed.
pub fn kubecertd(tree: &Tree, moment: &str, args: &[&str]) -> Output {
    let started = Instant::now();
    let output = command(tree, moment, args).output().expect("timeout(1) starts");
    complain_when_late(started, args);
    output
}

/// The same as a command that is not started yet.
pub fn command(tree: &Tree, moment: &str, args: &[&str]) -> Command {
    let mut command = with_deadline("env");
    command
        .args(clock(moment))
        .arg(program())
        .arg("--root")
        .arg(&tree.root)
        .args(args);
    command
}

pub fn exit_code(output: &Output) -> Option<i32> {
    output.status.code()
}

pub fn was_killed(output: &Output) -> bool {
    output.status.signal() == Some(nix::sys::signal::Signal::SIGKILL as i32)
}

/// Both streams, for messages.
pub fn said(output: &Output) -> String {
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    text.lines()
        .filter(|line| !line.starts_with(" INFO"))
        .collect::<Vec<_>>()
        .join(" / ")
}

/// Does the work on every item, on as many threads as there are processors (two at least). The
/// results come in the order of the items.
pub fn each<T: Sync, R: Send>(items: &[T], work: impl Fn(usize, &T) -> R + Sync) -> Vec<R> {
    let threads = std::thread::available_parallelism().map_or(2, usize::from).max(2);
    let next = AtomicUsize::new(0);
    let results = Mutex::new(Vec::with_capacity(items.len()));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(item) = items.get(index) else { return };
                    let result = work(index, item);
                    results.lock().expect("no other thread panicked").push((index, result));
                }
            });
        }
    });
    let mut results = results.into_inner().expect("no thread panicked");
    results.sort_by_key(|(index, _)| *index);
    results.into_iter().map(|(_, result)| result).collect()
}

impl Drop for Tree {
    fn drop(&mut self) {
        // What is left goes with the bench.
        let _ = std::fs::remove_dir_all(&self.root);
    }
}

/// The program that `KUBECERTD` names: `make faults` tries the release, which is what nodes run and
/// takes a fraction of the time.
fn program() -> String {
    std::env::var("KUBECERTD").unwrap_or_else(|_| env!("CARGO_BIN_EXE_kubecertd").to_owned())
}

/// timeout(1) is the leader of a process group and kills all of it, so that no tracee outlives its
/// strace.
fn with_deadline(program: &str) -> Command {
    let mut command = Command::new("timeout");
    command.args(["-s", "KILL", &DEADLINE.as_secs().to_string(), program]);
    for variable in ["JOURNAL_STREAM", "NOTIFY_SOCKET", "RUST_BACKTRACE", "RUST_LOG"] {
        command.env_remove(variable);
    }
    command
}

#[track_caller]
fn complain_when_late(started: Instant, args: &[&str]) {
    assert!(started.elapsed() < DEADLINE, "kubecertd {} hangs", args.join(" "));
}

/// NO_FAKE_STAT: the times of files stay what they are.
fn clock(moment: &str) -> [String; 5] {
    [
        format!("LD_PRELOAD={}", faketime_library()),
        format!("FAKETIME=@{moment}"),
        "TZ=UTC".into(),
        "FAKETIME_DONT_FAKE_MONOTONIC=1".into(),
        "NO_FAKE_STAT=1".into(),
    ]
}

fn faketime_library() -> String {
    let machine = format!(
        "/usr/lib/{}-linux-gnu/faketime/libfaketime.so.1",
        std::env::consts::ARCH
    );
    let places = [
        &machine,
        "/usr/lib64/faketime/libfaketime.so.1",
        "/usr/lib/faketime/libfaketime.so.1",
    ];
    let found = places.into_iter().find(|place| Path::new(place).exists());
    found.expect("libfaketime is installed (Debian: faketime)").to_owned()
}

/// A killed process leaves libfaketime's semaphore and shared memory, named by its process id.
fn remove_shared_memory(trace: &str) {
    let Some(pid) = trace.split(' ').next() else { return };
    for name in [format!("faketime_shm_{pid}"), format!("sem.faketime_sem_{pid}")] {
        // Not there when the process ended by itself.
        let _ = std::fs::remove_file(Path::new(MEMORY).join(name));
    }
}
