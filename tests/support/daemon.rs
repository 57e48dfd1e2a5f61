//! A daemon under test, with a socket in systemd's place.

use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::{Node, clock};

/// Maximum wait for a condition.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// A daemon under test: ended when the test ends, however it ends.
pub struct Daemon {
    child: Child,
    notes: UnixDatagram,
    heard: Vec<String>,
    log: PathBuf,
}

/// The wall clock of a daemon under test.
pub struct Clock {
    file: PathBuf,
}

impl Clock {
    pub fn new(node: &Node, moment: &str) -> Self {
        let file = node.scratch("clock");
        let clock = Self { file };
        clock.set(moment);
        clock
    }

    /// Sets the clock, as `date --set` does. libfaketime adds the difference to the machine's
    /// clock.
    pub fn set(&self, moment: &str) {
        let ahead = clock::seconds(moment) - clock::seconds(&clock::now());
        let new = self.file.with_extension("new");
        std::fs::write(&new, format!("{ahead:+}\n")).unwrap();
        std::fs::rename(new, &self.file).unwrap();
    }
}

impl Daemon {
    /// Starts `run` on a node, under `wrapper`.
    pub fn start(node: &Node, moment: &str, wrapper: &[&str]) -> Self {
        Self::start_by(node, &[format!("FAKETIME=@{moment}")], wrapper)
    }

    /// Starts `run` on a node whose wall clock [`Clock::set`] sets while the daemon runs.
    pub fn start_on(node: &Node, clock: &Clock) -> Self {
        let file = format!("FAKETIME_TIMESTAMP_FILE={}", clock.file.display());
        Self::start_by(node, &[file, "FAKETIME_NO_CACHE=1".into()], &[])
    }

    fn start_by(node: &Node, clock: &[String], wrapper: &[&str]) -> Self {
        let socket = node.scratch("notify");
        // A second daemon on the same node takes the place of the first.
        let _ = std::fs::remove_file(&socket);
        let notes = UnixDatagram::bind(&socket).unwrap();
        notes.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let log = node.scratch("log");
        let line = [wrapper, &["env"]].concat();
        let mut command = Command::new(line[0]);
        command
            .args(&line[1..])
            .arg(format!("LD_PRELOAD={}", super::faketime_library()))
            .args(["TZ=UTC", "FAKETIME_DONT_FAKE_MONOTONIC=1", "NO_FAKE_STAT=1"])
            .args(clock)
            .arg(format!("NOTIFY_SOCKET={}", socket.display()))
            .args([
                "WATCHDOG_USEC=3000000",
                env!("CARGO_BIN_EXE_kubecertd"),
                "run",
                "--root",
            ])
            .arg(node.root());
        // A wrapper that is killed leaves the daemon behind, which is in its group.
        let child = command
            .process_group(0)
            .env_remove("JOURNAL_STREAM")
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        Daemon {
            child,
            notes,
            heard: Vec::new(),
            log,
        }
    }

    /// Waits until a message to systemd holds this text.
    #[track_caller]
    pub fn says(&mut self, text: &str) {
        let mut buffer = [0; 4096];
        let deadline = Instant::now() + DEADLINE;
        while Instant::now() < deadline {
            if self.heard.iter().any(|note| note.contains(text)) {
                return;
            }
            if let Ok(n) = self.notes.recv(&mut buffer) {
                self.heard.push(String::from_utf8_lossy(&buffer[..n]).into_owned());
            }
        }
        panic!("never said {text:?}, but {:?}; log:\n{}", self.heard, self.log());
    }

    /// Receives the daemon's messages for this time.
    pub fn listen(&mut self, time: Duration) {
        let mut buffer = [0; 4096];
        let deadline = Instant::now() + time;
        while Instant::now() < deadline {
            if let Ok(n) = self.notes.recv(&mut buffer) {
                self.heard.push(String::from_utf8_lossy(&buffer[..n]).into_owned());
            }
        }
    }

    /// Forgets the messages so far.
    pub fn forget(&mut self) {
        self.listen(Duration::from_millis(200));
        self.heard.clear();
    }

    /// Counts the messages that hold this text.
    pub fn count(&self, text: &str) -> usize {
        self.heard.iter().filter(|note| note.contains(text)).count()
    }

    /// Waits until its log holds this text.
    #[track_caller]
    pub fn logs(&mut self, text: &str) {
        let deadline = Instant::now() + DEADLINE;
        while !self.log().contains(text) {
            assert!(Instant::now() < deadline, "never logged {text:?}:\n{}", self.log());
            // A socket without a reader would hold the daemon up after ten messages (unix(7),
            // max_dgram_qlen).
            self.listen(Duration::from_millis(20));
        }
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Sends SIGTERM to the daemon itself (`pid` differs from the child's under a wrapper).
    pub fn terminate(&self) {
        self.signal("-TERM");
    }

    /// Sends SIGHUP, as `systemctl reload` does.
    pub fn hang_up(&self) {
        self.signal("-HUP");
    }

    fn signal(&self, signal: &str) {
        let done = Command::new("kill")
            .args([signal, &self.child.id().to_string()])
            .status()
            .unwrap();
        assert!(done.success());
    }

    #[track_caller]
    pub fn ends(&mut self) -> i32 {
        let deadline = Instant::now() + DEADLINE;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code().unwrap_or(-1);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("does not end; log:\n{}", self.log());
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let group = format!("-{}", self.child.id());
        let _ = Command::new("kill")
            .args(["-KILL", "--", &group])
            .stderr(Stdio::null())
            .status();
        let _ = self.child.wait();
    }
}
