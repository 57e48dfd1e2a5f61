//! Properties that hold for any bytes: no panic, a reason that can be shown where they are
//! refused, and where they are accepted an edit that changes what it names and nothing else.
//!
//! The property tests, the corpus and the fuzz targets (fuzz/fuzz_targets includes this file) all
//! ask these four functions.

use std::path::Path;

use kubecertd::config::file::Source;
use kubecertd::config::{self, Settings};
use kubecertd::format::kubeconfig::{self, Credential};
use kubecertd::format::manifest::{self, Manifest, RESTARTED_AT};
use kubecertd::format::pem::{self, Block};
use kubecertd::format::{key, text, x509};
use kubecertd::model::KeyAlgorithm;
use yaml_serde::Value;

/// Reasons go into tables, logs and terminals: one line, no escape sequence that a file brings
/// along, short enough to be read.
const LONGEST_REASON: usize = 1000;
/// More problems of one configuration than anybody reads.
const MOST_PROBLEMS: usize = 1000;
/// Other blocks of a file are checked in the same way as these.
const BLOCKS: usize = 8;

#[track_caller]
pub fn assert_speakable(reason: &str) {
    let control = reason.chars().find(|c| c.is_control());
    assert_eq!(control, None, "a control character in the reason {reason:?}");
    assert!(!reason.is_empty(), "no reason");
    assert!(
        reason.chars().count() <= LONGEST_REASON,
        "a reason of {} characters",
        reason.chars().count()
    );
}

