//! The operator of a node: runs kubecertd until it has renewed, as the daemon would. What it
//! is told to do to the process, it does.

use std::fs::File;
use std::io::Read as _;
use std::process::{Child, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::checker::What;
use super::node::{Node, child_of};
use super::support::chance::Chance;
use super::watch::Seen;

/// Milliseconds until a blocked node tries again. The daemon waits for minutes.
const AGAIN: (u64, u64) = (200, 700);

/// One node's kubecertd.
pub struct Operator<'a> {
    pub node: &'a Node,
    skew: i64,
    /// nsenter(1), whose child it is.
    running: Mutex<Option<u32>>,
}

impl<'a> Operator<'a> {
    pub fn new(node: &'a Node, skew: i64) -> Self {
        Operator {
            node,
            skew,
            running: Mutex::new(None),
        }
    }

    /// Renews everything; tries again until it is done or `deadline` has come.
    pub fn renew(&self, seen: &Seen, chance: &mut Chance, deadline: Instant) {
        std::thread::sleep(chance.milliseconds(0, 300));
        while Instant::now() < deadline {
            let (code, words) = self.once(deadline);
            let is_done = code == 0 || code == 4;
            seen.add(self.node.number, What::Exited { code, words });
            if is_done {
                return;
            }
            std::thread::sleep(chance.milliseconds(AGAIN.0, AGAIN.1));
        }
    }

    /// Runs the daemon until the node is renewed, and ends it.
    pub fn run_a_daemon(&self, seen: &Seen, deadline: Instant) {
        let before = self.node.serial("etcd/server.crt");
        std::thread::scope(|scope| {
            let daemon = scope.spawn(|| self.program(&["run"], deadline));
            let is_done = || {
                let is_open = seen.open().contains(&self.node.number);
                !is_open && self.node.serial("etcd/server.crt") != before
            };
            while Instant::now() < deadline && !daemon.is_finished() && !is_done() {
                std::thread::sleep(Duration::from_millis(50));
            }
            let is_renewed = self.node.serial("etcd/server.crt") != before;
            self.signal("-TERM");
            let (code, words) = daemon.join().expect("it is waited for");
            // The end of a daemon says nothing of the renewal.
            let code = if code == 0 && !is_renewed { 1 } else { code };
            seen.add(self.node.number, What::Exited { code, words });
        });
    }

    fn once(&self, deadline: Instant) -> (i32, String) {
        self.program(&["renew", "all", "-o", "json"], deadline)
    }

    fn program(&self, arguments: &[&str], deadline: Instant) -> (i32, String) {
        let log = self.node.tree.scratch("kubecertd.log");
        let file = File::create(&log).expect("a log");
        let mut child = self
            .node
            .kubecertd(self.skew, arguments)
            .stdout(Stdio::null())
            .stderr(file)
            .spawn()
            .expect("nsenter(1) starts");
        *self.running.lock().expect("no panic holds it") = Some(child.id());
        let code = self.wait(&mut child, deadline);
        *self.running.lock().expect("no panic holds it") = None;
        let mut words = Vec::new();
        let read = File::open(&log).and_then(|mut log| log.read_to_end(&mut words));
        read.expect("a log");
        (code, String::from_utf8_lossy(&words).into_owned())
    }

    fn wait(&self, child: &mut Child, deadline: Instant) -> i32 {
        loop {
            if let Some(status) = child.try_wait().expect("a child of ours") {
                return status.code().unwrap_or(-1);
            }
            if Instant::now() > deadline {
                self.signal("-KILL");
                // Should the program be gone already, nsenter is not.
                let _ = child.kill();
                let _ = child.wait();
                return -1;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Sends the program a signal; false when it does not run. nsenter(1) stops and ends with its
    /// child, and has to be continued first.
    pub fn signal(&self, signal: &str) -> bool {
        let running = self.running.lock().expect("no panic holds it");
        let Some(nsenter) = *running else { return false };
        let program = child_of(nsenter);
        let targets = program.into_iter().chain((signal == "-CONT").then_some(nsenter));
        let targets: Vec<String> = targets.map(|pid| pid.to_string()).collect();
        if targets.is_empty() {
            return false;
        }
        let sent = std::process::Command::new("kill")
            .arg(signal)
            .args(&targets)
            .stderr(Stdio::null())
            .status();
        sent.expect("kill(1) starts").success()
    }
}
