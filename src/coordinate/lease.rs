//! A lease in etcd, kept alive by a thread, which writes no file.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::EVERY;
use crate::host::Host;
use crate::host::etcd::store::Kind;
use crate::host::etcd::{Access, Member, PATIENCE};

/// Longest idle time of the process. After this time the lease is not renewed, so that a hung
/// process does not block other nodes. No healthy step is idle this long.
const IDLE: Duration = Duration::from_secs(600);

/// A lease that is kept alive until this is dropped.
#[derive(Debug)]
pub(super) struct Lease {
    pub(super) id: i64,
    /// Milliseconds since boot until which a step may begin.
    good_until: Arc<AtomicU64>,
    /// True once the member said that the lease has ended.
    is_gone: Arc<AtomicBool>,
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl Lease {
    /// Returns the time until which a step may begin, which leaves it a fifth of the lease.
    fn until(asked: Duration, ttl: Duration) -> u64 {
        milliseconds(asked + ttl - ttl / 5)
    }

    pub(super) fn keep(host: &Host, ways: &[Access], id: i64, ttl: Duration, asked: Duration) -> Self {
        let good_until = Arc::new(AtomicU64::new(Self::until(asked, ttl)));
        let is_gone = Arc::new(AtomicBool::new(false));
        let (stop, stopped) = channel();
        let mut keeper = LeaseKeeper {
            host: host.clone(),
            ways: ways.to_vec(),
            id,
            ttl,
            good_until: good_until.clone(),
        };
        let gone = is_gone.clone();
        let thread = std::thread::spawn(move || {
            let mut last = (keeper.host.stop.pulse(), Instant::now());
            let mut pause = ttl / 3;
            while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(pause) {
                let pulse = keeper.host.stop.pulse();
                if pulse != last.0 {
                    last = (pulse, Instant::now());
                }
                pause = match keeper.renew() {
                    _ if last.1.elapsed() > IDLE => return,
                    Ok(()) => ttl / 3,
                    Err(Kind::Gone) => return gone.store(true, Ordering::Relaxed),
                    Err(_) => EVERY,
                };
            }
        });
        Self {
            id,
            good_until,
            is_gone,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    pub(super) fn is_good(&self, host: &Host) -> bool {
        !self.is_gone.load(Ordering::Relaxed)
            && milliseconds(host.since_boot()) < self.good_until.load(Ordering::Relaxed)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct LeaseKeeper {
    host: Host,
    ways: Vec<Access>,
    id: i64,
    ttl: Duration,
    good_until: Arc<AtomicU64>,
}

impl LeaseKeeper {
    /// Asks each member, the last one that answered first. No member gets so much time that none is
    /// left for the next.
    fn renew(&mut self) -> Result<(), Kind> {
        let patience = (self.ttl / 10).clamp(Duration::from_secs(1), PATIENCE);
        for n in 0..self.ways.len() {
            let way = &self.ways[n];
            let asked = self.host.since_boot();
            let Ok(mut member) = Member::open(way, patience) else {
                continue;
            };
            match member.keep_alive(self.id) {
                Ok(()) => {
                    self.good_until.store(Lease::until(asked, self.ttl), Ordering::Relaxed);
                    self.ways.rotate_left(n);
                    return Ok(());
                }
                Err(trouble) if trouble.kind == Kind::Gone => return Err(Kind::Gone),
                Err(_) => {}
            }
        }
        Err(Kind::Unanswered)
    }
}
