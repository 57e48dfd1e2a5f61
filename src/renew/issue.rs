//! Issues new pairs: a fresh key, and a certificate with the old one's subject, SANs, usages and
//! all other extensions. Writes nothing.
//!
//! rcgen is used only here. Its `DistinguishedName` cannot hold every name (repeated attributes,
//! several in one RDN), nor its `CustomExtension` every object identifier. So rcgen makes a
//! certificate without them, and `Splice` inserts the DER of the subjects and the extensions before
//! it is signed.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use rcgen::{
    CertificateParams, DistinguishedName, Issuer, KeyPair, PublicKeyData, RsaKeySize, SerialNumber, SignatureAlgorithm,
    SigningKey,
};
use zeroize::Zeroizing;

use crate::format::{key, pem, x509};
use crate::guard::Clearance;
use crate::inventory::{Inventory, Location, Material, Signer, State};
use crate::model::{Certificate, Extension, Failure, KeyAlgorithm, KeyStyle, Serial, Timestamp, Validity};
use crate::parallel;

/// A new pair, not yet on disk.
#[derive(Debug)]
pub struct IssuedPair {
    /// Name of the credential.
    pub name: String,
    /// Serial number of the new certificate.
    pub serial: Serial,
    /// notAfter of the new certificate.
    pub not_after: Timestamp,
    /// PEM of the leaf alone.
    pub certificate_pem: Zeroizing<String>,
    /// PEM of the key.
    pub key_pem: Zeroizing<String>,
}

/// 2.5.29.14
const SUBJECT_KEY_ID: &[u8] = &[0x55, 0x1d, 0x0e];
/// 2.5.29.35
const AUTHORITY_KEY_ID: &[u8] = &[0x55, 0x1d, 0x23];
/// Signed certificate timestamps and the poison of a precertificate (RFC 6962, 3.3 and 3.1:
/// 1.3.6.1.4.1.11129.2.4.2 and .3), which belong to the old certificate only.
const TRANSPARENCY: [&[u8]; 2] = [
    &[0x2b, 0x06, 0x01, 0x04, 0x01, 0xd6, 0x79, 0x02, 0x04, 0x02],
    &[0x2b, 0x06, 0x01, 0x04, 0x01, 0xd6, 0x79, 0x02, 0x04, 0x03],
];

/// Issues every renewal of a plan, on all cores. One failure fails all, since nothing is on disk
/// yet.
pub fn issue(inventory: &Inventory, clearance: &Clearance) -> Result<Vec<IssuedPair>, Failure> {
    let plan = clearance.plan();
    let mut orders = Vec::new();
    let mut keys = BTreeMap::new();
    for (item, validity) in plan.renewals() {
        orders.push(order(inventory, &item.name, validity, &mut keys).map_err(|e| e.of_one_file().about(&item.name))?);
    }
    let done = parallel::map(orders, |order| {
        order.fill().map_err(|e| e.of_one_file().about(order.name))
    });
    let mut issued = done.into_iter().collect::<Result<Vec<_>, _>>()?;
    issued.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(issued)
}

/// The input for one new pair.
struct Order<'a> {
    name: &'a str,
    old: &'a Certificate,
    style: KeyStyle,
    line_end: &'static str,
    validity: Validity,
    authority: &'a Certificate,
    authority_key: Arc<KeyPair>,
}

