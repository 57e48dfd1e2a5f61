//! What the daemon leaves for others than systemd: metrics for Prometheus, and events for the operator's hooks.

use std::path::PathBuf;

use tracing::{info, warn};

use super::work::Daemon;
use crate::backup::stored;
use crate::cli::hooks;
use crate::cycle::{Assessment, NotExecuted};
use crate::events;
use crate::host::notify;
use crate::model::Failure;
use crate::report::cycle::Report;
use crate::report::hook::{Event, Occasion};
use crate::report::metrics::{self, Facts};
use crate::report::notices::{self, Notice};
use crate::verify::served;

/// A number of so many digits is no part of a name.
const LONG: usize = 4;

/// What is kept for it between tasks.
#[derive(Default)]
pub(super) struct Measured {
    /// What the metrics show beside the status. Empty where none are written.
    facts: Facts,
    /// The file that was written last.
    file: Option<PathBuf>,
    /// What hooks are still to be told.
    events: Vec<Event>,
}

impl Daemon {
    /// Whether a look could be taken, and whether it was a good time.
    pub(super) fn looked(&mut self, look: &Result<Assessment, NotExecuted>) {
        let now = self.host.now();
        let was_read = !matches!(look, Err(NotExecuted::Failed(_)));
        self.status.step("look", was_read, now);
        if was_read {
            self.status.step("guard", look.is_ok(), now);
        }
        if self.settings.metrics.textfile_directory.is_none() {
            return;
        }
        match look {
            Ok(look) => self.measured.facts = Facts::of(&look.inventory, look.clearance.plan()),
            Err(NotExecuted::Deferred(deferred, inventory)) => {
                self.measured.facts = Facts::of(inventory, &deferred.plan)
            }
            Err(NotExecuted::Failed(_)) => {}
        }
    }

    /// What a look has said.
    pub(super) fn noticed(&mut self, notices: &[Notice]) {
        let event = Event::of_notices(notices, &self.host.node_name(), self.host.now());
        self.measured.events.extend(event);
    }

    /// What a cycle came to.
    pub(super) fn acted(&mut self, report: &Report) {
        let now = self.host.now();
        self.status.stepped(report, now);
        let events = Event::of_cycle(report, &self.host.node_name(), now);
        if events.iter().all(|event| event.event != Occasion::Failed) {
            self.memory.failed.remove("cycle");
        }
        for event in events {
            self.queue("cycle", event);
        }
    }

    /// What became of something outside of a cycle.
    pub(super) fn came_to(&mut self, step: &str, failure: Option<&Failure>) {
        let now = self.host.now();
        self.status.step(step, failure.is_none(), now);
        match failure {
            Some(failure) => self.queue(step, Event::of_failure(failure, &self.host.node_name(), now)),
            None => drop(self.memory.failed.remove(step)),
        }
    }

    /// The same failure is told once a day. Long numbers in it do not count: times, process ids and the names of backups differ each time.
    fn queue(&mut self, what: &str, event: Event) {
        let now = self.host.now().unix_timestamp();
        let pieces = event.text.as_bytes();
        let pieces = pieces.chunk_by(|a, b| a.is_ascii_digit() == b.is_ascii_digit());
        let is_word = |piece: &&[u8]| piece.len() < LONG || !piece[0].is_ascii_digit();
        let words: Vec<u8> = pieces.filter(is_word).flatten().copied().collect();
        let words = String::from_utf8_lossy(&words);
        if event.event != Occasion::Failed || notices::is_news(&mut self.memory.failed, what, &words, now) {
            self.measured.events.push(event);
        }
    }

    /// Tells the hooks what has happened; each has its deadline.
    pub(super) fn call_hooks(&mut self) {
        for event in std::mem::take(&mut self.measured.events) {
            let hook = event.event.key();
            notify::status(&format!("Telling [hooks] {hook}"));
            let Some(told) = hooks::call(&self.host, &self.settings.hooks, &event) else {
                continue;
            };
            self.status.step("hook", told.is_ok(), self.host.now());
            match told {
                Ok(()) => info!(
                    message_id = events::HOOK_TOLD,
                    hook, "told [hooks] {hook}: {}", event.text
                ),
                Err(failure) => warn!(message_id = events::HOOK_FAILED, hook, reason = %failure, "{failure}"),
            }
        }
    }

    /// Writes the metrics, where they are wanted. What is served now is asked only while the daemon goes on.
    pub(super) fn measure(&mut self) {
        let directory = self.settings.metrics.textfile_directory.clone();
        let file = directory.as_ref().map(|directory| directory.join(metrics::FILE));
        if let Some(old) = self.measured.file.take_if(|old| file.as_ref() != Some(old))
            && let Err(failure) = self.host.unlink(&old)
        {
            warn!(message_id = events::WARNING, "{failure}");
        }
        let Some(directory) = directory else { return };
        let facts = &mut self.measured.facts;
        if self.status.daemon.running {
            facts.served = served::ask(&self.host, &facts.ports);
        }
        let backups = stored::all(&self.host, &self.settings.backup.directory);
        let text = facts.render(&self.status, &self.settings, &backups);
        match self.host.publish_into(&directory, metrics::FILE, text.as_bytes()) {
            Ok(()) => self.measured.file = file,
            Err(failure) => warn!(message_id = events::WARNING, "{failure}"),
        }
    }
}
