//! Private keys: which public key belongs to them, and how they are written.

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rsa;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, ECDSA_P521_SHA512_ASN1_SIGNING, EcdsaKeyPair,
    EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair as _,
};
use zeroize::Zeroizing;

use super::pem::Block;
use super::text::printable;
use crate::model::{KeyAlgorithm, KeyStyle};

/// What is known of a private key without showing it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyFacts {
    /// How it is written.
    pub style: KeyStyle,
    /// The content of the bit string in the `SubjectPublicKeyInfo` of a certificate for this key.
    pub public_key: Vec<u8>,
}

/// Reads the private key of a PEM block.
///
/// Encrypted keys are refused: a renewal would have to write the new one in the clear.
pub fn parse(block: &Block) -> Result<KeyFacts, String> {
    let style = match block.label.as_str() {
        "RSA PRIVATE KEY" => KeyStyle::Pkcs1,
        "EC PRIVATE KEY" => KeyStyle::Sec1,
        "PRIVATE KEY" => KeyStyle::Pkcs8,
        "ENCRYPTED PRIVATE KEY" => return Err("holds an encrypted private key".into()),
        other => {
            return Err(printable(&format!(
                "holds a private key of an unknown kind (`{other}`)"
            )));
        }
    };
    if block.has_headers {
        return Err("holds an encrypted private key".into());
    }
    let public_key = match style {
        KeyStyle::Pkcs1 => rsa::KeyPair::from_der(&block.der)
            .ok()
            .map(|k| k.public_key().as_ref().to_vec()),
        KeyStyle::Sec1 => ec_public_key(&block.der),
        KeyStyle::Pkcs8 => rsa::KeyPair::from_pkcs8(&block.der)
            .ok()
            .map(|k| k.public_key().as_ref().to_vec())
            .or_else(|| ec_public_key(&block.der))
            .or_else(|| {
                let key = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&block.der).ok()?;
                Some(key.public_key().as_ref().to_vec())
            }),
    };
    match public_key {
        Some(public_key) => Ok(KeyFacts { style, public_key }),
        None => Err("holds a private key that does not parse or is of an unsupported kind".into()),
    }
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

/// The DER of a PKCS#8 key in another style.
///
/// PKCS#1 is the octet string inside PKCS#8 (RFC 5958); SEC1 is written anew with the curve and the public key, which Go wants.
pub fn from_pkcs8(pkcs8: &[u8], algorithm: &KeyAlgorithm, style: KeyStyle) -> Result<Zeroizing<Vec<u8>>, String> {
    let curve = match (style, algorithm) {
        // Version 2 of PKCS#8, with the public key, is what the library makes; openssl 3.0 does not read it.
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
    let (_, parsed) = x509_parser::der_parser::parse_der(pkcs8).map_err(|_| damaged())?;
    let fields = parsed.as_sequence().map_err(|_| damaged())?;
    let inner = fields.get(2).ok_or_else(damaged)?;
    Ok(Zeroizing::new(inner.as_slice().map_err(|_| damaged())?.to_vec()))
}
