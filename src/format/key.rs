//! Private keys: their public keys and their PEM forms.

use std::borrow::Cow;
use std::fmt;
use std::path::Path;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rsa;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, ECDSA_P521_SHA512_ASN1_SIGNING, EcdsaKeyPair,
    EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair as _,
};
use x509_parser::der_parser::asn1_rs::{Any, FromDer, Sequence, Tag, ToDer};
use x509_parser::der_parser::parse_der;
use x509_parser::oid_registry::OID_PKCS1_RSAENCRYPTION;
use zeroize::Zeroizing;

use super::pem::Block;
use super::text::printable;
use crate::model::{KeyAlgorithm, KeyStyle};

const ENCRYPTED: &str = "holds an encrypted private key";
const UNUSABLE: &str = "holds a private key that does not parse or is of an unsupported kind";

/// The reason that a private key cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyFault {
    /// The key is encrypted.
    Encrypted(String),
    /// The key is missing, damaged, of an unknown kind, or that of another certificate.
    Unusable(String),
}

impl KeyFault {
    /// Adds the path of the key's file to the reason.
    pub fn at(self, path: &Path) -> Self {
        self.map(|reason| format!("{} {reason}", path.display()))
    }

    /// Makes the reason safe to show (see [`printable`]).
    pub fn printable(self) -> Self {
        self.map(|reason| printable(&reason))
    }

    fn map(self, change: impl FnOnce(String) -> String) -> Self {
        match self {
            Self::Encrypted(reason) => Self::Encrypted(change(reason)),
            Self::Unusable(reason) => Self::Unusable(change(reason)),
        }
    }
}

impl fmt::Display for KeyFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Encrypted(reason) | Self::Unusable(reason)) = self;
        f.write_str(reason)
    }
}

impl From<String> for KeyFault {
    fn from(reason: String) -> Self {
        Self::Unusable(reason)
    }
}

impl From<&str> for KeyFault {
    fn from(reason: &str) -> Self {
        Self::Unusable(reason.to_owned())
    }
}

/// Facts about a private key that are not secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyFacts {
    /// PEM form.
    pub style: KeyStyle,
    /// Content of the bit string in the `SubjectPublicKeyInfo` of a certificate for this key.
    pub public_key: Vec<u8>,
}

/// Reads the private key of a PEM block.
///
/// The public part of an RSA key is taken from the key. [`check`] tests whether the private part
/// belongs to it, which takes longer than everything else in a scan of a pair. Encrypted keys are
/// refused: a renewal would have to write the new one unencrypted.
pub fn parse(block: &Block) -> Result<KeyFacts, KeyFault> {
    let style = match block.label.as_str() {
        "RSA PRIVATE KEY" => KeyStyle::Pkcs1,
        "EC PRIVATE KEY" => KeyStyle::Sec1,
        "PRIVATE KEY" => KeyStyle::Pkcs8,
        "ENCRYPTED PRIVATE KEY" => return Err(KeyFault::Encrypted(ENCRYPTED.into())),
        other => {
            let reason = format!("holds a private key of an unknown kind (`{other}`)");
            return Err(printable(&reason).into());
        }
    };
    if block.has_headers {
        return Err(KeyFault::Encrypted(ENCRYPTED.into()));
    }
    let public_key = match style {
        KeyStyle::Pkcs1 => rsa_public_key(&block.der),
        KeyStyle::Sec1 => ec_public_key(&block.der),
        KeyStyle::Pkcs8 => rsa_inside(&block.der)
            .and_then(rsa_public_key)
            .or_else(|| ec_public_key(&block.der))
            .or_else(|| {
                let key = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&block.der).ok()?;
                Some(key.public_key().as_ref().to_vec())
            }),
    };
    match public_key {
        Some(public_key) => Ok(KeyFacts { style, public_key }),
        None => Err(UNUSABLE.into()),
    }
}

/// Checks that the private key of a PEM block, which [`parse`] has read, can sign: its parts belong
/// together.
pub fn check(block: &Block) -> Result<(), String> {
    let is_good = match block.label.as_str() {
        "RSA PRIVATE KEY" => rsa::KeyPair::from_der(&block.der).is_ok(),
        _ if rsa_inside(&block.der).is_some() => rsa::KeyPair::from_pkcs8(&block.der).is_ok(),
        // Reading the others has checked them.
        _ => true,
    };
    if is_good { Ok(()) } else { Err(UNUSABLE.into()) }
}

