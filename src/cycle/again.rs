//! What patterns stand for is looked at again once it is backed up, where it is renewed: the first look kept what its files say, and not their bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::backup::Backup;
use crate::config::Settings;
use crate::format::digest::sha256;
use crate::guard::Clearance;
use crate::host::Host;
use crate::inventory::{self, Inventory, Location, Material, State};
use crate::model::File;
use crate::scan;

/// Credentials that one cycle renews: their bytes, old and new, are held until they are in place.
const MOST_AT_ONCE: usize = 1000;

/// The inventory with the bytes of what is renewed. What is not as it was planned and backed up is held back, and what is too much for one cycle.
pub(super) fn reload(
    host: &Host,
    settings: &Settings,
    mut inventory: Inventory,
    backup: &Backup,
    clearance: &mut Clearance,
) -> Inventory {
    let (wanted, mut held) = wanted(&inventory, clearance);
    if !wanted.is_empty() {
        let again = inventory::build(&scan::look_again(host, settings, &wanted));
        let mut found: BTreeMap<String, State> = again
            .credentials
            .into_iter()
            .map(|it| (it.spec.name, it.state))
            .collect();
        let wanted: BTreeSet<_> = wanted.into_iter().collect();
        let renewed = inventory
            .credentials
            .iter_mut()
            .filter(|it| wanted.contains(&it.spec.name));
        for credential in renewed {
            let State::Present(planned) = &credential.state else {
                continue;
            };
            let now = match found.remove(&credential.spec.name) {
                Some(State::Present(now)) => as_planned(planned, *now, backup),
                Some(State::Unreadable(reason)) => Err(reason),
                Some(State::Missing) | None => Err(gone(planned)),
            };
            match now {
                Ok(now) => credential.state = State::Present(now.into()),
                Err(reason) => _ = held.insert(credential.spec.name.clone(), reason),
            }
        }
    }
    if !held.is_empty() {
        clearance.exclude(held);
    }
    inventory
}

/// What is renewed and has no bytes, as much of it as one cycle renews, that which ends first; and what is left out, with the reason.
fn wanted(inventory: &Inventory, clearance: &Clearance) -> (Vec<String>, BTreeMap<String, String>) {
    let (mut brief, mut kept) = (Vec::new(), 0);
    for (credential, item) in inventory.credentials.iter().zip(&clearance.plan().items) {
        match &credential.state {
            State::Present(present) if item.is_renewed() => {
                if present.files().iter().all(|file| file.bytes.are_kept()) {
                    kept += 1;
                } else {
                    brief.push((item.expires, item.name.clone()));
                }
            }
            _ => {}
        }
    }
    brief.sort();
    let mut names: Vec<_> = brief.into_iter().map(|(_, name)| name).collect();
    let left = names.split_off(names.len().min(MOST_AT_ONCE.saturating_sub(kept)));
    let reason = format!("it is left for the next cycle: one renews {MOST_AT_ONCE} at most");
    (names, left.into_iter().map(|name| (name, reason.clone())).collect())
}

fn gone(planned: &Material) -> String {
    let files = planned.files();
    let what = files.first().map_or("it".into(), |file| file.real.to_string_lossy());
    format!("{what} was there when it was planned and is no longer")
}

/// What was found, under all the names that the first look knew, if it is what was planned and backed up.
fn as_planned(planned: &Material, mut found: Material, backup: &Backup) -> Result<Material, String> {
    let (before, now) = (planned.files(), found.files());
    let is_same = |a: &File, b: &File| (&a.identity, &a.real, &a.unsafe_way) == (&b.identity, &b.real, &b.unsafe_way);
    let is_other = |file: &&&File| before.iter().all(|known| !is_same(known, file));
    // Times of files are coarse: two writes within some milliseconds may look like one.
    let says_the_same = found.certificate.clone().brief() == planned.certificate && found.key == planned.key;
    let changed = now.iter().find(is_other);
    if let Some(file) = changed.or(now.first().filter(|_| !says_the_same || before.len() != now.len())) {
        return Err(format!("{} changed since it was planned", file.real.display()));
    }
    for file in now {
        let kept = backup.of(&file.real).map(|(_, digest)| digest);
        if kept != Some(&sha256(&file.bytes)) {
            return Err(format!("{} changed since it was backed up", file.real.display()));
        }
    }
    let named = |file: &mut Arc<File>| {
        if let Some(known) = before.iter().find(|known| is_same(known, file)) {
            Arc::make_mut(file).names.clone_from(&known.names);
        }
    };
    if let Location::Files { certificate, key, .. } = &mut found.location {
        named(&mut certificate.0);
        key.iter_mut().for_each(|(file, _)| named(file));
    }
    Ok(found)
}
