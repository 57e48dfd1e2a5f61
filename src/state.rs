//! Files in the state directory that outlive a run: the last assessment, to notice a jump of the
//! clock; the files that kubecertd wrote, so that it does not take its own work for another
//! program's; the daemon's record; and the members of the cluster.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::host::Host;
use crate::model::{Failure, File, Peer, ReadError, Timestamp};

const LAST_LOOK: &str = "last-look.json";
const WRITTEN: &str = "written.json";
const DAEMON: &str = "daemon.json";
const MEMBERS: &str = "members.json";

/// The last assessment of the daemon, by two clocks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastAssessment {
    /// Wall clock, seconds since 1970.
    pub at: i64,
    /// Boot that [`Self::uptime`] belongs to.
    pub boot_id: String,
    /// Seconds since boot, sleep included (CLOCK_BOOTTIME).
    pub uptime: i64,
    /// Wall clock of the last assessment at which it was trusted.
    pub trusted: i64,
}

/// A file that a transaction of kubecertd installed. kubeadm writes into the same inode, so that
/// the time counts too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct WrittenFiles {
    path: PathBuf,
    inode: u64,
    /// Modification time, seconds since 1970.
    modified: i64,
}

/// The daemon's record of earlier runs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Daemon {
    /// End of the last cycle of the schedule, seconds since 1970.
    pub last_cycle: Option<i64>,
    /// Last warning about each credential, and its time in seconds since 1970.
    pub told: BTreeMap<String, (String, i64)>,
    /// Last failure that hooks were called for, and its time, by its key.
    pub failed: BTreeMap<String, (String, i64)>,
}

/// Returns the daemon's record. `None` on a node on which it never ran. A record that does not
/// parse counts as an empty one.
pub fn daemon(host: &Host) -> Option<Daemon> {
    match host.read_own(&host.state(DAEMON)) {
        Ok(file) => Some(serde_json::from_slice(&file.bytes).unwrap_or_default()),
        Err(ReadError::Missing) => None,
        Err(ReadError::Because(_)) => Some(Daemon::default()),
    }
}

/// Writes the daemon's record.
pub fn record_daemon(host: &Host, daemon: &Daemon) -> Result<(), Failure> {
    write(host, DAEMON, daemon)
}

/// Returns the members of etcd's cluster at the last contact; none if there was none.
pub fn members(host: &Host) -> Vec<Peer> {
    let file = host.read_own(&host.state(MEMBERS)).ok();
    file.and_then(|file| serde_json::from_slice(&file.bytes).ok())
        .unwrap_or_default()
}

/// Records the members if they changed.
pub fn record_members(host: &Host, all: &[Peer]) -> Result<(), Failure> {
    if all.is_empty() || members(host) == all {
        return Ok(());
    }
    write(host, MEMBERS, &all)
}

/// Returns the last assessment, if one was recorded.
pub fn last_assessment(host: &Host) -> Option<LastAssessment> {
    serde_json::from_slice(&host.read(&host.state(LAST_LOOK)).ok()?.bytes).ok()
}

/// Records an assessment at `now`. One with a doubtful clock does not change the time that later
/// clocks are compared with.
pub fn record_assessment(host: &Host, now: Timestamp, doubtful: bool) -> Result<(), Failure> {
    let at = now.unix_timestamp();
    let before = last_assessment(host).map_or(i64::MIN, |last| last.trusted);
    let look = LastAssessment {
        at,
        boot_id: host.boot_id(),
        uptime: host.uptime(),
        trusted: if doubtful { before } else { at },
    };
    write(host, LAST_LOOK, &look)
}

/// Returns a file as it is now.
fn seen(host: &Host, path: &Path) -> Option<WrittenFiles> {
    let found = host.identity(path)?;
    Some(WrittenFiles {
        path: path.to_owned(),
        inode: found.inode,
        modified: found.modified.unix_timestamp(),
    })
}

fn written(host: &Host) -> Vec<WrittenFiles> {
    let read = || serde_json::from_slice(&host.read_own(&host.state(WRITTEN)).ok()?.bytes).ok();
    read().unwrap_or_default()
}

/// Records the files that a transaction installed, next to those of earlier ones that did not
/// change since.
pub fn record_written<'a>(host: &Host, paths: impl Iterator<Item = &'a Path>) -> Result<(), Failure> {
    let new: Vec<_> = paths.filter_map(|path| seen(host, path)).collect();
    let mut all = written(host);
    all.retain(|old| new.iter().all(|it| it.path != old.path) && seen(host, &old.path).as_ref() == Some(old));
    all.extend(new);
    write(host, WRITTEN, &all)
}

/// Returns a test whether a file is still as a transaction installed it.
pub fn wrote(host: &Host) -> impl Fn(&File) -> bool + use<> {
    let all = written(host);
    move |file| {
        let (inode, modified) = (file.identity.inode, file.identity.modified.unix_timestamp());
        let is_it = |written: &WrittenFiles| {
            written.path == file.real && written.inode == inode && written.modified == modified
        };
        all.iter().any(is_it)
    }
}

fn write(host: &Host, name: &str, value: &impl Serialize) -> Result<(), Failure> {
    let json = serde_json::to_vec(value).map_err(|e| Failure::new(format!("cannot write {name}: {e}")))?;
    host.write_state(name, &json)
}
