//! The checked configuration. What does not hold here never reaches another module.

use std::path::PathBuf;
use std::time::Duration;

use croner::Cron;
use jiff::tz::TimeZone;
use strum::{IntoStaticStr, VariantArray};

use super::window::{self, Window};
use crate::catalog::readers::ReaderSpec;
use crate::catalog::{AuthoritySpec, CopySpec, Extra};
use crate::model::Timestamp;

/// Everything that can be set, with all defaults applied.
#[derive(Debug, Clone)]
pub struct Settings {
    /// When a cycle acts.
    pub schedule: Timetable,
    /// Within which time after an instant of the schedule this node acts; kubecertd cuts it to half of the shortest time between two
    /// cycles. Default an hour.
    pub spread: Duration,
    /// What the first look after the installation does. Default: it only reports.
    pub first_look: FirstLook,
    /// A credential is due when less than this is left. Default 30 days.
    pub renew_before: Duration,
    /// Below this, guards alert instead of blocking. Default 7 days.
    pub urgent_before: Duration,
    /// How long a new certificate is good. Default 365 days.
    pub validity: Duration,
    /// How long after its start the daemon waits for a synchronized clock before it acts. Default 15 minutes.
    pub clock_wait: Duration,
    /// Where things are.
    pub paths: Paths,
    /// Backups.
    pub backup: Backup,
    /// Where etcd's API is.
    pub etcd: Etcd,
    /// Restarts.
    pub restart: Restart,
    /// What is written for Prometheus.
    pub metrics: Metrics,
    /// Commands that are told what happened.
    pub hooks: Hooks,
    /// One node of a cluster at a time.
    pub coordination: Coordination,
    /// Further CAs, or other places for the known ones.
    pub authorities: Vec<AuthoritySpec>,
    /// Further credentials, or other places for the known ones.
    pub extra: Vec<Extra>,
    /// Copies of kubeconfigs, which change with their originals. Default none.
    pub copies: Vec<CopySpec>,
    /// Readers that are no static pods, or whose address the manifests do not say.
    pub readers: Vec<ReaderSpec>,
    /// When restarts that may wait are carried out. Default: at once.
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

    /// Returns the end that a certificate made at `now` is to have, whatever its CA allows.
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
    /// It says what would be done and when; the next cycle of the schedule does it.
    Report,
    /// It is followed by a cycle at once.
    Act,
}

/// A cron schedule in a time zone.
#[derive(Debug, Clone, PartialEq)]
pub struct Timetable {
    /// Parsed; six fields, seconds first.
    pub cron: Cron,
    /// As written.
    pub text: String,
    /// The zone in which it is read. Default UTC.
    pub zone: TimeZone,
}

impl Timetable {
    /// The first instant after `now` at which a cycle acts, correct over changes of daylight saving time.
    pub fn next(&self, now: crate::model::Timestamp) -> Option<crate::model::Timestamp> {
        let now = window::zoned(now, &self.zone)?;
        let next = self.cron.find_next_occurrence(&now, false).ok()?;
        crate::model::Timestamp::from_unix_timestamp(next.timestamp().as_second()).ok()
    }
}

/// `[paths]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    /// Default `/etc/kubernetes`.
    pub kubernetes: PathBuf,
    /// Default `pki` in [`Self::kubernetes`].
    pub pki: PathBuf,
    /// `auto`: the kubelet's `staticPodPath`.
    pub manifests: Option<PathBuf>,
    /// `auto`: etcd's `--data-dir`.
    pub etcd_data: Option<PathBuf>,
    /// Default `/var/lib/kubelet`.
    pub kubelet: PathBuf,
}

