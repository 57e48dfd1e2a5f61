//! Progress of long operations: a bar on a terminal, lines in a log, and the size and rate at the
//! end.

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tracing::info;

use crate::format::text::bytes;

/// Duration below which nothing is shown.
const SHORT: Duration = Duration::from_secs(1);
/// Time between two lines in a log.
const LINE_EVERY: Duration = Duration::from_secs(30);

/// Bytes that were moved, and their total.
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

    /// Adds moved bytes.
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

    /// Ends, and reports size, time and rate.
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