/// Gathers the input for a new pair. `keys` caches the parsed keys of CAs, by name.
fn order<'a>(
    inventory: &'a Inventory,
    name: &str,
    validity: Validity,
    keys: &mut BTreeMap<&'a str, Arc<KeyPair>>,
) -> Result<Order<'a>, Failure> {
    let fail = |reason: &str| Failure::new(format!("cannot issue {name}: {reason}"));
    let credential = inventory
        .credential(name)
        .ok_or_else(|| fail("it is not in the inventory"))?;
    let State::Present(present) = &credential.state else {
        return Err(fail("it was not read"));
    };
    let authority = inventory
        .authority(&credential.spec.ca)
        .ok_or_else(|| fail("its CA is not in the inventory"))?;
    let (Signer::Ready(key_file), Ok(certificate)) = (&authority.signer, &authority.certificate) else {
        return Err(fail("its CA cannot sign"));
    };
    let authority_key = match keys.entry(&authority.spec.name) {
        Entry::Occupied(known) => known.get().clone(),
        Entry::Vacant(free) => {
            let parsed = key_file.bytes.text().and_then(authority_key);
            let parsed = parsed.map_err(|e| fail(&format!("the key of its CA {} {e}", authority.spec.name)))?;
            free.insert(Arc::new(parsed)).clone()
        }
    };
    Ok(Order {
        name: &credential.spec.name,
        old: &present.certificate,
        style: present
            .key
            .as_ref()
            .copied()
            .unwrap_or_else(|_| KeyStyle::of(&present.certificate.key)),
        line_end: line_end(present),
        validity,
        authority: certificate,
        authority_key,
    })
}

fn authority_key(text: &str) -> Result<KeyPair, String> {
    let blocks = pem::blocks(text)?;
    let block = blocks
        .iter()
        .find(|b| b.is_private_key())
        .ok_or("holds no private key")?;
    let pem = Zeroizing::new(text[block.range.clone()].replace('\r', ""));
    KeyPair::from_pem(&pem).map_err(|e| format!("cannot be used for signing ({e})"))
}

fn line_end(present: &Material) -> &'static str {
    match &present.location {
        Location::Files { certificate, .. } => pem::line_end(certificate.file.bytes.text().unwrap_or_default()),
        Location::Embedded { certificate, .. } => pem::line_end(&certificate.text),
    }
}

impl Order<'_> {
    fn fill(&self) -> Result<IssuedPair, Failure> {
        let fail = |reason: String| Failure::new(format!("cannot issue {}: {reason}", self.name));
        let key = new_key(&self.old.key).map_err(&fail)?;
        let der = self.sign(&key).map_err(|e| fail(e.to_string()))?;
        let certificate = x509::parse(&der).map_err(|e| fail(format!("the new one {e}")))?;
        self.check(&certificate, &key).map_err(&fail)?;
        let pkcs8 = Zeroizing::new(key.serialize_der());
        let key_der = key::from_pkcs8(&pkcs8, &self.old.key, self.style).map_err(&fail)?;
        Ok(IssuedPair {
            name: self.name.to_owned(),
            certificate_pem: pem::encode("CERTIFICATE", &certificate.der, self.line_end),
            key_pem: pem::encode(self.style.label(), &key_der, self.line_end),
            serial: certificate.serial,
            not_after: certificate.validity.not_after,
        })
    }

    fn sign(&self, key: &KeyPair) -> Result<Vec<u8>, rcgen::Error> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.not_before = self.validity.not_before;
        params.not_after = self.validity.not_after;
        params.serial_number = Some(random_serial()?);
        let names = Splice {
            issuer: &self.authority.subject_der,
            subject: &self.old.subject_der,
            extensions: self.extensions(&params, key),
        };
        let signer = SplicingSigner {
            key: &self.authority_key,
            splice: &names,
        };
        let issuer = Issuer::from_params(&params, signer);
        let signed = params.signed_by(key, &issuer)?;
        names
            .certificate(signed.der())
            .ok_or(rcgen::Error::CouldNotParseCertificate)
    }

    /// Returns the old extensions in their order, as the DER of the last field of the TBS. Key
    /// identifiers are recomputed, and certificate timestamps are left out.
    ///
    /// An authority key identifier is added if the old certificate had none and the CA has an
    /// identifier: RFC 5280, 4.2.1.1 and `openssl verify -x509_strict` require it.
    fn extensions(&self, params: &CertificateParams, key: &KeyPair) -> Vec<u8> {
        let mut found: Vec<u8> = Vec::new();
        let mut has_authority_key_id = false;
        let authority_key_id = self.authority.key_id.as_ref().map(|id| der(0x30, &der(0x80, id)));
        for extension in &x509::extensions(self.old) {
            match extension.oid.as_slice() {
                oid if TRANSPARENCY.contains(&oid) => {}
                SUBJECT_KEY_ID => found.extend(encode(extension, &der(0x04, &params.key_identifier(key)))),
                AUTHORITY_KEY_ID => {
                    has_authority_key_id = true;
                    found.extend(authority_key_id.iter().flat_map(|value| encode(extension, value)));
                }
                _ => found.extend(encode(extension, extension.value)),
            }
        }
        if !has_authority_key_id {
            let plain = Extension {
                oid: AUTHORITY_KEY_ID.to_vec(),
                critical: false,
                value: &[],
            };
            found.extend(authority_key_id.iter().flat_map(|value| encode(&plain, value)));
        }
        if found.is_empty() {
            found
        } else {
            der(0xa3, &der(0x30, &found))
        }
    }

    /// Checks the bytes of the new certificate against the intention.
    fn check(&self, new: &Certificate, key: &KeyPair) -> Result<(), String> {
        let bound = |e: &&Extension<'_>| {
            let oid = e.oid.as_slice();
            oid == SUBJECT_KEY_ID || oid == AUTHORITY_KEY_ID || TRANSPARENCY.contains(&oid)
        };
        let (old, found) = (x509::extensions(self.old), x509::extensions(new));
        let mut unbound = [&old, &found].map(|all| all.iter().filter(|extension| !bound(extension)));
        let [old, found] = &mut unbound;
        if new.subject_der != self.old.subject_der || !old.eq(found) {
            return Err("the new certificate would lose something of the old one".into());
        }
        if new.validity != self.validity || new.key != self.old.key || new.public_key != key.public_key_raw() {
            return Err("the new certificate is not what was asked for".into());
        }
        if new.serial == self.old.serial || !x509::is_signed_by(new, self.authority) {
            return Err("the new certificate does not verify against its CA".into());
        }
        Ok(())
    }
}

