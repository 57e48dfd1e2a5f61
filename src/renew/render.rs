//! Renders the new content of files, as replacements for a transaction. Pure: it only edits text.

use std::ops::Range;
use std::path::PathBuf;

use zeroize::Zeroizing;

use super::copies;
use super::issue::IssuedPair;
use crate::format::{kubeconfig, pem};
use crate::guard::Clearance;
use crate::inventory::{Inventory, Location, Material};
use crate::model::{Attributes, Bytes, Failure, File};

/// A file that gets new content.
#[derive(Debug)]
pub struct Replacement {
    /// Name of the credential in it. A copy of a kubeconfig has its own path as the name.
    pub credential: String,
    /// All names of the file. The content is written to the first one.
    pub names: Vec<PathBuf>,
    /// The scanned file. `None` if the key was missing.
    pub old: Option<File>,
    /// The new content.
    pub new: Bytes,
    /// Owner, mode and attributes of the new file. `None` keeps those of the old file.
    pub like: Option<Attributes>,
    /// True if nothing depends on the file: a failure, of any kind, stops only this replacement.
    pub alone: bool,
}

impl Replacement {
    /// Limits a failure of this replacement to its credential, if others can still be replaced.
    pub fn concerning(&self, failure: Failure) -> Failure {
        let failure = if self.alone { failure.of_one_file() } else { failure };
        failure.about(&self.credential)
    }
}

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
            let (certificate, key) = edited(certificate, key.as_ref(), new);
            let old = file.bytes.text().map_err(fail)?;
            let edited = kubeconfig::replace_credential(old, &certificate, &key).map_err(fail)?;
            Ok(vec![replacement(&new.name, file, edited)])
        }
        Location::Files {
            certificate: (file, leaf),
            key: Some((key_file, Some(place))),
            ..
        } if file.is_same(key_file) => {
            let old = file.bytes.text().map_err(|e| (file.real.clone(), e))?;
            let edits = vec![
                (leaf.clone(), new.certificate_pem.clone()),
                (place.clone(), new.key_pem.clone()),
            ];
            Ok(vec![replacement(&new.name, file, pem::replace(old, edits))])
        }
        Location::Files {
            certificate: (file, leaf),
            key,
            key_place,
        } => {
            let old = file.bytes.text().map_err(|e| (file.real.clone(), e))?;
            let certificate = pem::replace(old, vec![(leaf.clone(), new.certificate_pem.clone())]);
            let whole = Zeroizing::new(format!("{}\n", *new.key_pem));
            let key = match key {
                Some((key_file, Some(place))) => {
                    let old = key_file.bytes.text().map_err(|e| (key_file.real.clone(), e))?;
                    replacement(
                        &new.name,
                        key_file,
                        pem::replace(old, vec![(place.clone(), new.key_pem.clone())]),
                    )
                }
                Some((key_file, None)) => replacement(&new.name, key_file, whole),
                None => made(
                    new,
                    key_place.clone().map_err(|reason| (file.real.clone(), reason))?,
                    whole,
                ),
            };
            Ok(vec![key, replacement(&new.name, file, certificate)])
        }
    }
}

/// Returns the texts of a certificate and a key inside a kubeconfig, with the new pair in the place
/// of the old one.
pub(super) fn edited(
    (text, leaf): &(String, Range<usize>),
    key: Option<&(Zeroizing<String>, Range<usize>)>,
    new: &IssuedPair,
) -> (Zeroizing<String>, Zeroizing<String>) {
    let certificate = pem::replace(text, vec![(leaf.clone(), new.certificate_pem.clone())]);
    let key = match key {
        Some((text, place)) => pem::replace(text, vec![(place.clone(), new.key_pem.clone())]),
        None => Zeroizing::new(format!("{}\n", *new.key_pem)),
    };
    (certificate, key)
}

/// Returns a replacement for a file that did not exist.
fn made(new: &IssuedPair, place: PathBuf, text: Zeroizing<String>) -> Replacement {
    Replacement {
        credential: new.name.clone(),
        names: vec![place],
        old: None,
        new: text.into(),
        like: None,
        alone: false,
    }
}

pub(super) fn replacement(credential: &str, file: &File, text: Zeroizing<String>) -> Replacement {
    Replacement {
        credential: credential.to_owned(),
        names: file.names.clone(),
        old: Some(file.clone()),
        new: text.into(),
        like: None,
        alone: false,
    }
}
