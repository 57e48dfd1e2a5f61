//! Finds etcd's own program that makes a data directory from a snapshot.

use std::path::PathBuf;
use std::time::Duration;

use crate::host::Host;
use crate::host::command::program;

/// Programs, in order: etcdutl since 3.5, etcdctl until 3.5.
const TOOLS: [&str; 2] = ["etcdutl", "etcdctl"];
/// Longest time for the version and the help of a program.
const PATIENCE: Duration = Duration::from_secs(10);
/// Flags that make clients list again, since their watches must not find old revisions. The number
/// is from etcd's documentation (etcd.io, "Restoring with revision bump").
const BUMP: [&str; 3] = ["--bump-revision", "1000000000", "--mark-compacted"];

/// Major and minor version.
type Version = (u32, u32);

/// A program that fits the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tool {
    /// Path of the program.
    pub path: PathBuf,
    /// [`BUMP`], if the program knows the flags.
    pub bump: Vec<&'static str>,
}

/// Returns the first installed program with the server's minor version, or the reason that there is
/// none.
pub fn find(host: &Host, server: Version) -> Result<Tool, String> {
    let mut reasons = Vec::new();
    for name in TOOLS {
        match fits(host, name, server) {
            Ok(tool) => return Ok(tool),
            Err(reason) => reasons.push(reason),
        }
    }
    Err(reasons.join("; "))
}

fn fits(host: &Host, name: &str, server: Version) -> Result<Tool, String> {
    let path = program(name).map_err(|failure| failure.message)?;
    let says = |arguments: &[&str]| host.output(&path, arguments, PATIENCE).unwrap_or_default();
    let version = version(&says(&["version"]));
    if version != Some(server) {
        let version = version.map_or("of unknown version".into(), |(major, minor)| format!("{major}.{minor}"));
        let (major, minor) = server;
        return Err(format!(
            "{} is {version}, but the server is {major}.{minor}",
            path.display()
        ));
    }
    let help = says(&["snapshot", "restore", "--help"]);
    if !help.contains("--data-dir") {
        return Err(format!("{} cannot restore snapshots", path.display()));
    }
    let knows_bump = help.contains("--bump-revision") && help.contains("--mark-compacted");
    Ok(Tool {
        path,
        bump: if knows_bump { BUMP.to_vec() } else { Vec::new() },
    })
}

/// Returns `(3, 5)` for `etcdutl version: 3.5.21`.
fn version(text: &str) -> Option<(u32, u32)> {
    let number = text.lines().find_map(|line| line.split_once("version: "))?.1;
    let mut parts = number.trim().split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_the_tools_print_them() {
        assert_eq!(version("etcdctl version: 3.4.23\nAPI version: 3.4\n"), Some((3, 4)));
        assert_eq!(version("etcdutl version: 3.6.0-rc.1\nAPI version: 3.6\n"), Some((3, 6)));
        assert_eq!(version(""), None);
    }
}