/// PEM text with certificates and keys, and the same bytes taken for DER.
pub fn pem_x509(bytes: &[u8]) {
    let _ = x509::public_key(bytes);
    match x509::parse(bytes) {
        Ok(certificate) => certificate_is_shown(&certificate),
        Err(reason) => assert_speakable(&reason),
    }
    for label in ["RSA PRIVATE KEY", "EC PRIVATE KEY", "PRIVATE KEY"] {
        is_a_key_or_refused(&Block {
            label: label.to_owned(),
            range: 0..0,
            der: bytes.to_vec().into(),
            has_headers: false,
        });
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match pem::blocks(text) {
        Ok(blocks) => blocks_are_replaced_one_by_one(text, &blocks),
        Err(reason) => assert_speakable(&reason),
    }
    match x509::parse_pem(text) {
        Ok(all) => {
            assert!(!all.is_empty(), "accepted without a certificate");
            for (block, certificate) in all.iter().take(BLOCKS) {
                assert_eq!(*block.der, certificate.der);
                certificate_is_shown(certificate);
                let _ = x509::is_signed_by(&all[0].1, certificate);
            }
        }
        Err(reason) => assert_speakable(&reason),
    }
}

fn certificate_is_shown(certificate: &kubecertd::model::Certificate) {
    assert_eq!(
        x509::parse(&certificate.der).as_ref(),
        Ok(certificate),
        "read twice, read alike"
    );
    let validity = &certificate.validity;
    for at in [validity.not_before, validity.not_after] {
        assert!(at.offset().is_utc());
        assert!(
            text::parse_rfc3339(&text::rfc3339(at)).is_some() && !text::date(at).is_empty(),
            "{at:?}"
        );
    }
    assert!(!text::residual(validity.not_after - validity.not_before).is_empty());
    let _ = (certificate.serial.to_string(), certificate.key.to_string());
    // A renewal copies these bytes into a new certificate, so each must be one whole DER element.
    for name in [&certificate.subject_der, &certificate.issuer_der] {
        assert!(is_one_sequence(name), "a name that is no whole SEQUENCE: {name:02x?}");
    }
    for extension in x509::extensions(certificate) {
        let oid = extension.oid.as_slice();
        // The last byte of a DER object identifier has its high bit clear (X.690, 8.19.2).
        let ends = oid.last().is_some_and(|last| last & 0x80 == 0);
        assert!(ends, "an object identifier that does not end: {oid:02x?}");
    }
}

/// A reader of DER lengths that is not the program's.
fn is_one_sequence(der: &[u8]) -> bool {
    let (header, length) = match der {
        [0x30, short @ ..=0x7f, ..] => (2, usize::from(*short)),
        [0x30, 0x81, a, ..] => (3, usize::from(*a)),
        [0x30, 0x82, a, b, ..] => (4, usize::from(u16::from_be_bytes([*a, *b]))),
        [0x30, 0x83, a, b, c, ..] => (5, u32::from_be_bytes([0, *a, *b, *c]) as usize),
        _ => return false,
    };
    der.len() == header + length
}

fn is_a_key_or_refused(block: &Block) {
    match key::parse(block) {
        Ok(facts) => {
            assert!(!facts.public_key.is_empty());
            assert_eq!(facts.style.label(), block.label);
            let _ = key::from_pkcs8(&block.der, &KeyAlgorithm::P256, facts.style);
        }
        Err(reason) => assert_speakable(&reason.to_string()),
    }
}

fn blocks_are_replaced_one_by_one(text: &str, blocks: &[Block]) {
    let mut end = 0;
    for block in blocks {
        let range = &block.range;
        assert!(end <= range.start && range.end <= text.len(), "{range:?} after {end}");
        let own = &text[range.clone()];
        assert!(own.starts_with("-----BEGIN ") && own.ends_with("-----"), "{own:?}");
        end = range.end;
    }
    assert_eq!(*pem::replace(text, Vec::new()), text);
    for (index, block) in blocks.iter().enumerate().take(BLOCKS) {
        if block.is_private_key() {
            is_a_key_or_refused(block);
        }
        let new = pem::encode(&block.label, b"a new content", pem::line_end(text));
        let out = pem::replace(text, vec![(block.range.clone(), new.clone())]);
        let (head, tail) = (&text[..block.range.start], &text[block.range.end..]);
        assert_eq!(*out, format!("{head}{}{tail}", *new), "other bytes changed");
        let again = pem::blocks(&out).expect("what was read and edited is read again");
        assert_eq!(again.len(), blocks.len());
        for (at, (old, new)) in blocks.iter().zip(&again).enumerate() {
            let wanted = if at == index {
                b"a new content"
            } else {
                old.der.as_slice()
            };
            assert_eq!((new.der.as_slice(), &new.label), (wanted, &old.label), "block {at}");
        }
    }
}

const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\nAAECAwQF\n-----END CERTIFICATE-----\n";
const KEY: &str = "-----BEGIN PRIVATE KEY-----\nBgcICQoL\n-----END PRIVATE KEY-----\n";
const CERTIFICATE_BASE64: &str = "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCkFBRUNBd1FGCi0tLS0tRU5EIENFUlRJRklDQVRFLS0tLS0K";
const KEY_BASE64: &str = "LS0tLS1CRUdJTiBQUklWQVRFIEtFWS0tLS0tCkJnY0lDUW9MCi0tLS0tRU5EIFBSSVZBVEUgS0VZLS0tLS0K";

/// A kubeconfig: its parts, and its credential replaced.
pub fn kubeconfig(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let replaced = kubeconfig::replace_credential(text, CERTIFICATE, KEY);
    let parsed = match kubeconfig::parse(text) {
        Ok(parsed) => parsed,
        Err(reason) => {
            assert_speakable(&reason);
            assert!(replaced.is_err(), "edited without having been understood");
            return;
        }
    };
    assert!(!format!("{parsed:?}").contains("PRIVATE KEY"), "a key in debug output");
    let after = match replaced {
        Ok(after) => after,
        Err(reason) => return assert_speakable(&reason),
    };
    let Credential::Embedded { .. } = &parsed.credential else {
        panic!("edited though its credential is in files");
    };
    let again = kubeconfig::parse(&after).expect("what was edited is read again");
    assert_eq!(again.user, parsed.user);
    let wanted = Credential::Embedded {
        certificate: CERTIFICATE.to_owned(),
        key: Some(KEY.to_owned().into()),
    };
    assert!(again.credential == wanted, "not the new credential");
    two_values_changed(text, &after);
}

/// Judged by the two parsed documents and by the bytes between the two values.
fn two_values_changed(before: &str, after: &str) {
    let values = (value(before), value(after));
    let mut differences = Vec::new();
    differ("", &values.0, &values.1, &mut differences);
    let names = differences.iter().filter_map(|d| d.path.rsplit('/').next());
    let names: Vec<_> = names.collect();
    // One or none where the file held the new value already.
    let allowed = ["client-certificate-data", "client-key-data"];
    assert!(
        names.len() <= 2 && names.iter().all(|name| allowed.contains(name)),
        "changed are {names:?}"
    );
    assert!(
        !names.is_empty() || before == after,
        "bytes outside of the two values changed"
    );
    let mut undone = after.to_owned();
    for difference in &differences {
        let (Value::String(old), Value::String(new)) = (difference.before, difference.after) else {
            panic!("{} is no text", difference.path);
        };
        assert!([CERTIFICATE_BASE64, KEY_BASE64].contains(&new.as_str()), "{new}");
        if before.contains(new.as_str()) {
            return;
        }
        undone = undone.replacen(new.as_str(), old, 1);
    }
    assert!(undone == before, "bytes outside of the two values changed");
}

/// A static pod manifest: its parts, and an annotation set twice.
pub fn manifest(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let parsed = Manifest::parse(text);
    match &parsed {
        Ok(pod) => {
            let _ = (pod.flag("data-dir"), pod.flag(""));
            for path in ["/etc/kubernetes/pki/x", "/", "", "a/../b"] {
                let _ = pod.on_the_node(Path::new(path));
            }
        }
        Err(reason) => assert_speakable(reason),
    }
    let [first, second] = ["2026-11-24T00:00:00.123Z", "2027-11-01T03:17:00.000Z"];
    let after = match manifest::annotate(text, RESTARTED_AT, first) {
        Ok(after) => after,
        Err(reason) => return assert_speakable(&reason),
    };
    one_annotation_changed(text, &after, first);
    assert_eq!(Manifest::parse(&after), parsed, "another pod than before");
    let again = manifest::annotate(&after, RESTARTED_AT, second).expect("what was annotated once is annotated again");
    one_annotation_changed(&after, &again, second);
}

fn one_annotation_changed(before: &str, after: &str, at: &str) {
    let mut wanted = value(before);
    let metadata = wanted
        .get_mut("metadata")
        .and_then(Value::as_mapping_mut)
        .expect("a mapping");
    let annotations = metadata.entry("annotations".into()).or_insert(Value::Null);
    if annotations.is_null() {
        *annotations = Value::Mapping(yaml_serde::Mapping::new());
    }
    let old = annotations
        .as_mapping_mut()
        .expect("annotations are a mapping")
        .insert(RESTARTED_AT.into(), at.into());
    assert_eq!(value(after), wanted, "more than the annotation changed");
    assert!(
        after.contains(&format!("\"{at}\"")),
        "readers of YAML 1.1 take it for a date"
    );
    let most = old.as_ref().map_or(0, |old| 4 * old.as_str().map_or(16, str::len) + 16);
    let lost = [before.to_owned(), without_nothing(before, after)].map(|kept| lost(&kept, after));
    assert!(
        lost.iter().min() <= Some(&most),
        "{lost:?} bytes of the old text are gone:\n{before}\n---\n{after}"
    );
}

/// Number of bytes of `kept` that are not in `after`, if one stretch was replaced by another.
fn lost(kept: &str, after: &str) -> usize {
    let head = common(kept.bytes(), after.bytes());
    let tail = common(kept.bytes().skip(head).rev(), after.bytes().rev());
    kept.len() - head - tail
}

/// `before` without the `~` or `{}` that stood for no annotations, where the two texts begin to
/// differ.
fn without_nothing(before: &str, after: &str) -> String {
    let same = before.chars().zip(after.chars()).take_while(|(a, b)| a == b);
    let (head, rest) = before.split_at(same.map(|(c, _)| c.len_utf8()).sum());
    let rest = rest.trim_start_matches(' ');
    let words = ["~", "null", "Null", "NULL", "{}"];
    let rest = words.iter().find_map(|word| rest.strip_prefix(word)).unwrap_or(rest);
    format!("{head}{}", rest.trim_start_matches(' '))
}

fn common(a: impl Iterator<Item = u8>, b: impl Iterator<Item = u8>) -> usize {
    let mut head = 0;
    for (a, b) in a.zip(b) {
        if a != b {
            break;
        }
        head += 1;
    }
    head
}

fn value(text: &str) -> Value {
    yaml_serde::from_str(text).expect("what the program accepts is YAML")
}

struct Difference<'a> {
    path: String,
    before: &'a Value,
    after: &'a Value,
}

