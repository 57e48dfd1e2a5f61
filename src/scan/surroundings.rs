//! What is around the certificates and decides whether they will be renewed: the service, its disk, its directories, and who else renews.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::host::Host;

/// Bytes of a unit or a table of cron that is looked at. Real ones are a hundred times smaller.
const LARGEST: u64 = 64 << 10;

/// Files of one directory that are looked at.
const MOST: usize = 1000;

/// Where systemd looks for units (systemd.unit(5)), the most important first.
const UNITS: [&str; 4] = [
    "/etc/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
];

/// Where units are that are enabled: symlinks in `NAME.wants`.
const ENABLED: &str = "/etc/systemd/system";

/// Where cron looks (cron(8) of Debian and of cronie).
const CRON: [&str; 7] = [
    "/etc/cron.d",
    "/etc/cron.hourly",
    "/etc/cron.daily",
    "/etc/cron.weekly",
    "/etc/cron.monthly",
    "/var/spool/cron",
    "/var/spool/cron/crontabs",
];

/// The table of cron that is no directory.
const CRONTAB: &str = "/etc/crontab";

/// What was found around the certificates.
#[derive(Debug, Default)]
pub struct Surroundings {
    /// Units of systemd that are services or timers, by their files.
    pub units: Vec<(PathBuf, String)>,
    /// Names of units that are enabled.
    pub enabled: BTreeSet<String>,
    /// Names of units that are masked.
    pub masked: BTreeSet<String>,
    /// Tables and scripts of cron.
    pub cron: Vec<(PathBuf, String)>,
    /// Directories that a cycle writes to and could not, and why.
    pub refused: Vec<UnwritableDirectory>,
    /// Bytes that are free for backups; none where nobody can tell.
    pub free: Option<u64>,
    /// Bytes of etcd's database on this node.
    pub database: u64,
}

/// A directory that cannot be written to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnwritableDirectory {
    /// Which.
    pub directory: PathBuf,
    /// Why.
    pub reason: String,
    /// Only the service cannot: its sandbox keeps it from it.
    pub by_sandbox: bool,
}

/// Looks around. `directories` are those that a cycle writes to, `daemon` is the process of the service, `data` the directory of etcd's data.
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

/// What cannot be read says nothing.
fn text(host: &Host, path: &Path) -> Option<(PathBuf, String)> {
    let file = host.read_at_most(path, LARGEST).ok()?;
    Some((path.to_owned(), file.bytes.text().ok()?.to_owned()))
}