/// `[backup]`
#[derive(Debug, Clone, PartialEq)]
pub struct Backup {
    /// Default `/var/lib/kubecertd/backups`.
    pub directory: PathBuf,
    /// How many backups stay. Default 5.
    pub keep: usize,
    /// Sets younger than this stay whatever their number. Default none.
    pub keep_within: Duration,
    /// Bytes of all backups together, beyond which the oldest go. Default: no bound.
    pub max_size: Option<u64>,
    /// What must have worked before files are replaced.
    pub before_renewal: BeforeRenewal,
    /// When sets are taken besides those before a change. Default never.
    pub schedule: Option<Timetable>,
    /// Whether sets are compressed. Default not.
    pub compress: Compress,
    /// The program, and its arguments, that encrypts what it reads. Default none.
    pub encrypt_with: Vec<String>,
    /// The program, and its arguments, that decrypts what [`Self::encrypt_with`] wrote. Default none.
    pub decrypt_with: Vec<String>,
}

impl Backup {
    /// Whether a backup is put into archives once nothing needs its plain files any more.
    pub fn archives(&self) -> bool {
        self.compress != Compress::None || !self.encrypt_with.is_empty()
    }
}

/// `[backup] compress`
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum Compress {
    /// Not at all.
    None,
    /// Zstandard (RFC 8878), level 3.
    Zstd,
}

/// `[etcd]`: what the manifests do not say.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Etcd {
    /// `https://HOST:PORT`; empty: as the manifests say.
    pub endpoints: Vec<String>,
    /// PEM; `auto`: as the manifests say.
    pub ca: Option<PathBuf>,
    /// The client certificate, PEM; `auto`: as the manifests say.
    pub certificate: Option<PathBuf>,
    /// Its key, PEM; set with [`Self::certificate`].
    pub key: Option<PathBuf>,
}

/// `[backup] before_renewal`. The files to be replaced are kept in every case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum BeforeRenewal {
    /// Files and etcd data.
    Required,
    /// Files; etcd data if it works.
    Files,
    /// Files only.
    Off,
}

/// `[restart]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restart {
    /// Which readers are restarted. Default: those that need it.
    pub scope: Scope,
    /// How static pods are restarted. Default: touch.
    pub method: Method,
    /// How long an old process may take to end before it is killed, from the change of its manifest. Default 10 seconds.
    pub grace: Duration,
    /// How long one attempt to restart a reader may take until it is proven. Default 3 minutes.
    pub timeout: Duration,
}

/// `[metrics]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metrics {
    /// The directory that node_exporter's textfile collector reads; none: no metrics are written. Default none.
    pub textfile_directory: Option<PathBuf>,
}

/// `[hooks]`: programs with their arguments; empty: nobody is told. All default to nobody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hooks {
    /// A certificate ends soon, has ended, or cannot be renewed: told once a day.
    pub on_expiring: Vec<String>,
    /// Credentials were renewed.
    pub on_renewed: Vec<String>,
    /// A cycle or a scheduled backup failed, or left something out.
    pub on_failed: Vec<String>,
    /// How long one call may take before it is ended. Default 30 seconds.
    pub timeout: Duration,
}

/// `[coordination]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Coordination {
    /// Whether the lock in etcd is taken. Default: where there are several members.
    pub mode: CoordinationMode,
    /// How long the lock outlives a node that says nothing more. Whole seconds. Default 60 seconds.
    pub lease: Duration,
    /// How long another node is waited for. Default 30 minutes.
    pub wait: Duration,
}

/// `[coordination] mode`
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum CoordinationMode {
    /// Where etcd is known and has several members; in its own time where its client may not write there.
    Auto,
    /// Nothing is done where the lock cannot be had.
    Required,
    /// Never.
    Off,
}

/// `[restart] method`
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum Method {
    /// An annotation in the manifest changes; the manifest is never missing.
    Touch,
    /// The manifest is taken out until the old process has ended; faster, and journalled.
    Park,
}

/// `[restart] scope`
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum Scope {
    /// Readers that hold the renewed credential in memory.
    Needed,
    /// Every static pod that reads a renewed credential.
    All,
    /// None.
    Never,
}
