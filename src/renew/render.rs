//! Renders the new content of files, as replacements for a transaction. Pure: it only edits text.

use std::ops::Range;
use std::path::PathBuf;

use zeroize::Zeroizing;

use super::copies;
use super::issue::IssuedPair;
use super::replacement::{Replacement, embedded, replacement, whole_key};
use crate::format::{kubeconfig, pem};
use crate::guard::Clearance;
use crate::inventory::{Inventory, KeyFile, Location, Material};
use crate::model::{Failure, File};

/// Returns the replacements for all new pairs, in the order of installation: a pair's key directly
/// before its certificate, the copies of kubeconfigs last. Each new pair is dropped once its files
/// are rendered.
pub fn replacements(
    inventory: &Inventory,
    clearance: &Clearance,
    issued: Vec<IssuedPair>,
) -> Result<Vec<Replacement>, Failure> {
    let (mut all, mut of_copies) = (Vec::new(), Vec::new());
    let copies: Vec<_> = clearance.plan().copies_to_update().collect();
    for new in issued {
        let Some(present) = inventory.present(&new.name) else {
            return Err(Failure::new(format!(
                "cannot install {}: it is not in the inventory",
                new.name
            )));
        };
        let fail = |(path, reason): (PathBuf, String)| {
            Failure::new(format!("cannot install {}: {} {reason}", new.name, path.display()))
        };
        all.extend(of_pair(present, &new).map_err(fail)?);
        of_copies.extend(copies::replacements(inventory, &copies, &new)?);
    }
    all.extend(of_copies);
    Ok(all)
}

fn of_pair(present: &Material, new: &IssuedPair) -> Result<Vec<Replacement>, (PathBuf, String)> {
    match &present.location {
        Location::Embedded {
            file, certificate, key, ..
        } => {
            let fail = |reason| (file.real.clone(), reason);
            let embedded = embedded(certificate, key.as_ref(), new);
            let old = file.bytes.text().map_err(fail)?;
            let edited = kubeconfig::replace_credential(old, &embedded.certificate, &embedded.key).map_err(fail)?;
            Ok(vec![replacement(&new.name, file, edited)])
        }
        Location::Files {
            certificate,
            key: Some(key),
            ..
        } if certificate.file.is_same(&key.file) => {
            let mut edits = vec![(certificate.leaf.clone(), new.certificate_pem.clone())];
            // One file without a key is unreadable to the inventory.
            edits.extend(key.place.clone().map(|place| (place, new.key_pem.clone())));
            Ok(vec![edited(&certificate.file, edits, new)?])
        }
        Location::Files {
            certificate,
            key,
            key_place,
        } => {
            let key = match key {
                Some(KeyFile {
                    file,
                    place: Some(place),
                }) => edited(file, vec![(place.clone(), new.key_pem.clone())], new)?,
                Some(KeyFile { file, place: None }) => replacement(&new.name, file, whole_key(new)),
                None => {
                    let place = key_place.clone();
                    created(new, place.map_err(|reason| (certificate.file.real.clone(), reason))?)
                }
            };
            let edits = vec![(certificate.leaf.clone(), new.certificate_pem.clone())];
            Ok(vec![key, edited(&certificate.file, edits, new)?])
        }
    }
}

/// Returns the replacement for a file in which these places get new texts.
fn edited(
    file: &File,
    edits: Vec<(Range<usize>, Zeroizing<String>)>,
    new: &IssuedPair,
) -> Result<Replacement, (PathBuf, String)> {
    let old = file.bytes.text().map_err(|reason| (file.real.clone(), reason))?;
    Ok(replacement(&new.name, file, pem::replace(old, edits)))
}

/// Returns the replacement for a key file that does not exist yet.
fn created(new: &IssuedPair, place: PathBuf) -> Replacement {
    Replacement {
        credential: new.name.clone(),
        names: vec![place],
        old: None,
        new: whole_key(new).into(),
        like: None,
        alone: false,
    }
}
