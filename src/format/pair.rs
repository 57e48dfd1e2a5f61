//! Pairs: a certificate and its private key.

use std::ops::Range;
use std::path::Path;

use super::key::KeyFault;
use super::{key, pem, x509};
use crate::model::{Certificate, File, KeyStyle};

/// Contents of the files of a pair.
#[derive(Debug)]
pub struct Pair {
    /// The leaf.
    pub certificate: Certificate,
    /// Place of the leaf in its file.
    pub leaf: Range<usize>,
    /// PEM form of the private key, or the reason that the pair is broken.
    pub key: Result<KeyStyle, KeyFault>,
    /// Place of the key in its file, if it is there.
    pub place: Option<Range<usize>>,
}

/// Reads a pair. A key that is missing or useless makes a broken pair. Only a certificate that
/// cannot be read is an error.
pub fn parse(path: &Path, file: &File, key_path: &Path, key_file: Option<&File>) -> Result<Pair, String> {
    let at = |reason: String| format!("{} {reason}", path.display());
    let (block, certificate) = file.bytes.text().and_then(leaf).map_err(at)?;
    let found = key_file
        .ok_or_else(|| KeyFault::from("is missing"))
        .and_then(|file| find_key(file.bytes.text()?));
    if key_file.is_some_and(|key| key.is_same(file)) {
        // A key cannot be added to a file that was meant to hold both.
        found.as_ref().map_err(|fault| fault.clone().at(key_path).to_string())?;
    }
    let place = found.as_ref().ok().map(|(block, _)| block.range.clone());
    Ok(Pair {
        key: matching(found.map(|(_, facts)| facts), &certificate).map_err(|fault| fault.at(key_path)),
        certificate,
        leaf: block.range,
        place,
    })
}

/// Returns the first certificate, which is the leaf. The others are its chain (RFC 8446, 4.4.2).
pub fn leaf(text: &str) -> Result<(pem::Block, Certificate), String> {
    let mut all = x509::parse_pem(text)?;
    Ok(all.swap_remove(0))
}

/// Returns the first private key of a PEM text.
pub fn find_key(text: &str) -> Result<(pem::Block, key::KeyFacts), KeyFault> {
    let blocks = pem::blocks(text)?;
    let block = blocks
        .into_iter()
        .find(pem::Block::is_private_key)
        .ok_or("holds no private key")?;
    let facts = key::parse(&block)?;
    Ok((block, facts))
}

/// Returns the PEM form of the key, if it belongs to the certificate.
pub fn matching(found: Result<key::KeyFacts, KeyFault>, certificate: &Certificate) -> Result<KeyStyle, KeyFault> {
    let facts = found.map_err(KeyFault::printable)?;
    if facts.public_key == certificate.public_key {
        Ok(facts.style)
    } else {
        Err("does not match its certificate".into())
    }
}
