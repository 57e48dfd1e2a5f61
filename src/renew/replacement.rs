//! Replacements: new contents of files, and the parts that new pairs and copies of kubeconfigs
//! share.

use std::path::PathBuf;

use zeroize::Zeroizing;

use super::issue::IssuedPair;
use crate::format::pem;
use crate::inventory::EmbeddedPem;
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

/// Returns the replacement of a scanned file.
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

/// The new texts of a certificate and its key inside a kubeconfig.
pub(super) struct EmbeddedTexts {
    pub(super) certificate: Zeroizing<String>,
    pub(super) key: Zeroizing<String>,
}

/// Returns the texts inside a kubeconfig, with the new pair in the place of the old one.
pub(super) fn embedded(certificate: &EmbeddedPem, key: Option<&EmbeddedPem>, new: &IssuedPair) -> EmbeddedTexts {
    let replaced =
        |old: &EmbeddedPem, pem: &Zeroizing<String>| pem::replace(&old.text, vec![(old.place.clone(), pem.clone())]);
    EmbeddedTexts {
        certificate: replaced(certificate, &new.certificate_pem),
        key: key.map_or_else(|| whole_key(new), |key| replaced(key, &new.key_pem)),
    }
}

/// Returns the text of a key file that holds nothing else.
pub(super) fn whole_key(new: &IssuedPair) -> Zeroizing<String> {
    Zeroizing::new(format!("{}\n", *new.key_pem))
}
