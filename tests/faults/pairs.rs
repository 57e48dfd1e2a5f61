//! Checks that a private key belongs to a certificate, and the certificate to its CA, by the
//! crypto library itself, and now and then of openssl, never of the program's own code.

use super::image::Image;
use super::node::{KUBECONFIG_CA, KUBECONFIGS, PAIRS};
use super::support::openssl;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use x509_parser::parse_x509_certificate;

/// 2026-11-26: within the validity of old and new leaves.
const AT: i64 = 1_795_651_200;

/// PEM texts: certificate, key and CA.
struct Texts {
    certificate: String,
    key: String,
    ca: String,
}

/// The pairs that do not match, named by the certificate's file. `except` lists files that are
/// known to be without their key.
pub fn mismatches(image: &Image, except: &[&str]) -> Vec<String> {
    check(image, except, Texts::check)
}

/// The same, judged by openssl: slow.
pub fn mismatches_for_openssl(image: &Image, except: &[&str]) -> Vec<String> {
    check(image, except, |texts| {
        let (certificate, key) = (
            openssl::public_key_of_certificate(&texts.certificate),
            openssl::public_key_of_key(&texts.key),
        );
        if certificate != key {
            return Err("openssl says that the key belongs to another certificate".to_owned());
        }
        openssl::verify(&texts.ca, &texts.certificate, AT)
    })
}

fn check(image: &Image, except: &[&str], judge: impl Fn(&Texts) -> Result<(), String>) -> Vec<String> {
    let mut wrong = Vec::new();
    for pair in PAIRS.iter().filter(|pair| !except.contains(&pair.key)) {
        let texts = Texts::of_files(image, pair.certificate, pair.key, pair.ca);
        if let Err(reason) = texts.and_then(|texts| judge(&texts)) {
            wrong.push(format!("mixed pair {}: {reason}", pair.certificate));
        }
    }
    for path in KUBECONFIGS {
        let texts = Texts::of_kubeconfig(image, path);
        if let Err(reason) = texts.and_then(|texts| judge(&texts)) {
            wrong.push(format!("mixed pair in {path}: {reason}"));
        }
    }
    wrong
}

impl Texts {
    fn of_files(image: &Image, certificate: &str, key: &str, ca: &str) -> Result<Self, String> {
        let text = |path: &str| {
            image
                .text(path)
                .map(str::to_owned)
                .ok_or_else(|| format!("{path} cannot be read"))
        };
        Ok(Texts {
            certificate: text(certificate)?,
            key: text(key)?,
            ca: text(ca)?,
        })
    }

    fn of_kubeconfig(image: &Image, path: &str) -> Result<Self, String> {
        let text = image.text(path).ok_or("it cannot be read")?;
        let value = |key: &str| {
            let line = text.lines().find_map(|line| line.trim_start().strip_prefix(key));
            let decoded = line.and_then(|value| STANDARD.decode(value.trim()).ok());
            decoded
                .and_then(|bytes| String::from_utf8(bytes).ok())
                .ok_or_else(|| format!("{key} cannot be read"))
        };
        Ok(Texts {
            certificate: value("client-certificate-data: ")?,
            key: value("client-key-data: ")?,
            ca: image.text(KUBECONFIG_CA).ok_or("its CA cannot be read")?.to_owned(),
        })
    }

    fn check(&self) -> Result<(), String> {
        let leaf = der(&self.certificate, "CERTIFICATE")?;
        let ca = der(&self.ca, "CERTIFICATE")?;
        let key = der(&self.key, "EC PRIVATE KEY")?;
        let key =
            EcdsaKeyPair::from_private_key_der(&ECDSA_P256_SHA256_ASN1_SIGNING, &key).map_err(|e| e.to_string())?;
        let (_, leaf) = parse_x509_certificate(&leaf).map_err(|e| e.to_string())?;
        let (_, ca) = parse_x509_certificate(&ca).map_err(|e| e.to_string())?;
        if leaf.public_key().subject_public_key.data.as_ref() != key.public_key().as_ref() {
            return Err("the key belongs to another certificate".to_owned());
        }
        leaf.verify_signature(Some(ca.public_key()))
            .map_err(|e| format!("its CA has not signed it: {e}"))
    }
}

/// The first PEM block of a kind. The file must hold nothing else: half a file after a whole one is
/// no file.
fn der(text: &str, label: &str) -> Result<Vec<u8>, String> {
    let begin = format!("-----BEGIN {label}-----\n");
    let end = format!("\n-----END {label}-----\n");
    let body = text.strip_prefix(&begin).and_then(|rest| rest.strip_suffix(&end));
    let body = body.ok_or_else(|| format!("not exactly one {label}"))?;
    STANDARD.decode(body.replace('\n', "")).map_err(|e| e.to_string())
}
