//! X.509 certificates: DER to [`Certificate`], and checks of signatures and names (RFC 5280).

use std::net::IpAddr;

use aws_lc_rs::signature::{ECDSA_P521_SHA512_ASN1, UnparsedPublicKey};
use time::OffsetDateTime;
use x509_parser::certificate::X509Certificate;
use x509_parser::oid_registry as oid;
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey;
use x509_parser::x509::SubjectPublicKeyInfo;

use super::pem;
use super::text::printable;
use crate::model::{Certificate, Extension, KeyAlgorithm, Serial, Validity};

/// Returns all certificates of a PEM text, in order. An empty list is an error, because a
/// certificate is expected.
pub fn parse_pem(text: &str) -> Result<Vec<(pem::Block, Certificate)>, String> {
    let blocks = pem::blocks(text)?;
    if text.trim().is_empty() {
        return Err("is empty".into());
    }
    let labels: Vec<_> = blocks.iter().map(|b| b.label.clone()).collect();
    let certificates = blocks
        .into_iter()
        .filter(pem::Block::is_certificate)
        .map(|block| parse(&block.der).map(|certificate| (block, certificate)))
        .collect::<Result<Vec<_>, _>>()?;
    match (certificates.is_empty(), labels.first()) {
        (false, _) => Ok(certificates),
        (true, Some(label)) => Err(printable(&format!("holds no certificate but `{label}`"))),
        (true, None) => Err("holds no PEM block".into()),
    }
}

/// Returns the first common name (RFC 5280, A.1) of a name's DER, safe to show. Empty if it has
/// none.
pub fn common_name(name: &[u8]) -> String {
    let Ok((_, name)) = x509_parser::x509::X509Name::from_der(name) else {
        return String::new();
    };
    let mut found = name.iter_common_name().filter_map(|cn| cn.as_str().ok());
    found.next().map(printable).unwrap_or_default()
}

/// Parses a certificate.
pub fn parse(der: &[u8]) -> Result<Certificate, String> {
    let (rest, x509) = X509Certificate::from_der(der)
        .map_err(|e| printable(&format!("holds a certificate that does not parse ({e})")))?;
    if !rest.is_empty() {
        return Err("holds a certificate with bytes after its end".into());
    }
    let tbs = &x509.tbs_certificate;
    // X.690, 8.19.2: an object identifier has at least one byte, and its last byte has no high bit.
    if tbs
        .extensions()
        .iter()
        .any(|e| e.oid.as_bytes().last().is_none_or(|last| last & 0x80 != 0))
    {
        return Err("holds a certificate with an extension without an identifier".into());
    }
    // Names are copied as they are, so that each must be one whole element, which the library does
    // not check.
    let is_whole = |name: &[u8]| matches!(x509_parser::der_parser::parse_der(name), Ok((rest, _)) if rest.is_empty());
    if !is_whole(tbs.subject.as_raw()) || !is_whole(tbs.issuer.as_raw()) {
        return Err("holds a certificate with a damaged name".into());
    }
    let constraints = tbs
        .basic_constraints()
        .map_err(|_| "holds a certificate with two BasicConstraints or a damaged one")?;
    let usage = tbs
        .key_usage()
        .map_err(|_| "holds a certificate with two KeyUsages or a damaged one")?;
    Ok(Certificate {
        der: der.to_vec(),
        subject_der: tbs.subject.as_raw().to_vec(),
        subject: tbs.subject.to_string(),
        issuer_der: tbs.issuer.as_raw().to_vec(),
        serial: Serial(tbs.raw_serial().to_vec()),
        validity: Validity {
            not_before: utc(tbs.validity.not_before.to_datetime()),
            not_after: utc(tbs.validity.not_after.to_datetime()),
        },
        key: key_algorithm(&tbs.subject_pki),
        public_key: tbs.subject_pki.subject_public_key.data.to_vec(),
        is_ca: constraints.is_some_and(|c| c.value.ca),
        may_sign: usage.is_none_or(|u| u.value.key_cert_sign()),
        key_id: tbs
            .get_extension_unique(&oid::OID_X509_EXT_SUBJECT_KEY_IDENTIFIER)
            .ok()
            .flatten()
            .and_then(octet_string),
        has_unique_ids: tbs.issuer_uid.is_some() || tbs.subject_uid.is_some(),
    })
}

/// Returns all extensions of a certificate in order; version 1 has none.
pub fn extensions(certificate: &Certificate) -> Vec<Extension<'_>> {
    // A `Certificate` was parsed from these bytes.
    let Ok((_, x509)) = X509Certificate::from_der(&certificate.der) else {
        return Vec::new();
    };
    let all = x509.tbs_certificate.extensions().iter();
    all.map(|extension| Extension {
        oid: extension.oid.as_bytes().to_vec(),
        critical: extension.critical,
        value: extension.value,
    })
    .collect()
}

