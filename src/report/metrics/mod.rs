//! Metrics for node_exporter's textfile collector: numbers, names and times, but no secrets. Pure.
//!
//! Names and labels of `x509_cert_not_before`, `x509_cert_not_after` and `x509_read_errors` are
//! those of x509-certificate-exporter (its docs/metrics.md), so that its dashboards and alerts work
//! on these too. `credential` and `kind` are added to its labels. All others are `kubecertd_*`.
//! docs/operations.md has the list.

mod certificates;
mod cluster;
mod text;

use crate::backup::stored::StoredBackup;
use crate::config::Settings;
use crate::format::text::parse_rfc3339;
use crate::inventory::Inventory;
use crate::model::Timestamp;
use crate::plan::Plan;
use crate::report::status::Status;
use crate::verify::probes::{self, Port};
use crate::verify::served::ServedCertificates;
use certificates::Row;
use text::Document;

/// Name of the file: node_exporter reads files that end in `.prom`.
pub const FILE: &str = "kubecertd.prom";

/// Data of the metrics that the status does not have.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    rows: Vec<Row>,
    /// Names of the readers on this node.
    readers: Vec<String>,
    /// Ports that serve credentials.
    pub ports: Vec<Port>,
    /// Certificates that they served at the last check.
    pub served: Vec<ServedCertificates>,
}

impl Facts {
    /// Returns the data from an assessment.
    pub fn of(inventory: &Inventory, plan: &Plan) -> Self {
        Self {
            rows: certificates::rows(inventory, plan),
            readers: inventory.readers.iter().map(|reader| reader.name.clone()).collect(),
            ports: probes::ports(inventory),
            served: Vec::new(),
        }
    }

    /// Returns the document.
    pub fn render(&self, status: &Status, settings: &Settings, backups: &[StoredBackup]) -> String {
        let mut out = Document::default();
        certificates::render(&self.rows, &mut out);
        self.served(&mut out);
        self.restarts(status, &mut out);
        backup_metrics(backups, &mut out);
        daemon(status, settings, &mut out);
        steps(status, &mut out);
        cluster::render(status, &mut out);
        out.0
    }

    fn served(&self, out: &mut Document) {
        let all: Vec<_> = self
            .served
            .iter()
            .map(|served| (served, served.port.address.to_string()))
            .collect();
        out.family(
            "kubecertd_served_not_after_timestamp_seconds",
            "Expiration of the certificate that a component serves; the file may differ.",
            all.iter().map(|(served, address)| {
                let port = &served.port;
                let labels = vec![
                    ("address", address.as_str()),
                    ("credential", &port.credential),
                    ("reader", &port.reader),
                ];
                (labels, served.not_after.unix_timestamp())
            }),
        );
    }

    fn restarts(&self, status: &Status, out: &mut Document) {
        let pending = || status.pending_restarts.iter().map(|restart| restart.reader.as_str());
        let known = self.readers.iter().map(String::as_str);
        let unknown = pending().filter(|reader| known.clone().all(|known| known != *reader));
        out.family(
            "kubecertd_restart_pending",
            "1 if a component must be restarted to use renewed credentials.",
            known.clone().chain(unknown).map(|reader| {
                (
                    vec![("reader", reader)],
                    i64::from(pending().any(|left| left == reader)),
                )
            }),
        );
    }
}

fn backup_metrics(backups: &[StoredBackup], out: &mut Document) {
    let good = backups.iter().filter(|backup| backup.is_good());
    let count = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
    let size = |size: u64| i64::try_from(size).unwrap_or(i64::MAX);
    let newest = good.clone().next_back();
    out.family(
        "kubecertd_backups",
        "Number of backups; a damaged one, or one without etcd's data, is not good.",
        [
            (vec![("good", "true")], count(good.clone().count())),
            (vec![("good", "false")], count(backups.len() - good.count())),
        ],
    );
    out.one(
        "kubecertd_backups_size_bytes",
        "Size of all backups together.",
        Some(size(backups.iter().map(StoredBackup::size).sum())),
    );
    let created = newest.and_then(|backup| parse_rfc3339(&backup.manifest.as_ref().ok()?.created));
    out.one(
        "kubecertd_backup_last_timestamp_seconds",
        "Time at which the newest good backup was taken.",
        created.map(Timestamp::unix_timestamp),
    );
    out.one(
        "kubecertd_backup_last_size_bytes",
        "Size of the newest good backup.",
        newest.map(|backup| size(backup.size())),
    );
}

/// Returns a time of the status in seconds since 1970.
fn seconds(at: &Option<String>) -> Option<i64> {
    Some(parse_rfc3339(at.as_deref()?)?.unix_timestamp())
}

fn daemon(status: &Status, settings: &Settings, out: &mut Document) {
    let cycle = status.last_cycle.as_ref();
    let length = |length: std::time::Duration| i64::try_from(length.as_secs()).ok();
    out.family(
        "kubecertd_build_info",
        "Version of kubecertd; always 1.",
        [(vec![("version", env!("CARGO_PKG_VERSION"))], 1)],
    );
    let gauges = [
        (
            "kubecertd_up",
            "1 while the daemon runs; 0 after it has stopped.",
            Some(i64::from(status.daemon.running)),
        ),
        (
            "kubecertd_last_assessment_timestamp_seconds",
            "Time of the last assessment; kubecertd assesses a node at least daily.",
            seconds(&status.last_look),
        ),
        (
            "kubecertd_next_assessment_timestamp_seconds",
            "Latest time of the next assessment.",
            seconds(&status.next_look),
        ),
        (
            "kubecertd_next_cycle_timestamp_seconds",
            "Time of the next cycle.",
            seconds(&status.next_cycle),
        ),
        (
            "kubecertd_last_cycle_timestamp_seconds",
            "Time at which the last cycle ended.",
            cycle.and_then(|cycle| seconds(&Some(cycle.at.clone()))),
        ),
        (
            "kubecertd_last_cycle_exit_code",
            "Result of that cycle: 0 done, 1 failed, 3 rollback failed, 4 incomplete.",
            cycle.map(|cycle| cycle.exit.into()),
        ),
        (
            "kubecertd_problems",
            "Number of problems in `kubecertd status`.",
            i64::try_from(status.problems.len()).ok(),
        ),
        (
            "kubecertd_renew_before_seconds",
            "Remaining lifetime below which a credential is due (renew_before).",
            length(settings.renew_before),
        ),
        (
            "kubecertd_urgent_before_seconds",
            "Remaining lifetime below which a credential is urgent (urgent_before).",
            length(settings.urgent_before),
        ),
    ];
    for (name, help, value) in gauges {
        out.one(name, help, value);
    }
}

fn steps(status: &Status, out: &mut Document) {
    let rows = |at: fn(&super::status::Step) -> &Option<String>| {
        let steps = status.steps.iter();
        steps.filter_map(move |step| Some((vec![("step", step.name.as_str())], seconds(at(step))?)))
    };
    out.family(
        "kubecertd_step_last_success_timestamp_seconds",
        "When a step went well last.",
        rows(|step| &step.last_success),
    );
    out.family(
        "kubecertd_step_last_failure_timestamp_seconds",
        "When a step failed last.",
        rows(|step| &step.last_failure),
    );
}
