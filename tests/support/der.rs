//! Just enough PEM, base64 and DER to compare two certificates byte by byte, written for the tests
//! so that the tests do not trust the libraries of the program under test.

/// The labels and contents of the PEM blocks in a text, in order.
pub fn pem_blocks(text: &str) -> Vec<(String, Vec<u8>)> {
    let mut blocks = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find("-----BEGIN ") {
        let (label, after) = rest[start + 11..]
            .split_once("-----")
            .expect("an unfinished PEM header");
        let (body, after) = after
            .split_once(&format!("-----END {label}-----"))
            .expect("a PEM block without its end");
        blocks.push((label.to_owned(), decode_base64(body)));
        rest = after;
    }
    blocks
}

/// Standard base64; white space is skipped, anything else that does not belong is an error.
pub fn decode_base64(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len() * 3 / 4);
    let (mut bits, mut count) = (0u32, 0);
    for c in text.bytes().filter(|c| !c.is_ascii_whitespace() && *c != b'=') {
        let value = match c {
            b'A'..=b'Z' => c - b'A',
            b'a'..=b'z' => c - b'a' + 26,
            b'0'..=b'9' => c - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => panic!("not base64: {:?}", c as char),
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
            bits &= (1 << count) - 1;
        }
    }
    bytes
}

/// One line of standard base64, as kubeconfigs hold it.
pub fn encode_base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().fold(0u32, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let letter = ALPHABET[(word >> (18 - 6 * place) & 63) as usize];
            text.push(if place <= chunk.len() { letter as char } else { '=' });
        }
    }
    text
}

/// The parts of a certificate that a renewal keeps or changes; byte strings are whole DER values.
pub struct Certificate {
    pub serial: Vec<u8>,
    pub signature_algorithm: Vec<u8>,
    pub not_before: i64,
    pub not_after: i64,
    pub subject: Vec<u8>,
    pub public_key_algorithm: Vec<u8>,
    /// Algorithm and key.
    pub public_key_info: Vec<u8>,
    /// The key itself, without the octet that counts unused bits.
    pub public_key: Vec<u8>,
    pub extensions: Vec<Extension>,
}

/// An extension: its OID in DER, and the whole of it (OID, criticality, value).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Extension {
    pub oid: Vec<u8>,
    pub whole: Vec<u8>,
}

/// 2.5.29.14, subject key identifier: belongs to the key, so it changes with it.
pub const SUBJECT_KEY_ID: &[u8] = &[6, 3, 0x55, 0x1d, 14];

struct Value<'a> {
    tag: u8,
    content: &'a [u8],
    whole: &'a [u8],
}

/// The values that follow each other in `bytes`.
fn values(mut bytes: &[u8]) -> Vec<Value<'_>> {
    let mut values = Vec::new();
    while !bytes.is_empty() {
        let (header, length) = match bytes[1] {
            short @ 0..=0x7f => (2, usize::from(short)),
            long => {
                let octets = usize::from(long & 0x7f);
                (
                    2 + octets,
                    bytes[2..2 + octets]
                        .iter()
                        .fold(0, |length, byte| length << 8 | usize::from(*byte)),
                )
            }
        };
        let (whole, rest) = bytes.split_at(header + length);
        values.push(Value {
            tag: bytes[0],
            content: &whole[header..],
            whole,
        });
        bytes = rest;
    }
    values
}

impl Certificate {
    /// Reads the first certificate of a PEM text.
    pub fn from_pem(text: &str) -> Self {
        let blocks = pem_blocks(text);
        let (_, der) = blocks
            .iter()
            .find(|(label, _)| label == "CERTIFICATE")
            .expect("no certificate in this text");
        Self::from_der(der)
    }

    fn from_der(der: &[u8]) -> Self {
        let outer = values(der);
        let signed = values(outer[0].content);
        let fields = values(signed[0].content);
        assert_eq!(fields[0].tag, 0xa0, "a version 3 certificate states its version");
        let validity = values(fields[4].content);
        let key = values(fields[6].content);
        let extensions = fields
            .iter()
            .find(|field| field.tag == 0xa3)
            .map_or(Vec::new(), |field| {
                let list = values(field.content);
                values(list[0].content)
                    .iter()
                    .map(|extension| Extension {
                        oid: values(extension.content)[0].whole.to_vec(),
                        whole: extension.whole.to_vec(),
                    })
                    .collect()
            });
        Certificate {
            serial: fields[1].content.to_vec(),
            signature_algorithm: fields[2].whole.to_vec(),
            not_before: time(&validity[0]),
            not_after: time(&validity[1]),
            subject: fields[5].whole.to_vec(),
            public_key_algorithm: key[0].whole.to_vec(),
            public_key_info: fields[6].whole.to_vec(),
            public_key: key[1].content[1..].to_vec(),
            extensions,
        }
    }

    /// The extensions without the subject key identifier, sorted: order has no meaning in X.509.
    pub fn extensions_to_keep(&self) -> Vec<Extension> {
        let mut extensions: Vec<Extension> = self
            .extensions
            .iter()
            .filter(|e| e.oid != SUBJECT_KEY_ID)
            .cloned()
            .collect();
        extensions.sort();
        extensions
    }

    pub fn subject_key_id(&self) -> Option<&Extension> {
        self.extensions.iter().find(|extension| extension.oid == SUBJECT_KEY_ID)
    }
}

/// UTCTime (two digits of the year; 50 and above are of the last century) or GeneralizedTime,
/// always with seconds and `Z` (RFC 5280).
fn time(value: &Value<'_>) -> i64 {
    let text = std::str::from_utf8(value.content).expect("a time is ASCII");
    let full = match value.tag {
        0x17 if &text[..2] < "50" => format!("20{text}"),
        0x17 => format!("19{text}"),
        _ => text.to_owned(),
    };
    let part = |from: usize, to: usize| &full[from..to];
    super::clock::seconds(&format!(
        "{}-{}-{} {}:{}:{}",
        part(0, 4),
        part(4, 6),
        part(6, 8),
        part(8, 10),
        part(10, 12),
        part(12, 14)
    ))
}
