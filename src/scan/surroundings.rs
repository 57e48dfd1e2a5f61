//! The surroundings of the certificates, for `doctor`: the service, its disk, the directories that
//! it writes to, and other programs that renew.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::host::Host;

/// Maximum size of a unit or a cron table, in bytes. Real ones are a hundred times smaller.
const LARGEST: u64 = 64 << 10;

/// Maximum number of files of one directory.
const MOST: usize = 1000;

/// Directories of systemd's units (systemd.unit(5)), the most important first.
const UNITS: [&str; 4] = [
    "/etc/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
];

/// Directory of the symlinks to enabled units, in `NAME.wants`.
const ENABLED: &str = "/etc/systemd/system";

/// Directories of cron (cron(8) of Debian and of cronie).
const CRON: [&str; 7] = [
    "/etc/cron.d",
    "/etc/cron.hourly",
    "/etc/cron.daily",
    "/etc/cron.weekly",
    "/etc/cron.monthly",
    "/var/spool/cron",
    "/var/spool/cron/crontabs",
];

/// The system's cron table, a single file.
const CRONTAB: &str = "/etc/crontab";

/// The surroundings of the certificates.
#[derive(Debug, Default)]
pub struct Surroundings {
    /// The services and timers of systemd: path and text.
    pub units: Vec<(PathBuf, String)>,
    /// Names of units that are enabled.
    pub enabled: BTreeSet<String>,
    /// Names of units that are masked.
    pub masked: BTreeSet<String>,
    /// The tables and scripts of cron: path and text.
    pub cron: Vec<(PathBuf, String)>,
    /// The directories that a cycle writes to, but could not write to now.
    pub refused: Vec<UnwritableDirectory>,
    /// Free space for backups, in bytes; `None` if it is unknown.
    pub free: Option<u64>,
    /// Size of etcd's database on this node, in bytes.
    pub database: u64,
}

/// A directory that cannot be written to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnwritableDirectory {
    /// The path.
    pub directory: PathBuf,
    /// The reason.
    pub reason: String,
    /// True if only the service cannot write to it, because of its sandbox.
    pub by_sandbox: bool,
}

/// Observes the surroundings. `directories` are those that a cycle writes to, `daemon` is the
/// process of the service, and `data` is etcd's data directory.
pub fn observe(
    host: &Host,
    directories: BTreeSet<PathBuf>,
    backups: &Path,
    daemon: Option<u32>,
    data: Option<&Path>,
) -> Surroundings {
    let refused = directories.into_iter().filter_map(|directory| {
        let own = host.cannot_write(&directory);
        let by_sandbox = own.is_none();
        let reason = own.or_else(|| host.cannot_write_as(daemon?, &directory))?;
        Some(UnwritableDirectory {
            directory,
            reason,
            by_sandbox,
        })
    });
    let mut around = Surroundings {
        refused: refused.collect(),
        free: host.free_space(backups),
        database: data
            .and_then(|data| host.size(&data.join("member/snap/db")))
            .unwrap_or(0),
        ..Surroundings::default()
    };
    units(host, &mut around);
    let tables = CRON.iter().flat_map(|directory| files(host, Path::new(directory)));
    for path in tables.chain([CRONTAB.into()]) {
        around.cron.extend(text(host, &path));
    }
    around
}

fn units(host: &Host, around: &mut Surroundings) {
    let mut seen = BTreeSet::new();
    for directory in UNITS {
        for path in files(host, Path::new(directory)) {
            let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
                continue;
            };
            // Of two units with one name the first counts.
            if ![".service", ".timer"].iter().any(|kind| name.ends_with(kind)) || !seen.insert(name.to_owned()) {
                continue;
            }
            if host
                .link_target(&path)
                .is_some_and(|target| target == Path::new("/dev/null"))
            {
                around.masked.insert(name.to_owned());
            } else {
                around.units.extend(text(host, &path));
            }
        }
    }
    for wants in files(host, Path::new(ENABLED)) {
        if wants.extension().is_some_and(|kind| kind == "wants") {
            let names = files(host, &wants).into_iter();
            let names = names.filter_map(|path| Some(path.file_name()?.to_str()?.to_owned()));
            around.enabled.extend(names);
        }
    }
}

fn files(host: &Host, directory: &Path) -> Vec<PathBuf> {
    let real = host
        .resolve(directory)
        .map_or_else(|_| directory.to_owned(), |found| found.real);
    let names = host.names(directory).unwrap_or_default().into_iter().take(MOST);
    names.map(|name| real.join(name)).collect()
}

/// Returns path and text of a file; `None` if it cannot be read.
fn text(host: &Host, path: &Path) -> Option<(PathBuf, String)> {
    let file = host.read_at_most(path, LARGEST).ok()?;
    Some((path.to_owned(), file.bytes.text().ok()?.to_owned()))
}
