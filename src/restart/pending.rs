//! Pending restarts: restarts that are still to be done, in a durable record that no recovery
//! removes.

use serde::{Deserialize, Serialize};

use crate::catalog::readers::RestartMethod;
use crate::config::window::{self, Window};
use crate::host::Host;
use crate::host::record::Record;
use crate::host::write::beside;
use crate::model::{Failure, Process, Timestamp};
use crate::plan::readers::ReaderStep;

/// Name of the record in the state directory.
const RECORD: Record<Vec<PendingRestart>> = Record::new("pending-restarts.json");

/// One reader that still has to be restarted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingRestart {
    /// The reader, its method of restart and the credentials that it caches.
    #[serde(flatten)]
    pub step: ReaderStep,
    /// The manifest was changed already: a kubelet that comes back starts the pod again.
    #[serde(default)]
    pub touched: bool,
    /// The reader's processes at the time of the record. Once they are gone and another one runs,
    /// the reader has been restarted.
    pub before: Vec<Process>,
    /// The boot that the processes belong to.
    pub boot_id: String,
}

impl PendingRestart {
    /// Returns a restart that was not begun.
    pub fn new(host: &Host, step: &ReaderStep, before: &[Process]) -> Self {
        Self {
            step: step.clone(),
            touched: false,
            before: before.to_vec(),
            boot_id: host.boot_id(),
        }
    }

    /// Returns true if the reader has been restarted since, by any means: none of the recorded
    /// processes runs.
    pub fn is_done(&self, host: &Host, now: &[Process]) -> bool {
        let is_new = |process: &Process| !self.before.contains(process);
        !now.is_empty() && (self.boot_id != host.boot_id() || now.iter().all(is_new))
    }
}

/// Time after which a restart that failed or was not possible is tried again.
const AGAIN: time::Duration = time::Duration::minutes(5);

/// Returns the time until the restarts are tried again: until the next window opens, or the first
/// may no longer wait. `None` if there are none.
pub fn next_try(all: &[PendingRestart], windows: &[Window], now: Timestamp) -> Option<time::Duration> {
    let wait = |pending: &PendingRestart| match pending
        .step
        .until
        .filter(|until| now < *until && !window::is_open(windows, now))
    {
        Some(until) => window::next(windows, now).map_or(until, |opens| opens.min(until)) - now,
        None => AGAIN,
    };
    all.iter().map(wait).min()
}

/// Returns the pending restarts, without pods whose manifest is gone. A record that does not parse
/// counts as empty: an error here would stop all renewals.
pub fn read(host: &Host) -> Vec<PendingRestart> {
    let mut all = RECORD.read(host).ok().flatten().unwrap_or_default();
    all.retain(|pending| match &pending.step.means {
        RestartMethod::Pod { manifest } => host.exists(manifest),
        RestartMethod::Unit { .. } | RestartMethod::Exec { .. } => true,
    });
    all
}

/// Replaces the record, or removes it if it would be empty.
pub fn record(host: &Host, all: &[PendingRestart]) -> Result<(), Failure> {
    if all.is_empty() {
        return RECORD.remove(host);
    }
    RECORD.write(host, &all.to_vec())
}

/// Removes temporary files of an interrupted process: the record's, and those of its manifests.
pub fn clean(host: &Host) -> Result<(), Failure> {
    RECORD.clean(host)?;
    for pending in read(host) {
        pending.clean(host)?;
    }
    Ok(())
}

impl PendingRestart {
    /// Removes the temporary file of its manifest.
    pub fn clean(&self, host: &Host) -> Result<(), Failure> {
        match &self.step.means {
            RestartMethod::Pod { manifest } => host.unlink(&beside(manifest, "new")),
            RestartMethod::Unit { .. } | RestartMethod::Exec { .. } => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    fn pending(until: Option<Timestamp>) -> PendingRestart {
        PendingRestart {
            step: ReaderStep {
                reader: "kube-scheduler".into(),
                means: RestartMethod::Pod { manifest: "/m".into() },
                reads: Vec::new(),
                holds: vec!["scheduler.conf".into()],
                until,
            },
            touched: false,
            before: Vec::new(),
            boot_id: "b".into(),
        }
    }

    #[test]
    fn a_deferred_restart_runs_in_a_window_or_at_its_deadline() {
        let now = datetime!(2027-01-01 12:00 UTC);
        let window = [Window {
            days: [true; 7],
            start: jiff::civil::Time::constant(2, 0, 0, 0),
            length: std::time::Duration::from_secs(3600),
            zone: jiff::tz::TimeZone::UTC,
        }];
        let after = |until| next_try(&[pending(until)], &window, now);
        assert_eq!(after(Some(now + time::Duration::DAY)), Some(time::Duration::hours(14)));
        assert_eq!(after(Some(now + time::Duration::HOUR)), Some(time::Duration::HOUR));
        assert_eq!(after(Some(now - time::Duration::HOUR)), Some(AGAIN));
        assert_eq!(after(None), Some(AGAIN));
        assert_eq!(next_try(&[], &window, now), None);
    }

    #[test]
    fn a_restart_is_settled_once_another_process_runs() {
        let host = Host::new("/".into(), Default::default());
        let process = |ticks| Process {
            pid: 7,
            ticks,
            program: "kube-scheduler".into(),
            in_pod: true,
        };
        let recorded = PendingRestart {
            before: vec![process(100)],
            boot_id: host.boot_id(),
            ..pending(None)
        };
        assert!(!recorded.is_done(&host, &[]), "nothing runs");
        assert!(!recorded.is_done(&host, &[process(100)]), "the old one runs");
        assert!(recorded.is_done(&host, &[process(200)]), "the same id, started later");
        let earlier_boot = PendingRestart {
            boot_id: "other".into(),
            ..recorded
        };
        assert!(earlier_boot.is_done(&host, &[process(100)]), "another boot");
    }
}
