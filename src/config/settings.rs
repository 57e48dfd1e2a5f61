//! The checked configuration. Invalid values never reach another module.

use std::path::PathBuf;
use std::time::Duration;

use croner::Cron;
use jiff::tz::TimeZone;
use strum::{IntoStaticStr, VariantArray};

use super::window::{self, Window};
use crate::catalog::readers::ReaderSpec;
use crate::catalog::{AuthoritySpec, CopySpec, Extra};
use crate::model::Timestamp;

/// All settings, with defaults applied.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Schedule of the cycles.
    pub schedule: Timetable,
    /// Time after an instant of the schedule within which this node acts. kubecertd cuts it to half
    /// of the shortest time between two cycles. Default: an hour.
    pub spread: Duration,
    /// Action of the first assessment after the installation. Default: report only.
    pub first_look: FirstLook,
    /// Time left below which a credential is due. Default: 30 days.
    pub renew_before: Duration,
    /// Time left below which guards alert instead of blocking. Default: 7 days.
    pub urgent_before: Duration,
    /// Validity of a new certificate. Default: 365 days.
    pub validity: Duration,
    /// Time after its start for which the daemon waits for a synchronized clock before it acts.
    /// Default: 15 minutes.
    pub clock_wait: Duration,
    /// Paths of the node.
    pub paths: Paths,
    /// Backups.
    pub backup: Backup,
    /// Endpoints and credentials of etcd.
    pub etcd: Etcd,
    /// Restarts.
    pub restart: Restart,
    /// Metrics for Prometheus.
    pub metrics: Metrics,
    /// Commands that are called on events.
    pub hooks: Hooks,
    /// The cluster lock.
    pub coordination: Coordination,
    /// Further CAs, or other paths of the known ones.
    pub authorities: Vec<AuthoritySpec>,
    /// Further credentials, or other paths of the known ones.
    pub extra: Vec<Extra>,
    /// Copies of kubeconfigs, which change with their originals. Default: none.
    pub copies: Vec<CopySpec>,
    /// Readers that are not static pods, or whose address is not in a manifest.
    pub readers: Vec<ReaderSpec>,
    /// Maintenance windows for restarts that may wait. Default: none, so that they do not wait.
    pub windows: Vec<Window>,
}

impl Settings {
    /// Returns the time from which a credential that ends at `end` is due.
    pub fn due_at(&self, end: Timestamp) -> Timestamp {
        before(end, self.renew_before)
    }

    /// Returns the time from which the end of a credential is urgent.
    pub fn urgent_at(&self, end: Timestamp) -> Timestamp {
        before(end, self.urgent_before)
    }

    /// Returns true if less than `urgent_before` is left of a credential that ends at `end`.
    pub fn is_urgent(&self, end: Timestamp, now: Timestamp) -> bool {
        self.urgent_at(end) < now
    }

    /// Returns the end of a certificate that is made at `now`, before the end of its CA limits it.
    pub fn new_end(&self, now: Timestamp) -> Timestamp {
        now.saturating_add(self.validity.try_into().unwrap_or(time::Duration::MAX))
    }
}

fn before(end: Timestamp, length: Duration) -> Timestamp {
    end.saturating_sub(length.try_into().unwrap_or(time::Duration::MAX))
}

/// `first_look`
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum FirstLook {
    /// Only report the plan. The next cycle of the schedule carries it out.
    Report,
    /// Run a cycle at once.
    Act,
}

/// A cron schedule in a time zone.
#[derive(Debug, Clone, PartialEq)]
pub struct Timetable {
    /// Parsed schedule with six fields, seconds first.
    pub cron: Cron,
    /// Schedule as written.
    pub text: String,
    /// Time zone of the schedule. Default: UTC.
    pub zone: TimeZone,
}

impl Timetable {
    /// Returns the first instant after `now`, right across changes of daylight saving time.
    pub fn next(&self, now: crate::model::Timestamp) -> Option<crate::model::Timestamp> {
        let now = window::zoned(now, &self.zone)?;
        let next = self.cron.find_next_occurrence(&now, false).ok()?;
        crate::model::Timestamp::from_unix_timestamp(next.timestamp().as_second()).ok()
    }
}

/// `[paths]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    /// Directory of kubernetes. Default: `/etc/kubernetes`.
    pub kubernetes: PathBuf,
    /// Directory of the PKI. Default: `pki` in [`Self::kubernetes`].
    pub pki: PathBuf,
    /// Directory of the manifests. `None` (`auto`) means the kubelet's `staticPodPath`.
    pub manifests: Option<PathBuf>,
    /// etcd's data directory. `None` (`auto`) means etcd's `--data-dir`.
    pub etcd_data: Option<PathBuf>,
    /// The kubelet's directory. Default: `/var/lib/kubelet`.
    pub kubelet: PathBuf,
}

