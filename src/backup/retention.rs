//! Rotation: the newest sets stay.

use std::path::{Path, PathBuf};

use super::set::UNFINISHED;
use crate::host::Host;
use crate::model::Failure;

/// The sets in a folder, oldest first (their names are times).
pub fn sets(host: &Host, directory: &Path) -> Vec<PathBuf> {
    let names = host.names(directory).unwrap_or_default();
    names
        .into_iter()
        .filter(|name| name.to_str().is_some_and(is_set))
        .map(|name| directory.join(name))
        .collect()
}

/// Removes the oldest sets until `keep` are left. Gives what was removed.
pub fn rotate(host: &Host, directory: &Path, keep: usize) -> Result<Vec<PathBuf>, Failure> {
    let mut old = sets(host, directory);
    old.truncate(old.len().saturating_sub(keep));
    for set in &old {
        host.remove_tree(set)?;
    }
    Ok(old)
}

/// Removes what an interrupted run left of a set.
pub fn remove_unfinished(host: &Host, directory: &Path) -> Result<(), Failure> {
    for name in host.names(directory).unwrap_or_default() {
        if name.to_str().is_some_and(|name| name.starts_with(UNFINISHED)) {
            host.remove_tree(&directory.join(name))?;
        }
    }
    Ok(())
}

/// `20261124T031700Z`, with `-2` and so on for a second one in the same second. Nothing else in the folder is ours.
fn is_set(name: &str) -> bool {
    let (time, number) = name.split_once('-').unwrap_or((name, "2"));
    let shape: String = time.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    shape == "00000000T000000Z" && number.chars().all(|c| c.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_names_are_sets() {
        assert!(is_set("20261124T031700Z"));
        assert!(is_set("20261124T031700Z-2"));
        for foreign in [
            "20261124T031700Z.tar",
            "etcd",
            ".unfinished-20261124T031700Z",
            "20261124",
            "20261124T031700Z-x",
        ] {
            assert!(!is_set(foreign), "{foreign}");
        }
    }
}
