//! Bounds: on the time of a function, and on the time and the memory of a run of the program.

use std::fs;
use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};

use crate::support::{Node, faketime_library};

/// Time of the processor for one function on at most 1 MiB, in a debug build.
const FUNCTION: Duration = Duration::from_secs(2);
/// After this by the wall clock a function hangs: a busy machine may make it twenty times slower,
/// and not more.
const HANG: Duration = Duration::from_secs(60);
/// Processor time of one command, in a debug build.
const VERB: Duration = Duration::from_secs(10);
/// Ticks a second of the times in `/proc/PID/stat` (`USER_HZ`).
const TICKS: u64 = 100;
/// Peak resident memory of the program, KiB.
const RESIDENT: u64 = 64 << 10;
/// As many bytes are all that a run can get for its heap: no peak of that size can hide between two
/// looks at [`RESIDENT`].
const WRITABLE: &str = "--data=67108864";

/// Runs `body` in a thread of its own and requires that it ends in time. Measured is the thread's
/// own processor time, so that other tests on the machine do not count.
#[track_caller]
pub fn in_time(what: &str, body: impl FnOnce() + Send + 'static) {
    let (ended, end) = mpsc::channel();
    let worker = thread::spawn(move || {
        body();
        let used = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("a clock of this thread");
        // The receiver is gone only when this was given up as hanging.
        let _ = ended.send(Duration::from(used));
    });
    match end.recv_timeout(HANG) {
        Ok(used) => assert!(used <= FUNCTION, "{what} takes {used:?} of the processor"),
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("{what} hangs"),
        Err(mpsc::RecvTimeoutError::Disconnected) => panic!("{what} panics: {:?}", reason(worker)),
    }
}

fn reason(worker: thread::JoinHandle<()>) -> String {
    let payload = worker.join().expect_err("a panic");
    let text = payload.downcast_ref::<String>().cloned();
    text.or_else(|| payload.downcast_ref::<&str>().map(|s| (*s).to_owned()))
        .unwrap_or_default()
}

/// Result of a bounded run.
pub struct Run {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
    /// KiB
    pub peak: u64,
}

/// Runs `kubecertd --root NODE ARGS` on the clock of a fresh node within all bounds.
#[track_caller]
pub fn run(node: &Node, moment: &str, args: &[&str]) -> Run {
    let begin = Instant::now();
    let mut child = Command::new("prlimit")
        // env(1) sets the clock of kubecertd alone: of a prlimit(1) that had it too, libfaketime
        // would leave its shared memory.
        .args([WRITABLE, "--core=0", "env"])
        .arg(format!("LD_PRELOAD={}", faketime_library()))
        .args(["TZ=UTC", "FAKETIME_DONT_FAKE_MONOTONIC=1", "NO_FAKE_STAT=1"])
        .arg(format!("FAKETIME=@{moment}"))
        .args([env!("CARGO_BIN_EXE_kubecertd"), "--root"])
        .arg(node.root())
        .args(args)
        .env_remove("JOURNAL_STREAM")
        .env_remove("RUST_BACKTRACE")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("prlimit(1) starts");
    let streams = [drain(child.stdout.take()), drain(child.stderr.take())];
    let peak = watch(&mut child, begin);
    let status = child.wait().expect("a child of ours");
    let [stdout, stderr] = streams.map(|stream| stream.join().expect("a stream in UTF-8"));
    let run = Run {
        code: status.code(),
        stdout,
        stderr,
        peak,
    };
    println!("{}: peak of {} KiB", args.join(" "), run.peak);
    run.is_well_behaved(args);
    run
}

fn drain(stream: Option<impl Read + Send + 'static>) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut text = String::new();
        stream.expect("a pipe").read_to_string(&mut text).expect("UTF-8");
        text
    })
}

/// The highest `VmHWM` seen until it ends; kills it after [`VERB`] of work or [`HANG`] of waiting.
///
/// wait4(2) would tell the peak at the end, but it counts the memory of the test that forked it
/// too.
fn watch(child: &mut Child, begin: Instant) -> u64 {
    let mut peak = 0;
    while child.try_wait().expect("a child of ours").is_none() {
        if worked(child.id()).is_some_and(|worked| worked > VERB) || begin.elapsed() > HANG {
            child.kill().expect("a child of ours");
        }
        peak = peak.max(resident(child.id()).unwrap_or(0));
        thread::sleep(Duration::from_millis(1));
    }
    peak
}

/// Fields 14 and 15 of proc_pid_stat(5), counted after the name, which may hold blanks.
fn worked(id: u32) -> Option<Duration> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    let fields = stat.rsplit_once(") ")?.1.split(' ').skip(11).take(2);
    let ticks: u64 = fields.filter_map(|field| field.parse::<u64>().ok()).sum();
    Some(Duration::from_millis(ticks * 1000 / TICKS))
}

fn resident(id: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse().ok()
}

impl Run {
    #[track_caller]
    fn is_well_behaved(&self, args: &[&str]) {
        assert!(!self.stderr.contains("panicked"), "{args:?} panics: {self}");
        let code = self
            .code
            .unwrap_or_else(|| panic!("{args:?} is killed: too slow or too large: {self}"));
        assert!(
            [0, 1, 4, 10, 78].contains(&code),
            "{args:?} ends with a code that was not designed: {self}"
        );
        assert!(
            self.peak > 0 && self.peak <= RESIDENT,
            "{args:?}: peak of {} KiB: {self}",
            self.peak
        );
        for text in [&self.stdout, &self.stderr] {
            let control = text.chars().find(|c| c.is_control() && *c != '\n');
            assert_eq!(control, None, "{args:?} prints a control character: {self}");
            assert!(!text.contains("-----BEGIN"), "{args:?} prints PEM: {self}");
            let longest = text.lines().map(str::len).max().unwrap_or(0);
            assert!(longest <= 2000, "{args:?} prints a line of {longest} bytes");
        }
    }
}

impl std::fmt::Display for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let cut = |text: &str| text.chars().take(3000).collect::<String>();
        write!(
            f,
            "code {:?}, peak {} KiB\n--- stdout\n{}\n--- stderr\n{}",
            self.code,
            self.peak,
            cut(&self.stdout),
            cut(&self.stderr)
        )
    }
}
