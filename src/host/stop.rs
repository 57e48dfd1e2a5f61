//! The wish to end: a signal sets a flag that the cycle looks at between its steps; and the pulse, by which a hung cycle is told from a long one.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};

/// True once somebody asked this process to end.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    wish: Arc<AtomicBool>,
    pulse: Arc<AtomicU64>,
}

impl Stop {
    /// Sets the flag on SIGTERM, SIGINT and SIGQUIT from now on; and on SIGHUP (a terminal that went away), which means something else to
    /// the daemon.
    pub fn on_signals(with_hangup: bool) -> io::Result<Self> {
        let stop = Self::default();
        for signal in [SIGTERM, SIGINT, SIGQUIT] {
            signal_hook::flag::register(signal, stop.wish.clone())?;
        }
        if with_hangup {
            signal_hook::flag::register(SIGHUP, stop.wish.clone())?;
        }
        Ok(stop)
    }

    /// Whether the process was asked to end. Whoever asks is at work: it counts as a beat.
    pub fn requested(&self) -> bool {
        self.beat();
        self.wish.load(Ordering::Relaxed)
    }

    /// Says that the work goes on: at every call for a file, and in every loop that waits with a deadline.
    pub fn beat(&self) {
        self.pulse.fetch_add(1, Ordering::Relaxed);
    }

    /// How often it has beaten. One that stands still means that nothing goes on.
    pub fn pulse(&self) -> u64 {
        self.pulse.load(Ordering::Relaxed)
    }
}