fn new_key(algorithm: &KeyAlgorithm) -> Result<KeyPair, String> {
    let rsa = |size| KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, size);
    let made = match algorithm {
        KeyAlgorithm::Rsa(2048) => rsa(RsaKeySize::_2048),
        KeyAlgorithm::Rsa(3072) => rsa(RsaKeySize::_3072),
        KeyAlgorithm::Rsa(4096) => rsa(RsaKeySize::_4096),
        KeyAlgorithm::P256 => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256),
        KeyAlgorithm::P384 => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384),
        KeyAlgorithm::P521 => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P521_SHA512),
        KeyAlgorithm::Ed25519 => KeyPair::generate_for(&rcgen::PKCS_ED25519),
        other => return Err(format!("keys of this kind cannot be created: {other}")),
    };
    made.map_err(|e| e.to_string())
}

/// Returns 126 random bits in 16 bytes: positive, and never shorter (RFC 5280, 4.1.2.2 allows 20
/// bytes).
///
/// rcgen's default is a hash of the public key, which repeats if a key is reused.
fn random_serial() -> Result<SerialNumber, rcgen::Error> {
    let mut bytes = [0; 16];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| rcgen::Error::RingUnspecified)?;
    bytes[0] = bytes[0] & 0x7f | 0x40;
    Ok(SerialNumber::from_slice(&bytes))
}

/// Returns the DER of an extension with another value (RFC 5280, 4.1: identifier, critical if true,
/// octet string).
fn encode(like: &Extension<'_>, value: &[u8]) -> Vec<u8> {
    let critical: &[u8] = if like.critical { &[0x01, 0x01, 0xff] } else { &[] };
    der(0x30, &[&der(0x06, &like.oid), critical, &der(0x04, value)].concat())
}

