//! The installed program that makes a data directory of a snapshot: etcd's own.

use std::path::PathBuf;
use std::time::Duration;

use crate::host::Host;
use crate::host::filter::program;

/// etcdutl since 3.5; etcdctl could do it before (until 3.5).
const TOOLS: [&str; 2] = ["etcdutl", "etcdctl"];
/// For its version and its help.
const PATIENCE: Duration = Duration::from_secs(10);
/// Watches from the history that is given up must not find their revisions again: clients then list anew. A thousand million is what
/// etcd's own documentation recommends (etcd.io, "Restoring with revision bump").
const BUMP: [&str; 3] = ["--bump-revision", "1000000000", "--mark-compacted"];

/// A tool that fits the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tool {
    /// Where it is.
    pub path: PathBuf,
    /// [`BUMP`], where it knows it.
    pub bump: Vec<&'static str>,
}

/// The first installed tool of the server's minor version; or why there is none.
pub fn find(host: &Host, server: (u32, u32)) -> Result<Tool, String> {
    let mut reasons = Vec::new();
    for name in TOOLS {
        match fits(host, name, server) {
            Ok(tool) => return Ok(tool),
            Err(reason) => reasons.push(reason),
        }
    }
    Err(reasons.join("; "))
}

fn fits(host: &Host, name: &str, server: (u32, u32)) -> Result<Tool, String> {
    let path = program(name).map_err(|failure| failure.message)?;
    let says = |arguments: &[&str]| host.output(&path, arguments, PATIENCE).unwrap_or_default();
    let version = version(&says(&["version"]));
    if version != Some(server) {
        let version = version.map_or("of an unknown version".into(), |(major, minor)| {
            format!("{major}.{minor}")
        });
        let (major, minor) = server;
        return Err(format!(
            "{} is {version}, and the server {major}.{minor}",
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

/// `(3, 5)` of `etcdutl version: 3.5.21`.
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
