//! Pipes a backup through an installed program: no shell, a clean environment, a program of root
//! only, and a limit on every wait.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};

use super::command::{plain, program};
use super::{Host, failed, reason};
use crate::format::text::printable;
use crate::model::Failure;

/// Longest time that a program may move no byte before it is ended.
const STUCK: Duration = Duration::from_secs(60);

impl Host {
    /// Pipes the bytes that `fill` writes through a program of this machine into a new file with
    /// mode 0600.
    pub fn pipe_into<T>(
        &self,
        words: &[String],
        to: &Path,
        fill: impl FnOnce(&mut dyn Write) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        use std::os::unix::fs::OpenOptionsExt as _;
        let file = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(self.at(to))
            .map_err(|e| failed("write", to, &e))?;
        let synced = file.try_clone().map_err(|e| failed("write", to, &e))?;
        let mut running = FilterProcess::start(words, Stdio::piped(), Stdio::from(file))?;
        let filled = match running.child.stdin.take() {
            Some(pipe) => fill(&mut running.counted(pipe)),
            None => Err(Failure::new(format!("cannot write to {}", words[0]))),
        };
        // The program's exit status says more than a broken pipe.
        running.end()?;
        let filled = filled?;
        synced.sync_all().map_err(|e| failed("sync", to, &e))?;
        super::stream::forget(&synced, 0, u64::MAX >> 1);
        Ok(filled)
    }

    /// Pipes a file through a program of this machine, and lets `read` read its output.
    pub fn pipe_from<T>(
        &self,
        words: &[String],
        from: &Path,
        read: impl FnOnce(&mut dyn Read) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let file = File::open(self.at(from)).map_err(|e| failed("read", from, &e))?;
        let mut running = FilterProcess::start(words, Stdio::from(file), Stdio::piped())?;
        let got = match running.child.stdout.take() {
            Some(pipe) => {
                let mut pipe = running.counted(pipe);
                // The rest is read too, so that the program can check all of it before it ends.
                read(&mut pipe).and_then(|got| match io::copy(&mut pipe, &mut io::sink()) {
                    Ok(_) => Ok(got),
                    Err(e) => Err(failed("read", from, &e)),
                })
            }
            None => Err(Failure::new(format!("cannot read from {}", words[0]))),
        };
        match (got, running.end()) {
            (Ok(got), Ok(())) => Ok(got),
            (_, Err(failure)) | (Err(failure), Ok(())) => Err(failure),
        }
    }
}

struct FilterProcess {
    name: String,
    child: Child,
    moved: Arc<AtomicU64>,
    ended: mpsc::Sender<()>,
    watch: JoinHandle<bool>,
}

impl FilterProcess {
    fn start(words: &[String], input: Stdio, output: Stdio) -> Result<Self, Failure> {
        let (name, arguments) = words
            .split_first()
            .ok_or_else(|| Failure::new("cannot run an empty command"))?;
        let fail = |e: io::Error| Failure::new(format!("cannot run {name}: {}", reason(&e)));
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        // It keeps the terminal, on which it may ask for a passphrase, and the working directory,
        // which relative paths among its arguments mean.
        let child = plain(&program(name)?, &arguments)
            .stdin(input)
            .stdout(output)
            .stderr(Stdio::piped())
            .spawn()
            .map_err(fail)?;
        let (ended, is_ended) = mpsc::channel();
        let moved = Arc::new(AtomicU64::new(0));
        let (pid, seen) = (pid(&child), moved.clone());
        let watch = std::thread::spawn(move || watch(pid, &seen, &is_ended));
        Ok(Self {
            name: name.clone(),
            child,
            moved,
            ended,
            watch,
        })
    }

    fn counted<P>(&self, pipe: P) -> ProgressPipe<P> {
        ProgressPipe {
            pipe,
            moved: self.moved.clone(),
        }
    }

    /// Waits until the program ends, and ends it if it is stuck.
    fn end(mut self) -> Result<(), Failure> {
        let fail = |why: String| Failure::new(format!("cannot use {}: {why}", self.name));
        // It is reaped after the watch is over, so that its process id is not reused before.
        let _ = waitid(
            WaitId::Pid(pid(&self.child)),
            WaitIdOptions::EXITED | WaitIdOptions::NOWAIT,
        );
        drop(self.ended);
        let was_stuck = self.watch.join().unwrap_or(false);
        let status = self.child.wait().map_err(|e| fail(reason(&e)))?;
        if status.success() {
            return Ok(());
        }
        if was_stuck {
            return Err(fail(format!(
                "it moved nothing for {} s and was ended",
                STUCK.as_secs()
            )));
        }
        let mut words = String::new();
        if let Some(pipe) = self.child.stderr.take() {
            // Its output is only a help; the exit status decides.
            let _ = pipe.take(4096).read_to_string(&mut words);
        }
        let last = words.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default();
        Err(fail(match last {
            "" => status.to_string(),
            last => format!("{status}: {}", printable(last)),
        }))
    }
}

fn pid(child: &Child) -> Pid {
    Pid::from_child(child)
}

/// Ends a program that is stuck. Returns true if it did.
fn watch(pid: Pid, moved: &AtomicU64, ended: &mpsc::Receiver<()>) -> bool {
    let mut last = u64::MAX;
    loop {
        let now = moved.load(Ordering::Relaxed);
        if now == last {
            return kill_process(pid, Signal::KILL).is_ok();
        }
        last = now;
        match ended.recv_timeout(STUCK) {
            Err(RecvTimeoutError::Timeout) => {}
            Ok(()) | Err(RecvTimeoutError::Disconnected) => return false,
        }
    }
}

struct ProgressPipe<P> {
    pipe: P,
    moved: Arc<AtomicU64>,
}

impl<P: Write> Write for ProgressPipe<P> {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        let count = self.pipe.write(piece)?;
        self.moved.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.pipe.flush()
    }
}

impl<P: Read> Read for ProgressPipe<P> {
    fn read(&mut self, piece: &mut [u8]) -> io::Result<usize> {
        let count = self.pipe.read(piece)?;
        self.moved.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}
