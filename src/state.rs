//! What is remembered between runs: the last look (to notice a jump of the clock) and the files that we wrote ourselves (so that
//! we do not take our own work for somebody else's).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::host::Host;
use crate::model::{Failure, File, Peer, ReadError, Timestamp};

const LAST_LOOK: &str = "last-look.json";
const WRITTEN: &str = "written.json";
const DAEMON: &str = "daemon.json";
const MEMBERS: &str = "members.json";

/// When the daemon last looked, by two clocks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastAssessment {
    /// The wall clock, seconds since 1970.
    pub at: i64,
    /// The boot that [`Self::uptime`] belongs to.
    pub boot_id: String,
    /// Seconds since boot, sleep included (CLOCK_BOOTTIME).
    pub uptime: i64,
    /// The wall clock of the last look at which it was not doubted.
    pub trusted: i64,
}

/// A file that one of our transactions put in place. kubeadm writes into the same inode, so the time counts too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct WrittenFiles {
    path: PathBuf,
    inode: u64,
    /// When it was written, seconds since 1970.
    modified: i64,
}

/// What the daemon knows from its earlier runs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Daemon {
    /// When the last cycle of the schedule ended, seconds since 1970.
    pub last_cycle: Option<i64>,
    /// What was warned about last, and when (seconds since 1970), by the credential's name.
    pub told: BTreeMap<String, (String, i64)>,
    /// Which failure hooks were told last, and when, by what failed.
    pub failed: BTreeMap<String, (String, i64)>,
}

/// What the daemon recorded; none on a node where it never ran. A record that does not parse says that it did.
pub fn daemon(host: &Host) -> Option<Daemon> {
    match host.read_own(&host.state(DAEMON)) {
        Ok(file) => Some(serde_json::from_slice(&file.bytes).unwrap_or_default()),
        Err(ReadError::Missing) => None,
        Err(ReadError::Because(_)) => Some(Daemon::default()),
    }
}

/// Records what the daemon is to know when it runs again.
pub fn record_daemon(host: &Host, daemon: &Daemon) -> Result<(), Failure> {
    write(host, DAEMON, daemon)
}

/// The members of etcd's cluster when they were last seen; none where they never were.
pub fn members(host: &Host) -> Vec<Peer> {
    let file = host.read_own(&host.state(MEMBERS)).ok();
    file.and_then(|file| serde_json::from_slice(&file.bytes).ok())
        .unwrap_or_default()
}

/// Records the members, where they are others than before.
pub fn record_members(host: &Host, all: &[Peer]) -> Result<(), Failure> {
    if all.is_empty() || members(host) == all {
        return Ok(());
    }
    write(host, MEMBERS, &all)
}

/// The last look, if one was recorded.
pub fn last_assessment(host: &Host) -> Option<LastAssessment> {
    serde_json::from_slice(&host.read(&host.state(LAST_LOOK)).ok()?.bytes).ok()
}

/// Records a look that is taken now. One whose clock is doubted does not become what later clocks are measured by.
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

/// A file as it is now.
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

/// Records the files that a transaction has put in place, beside those of earlier ones that nobody has changed since.
pub fn record_written<'a>(host: &Host, paths: impl Iterator<Item = &'a Path>) -> Result<(), Failure> {
    let new: Vec<_> = paths.filter_map(|path| seen(host, path)).collect();
    let mut all = written(host);
    all.retain(|old| new.iter().all(|it| it.path != old.path) && seen(host, &old.path).as_ref() == Some(old));
    all.extend(new);
    write(host, WRITTEN, &all)
}

/// Whether a file is as a transaction of ours put it there.
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
