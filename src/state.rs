//! Files in the state directory that outlive a run: the last assessment, to notice a jump of the
//! clock; the files that kubecertd wrote, so that it does not take its own work for another
//! program's; the daemon's record; and the members of the cluster.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::host::Host;
use crate::host::record::Record;
use crate::model::{Failure, File, Peer, Timestamp};

const LAST_ASSESSMENT: Record<LastAssessment> = Record::new("last-look.json");
const WRITTEN: Record<Vec<WrittenFile>> = Record::new("written.json");
const DAEMON: Record<Daemon> = Record::new("daemon.json");
const MEMBERS: Record<Vec<Peer>> = Record::new("members.json");

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
struct WrittenFile {
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
    DAEMON.read(host).unwrap_or_else(|_| Some(Daemon::default()))
}

/// Writes the daemon's record.
pub fn record_daemon(host: &Host, daemon: &Daemon) -> Result<(), Failure> {
    DAEMON.write(host, daemon)
}

/// Returns the members of etcd's cluster at the last contact; none if there was none.
pub fn members(host: &Host) -> Vec<Peer> {
    MEMBERS.read(host).ok().flatten().unwrap_or_default()
}

/// Records the members if they changed.
pub fn record_members(host: &Host, all: &[Peer]) -> Result<(), Failure> {
    if all.is_empty() || members(host) == all {
        return Ok(());
    }
    MEMBERS.write(host, &all.to_vec())
}

/// Returns the last assessment, if one was recorded.
pub fn last_assessment(host: &Host) -> Option<LastAssessment> {
    LAST_ASSESSMENT.read(host).ok().flatten()
}

/// Records an assessment at `now`. One with a doubtful clock does not change the time that later
/// clocks are compared with.
pub fn record_assessment(host: &Host, now: Timestamp, doubtful: bool) -> Result<(), Failure> {
    let at = now.unix_timestamp();
    let before = last_assessment(host).map_or(i64::MIN, |last| last.trusted);
    let assessment = LastAssessment {
        at,
        boot_id: host.boot_id(),
        uptime: host.uptime(),
        trusted: if doubtful { before } else { at },
    };
    LAST_ASSESSMENT.write(host, &assessment)
}

/// Returns a file as it is now.
fn seen(host: &Host, path: &Path) -> Option<WrittenFile> {
    let found = host.identity(path)?;
    Some(WrittenFile {
        path: path.to_owned(),
        inode: found.inode,
        modified: found.modified.unix_timestamp(),
    })
}

fn written(host: &Host) -> Vec<WrittenFile> {
    WRITTEN.read(host).ok().flatten().unwrap_or_default()
}

/// Records the files that a transaction installed, next to those of earlier ones that did not
/// change since.
pub fn record_written<'a>(host: &Host, paths: impl Iterator<Item = &'a Path>) -> Result<(), Failure> {
    let new: Vec<_> = paths.filter_map(|path| seen(host, path)).collect();
    let mut all = written(host);
    all.retain(|old| new.iter().all(|it| it.path != old.path) && seen(host, &old.path).as_ref() == Some(old));
    all.extend(new);
    WRITTEN.write(host, &all)
}

/// Returns a test whether a file is still as a transaction installed it.
pub fn wrote(host: &Host) -> impl Fn(&File) -> bool + use<> {
    let all = written(host);
    move |file| {
        let (inode, modified) = (file.identity.inode, file.identity.modified.unix_timestamp());
        let is_it =
            |written: &WrittenFile| written.path == file.real && written.inode == inode && written.modified == modified;
        all.iter().any(is_it)
    }
}
