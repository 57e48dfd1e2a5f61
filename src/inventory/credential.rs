//! Credentials: a certificate with its key, in files of their own or inside a kubeconfig.

use std::path::Path;

use super::{Holding, Present, State, is_missing, why};
use crate::catalog::{Spec, Store};
use crate::format::kubeconfig::{self, Kubeconfig};
use crate::format::text::printable;
use crate::format::{key, pem, x509};
use crate::model::{Certificate, KeyStyle, Unread};
use crate::scan::Scan;

/// What was found of a credential.
pub(super) fn state(scan: &Scan, spec: &Spec) -> State {
    let path = spec.store.path();
    if is_missing(scan.file(path)) {
        return State::Missing;
    }
    let present = match &spec.store {
        Store::Pair { certificate, key } => in_files(scan, certificate, key),
        Store::Kubeconfig { path } => in_kubeconfig(scan, path),
    };
    match present {
        Ok(present) => State::Present(Box::new(present)),
        Err(reason) => State::Unreadable(printable(&reason)),
    }
}

fn in_files(scan: &Scan, certificate_path: &Path, key_path: &Path) -> Result<Present, String> {
    let at = |reason: String| format!("{} {reason}", certificate_path.display());
    let file = scan.file(certificate_path).as_ref().map_err(|e| at(why(e)))?;
    let (block, certificate) = leaf(file.bytes.text().map_err(at)?).map_err(at)?;
    let key_at = |reason: String| format!("{} {reason}", key_path.display());
    let key_file = match scan.file(key_path) {
        Ok(file) => Some(file),
        Err(Unread::Missing) => None,
        Err(unread) => return Err(key_at(why(unread))),
    };
    let found = key_file
        .ok_or_else(|| "is missing".to_owned())
        .and_then(|file| find_key(file.bytes.text()?));
    if key_file.is_some_and(|key| key.is_same(file)) {
        // One file for both: without its key it is no file that a key could be put into.
        found.as_ref().map_err(|reason| key_at(reason.clone()))?;
    }
    let place = found.as_ref().ok().map(|(block, _)| block.range.clone());
    let key = matching(found.map(|(_, facts)| facts), &certificate).map_err(&key_at);
    Ok(Present {
        certificate,
        key,
        holding: Holding::Files {
            certificate: (file.clone(), block.range),
            key_place: scan.place(key_path).map_err(key_at),
            key: key_file.map(|file| (file.clone(), place)),
        },
    })
}

fn in_kubeconfig(scan: &Scan, path: &Path) -> Result<Present, String> {
    let at = |reason: String| format!("{} {reason}", path.display());
    let file = scan.file(path).as_ref().map_err(|e| at(why(e)))?;
    let Kubeconfig {
        credential,
        authorities,
        ..
    } = kubeconfig::parse(file.bytes.text().map_err(at)?).map_err(at)?;
    match credential {
        kubeconfig::Credential::Files { certificate, key } => {
            let folder = path.parent().unwrap_or(Path::new("/"));
            in_files(scan, &folder.join(certificate), &folder.join(key)).map_err(|reason| {
                format!(
                    "{} refers to a credential that cannot be read: {reason}",
                    path.display()
                )
            })
        }
        kubeconfig::Credential::Embedded { certificate: text, key } => {
            let (block, certificate) = leaf(&text).map_err(|e| at(format!("has a client certificate that {e}")))?;
            let found = key
                .as_ref()
                .ok_or_else(|| "has no client key".to_owned())
                .and_then(|text| find_key(text));
            let place = found.as_ref().ok().map(|(block, _)| block.range.clone());
            Ok(Present {
                key: matching(found.map(|(_, facts)| facts), &certificate).map_err(at),
                certificate,
                holding: Holding::Embedded {
                    file: file.clone(),
                    certificate: (text, block.range),
                    key: key.zip(place),
                    authorities,
                },
            })
        }
    }
}

/// The first certificate is the leaf; what follows is its chain (RFC 8446, 4.4.2).
pub(super) fn leaf(text: &str) -> Result<(pem::Block, Certificate), String> {
    let mut all = x509::parse_pem(text)?;
    Ok(all.swap_remove(0))
}

pub(super) fn find_key(text: &str) -> Result<(pem::Block, key::KeyFacts), String> {
    let blocks = pem::blocks(text)?;
    let block = blocks
        .into_iter()
        .find(pem::Block::is_private_key)
        .ok_or("holds no private key")?;
    let facts = key::parse(&block)?;
    Ok((block, facts))
}

fn matching(found: Result<key::KeyFacts, String>, certificate: &Certificate) -> Result<KeyStyle, String> {
    let facts = found.map_err(|reason| printable(&reason))?;
    if facts.public_key == certificate.public_key {
        Ok(facts.style)
    } else {
        Err("does not match its certificate".into())
    }
}
