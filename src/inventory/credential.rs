//! Credentials: a certificate with its key, in files of their own or inside a kubeconfig.

use std::path::Path;
use std::sync::Arc;

use super::{CertificateFile, EmbeddedPem, KeyFile, Location, Material, State, is_missing, why};
use crate::catalog::{Spec, Storage};
use crate::format::key::KeyFault;
use crate::format::kubeconfig::{self, Kubeconfig};
use crate::format::pair::{self, find_key, leaf, matching};
use crate::format::text::printable;
use crate::model::ReadError;
use crate::scan::Scan;

/// Returns the state of a credential.
pub(super) fn state(scan: &Scan, spec: &Spec) -> State {
    let path = spec.storage.path();
    if is_missing(scan.file(path)) {
        return State::Missing;
    }
    let present = match &spec.storage {
        Storage::Pair { certificate, key } => in_files(scan, certificate, key),
        Storage::Kubeconfig { path } => in_kubeconfig(scan, path),
    };
    match present {
        Ok(present) => State::Present(Box::new(present)),
        Err(reason) => State::Unreadable(printable(&reason)),
    }
}

fn in_files(scan: &Scan, certificate_path: &Path, key_path: &Path) -> Result<Material, String> {
    let unread = |path: &Path, unread| format!("{} {}", path.display(), why(unread));
    let file = scan
        .file(certificate_path)
        .as_ref()
        .map_err(|e| unread(certificate_path, e))?;
    let key_file = match scan.file(key_path) {
        Ok(file) => Some(file),
        Err(ReadError::Missing) => None,
        Err(e) => return Err(unread(key_path, e)),
    };
    let pair = pair::parse(certificate_path, file, key_path, key_file.map(Arc::as_ref))?;
    let key_place = scan.place(key_path);
    Ok(Material {
        certificate: pair.certificate,
        key: pair.key,
        location: Location::Files {
            certificate: CertificateFile {
                file: file.clone(),
                leaf: pair.leaf,
            },
            key_place: key_place.map_err(|reason| format!("{} {reason}", key_path.display())),
            key: key_file.map(|file| KeyFile {
                file: file.clone(),
                place: pair.place,
            }),
        },
    })
}

fn in_kubeconfig(scan: &Scan, path: &Path) -> Result<Material, String> {
    let at = |reason: String| format!("{} {reason}", path.display());
    let file = scan.file(path).as_ref().map_err(|e| at(why(e)))?;
    let Kubeconfig {
        credential,
        authorities,
        ..
    } = kubeconfig::parse(file.bytes.text().map_err(at)?).map_err(at)?;
    match credential {
        kubeconfig::Credential::Files { certificate, key } => {
            let directory = path.parent().unwrap_or(Path::new("/"));
            in_files(scan, &directory.join(certificate), &directory.join(key)).map_err(|reason| {
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
                .ok_or_else(|| KeyFault::from("has no client key"))
                .and_then(|text| find_key(text));
            let place = found.as_ref().ok().map(|(block, _)| block.range.clone());
            Ok(Material {
                key: matching(found.map(|(_, facts)| facts), &certificate).map_err(|fault| fault.at(path)),
                certificate,
                location: Location::Embedded {
                    file: file.clone(),
                    certificate: EmbeddedPem {
                        text: text.into(),
                        place: block.range,
                    },
                    key: key.zip(place).map(|(text, place)| EmbeddedPem { text, place }),
                    authorities,
                },
            })
        }
    }
}
