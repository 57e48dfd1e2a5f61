//! New contents for the copies of kubeconfigs.

use std::path::Path;

use super::issue::IssuedPair;
use super::replacement::{Replacement, embedded, replacement};
use crate::format::kubeconfig;
use crate::inventory::Inventory;
use crate::inventory::copies::EmbeddedCredential;
use crate::model::Failure;
use crate::plan::copies::CopyItem;

/// Returns the replacements for those of the `copies`, each with its credential, that get this new
/// pair. A copy that cannot be replaced does not stop any renewal.
pub(super) fn replacements(
    inventory: &Inventory,
    copies: &[(&CopyItem, &str)],
    new: &IssuedPair,
) -> Result<Vec<Replacement>, Failure> {
    let mut all = Vec::new();
    for (item, _) in copies.iter().filter(|(_, pair)| *pair == new.name) {
        let copy = inventory.copies.iter().find(|copy| copy.spec.path == item.path);
        let held = copy.and_then(|copy| copy.held.as_ref().ok());
        if let Some(held) = held {
            all.push(of_copy(&item.path, held, new)?);
        }
    }
    Ok(all)
}

fn of_copy(path: &Path, held: &EmbeddedCredential, new: &IssuedPair) -> Result<Replacement, Failure> {
    let name = path.display().to_string();
    let fail = |reason| {
        Failure::new(format!("cannot update {name}: it {reason}"))
            .of_one_file()
            .about(&name)
    };
    let mut text = zeroize::Zeroizing::new(held.file.bytes.text().map_err(fail)?.to_owned());
    for user in &held.users {
        let new = embedded(&user.certificate, user.key.as_ref(), new);
        text = kubeconfig::replace_credential_of(&text, &user.name, &new.certificate, &new.key).map_err(fail)?;
    }
    Ok(Replacement {
        alone: true,
        ..replacement(&name, &held.file, text)
    })
}
