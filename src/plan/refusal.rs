//! Refusals: a renewal that would lose something is not done.

use crate::format::key::KeyFault;
use crate::format::kubeconfig;
use crate::inventory::{Inventory, Location, Material};
use crate::model::KeyAlgorithm;

/// Returns the part of the old certificate or its files that could not be kept.
pub fn refusal(inventory: &Inventory, present: &Material) -> Option<String> {
    if let Some(path) = present
        .names()
        .into_iter()
        .find(|name| inventory.protected.contains(*name))
    {
        return Some(format!("{} belongs to a CA or to the service accounts", path.display()));
    }
    if let Location::Files {
        key: None,
        key_place: Err(reason),
        ..
    } = &present.location
    {
        return Some(format!("its key is missing and cannot be created: {reason}"));
    }
    let certificate = &present.certificate;
    if certificate.is_ca {
        return Some("it is a CA itself".into());
    }
    if certificate.has_unique_ids {
        return Some("it has unique identifiers, which cannot be kept".into());
    }
    match &certificate.key {
        KeyAlgorithm::Rsa(2048 | 3072 | 4096)
        | KeyAlgorithm::P256
        | KeyAlgorithm::P384
        | KeyAlgorithm::P521
        | KeyAlgorithm::Ed25519 => {}
        other => return Some(format!("keys of this kind cannot be created: {other}")),
    }
    if let Err(KeyFault::Encrypted(reason)) = &present.key {
        return Some(format!("{reason}, and the new one would not be encrypted"));
    }
    if let Location::Embedded { file, .. } = &present.location
        && let Err(reason) = file
            .bytes
            .text()
            .and_then(|text| kubeconfig::replace_credential(text, "certificate", "key"))
    {
        return Some(format!("{} {reason}", file.real.display()));
    }
    present.files().into_iter().find_map(|file| {
        let path = file.real.display();
        if let Some(reason) = &file.unsafe_way {
            return Some(format!("{path} can be replaced by users other than root: {reason}"));
        }
        let known = file.names.len() as u64;
        (file.identity.links != known).then(|| {
            format!(
                "{path} has {} names, and only {known} of them are in the scanned directories: \
                 a renewal would leave the other names with the old file",
                file.identity.links
            )
        })
    })
}
