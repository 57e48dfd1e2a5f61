//! Measures outages of the API server, with a client that asks every 50 ms.

use super::https::{Client, enter_network};
use super::node::{API, Node};
use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

const EVERY: Duration = Duration::from_millis(50);

/// Asks until it is stopped.
pub struct Poller {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Polls>,
}

/// The observations of a client.
#[derive(Debug, Default, Clone, Copy)]
pub struct Polls {
    pub tried: usize,
    pub failed: usize,
    /// From the start of the first failed poll to the end of the next good one, summed over all
    /// gaps.
    pub outage: Duration,
}

impl Node {
    /// Starts polling `/readyz`, each time over a new connection whose certificate is verified.
    pub fn poll(&self) -> Poller {
        let client = Client::new(&self.read("/etc/kubernetes/pki/ca.crt"), API);
        let network = File::open(self.network()).expect("the node's network namespace");
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = thread::spawn(move || {
            enter_network(&network);
            watch(&client, &stopped)
        });
        Poller { stop, thread }
    }
}

impl Poller {
    /// Stops it. An outage that has not ended counts up to now.
    pub fn stop(self) -> Polls {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the poller does not panic")
    }
}

fn watch(client: &Client, stopped: &AtomicBool) -> Polls {
    let mut polls = Polls::default();
    let mut away_since = None;
    while !stopped.load(Ordering::Relaxed) {
        let begin = Instant::now();
        polls.tried += 1;
        if client.ready() {
            polls.outage += away_since
                .take()
                .map_or(Duration::ZERO, |since: Instant| since.elapsed());
        } else {
            polls.failed += 1;
            away_since.get_or_insert(begin);
        }
        thread::sleep(EVERY.saturating_sub(begin.elapsed()));
    }
    polls.outage += away_since.map_or(Duration::ZERO, |since| since.elapsed());
    polls
}

impl std::fmt::Display for Polls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let milliseconds = self.outage.as_millis();
        write!(
            f,
            "{milliseconds:>6} ms, {} of {} polls failed",
            self.failed, self.tried
        )
    }
}

/// kubeadm's documented way to restart a control plane: all four manifests out of their directory,
/// 20 s, and back.
pub fn baseline(node: &Node) -> Polls {
    let (directory, aside) = ("/etc/kubernetes/manifests", "/etc/kubernetes/aside");
    let before = node.processes();
    let poller = node.poll();
    node.run(&["mkdir", aside]).exits(0);
    node.run(&["sh", "-c", &format!("mv {directory}/*.yaml {aside}/")])
        .exits(0);
    // Not a wait for something: these seconds are the procedure.
    thread::sleep(Duration::from_secs(20));
    node.run(&["sh", "-c", &format!("mv {aside}/*.yaml {directory}/")])
        .exits(0);
    node.settle();
    let polls = poller.stop();
    let after = node.processes();
    for (component, process) in before {
        assert_ne!(after.get(component), Some(&process), "{component} is a new process");
    }
    polls
}
