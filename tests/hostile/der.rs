//! Certificates written byte by byte, for content that no tool makes: a fixture's certificate with
//! one field of its TBS exchanged.

use crate::support::der::{decode_base64, encode_base64};

/// The fields of a `TBSCertificate` (RFC 5280, 4.1) in their order, version first.
pub const SERIAL: usize = 1;
pub const ISSUER: usize = 3;
pub const VALIDITY: usize = 4;
pub const SUBJECT: usize = 5;
pub const PUBLIC_KEY: usize = 6;
pub const EXTENSIONS: usize = 7;

/// A DER element.
pub fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    let length = content.len();
    if length < 0x80 {
        out.push(u8::try_from(length).expect("a short length"));
    } else {
        let digits: Vec<u8> = length
            .to_be_bytes()
            .into_iter()
            .skip_while(|digit| *digit == 0)
            .collect();
        out.push(0x80 | u8::try_from(digits.len()).expect("at most eight digits"));
        out.extend(digits);
    }
    out.extend(content);
    out
}

/// An `Extension` with these bytes as its object identifier and as its value.
pub fn extension(oid: &[u8], value: &[u8]) -> Vec<u8> {
    element(0x30, &[element(6, oid), element(4, value)].concat())
}

/// The PEM certificate `text` with one field exchanged. Its signature does not hold any more, and
/// no check asks for it.
pub fn with_field(text: &str, field: usize, new: &[u8]) -> String {
    let der = decode_base64(&text.lines().filter(|line| !line.starts_with('-')).collect::<String>());
    let parts = elements(content(&der));
    let mut fields: Vec<&[u8]> = elements(content(parts[0]));
    fields[field] = new;
    let tbs = element(0x30, &fields.concat());
    pem(
        "CERTIFICATE",
        &element(0x30, &[tbs.as_slice(), parts[1], parts[2]].concat()),
    )
}

pub fn pem(label: &str, der: &[u8]) -> String {
    let base64 = encode_base64(der);
    let lines: Vec<&str> = (0..base64.len())
        .step_by(64)
        .map(|at| &base64[at..base64.len().min(at + 64)])
        .collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

fn content(element: &[u8]) -> &[u8] {
    &element[header(element)..]
}

fn header(element: &[u8]) -> usize {
    if element[1] < 0x80 {
        2
    } else {
        2 + usize::from(element[1] & 0x7f)
    }
}

fn elements(mut content: &[u8]) -> Vec<&[u8]> {
    let mut found = Vec::new();
    while !content.is_empty() {
        let header = header(content);
        let digits = &content[2..header];
        let length = match digits {
            [] => usize::from(content[1]),
            digits => digits.iter().fold(0, |n, digit| n << 8 | usize::from(*digit)),
        };
        let (first, rest) = content.split_at(header + length);
        found.push(first);
        content = rest;
    }
    found
}
