//! Verify: every file of a set is read and compared with its list.

use super::set::{FILES, Kind, Set};
use crate::host::Host;

/// Everything that is wrong with a set, one sentence each; none for a good one.
pub fn verify(host: &Host, set: &Set) -> Vec<String> {
    let manifest = match &set.manifest {
        Ok(manifest) => manifest,
        Err(reason) => return vec![reason.clone()],
    };
    let mut wrong = Vec::new();
    if manifest.format != 1 {
        return vec![format!("its format is {}, and this version knows 1", manifest.format)];
    }
    for entry in &manifest.entries {
        let copy = set
            .folder
            .join(FILES)
            .join(entry.path.strip_prefix("/").unwrap_or(&entry.path));
        let path = entry.path.display();
        match entry.kind {
            Kind::File => match host.digest_of(&copy) {
                Ok(digest) if Some(&digest) == entry.sha256.as_ref() => {}
                Ok(_) => wrong.push(format!("{path} is damaged: its digest is not that of the list")),
                Err(reason) => wrong.push(format!("{path} cannot be read: {reason}")),
            },
            Kind::Folder | Kind::Symlink if host.exists(&copy) => {}
            Kind::Folder | Kind::Symlink => wrong.push(format!("{path} is missing")),
        }
    }
    wrong.extend(
        host.wider_than_root(&set.folder)
            .map(|reason| format!("others could read it: {reason}")),
    );
    wrong
}
