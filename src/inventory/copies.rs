//! Copies of kubeconfigs: the users that hold the credential of the original, or why a copy is left
//! alone.

use super::{Credential, EmbeddedPem, Material, State, why};
use crate::catalog::CopySpec;
use crate::format::kubeconfig;
use crate::format::pair::{find_key, leaf};
use crate::format::text::printable;
use crate::model::File;
use crate::scan::{Scan, ScannedCopy};

/// A copy of a kubeconfig.
#[derive(Debug)]
pub struct Copy {
    /// The path, and the credential that it is a copy of.
    pub spec: CopySpec,
    /// The part that changes with the original; or why the copy is left alone.
    pub held: Result<EmbeddedCredential, String>,
}

/// The part of a copy that is the credential of its original.
#[derive(Debug)]
pub struct EmbeddedCredential {
    /// The file of the copy.
    pub file: File,
    /// The users that hold the credential, at least one.
    pub users: Vec<User>,
}

/// A user of a copy.
#[derive(Debug)]
pub struct User {
    /// The name in the copy.
    pub name: String,
    /// The certificate, with its chain.
    pub certificate: EmbeddedPem,
    /// The key; `None` if there is none, or it is useless.
    pub key: Option<EmbeddedPem>,
}

/// Returns all copies. A file with two paths belongs to the first one.
pub(super) fn all(scan: &Scan, credentials: &[Credential]) -> Vec<Copy> {
    let mut all: Vec<Copy> = Vec::new();
    for seen in &scan.copies {
        let held = held(seen, credentials).and_then(|held| {
            let earlier = all.iter().find(|copy| {
                let other = copy.held.as_ref();
                other.is_ok_and(|other| other.file.is_same(&held.file))
            });
            match earlier {
                Some(other) => Err(format!("it is the same file as {}", other.spec.path.display())),
                None => Ok(held),
            }
        });
        all.push(Copy {
            spec: seen.spec.clone(),
            held: held.map_err(|reason| printable(&reason)),
        });
    }
    all
}

fn held(seen: &ScannedCopy, credentials: &[Credential]) -> Result<EmbeddedCredential, String> {
    let of = &seen.spec.of;
    let file = seen.read.as_ref().map_err(|unread| format!("it {}", why(unread)))?;
    let present = |credential: &Credential| matches!(credential.state, State::Present(_));
    let mut original = None;
    for credential in credentials.iter().filter(|credential| present(credential)) {
        let State::Present(present) = &credential.state else {
            continue;
        };
        if present.files().into_iter().any(|other| other.is_same(file)) {
            return Err(format!("it is {} itself by another name", credential.spec.name));
        }
        if credential.spec.name == *of {
            original = Some(present);
        }
    }
    let original = original.ok_or_else(|| format!("{of} cannot be read"))?;
    if seen.is_symlink {
        return Err(format!("it is a symlink to {}", file.real.display()));
    }
    if let Some(reason) = &file.unsafe_way {
        return Err(format!("users other than root can replace it: {reason}"));
    }
    if file.identity.links != file.names.len() as u64 {
        return Err("it has another name outside of the scanned directories".into());
    }
    let text = file.bytes.text().map_err(|reason| format!("it {reason}"))?;
    let users = users(text, original).map_err(|reason| format!("it {reason}"))?;
    if users.is_empty() {
        return Err(format!("it does not hold the credential that {of} holds"));
    }
    for user in &users {
        kubeconfig::replace_credential_of(text, &user.name, "certificate", "key")
            .map_err(|reason| format!("it {reason}"))?;
    }
    Ok(EmbeddedCredential {
        file: file.clone(),
        users,
    })
}

/// Returns the users with the certificate of the original, or one for the same key.
fn users(text: &str, original: &Material) -> Result<Vec<User>, String> {
    let mut found = Vec::new();
    for (name, credential) in kubeconfig::users(text)? {
        let kubeconfig::Credential::Embedded { certificate, key } = credential else {
            continue;
        };
        let Ok((block, parsed)) = leaf(&certificate) else {
            continue;
        };
        let known = &original.certificate;
        if parsed.der != known.der && parsed.public_key != known.public_key {
            continue;
        }
        let place = key
            .as_ref()
            .and_then(|text| find_key(text).ok())
            .map(|(block, _)| block.range);
        found.push(User {
            name,
            certificate: EmbeddedPem {
                text: certificate.into(),
                place: block.range,
            },
            key: key.zip(place).map(|(text, place)| EmbeddedPem { text, place }),
        });
    }
    Ok(found)
}
