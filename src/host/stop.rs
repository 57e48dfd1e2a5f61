//! Signals, and the pulse that tells a hung cycle from a long one.
//!
//! SIGTERM, SIGINT and SIGQUIT set a flag that a cycle reads between its steps. In the daemon each
//! signal also wakes the event loop.

use std::io;
use std::os::unix;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::{flag, low_level::pipe};
use tokio::net::UnixStream;

/// Signals that ask the process to end.
const END: [i32; 3] = [SIGTERM, SIGINT, SIGQUIT];

/// Flag that is true once a signal has asked this process to end.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    requested: Arc<AtomicBool>,
    pulse: Arc<AtomicU64>,
}

impl Stop {
    /// Sets the flag on SIGTERM, SIGINT and SIGQUIT from now on.
    ///
    /// With `with_hangup` SIGHUP, by which a terminal closes, sets it too. The daemon reloads its
    /// configuration on SIGHUP.
    ///
    /// # Errors
    /// The system refuses a handler.
    pub fn on_signals(with_hangup: bool) -> io::Result<Self> {
        let stop = Self::default();
        for signal in END {
            flag::register(signal, stop.requested.clone())?;
        }
        if with_hangup {
            flag::register(SIGHUP, stop.requested.clone())?;
        }
        Ok(stop)
    }

    /// Returns true if kubecertd was asked to stop. Each call counts as a beat: its caller works.
    pub fn requested(&self) -> bool {
        self.beat();
        self.requested.load(Ordering::Relaxed)
    }

    /// Counts a beat: at every call for a file, and in every loop that waits with a deadline.
    pub fn beat(&self) {
        self.pulse.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns the number of beats. While it stands still, no work makes progress.
    pub fn pulse(&self) -> u64 {
        self.pulse.load(Ordering::Relaxed)
    }
}

/// Request that the daemon receives by a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// End: SIGTERM, SIGINT or SIGQUIT.
    End,
    /// Reload the configuration: SIGHUP.
    Reload,
}

/// Signals of the daemon as a stream.
#[derive(Debug)]
pub struct Signals {
    stop: Stop,
    reload: Arc<AtomicBool>,
    wakes: UnixStream,
    has_ended: bool,
}

impl Signals {
    /// Wakes the event loop on the signals of `stop` and on SIGHUP. Call it inside the runtime.
    ///
    /// # Errors
    /// The system refuses a handler or a socket.
    pub fn listen(stop: &Stop) -> io::Result<Self> {
        let (reader, writer) = unix::net::UnixStream::pair()?;
        reader.set_nonblocking(true)?;
        let reload = Arc::new(AtomicBool::new(false));
        // The flags come first: handlers of a signal run in the order of their registration.
        flag::register(SIGHUP, reload.clone())?;
        for signal in END.into_iter().chain([SIGHUP]) {
            pipe::register(signal, writer.try_clone()?)?;
        }
        Ok(Self {
            stop: stop.clone(),
            reload,
            wakes: UnixStream::from_std(reader)?,
            has_ended: false,
        })
    }

    /// Waits for the next request. Several signals of one kind may be one request; it ends once.
    pub async fn next(&mut self) -> Request {
        loop {
            // Not `requested()`: only the worker's progress counts as a beat.
            if !self.has_ended && self.stop.requested.load(Ordering::Relaxed) {
                self.has_ended = true;
                return Request::End;
            }
            if self.reload.swap(false, Ordering::Relaxed) {
                return Request::Reload;
            }
            // This process holds the other end, so that the socket never closes.
            let _ = self.wakes.readable().await;
            let _ = self.wakes.try_read(&mut [0; 64]);
        }
    }
}