fn utc(time: OffsetDateTime) -> OffsetDateTime {
    time.to_offset(time::UtcOffset::UTC)
}

fn octet_string(extension: &x509_parser::extensions::X509Extension<'_>) -> Option<Vec<u8>> {
    use x509_parser::der_parser::asn1_rs::OctetString;
    let (_, inner) = OctetString::from_der(extension.value).ok()?;
    Some(inner.as_cow().to_vec())
}

fn key_algorithm(spki: &SubjectPublicKeyInfo<'_>) -> KeyAlgorithm {
    let algorithm = &spki.algorithm.algorithm;
    if *algorithm == oid::OID_PKCS1_RSAENCRYPTION {
        if let Ok(PublicKey::RSA(rsa)) = spki.parsed() {
            return KeyAlgorithm::Rsa(rsa.key_size());
        }
    } else if *algorithm == oid::OID_KEY_TYPE_EC_PUBLIC_KEY {
        let curve = spki.algorithm.parameters.as_ref().and_then(|p| p.as_oid().ok());
        match curve {
            Some(curve) if curve == oid::OID_EC_P256 => return KeyAlgorithm::P256,
            Some(curve) if curve == oid::OID_NIST_EC_P384 => return KeyAlgorithm::P384,
            Some(curve) if curve == oid::OID_NIST_EC_P521 => return KeyAlgorithm::P521,
            Some(curve) => return KeyAlgorithm::Other(printable(&curve.to_id_string())),
            None => {}
        }
    } else if *algorithm == oid::OID_SIG_ED25519 {
        return KeyAlgorithm::Ed25519;
    }
    KeyAlgorithm::Other(printable(&algorithm.to_id_string()))
}

/// Returns true if `issuer`'s key made the signature on `certificate`, and the names agree.
pub fn is_signed_by(certificate: &Certificate, issuer: &Certificate) -> bool {
    if certificate.issuer_der != issuer.subject_der {
        return false;
    }
    let (Ok((_, leaf)), Ok((_, issuer))) = (
        X509Certificate::from_der(&certificate.der),
        X509Certificate::from_der(&issuer.der),
    ) else {
        return false;
    };
    if key_algorithm(issuer.public_key()) == KeyAlgorithm::P521 {
        // The one curve that x509-parser lacks. rcgen signs with SHA-512 on it, as Go does.
        let key = &issuer.public_key().subject_public_key.data;
        let key = UnparsedPublicKey::new(&ECDSA_P521_SHA512_ASN1, key);
        let tbs: &[u8] = leaf.tbs_certificate.as_ref();
        return key.verify(tbs, &leaf.signature_value.data).is_ok();
    }
    leaf.verify_signature(Some(issuer.public_key())).is_ok()
}

/// Returns true if the certificate is valid for `name`, an address or a host name, as TLS clients
/// compare: by the SubjectAltName alone (RFC 6125, 6.4; Go ignores the common name since 1.15). A
/// `*` stands for one label.
pub fn is_for(certificate: &Certificate, name: &str) -> bool {
    use x509_parser::extensions::GeneralName;
    let Ok((_, x509)) = X509Certificate::from_der(&certificate.der) else {
        return false;
    };
    let Ok(Some(names)) = x509.subject_alternative_name() else {
        return false;
    };
    let address: Option<IpAddr> = name.parse().ok();
    let mut names = names.value.general_names.iter();
    names.any(|known| match (known, address) {
        (GeneralName::IPAddress(bytes), Some(IpAddr::V4(address))) => *bytes == address.octets(),
        (GeneralName::IPAddress(bytes), Some(IpAddr::V6(address))) => *bytes == address.octets(),
        (GeneralName::DNSName(known), None) => is_host(known, name),
        _ => false,
    })
}

fn is_host(known: &str, name: &str) -> bool {
    let (known, name) = (known.trim_end_matches('.'), name.trim_end_matches('.'));
    match (known.strip_prefix("*."), name.split_once('.')) {
        (Some(rest), Some((_, below))) => rest.eq_ignore_ascii_case(below),
        (Some(_), None) => false,
        (None, _) => known.eq_ignore_ascii_case(name),
    }
}

/// Returns the content of the bit string of a DER `SubjectPublicKeyInfo` (the `PUBLIC KEY` of a PEM
/// file).
pub fn public_key(der: &[u8]) -> Option<Vec<u8>> {
    let (_, spki) = SubjectPublicKeyInfo::from_der(der).ok()?;
    Some(spki.subject_public_key.data.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_names_are_compared_without_case_and_a_star_is_one_label() {
        for (known, name, is) in [
            ("api.example.", "API.example", true),
            ("*.example", "api.example", true),
            ("*.example", "a.api.example", false),
            ("*.example", "example", false),
            ("api", "api.example", false),
        ] {
            assert_eq!(is_host(known, name), is, "{known} {name}");
        }
    }
}