/// The smallest places in which two documents differ; order of keys counts.
fn differ<'a>(path: &str, before: &'a Value, after: &'a Value, found: &mut Vec<Difference<'a>>) {
    match (before, after) {
        (Value::Mapping(a), Value::Mapping(b)) if a.keys().eq(b.keys()) => {
            for ((key, a), b) in a.iter().zip(b.values()) {
                differ(&format!("{path}/{}", key.as_str().unwrap_or("?")), a, b, found);
            }
        }
        (Value::Sequence(a), Value::Sequence(b)) if a.len() == b.len() => {
            for (index, (a, b)) in a.iter().zip(b).enumerate() {
                differ(&format!("{path}/{index}"), a, b, found);
            }
        }
        (Value::Tagged(a), Value::Tagged(b)) if a.tag == b.tag => differ(path, &a.value, &b.value, found),
        _ if before == after => {}
        _ => found.push(Difference {
            path: path.to_owned(),
            before,
            after,
        }),
    }
}

/// A configuration: every problem has its place, and what has none is shown as a configuration of
/// the same meaning.
pub fn toml(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let mut problems = Vec::new();
    let source = Source::parse("config.toml".into(), text.to_owned(), &mut problems);
    let settings = Settings::check(std::slice::from_ref(&source), &mut problems);
    let lines = text.matches('\n').count() + 1;
    for problem in &problems {
        assert_speakable(&problem.to_string());
        assert!(
            problem
                .at
                .is_none_or(|(line, column)| (1..=lines).contains(&line) && column >= 1)
        );
    }
    assert!(problems.len() <= MOST_PROBLEMS, "{} problems", problems.len());
    if problems.is_empty() {
        let shown = config::show(&settings);
        let source = Source::parse("shown.toml".into(), shown.clone(), &mut problems);
        let again = Settings::check(&[source], &mut problems);
        assert!(
            problems.is_empty(),
            "what `config show` prints is refused: {problems:?}\n{shown}"
        );
        assert_eq!(config::show(&again), shown, "shown twice, shown alike");
    }
}
