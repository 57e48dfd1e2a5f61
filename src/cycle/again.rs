//! What is renewed is looked at again once it is backed up: the first look keeps no bytes of what patterns stand for, and all that it keeps is let go of here.

use std::collections::BTreeMap;

use crate::backup::Backup;
use crate::config::Settings;
use crate::format::digest::sha256;
use crate::guard::Cleared;
use crate::host::Host;
use crate::inventory::copies::Copy;
use crate::inventory::{self, Inventory, Present, State};
use crate::model::File;
use crate::scan;

/// Credentials that one cycle renews: their bytes, old and new, are held until they are in place.
const MOST_AT_ONCE: usize = 1000;

/// An inventory of what is renewed, with its bytes. What is not as it was planned and backed up is held back, and what is too much for one cycle.
pub(super) fn look(
    host: &Host,
    settings: &Settings,
    first: Inventory,
    backup: &Backup,
    cleared: &mut Cleared,
) -> Inventory {
    let (copies, mut planned, mut names) = planned(first, cleared);
    let mut changed = BTreeMap::new();
    for left in names.split_off(names.len().min(MOST_AT_ONCE)) {
        planned.remove(&left);
        changed.insert(
            left,
            format!("it is left for the next cycle: one renews {MOST_AT_ONCE} at most"),
        );
    }
    let mut inventory = inventory::take(&scan::look_again(host, settings, &names, None));
    // Those of kubeconfigs were read whole, and are not among what is looked at again.
    inventory.copies = copies;
    for credential in &inventory.credentials {
        let found = match (&credential.state, planned.remove(&credential.spec.name)) {
            (State::Present(found), Some(planned)) => compare(&planned, found, backup),
            (State::Unreadable(reason), _) => Err(reason.clone()),
            (State::Missing, Some(planned)) => Err(gone(&planned)),
            (State::Missing, None) | (_, None) => Err("it was not planned".to_owned()),
        };
        if let Err(reason) = found {
            changed.insert(credential.spec.name.clone(), reason);
        }
    }
    changed.extend(planned.into_iter().map(|(name, planned)| (name, gone(&planned))));
    if !changed.is_empty() {
        cleared.hold_back(changed);
    }
    inventory
}

/// What is renewed, as it was when that was decided; and its names, those that patterns stand for last.
fn planned(first: Inventory, cleared: &Cleared) -> (Vec<Copy>, BTreeMap<String, Present>, Vec<String>) {
    let (mut present, mut names, mut last) = (BTreeMap::new(), Vec::new(), Vec::new());
    for (credential, item) in first.credentials.into_iter().zip(&cleared.plan().items) {
        let State::Present(found) = credential.state else {
            continue;
        };
        if item.is_renewed() {
            let is_kept = found.files().iter().all(|file| file.bytes.are_kept());
            let names = if is_kept { &mut names } else { &mut last };
            names.push(item.name.clone());
            present.insert(item.name.clone(), found.let_go());
        }
    }
    names.extend(last);
    (first.copies, present, names)
}

fn gone(planned: &Present) -> String {
    let files = planned.files();
    let path = files.first().map(|file| file.real.display());
    path.map_or_else(String::new, |path| {
        format!("{path} was there when it was planned and is no longer")
    })
}

fn compare(planned: &Present, found: &Present, backup: &Backup) -> Result<(), String> {
    let (before, now) = (planned.files(), found.files());
    let is_other = |file: &&&File| before.iter().all(|known| known.identity != file.identity);
    // Times of files are coarse: two writes within some milliseconds may look like one.
    let is_as_planned = found.certificate.clone().brief() == planned.certificate && found.key == planned.key;
    let changed = now.iter().find(is_other);
    if let Some(file) = changed.or(now.first().filter(|_| !is_as_planned || before.len() != now.len())) {
        return Err(format!("{} changed since it was planned", file.real.display()));
    }
    for file in now {
        let kept = backup.of(&file.real).map(|(_, digest)| digest);
        if kept != Some(&sha256(&file.bytes)) {
            return Err(format!("{} changed since it was backed up", file.real.display()));
        }
    }
    Ok(())
}