/// `[backup]`
#[derive(Debug, Clone, PartialEq)]
pub struct Backup {
    /// Directory of the backups. Default: `/var/lib/kubecertd/backups`.
    pub directory: PathBuf,
    /// Number of backups that stay. Default: 5.
    pub keep: usize,
    /// Age below which all backups stay. Default: none.
    pub keep_within: Duration,
    /// Maximum size of all backups together, in bytes; the oldest ones go first. Default: no limit.
    pub max_size: Option<u64>,
    /// Parts that must be backed up before files are replaced.
    pub before_renewal: BeforeRenewal,
    /// Schedule of backups besides those before a change. Default: never.
    pub schedule: Option<Timetable>,
    /// Compression of backups. Default: none.
    pub compress: Compress,
    /// Program and arguments that encrypt their standard input. Default: none.
    pub encrypt_with: Vec<String>,
    /// Program and arguments that decrypt the output of [`Self::encrypt_with`]. Default: none.
    pub decrypt_with: Vec<String>,
}

impl Backup {
    /// Returns true if backups become archives once their plain files are no longer needed.
    pub fn archives(&self) -> bool {
        self.compress != Compress::None || !self.encrypt_with.is_empty()
    }
}

/// `[backup] compress`
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum Compress {
    /// No compression.
    None,
    /// Zstandard (RFC 8878), level 3.
    Zstd,
}

/// `[etcd]`: settings that are not in the manifests.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Etcd {
    /// Endpoints, `https://HOST:PORT`. Empty means those of the manifests.
    pub endpoints: Vec<String>,
    /// CA file, PEM. `None` (`auto`) means that of the manifests.
    pub ca: Option<PathBuf>,
    /// Client certificate, PEM. `None` (`auto`) means that of the manifests.
    pub certificate: Option<PathBuf>,
    /// Key of the client certificate, PEM; set together with [`Self::certificate`].
    pub key: Option<PathBuf>,
}

/// `[backup] before_renewal`. The files to be replaced are backed up in every case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum BeforeRenewal {
    /// Files and etcd's data.
    Required,
    /// Files; etcd's data if possible.
    Files,
    /// Files only.
    Off,
}

/// `[restart]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restart {
    /// Readers that are restarted. Default: those that need it.
    pub scope: Scope,
    /// Method for static pods. Default: touch.
    pub method: Method,
    /// Time that an old process gets to end before it is killed, from the change of its manifest.
    /// Default: 10 seconds.
    pub grace: Duration,
    /// Time limit for one attempt to restart a reader, including its proof. Default: 3 minutes.
    pub timeout: Duration,
}

/// `[metrics]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metrics {
    /// Directory that node_exporter's textfile collector reads. `None` disables the metrics.
    /// Default: none.
    pub textfile_directory: Option<PathBuf>,
}

/// `[hooks]`: programs with their arguments. An empty list disables a hook. Default: all disabled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hooks {
    /// Called once a day for a certificate that ends soon, has expired, or cannot be renewed.
    pub on_expiring: Vec<String>,
    /// Called after credentials were renewed.
    pub on_renewed: Vec<String>,
    /// Called after a cycle or a scheduled backup failed, or left something out.
    pub on_failed: Vec<String>,
    /// Time limit for one call. Default: 30 seconds.
    pub timeout: Duration,
}

/// `[coordination]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Coordination {
    /// Use of the lock in etcd. Default: if the cluster has several members.
    pub mode: CoordinationMode,
    /// Time after which a node that does not answer loses the lock. Whole seconds. Default: 60
    /// seconds.
    pub lease: Duration,
    /// Time limit to wait for another node. Default: 30 minutes.
    pub wait: Duration,
}

/// `[coordination] mode`
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum CoordinationMode {
    /// If etcd is known and has several members. A node whose client may not write the lock acts in
    /// its slot.
    Auto,
    /// Always. Nothing is done without the lock.
    Required,
    /// Never.
    Off,
}

/// `[restart] method`
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum Method {
    /// Change an annotation in the manifest, which is never missing.
    Touch,
    /// Hide the manifest until the old process has ended. Faster, and recorded for recovery.
    Park,
}

/// `[restart] scope`
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum Scope {
    /// Readers that cache a renewed credential.
    Needed,
    /// Every static pod that reads a renewed credential.
    All,
    /// No reader.
    Never,
}
