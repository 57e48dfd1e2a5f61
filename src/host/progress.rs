//! How far something long has come: a bar on a terminal, a line now and then in a log, and at its end size and rate.

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tracing::info;

use crate::format::text::bytes;

/// What takes no longer shows nothing.
const SHORT: Duration = Duration::from_secs(1);
/// How often a log is told.
const LINE_EVERY: Duration = Duration::from_secs(30);

/// Bytes that were moved, of how many.
#[derive(Debug)]
pub struct Progress {
    what: &'static str,
    total: u64,
    done: u64,
    begun: Instant,
    said: Instant,
    bar: Option<ProgressBar>,
}

impl Progress {
    /// Begins now. `what` is a noun: `snapshot of etcd`. `total` may be an estimate.
    pub fn of(what: &'static str, total: u64) -> Self {
        let now = Instant::now();
        Self {
            what,
            total,
            done: 0,
            begun: now,
            said: now,
            bar: None,
        }
    }

    /// So many bytes more.
    pub fn add(&mut self, more: usize) {
        self.done += more as u64;
        if let Some(bar) = &self.bar {
            bar.set_position(self.done);
        } else if self.begun.elapsed() > SHORT && std::io::stderr().is_terminal() {
            self.bar = bar(self.what, self.total.max(self.done), self.done, self.begun.elapsed());
        } else if self.said.elapsed() > LINE_EVERY {
            self.said = Instant::now();
            info!(
                "{}: {} of {}",
                self.what,
                bytes(self.done),
                bytes(self.total.max(self.done))
            );
        }
    }

    /// It is done: says size, time and rate.
    pub fn end(self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        let elapsed = self.begun.elapsed();
        let milliseconds = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        let rate = self.done.saturating_mul(1000) / milliseconds.max(1);
        let seconds = elapsed.as_secs_f64();
        info!(
            bytes = self.done,
            milliseconds,
            "{}: {} in {seconds:.1} s, {}/s",
            self.what,
            bytes(self.done),
            bytes(rate)
        );
    }
}

fn bar(what: &'static str, total: u64, done: u64, elapsed: Duration) -> Option<ProgressBar> {
    let template = "{msg} [{wide_bar}] {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} {eta}";
    let style = ProgressStyle::with_template(template).ok()?;
    let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr_with_hz(5));
    bar.set_style(style);
    bar.set_message(what);
    Some(bar.with_position(done).with_elapsed(elapsed))
}