/// The CA's key. It inserts the real names and extensions before it signs.
struct SplicingSigner<'a> {
    key: &'a KeyPair,
    splice: &'a Splice<'a>,
}

impl PublicKeyData for SplicingSigner<'_> {
    fn der_bytes(&self) -> &[u8] {
        self.key.der_bytes()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        self.key.algorithm()
    }
}

impl SigningKey for SplicingSigner<'_> {
    fn sign(&self, tbs: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        let tbs = self.splice.tbs(tbs).ok_or(rcgen::Error::CouldNotParseCertificate)?;
        self.key.sign(&tbs)
    }
}

/// The DER of the names and extensions that rcgen cannot write.
struct Splice<'a> {
    issuer: &'a [u8],
    subject: &'a [u8],
    extensions: Vec<u8>,
}

impl Splice<'_> {
    /// Returns a `Certificate` (RFC 5280, 4.1) whose TBS is replaced by the one that was signed.
    fn certificate(&self, certificate: &[u8]) -> Option<Vec<u8>> {
        let (content, _) = split(certificate)?;
        let (_, after_tbs) = split(content)?;
        let tbs = self.tbs(&content[..content.len() - after_tbs.len()])?;
        Some(der(0x30, &[&tbs, after_tbs].concat()))
    }

    /// Returns a `TBSCertificate` (version, serial, algorithm, issuer, validity, subject, key) with
    /// issuer and subject replaced, and the extensions appended.
    fn tbs(&self, tbs: &[u8]) -> Option<Vec<u8>> {
        let (mut rest, _) = split(tbs)?;
        let mut out = Vec::with_capacity(tbs.len() + self.extensions.len() + 512);
        for field in 0.. {
            if rest.is_empty() {
                break;
            }
            let (_, after) = split(rest)?;
            out.extend_from_slice(match field {
                3 => self.issuer,
                5 => self.subject,
                _ => &rest[..rest.len() - after.len()],
            });
            rest = after;
        }
        out.extend_from_slice(&self.extensions);
        Some(der(0x30, &out))
    }
}

/// Returns the content of the first DER element and the bytes after it. The input was just written
/// by rcgen.
fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let first = usize::from(*bytes.get(1)?);
    let (header, length) = if first < 0x80 {
        (2, first)
    } else {
        let count = first & 0x7f;
        let digits = bytes.get(2..2 + count)?;
        let length = digits
            .iter()
            .try_fold(0usize, |n, b| n.checked_mul(256)?.checked_add(usize::from(*b)))?;
        (2 + count, length)
    };
    let end = header.checked_add(length)?;
    Some((bytes.get(header..end)?, bytes.get(end..)?))
}

/// Returns a DER element.
fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    if let Ok(length @ 0..0x80) = u8::try_from(content.len()) {
        out.push(length);
    } else {
        let digits = content.len().to_be_bytes();
        let digits = &digits[digits.iter().take_while(|b| **b == 0).count()..];
        #[allow(clippy::cast_possible_truncation, reason = "a length has at most eight bytes")]
        out.push(0x80 | digits.len() as u8);
        out.extend_from_slice(digits);
    }
    out.extend_from_slice(content);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn der_lengths_of_all_sizes_split_again() {
        for length in [0, 1, 127, 128, 255, 256, 65_536] {
            let element = der(0x30, &vec![7; length]);
            let both = [element.as_slice(), &[1, 2]].concat();
            let (content, rest) = split(&both).unwrap();
            assert_eq!((content.len(), rest), (length, &[1u8, 2][..]));
        }
        assert!(split(&[0x30, 0x82, 1]).is_none());
    }

    #[test]
    fn serials_are_positive_full_and_different() {
        let (a, b) = (random_serial().unwrap(), random_serial().unwrap());
        assert_ne!(a.as_ref(), b.as_ref());
        assert!((0x40..0x80).contains(&a.as_ref()[0]) && a.as_ref().len() == 16);
    }
}
