//! Metrics of the daemon: one file in the directory of node_exporter's textfile collector.

use std::path::PathBuf;

use tracing::warn;

use crate::backup::stored;
use crate::config::Settings;
use crate::events;
use crate::host::Host;
use crate::inventory::Inventory;
use crate::plan::Plan;
use crate::report::metrics::{FILE, Facts};
use crate::report::status::Status;
use crate::verify::served;

/// Facts for the metrics, kept between tasks.
#[derive(Default)]
pub(super) struct Metrics {
    /// Facts that the status does not have. Empty if no metrics are configured.
    facts: Facts,
    /// File that was written last.
    file: Option<PathBuf>,
}

impl Metrics {
    /// Keeps the facts of an assessment.
    pub(super) fn record(&mut self, inventory: &Inventory, plan: &Plan) {
        self.facts = Facts::of(inventory, plan);
    }

    /// Writes the metrics if they are configured, and removes a file at an earlier place.
    ///
    /// The ports are probed for the certificates that they serve only while the daemon runs.
    pub(super) fn write(&mut self, host: &Host, settings: &Settings, status: &Status) {
        let directory = settings.metrics.textfile_directory.as_ref();
        let file = directory.map(|directory| directory.join(FILE));
        if let Some(old) = self.file.take_if(|old| file.as_ref() != Some(old))
            && let Err(failure) = host.unlink(&old)
        {
            warn!(message_id = events::WARNING, "{failure}");
        }
        let Some(directory) = directory else { return };
        if status.daemon.running {
            self.facts.served = served::ask(host, &self.facts.ports);
        }
        let backups = stored::all(host, &settings.backup.directory);
        let text = self.facts.render(status, settings, &backups);
        match host.publish_into(directory, FILE, text.as_bytes()) {
            Ok(()) => self.file = file,
            Err(failure) => warn!(message_id = events::WARNING, "{failure}"),
        }
    }
}
