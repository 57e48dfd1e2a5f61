//! Checks of keys: access rights, and the key pair of the service accounts.

use std::collections::BTreeSet;
use std::path::Path;

use super::{Evidence, Finding};
use crate::inventory::{Location, Signer, State};
use crate::model::{File, ReadError};

/// Finds keys that belong to another user than root, or that others can access.
pub(super) fn modes(evidence: &Evidence<'_>) -> Vec<Finding> {
    let mut told = BTreeSet::new();
    let credentials = evidence.inventory.credentials.iter().filter_map(|credential| {
        let State::Present(present) = &credential.state else {
            return None;
        };
        match &present.location {
            Location::Files { key, .. } => key.as_ref().map(|key| &key.file),
            Location::Embedded { file, .. } => Some(file),
        }
    });
    let authorities = evidence
        .inventory
        .authorities
        .iter()
        .filter_map(|authority| match &authority.signer {
            Signer::Ready(file) => Some(file),
            Signer::External | Signer::Unusable(_) => None,
        });
    let account = evidence.scan.file(&evidence.scan.service_account.0).as_ref().ok();
    let all = credentials.chain(authorities).chain(account);
    all.filter(|file| told.insert(file.real.clone()))
        .filter_map(|file| of_file(file))
        .collect()
}

fn of_file(file: &File) -> Option<Finding> {
    let (path, found) = (file.real.display(), &file.identity);
    let mode = found.mode & 0o777;
    if mode & 0o007 != 0 {
        let message = format!("has mode {mode:04o}: every user of the node can access this key");
        return Some(Finding::fault(path, message).hint(format!("chmod 0600 {}", file.real.display())));
    }
    if found.uid != 0 {
        let message = format!("contains a key and belongs to user {}, not to root", found.uid);
        return Some(Finding::warning(path, message).hint(format!("chown root:root {}", file.real.display())));
    }
    // The group root has no other members.
    (mode & 0o070 != 0 && found.gid != 0).then(|| {
        let message = format!("has mode {mode:04o}: group {} can access this key", found.gid);
        Finding::warning(path, message).hint(format!("chmod 0600 {}", file.real.display()))
    })
}

/// Finds a mismatch of sa.key, which signs tokens, and sa.pub, which verifies them.
pub(super) fn service_account(evidence: &Evidence<'_>) -> Vec<Finding> {
    let (key, public) = &evidence.scan.service_account;
    // A worker has neither file, and neither has a node whose tokens are signed elsewhere.
    let is_missing = |path: &Path| matches!(evidence.scan.file(path), Err(ReadError::Missing));
    match &evidence.inventory.service_account {
        Err(reason) if !(is_missing(key) && is_missing(public)) => vec![
            Finding::fault(
                key.display(),
                format!("{reason}: tokens of service accounts are rejected"),
            )
            .hint(format!(
                "openssl pkey -in {} -pubout -out {}",
                key.display(),
                public.display()
            )),
        ],
        _ => Vec::new(),
    }
}