/// Returns the `RSAPublicKey` of an `RSAPrivateKey` with two primes (RFC 8017, A.1).
fn rsa_public_key(der: &[u8]) -> Option<Vec<u8>> {
    let (rest, key) = Sequence::from_der(der).ok()?;
    let mut left: &[u8] = &key.content;
    let mut integers = Vec::with_capacity(9);
    while !left.is_empty() && integers.len() < 10 {
        let (rest, integer) = Any::from_der(left).ok()?;
        integer.tag().assert_eq(Tag::Integer).ok()?;
        integers.push(&left[..left.len() - rest.len()]);
        left = rest;
    }
    let [version, modulus, exponent, _, _, _, _, _, _] = integers[..] else {
        return None;
    };
    if !rest.is_empty() || version != [2, 1, 0] {
        return None;
    }
    let public = Sequence::new(Cow::Owned([modulus, exponent].concat()));
    public.to_der_vec().ok()
}

/// Returns the `RSAPrivateKey` in a PKCS#8 key (RFC 5958), if it is one.
fn rsa_inside(pkcs8: &[u8]) -> Option<&[u8]> {
    let (rest, key) = parse_der(pkcs8).ok()?;
    let fields = key.as_sequence().ok().filter(|_| rest.is_empty())?;
    let algorithm = fields.get(1)?.as_sequence().ok()?.first()?;
    if *algorithm.as_oid().ok()? != OID_PKCS1_RSAENCRYPTION {
        return None;
    }
    fields.get(2)?.as_slice().ok()
}

fn ec_public_key(der: &[u8]) -> Option<Vec<u8>> {
    let curves: [&'static EcdsaSigningAlgorithm; 3] = [
        &ECDSA_P256_SHA256_ASN1_SIGNING,
        &ECDSA_P384_SHA384_ASN1_SIGNING,
        &ECDSA_P521_SHA512_ASN1_SIGNING,
    ];
    curves.into_iter().find_map(|curve| {
        let key = EcdsaKeyPair::from_private_key_der(curve, der).ok()?;
        Some(key.public_key().as_ref().to_vec())
    })
}

/// Returns the DER of a PKCS#8 key in another form.
///
/// PKCS#1 is the octet string inside PKCS#8 (RFC 5958). SEC1 is written with the curve and the
/// public key, which Go requires.
pub fn from_pkcs8(pkcs8: &[u8], algorithm: &KeyAlgorithm, style: KeyStyle) -> Result<Zeroizing<Vec<u8>>, String> {
    let curve = match (style, algorithm) {
        // The library writes version 2 of PKCS#8, with the public key, which openssl 3.0 cannot
        // read.
        (KeyStyle::Pkcs8, KeyAlgorithm::Ed25519) => {
            let key = Ed25519KeyPair::from_pkcs8(pkcs8).map_err(|e| e.to_string())?;
            let version_1 = key.to_pkcs8v1().map_err(|e| e.to_string())?;
            return Ok(Zeroizing::new(version_1.as_ref().to_vec()));
        }
        (KeyStyle::Pkcs8, _) => return Ok(Zeroizing::new(pkcs8.to_vec())),
        (KeyStyle::Pkcs1, KeyAlgorithm::Rsa(_)) => return inner_key(pkcs8),
        (KeyStyle::Sec1, KeyAlgorithm::P256) => &ECDSA_P256_SHA256_ASN1_SIGNING,
        (KeyStyle::Sec1, KeyAlgorithm::P384) => &ECDSA_P384_SHA384_ASN1_SIGNING,
        (KeyStyle::Sec1, KeyAlgorithm::P521) => &ECDSA_P521_SHA512_ASN1_SIGNING,
        _ => return Err(format!("a {algorithm} key cannot be written as `{}`", style.label())),
    };
    let key = EcdsaKeyPair::from_pkcs8(curve, pkcs8).map_err(|e| e.to_string())?;
    let sec1 = key.private_key().as_der().map_err(|e| e.to_string())?;
    Ok(Zeroizing::new(sec1.as_ref().to_vec()))
}

fn inner_key(pkcs8: &[u8]) -> Result<Zeroizing<Vec<u8>>, String> {
    let damaged = || "the new key is not PKCS#8".to_owned();
    let (_, parsed) = parse_der(pkcs8).map_err(|_| damaged())?;
    let fields = parsed.as_sequence().map_err(|_| damaged())?;
    let inner = fields.get(2).ok_or_else(damaged)?;
    Ok(Zeroizing::new(inner.as_slice().map_err(|_| damaged())?.to_vec()))
}
