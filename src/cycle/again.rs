//! What is renewed is looked at again once it is backed up: the first look keeps no bytes of what patterns stand for, and all that it keeps is let go of here.

use std::collections::BTreeMap;

use crate::backup::Backup;
use crate::config::Settings;
use crate::format::digest::sha256;
use crate::guard::Cleared;
use crate::host::Host;
use crate::inventory::copies::Copy;
use crate::inventory::{self, Inventory, Present, State};
use crate::scan;

/// An inventory of what is renewed, with its bytes. What is not as it was planned and backed up is held back.
pub(super) fn look(
    host: &Host,
    settings: &Settings,
    first: Inventory,
    backup: &Backup,
    cleared: &mut Cleared,
) -> Inventory {
    let names: Vec<_> = cleared.plan().renewals().map(|(item, _)| item.name.clone()).collect();
    let (copies, mut planned) = planned(first, cleared);
    let mut inventory = inventory::take(&scan::look_again(host, settings, &names, None));
    // Those of kubeconfigs were read whole, and are not among what is looked at again.
    inventory.copies = copies;
    let mut changed = BTreeMap::new();
    for credential in &inventory.credentials {
        let found = match (&credential.state, planned.remove(&credential.spec.name)) {
            (State::Present(found), Some(planned)) => compare(&planned, found, backup),
            (State::Unreadable(reason), _) => Err(reason.clone()),
            (State::Missing, _) | (_, None) => Err(GONE.to_owned()),
        };
        if let Err(reason) = found {
            changed.insert(credential.spec.name.clone(), reason);
        }
    }
    changed.extend(planned.into_keys().map(|name| (name, GONE.to_owned())));
    if !changed.is_empty() {
        cleared.hold_back(changed);
    }
    inventory
}

const GONE: &str = "it was there when it was planned and is no longer";

/// What is renewed, as it was when that was decided.
fn planned(first: Inventory, cleared: &Cleared) -> (Vec<Copy>, BTreeMap<String, Present>) {
    let items = first.credentials.into_iter().zip(&cleared.plan().items);
    let renewed = items.filter(|(_, item)| item.is_renewed());
    let present = renewed.filter_map(|(credential, _)| match credential.state {
        State::Present(present) => Some((credential.spec.name, present.let_go())),
        _ => None,
    });
    (first.copies, present.collect())
}

fn compare(planned: &Present, found: &Present, backup: &Backup) -> Result<(), String> {
    let is_as_planned = found.certificate.clone().brief() == planned.certificate && found.key == planned.key;
    let files = (planned.files(), found.files());
    let is_same = files.0.len() == files.1.len() && files.0.iter().zip(&files.1).all(|(a, b)| a.identity == b.identity);
    if !is_as_planned || !is_same {
        return Err("it changed since it was planned".to_owned());
    }
    for file in files.1 {
        let kept = backup.of(&file.real).map(|(_, digest)| digest);
        if kept != Some(&sha256(&file.bytes)) {
            return Err(format!("{} changed since it was backed up", file.real.display()));
        }
    }
    Ok(())
}
