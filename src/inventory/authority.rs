//! CAs: which certificate of a bundle signs, and whether it may.

use std::path::Path;

use super::{Authority, Signer, why};
use crate::catalog::AuthoritySpec;
use crate::format::key::KeyFault;
use crate::format::pair::find_key;
use crate::format::text::printable;
use crate::format::{key, pem, x509};
use crate::model::{Certificate, ReadError};
use crate::scan::Scan;

/// Returns a CA with its state.
pub(super) fn take(scan: &Scan, spec: &AuthoritySpec) -> Authority {
    let bundle = scan
        .file(&spec.certificate)
        .as_ref()
        .map_err(Clone::clone)
        .and_then(|file| {
            let parsed = file
                .bytes
                .text()
                .and_then(x509::parse_pem)
                .map_err(|reason| ReadError::Because(printable(&reason)))?;
            Ok(parsed
                .into_iter()
                .map(|(_, certificate)| certificate)
                .collect::<Vec<_>>())
        });
    let bundle = match bundle {
        Ok(bundle) => bundle,
        Err(unread) => {
            let signer = Signer::Unusable(printable(&format!("{} {}", spec.certificate.display(), why(&unread))));
            return Authority {
                spec: spec.clone(),
                certificate: Err(unread),
                bundle: Vec::new(),
                signer,
            };
        }
    };
    let (at, signer) = signer(scan, spec, &bundle);
    // The signing certificate is what the CA's row shows; kubeadm shows the first.
    let certificate = bundle[at].clone();
    Authority {
        spec: spec.clone(),
        certificate: Ok(certificate),
        bundle: bundle.into_iter().map(|certificate| certificate.der).collect(),
        signer,
    }
}

/// Returns the index of the certificate that signs, and its ability to sign.
fn signer(scan: &Scan, spec: &AuthoritySpec, bundle: &[Certificate]) -> (usize, Signer) {
    let unusable =
        |at, path: &Path, reason: &str| (at, Signer::Unusable(printable(&format!("{} {reason}", path.display()))));
    let file = match scan.file(&spec.key) {
        Ok(file) => file,
        Err(ReadError::Missing) => return (0, Signer::External),
        Err(ReadError::Because(reason)) => return unusable(0, &spec.key, reason),
    };
    let (block, facts) = match file.bytes.text().map_err(KeyFault::from).and_then(find_key) {
        Ok(found) => found,
        Err(fault) => return unusable(0, &spec.key, &fault.to_string()),
    };
    // A CA renewed with its own key stands twice in the bundle: the one that lasts longer signs.
    let matching = bundle
        .iter()
        .enumerate()
        .filter(|(_, c)| c.public_key == facts.public_key)
        .max_by_key(|(_, c)| c.validity.not_after);
    let Some((at, certificate)) = matching else {
        return unusable(
            0,
            &spec.key,
            &format!("is not the key of {}", spec.certificate.display()),
        );
    };
    // All signatures depend on this key, so it is checked more closely than the key of a leaf.
    if let Err(reason) = key::check(&block) {
        return unusable(at, &spec.key, &reason);
    }
    if !certificate.is_ca || !certificate.may_sign {
        return unusable(at, &spec.certificate, "is not a CA that may sign certificates");
    }
    if certificate.validity.has_ended(scan.at) {
        return unusable(at, &spec.certificate, "has expired");
    }
    if certificate.validity.not_before > scan.at {
        return unusable(at, &spec.certificate, "is not valid yet");
    }
    (at, Signer::Ready(file.clone()))
}

/// Returns the reason if the service account keys are not a pair.
pub(super) fn service_account(scan: &Scan) -> Result<(), String> {
    let (key_path, public_path) = &scan.service_account;
    let text = |path: &Path| match scan.file(path) {
        Ok(file) => file.bytes.text().map_err(|e| format!("{} {e}", path.display())),
        Err(e) => Err(format!("{} {}", path.display(), why(e))),
    };
    let (_, facts) = find_key(text(key_path)?).map_err(|e| format!("{} {e}", key_path.display()))?;
    let blocks = pem::blocks(text(public_path)?).map_err(|e| format!("{} {e}", public_path.display()))?;
    let public = blocks.first().and_then(|block| x509::public_key(&block.der));
    match public {
        Some(public) if public == facts.public_key => Ok(()),
        Some(_) => Err(format!(
            "{} and {} are not a pair",
            key_path.display(),
            public_path.display()
        )),
        None => Err(format!("{} holds no public key", public_path.display())),
    }
}
