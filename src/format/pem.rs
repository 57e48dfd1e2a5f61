//! PEM text: finds the blocks, and replaces one without any other change (RFC 7468).
//!
//! A block is what openssl and Go find: `-----BEGIN label-----` at the start of a line, up to the
//! matching end line.

use std::ops::Range;

use zeroize::Zeroizing;

use super::text::printable;

/// A block of a PEM text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// Label, for example `CERTIFICATE`.
    pub label: String,
    /// Place in the text, from `-----BEGIN` to the last dash of the end line.
    pub range: Range<usize>,
    /// Decoded content. It is wiped when dropped, since it may be a key.
    pub der: Zeroizing<Vec<u8>>,
    /// True if it has RFC 1421 headers, as encrypted keys in the traditional form have.
    pub has_headers: bool,
}

impl Block {
    /// Returns true for every kind of private key.
    pub fn is_private_key(&self) -> bool {
        self.label.ends_with("PRIVATE KEY")
    }

    /// Returns true for a certificate.
    pub fn is_certificate(&self) -> bool {
        self.label == "CERTIFICATE"
    }
}

const BEGIN: &str = "-----BEGIN ";

/// Returns all blocks of `text`, in order. Text between blocks is allowed. A block that is cut or
/// cannot be decoded is an error.
pub fn blocks(text: &str) -> Result<Vec<Block>, String> {
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(at) = next_begin(text, from) {
        let label_at = at + BEGIN.len();
        let rest = &text[label_at..];
        let Some(label_len) = rest.find("-----") else {
            return Err("has a PEM block whose first line is cut".into());
        };
        let label = &rest[..label_len];
        if label.contains(['\n', '\r']) {
            return Err("has a PEM block whose first line is cut".into());
        }
        let end_line = format!("-----END {label}-----");
        let Some(body_len) = rest.find(&end_line) else {
            return Err(format!("has a PEM block `{}` without its end line", printable(label)));
        };
        let range = at..label_at + body_len + end_line.len();
        let parsed = pem::parse(text[range.clone()].as_bytes())
            .map_err(|e| printable(&format!("has a PEM block `{label}` that does not decode ({e})")))?;
        found.push(Block {
            label: label.to_owned(),
            has_headers: parsed.headers().iter().next().is_some(),
            der: Zeroizing::new(parsed.into_contents()),
            range: range.clone(),
        });
        from = range.end;
    }
    Ok(found)
}

fn next_begin(text: &str, from: usize) -> Option<usize> {
    let mut from = from;
    loop {
        let at = from + text[from..].find(BEGIN)?;
        if at == 0 || text.as_bytes()[at - 1] == b'\n' {
            return Some(at);
        }
        from = at + BEGIN.len();
    }
}

/// Returns the PEM of `der` in lines of 64 characters with `line_end`, without a line end after the
/// last line.
pub fn encode(label: &str, der: &[u8], line_end: &str) -> Zeroizing<String> {
    let unix = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
    let text = Zeroizing::new(pem::encode_config(&pem::Pem::new(label, der.to_vec()), unix));
    Zeroizing::new(text.trim_end().replace('\n', line_end))
}

/// Returns `text` with each range replaced by its PEM. All other bytes stay.
///
/// The ranges must come from [`blocks`] of the same text, so that they lie inside it and do not
/// overlap.
pub fn replace(text: &str, mut edits: Vec<(Range<usize>, Zeroizing<String>)>) -> Zeroizing<String> {
    edits.sort_by_key(|(range, _)| range.start);
    let mut out = Zeroizing::new(String::with_capacity(text.len() + 512));
    let mut from = 0;
    for (range, pem) in &edits {
        out.push_str(&text[from..range.start]);
        out.push_str(pem);
        from = range.end;
    }
    out.push_str(&text[from..]);
    out
}

/// Returns the line end that `text` uses.
pub fn line_end(text: &str) -> &'static str {
    if text.contains("\r\n") { "\r\n" } else { "\n" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_replaced_and_all_other_bytes_stay() {
        let text = "# note\r\n-----BEGIN A-----\r\nAAEC\r\n-----END A-----\r\ntail";
        let found = blocks(text).unwrap();
        assert_eq!(
            (found[0].label.as_str(), found[0].der.as_slice()),
            ("A", &[0u8, 1, 2][..])
        );
        let new = encode("A", &[3, 4, 5], line_end(text));
        let out = replace(text, vec![(found[0].range.clone(), new)]);
        assert_eq!(
            out.as_str(),
            "# note\r\n-----BEGIN A-----\r\nAwQF\r\n-----END A-----\r\ntail"
        );
    }

    #[test]
    fn a_cut_block_is_an_error_and_not_an_empty_file() {
        assert!(
            blocks("-----BEGIN CERTIFICATE-----\nAAEC\n")
                .unwrap_err()
                .contains("without its end line")
        );
        assert!(blocks("-----BEGIN CERTIFICATE").unwrap_err().contains("cut"));
        assert!(blocks("no pem at all").unwrap().is_empty());
    }

    #[test]
    fn a_begin_in_the_middle_of_a_line_is_text() {
        assert!(blocks("see -----BEGIN CERTIFICATE----- below").unwrap().is_empty());
    }
}
