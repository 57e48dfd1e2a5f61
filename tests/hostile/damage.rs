//! Random damage to real files, and the settings under which proptest finds the same again every
//! time.

use std::fs;
use std::path::Path;
use std::sync::OnceLock;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, RngAlgorithm, RngSeed};

use crate::support::{ECDSA, OLD_RELEASE, RSA, fixture};

/// Inputs a property is tried with.
const CASES: u32 = 1000;
const SEED: u64 = 3_141_592;

/// The same inputs every time: a failure here is a failure for everybody, and the files of failures
/// that proptest writes are not needed. New inputs are the fuzzer's work.
pub fn config() -> Config {
    Config {
        cases: CASES,
        rng_seed: RngSeed::Fixed(SEED),
        rng_algorithm: RngAlgorithm::ChaCha,
        failure_persistence: None,
        max_shrink_iters: 2000,
        ..Config::default()
    }
}

/// One wound.
#[derive(Clone, Debug)]
enum Wound {
    /// One bit turned.
    Flip(Index, u8),
    /// All after this gone.
    Cut(Index),
    /// A stretch gone, written twice, or exchanged with the next one of its length.
    Remove(Index, usize),
    Double(Index, usize),
    Swap(Index, usize),
    /// These bytes put in.
    Insert(Index, Vec<u8>),
    /// A line put in, indented as the line before it.
    Line(Index, &'static str),
    /// Every line end CRLF, or CR alone.
    LineEnds(&'static str),
}

/// Bytes with a meaning for a parser of YAML, TOML or PEM, or for a terminal.
const MEANINGFUL: [&str; 44] = [
    "\0",
    "\t",
    "\r",
    "\n",
    "\u{1b}[2J",
    "\u{7f}",
    "\u{85}",
    "\u{2028}",
    "\u{feff}",
    "é",
    "#",
    " #",
    ":",
    ": ",
    "- ",
    "? ",
    "&a ",
    "*a",
    "<<: *a",
    "!!binary ",
    "!x ",
    "|",
    ">-",
    "'",
    "\"",
    "\\",
    "{",
    "}",
    "[",
    "]",
    ",",
    "---\n",
    "...\n",
    "%YAML 1.1\n---\n",
    "~",
    "null",
    "=",
    "\"\"\"",
    "'''",
    "[[",
    "-----",
    "-----BEGIN X-----\n",
    "-----END CERTIFICATE-----\n",
    "Proc-Type: 4,ENCRYPTED\n\n",
];

const LINES: [&str; 12] = [
    "x: &a y",
    "x: *a",
    "<<: *a",
    "<<: {user: x}",
    "- a",
    "? a",
    "name: x",
    "annotations: {}",
    "annotations: &b {c: d}",
    "# x",
    "---",
    "'x': |",
];

fn wound() -> impl Strategy<Value = Wound> {
    let at = any::<Index>;
    let length = || 1..200usize;
    prop_oneof![
        4 => (at(), 0..8u8).prop_map(|(at, bit)| Wound::Flip(at, bit)),
        1 => at().prop_map(Wound::Cut),
        2 => (at(), length()).prop_map(|(at, length)| Wound::Remove(at, length)),
        2 => (at(), length()).prop_map(|(at, length)| Wound::Double(at, length)),
        1 => (at(), length()).prop_map(|(at, length)| Wound::Swap(at, length)),
        4 => (at(), proptest::sample::select(&MEANINGFUL)).prop_map(|(at, text)| Wound::Insert(at, text.into())),
        1 => (at(), vec(any::<u8>(), 1..6)).prop_map(|(at, bytes)| Wound::Insert(at, bytes)),
        4 => (at(), proptest::sample::select(&LINES)).prop_map(|(at, line)| Wound::Line(at, line)),
        1 => proptest::sample::select(&["\r\n", "\r"]).prop_map(Wound::LineEnds),
    ]
}

impl Wound {
    fn hurt(&self, bytes: &mut Vec<u8>) {
        let length = bytes.len();
        let place = |at: &Index| at.index(length + 1);
        let stretch = |at: &Index, long: usize| {
            let start = place(at);
            start..(start + long).min(length)
        };
        match self {
            Self::Flip(at, bit) if length > 0 => bytes[at.index(length)] ^= 1 << bit,
            Self::Flip(..) => {}
            Self::Cut(at) => bytes.truncate(place(at)),
            Self::Remove(at, long) => drop(bytes.drain(stretch(at, *long))),
            Self::Double(at, long) => {
                let range = stretch(at, *long);
                let twice = bytes[range.clone()].to_vec();
                insert(bytes, range.end, &twice);
            }
            Self::Swap(at, long) => {
                let start = place(at);
                let long = (*long).min((length - start) / 2);
                let (first, second) = bytes[start..].split_at_mut(long);
                first.swap_with_slice(&mut second[..long]);
            }
            Self::Insert(at, new) => insert(bytes, place(at), new),
            Self::Line(at, line) => {
                let start = bytes[..place(at)]
                    .iter()
                    .rposition(|byte| *byte == b'\n')
                    .map_or(0, |at| at + 1);
                let indent = bytes[start..].iter().take_while(|byte| **byte == b' ').count();
                insert(bytes, start, format!("{}{line}\n", " ".repeat(indent)).as_bytes());
            }
            Self::LineEnds(new) => {
                *bytes = bytes
                    .split(|byte| *byte == b'\n')
                    .collect::<Vec<_>>()
                    .join(new.as_bytes());
            }
        }
    }
}

fn insert(bytes: &mut Vec<u8>, at: usize, new: &[u8]) {
    bytes.splice(at..at, new.iter().copied());
}

/// One of these files with one to five wounds.
pub fn damaged(files: &'static [Vec<u8>]) -> impl Strategy<Value = Vec<u8>> {
    (proptest::sample::select(files), vec(wound(), 1..6)).prop_map(|(mut bytes, wounds)| {
        for wound in wounds {
            wound.hurt(&mut bytes);
        }
        bytes
    })
}

/// Bytes without any meaning, and texts of meaningful pieces.
pub fn noise() -> impl Strategy<Value = Vec<u8>> {
    let pieces = prop_oneof![
        3 => proptest::sample::select(&MEANINGFUL).prop_map(str::to_owned),
        2 => proptest::sample::select(&LINES).prop_map(|line| format!("{line}\n")),
        1 => "[a-z]{1,8}",
    ];
    prop_oneof![
        1 => vec(any::<u8>(), 0..4096),
        2 => vec(pieces, 0..60).prop_map(|pieces| pieces.concat().into_bytes()),
    ]
}

fn read(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The fixtures whose names end so, of all releases and kinds of key.
fn fixtures(names: &[&str]) -> Vec<Vec<u8>> {
    let trees = [ECDSA, RSA, OLD_RELEASE];
    let paths = trees.iter().flat_map(|tree| {
        names
            .iter()
            .map(move |name| fixture(tree).join("etc/kubernetes").join(name))
    });
    paths.map(|path| read(&path)).collect()
}

pub fn pems() -> &'static [Vec<u8>] {
    static FILES: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    FILES.get_or_init(|| {
        let mut files = fixtures(&[
            "pki/ca.crt",
            "pki/apiserver.crt",
            "pki/etcd/server.crt",
            "pki/apiserver.key",
            "pki/ca.key",
            "pki/sa.pub",
        ]);
        // A chain, and a certificate with its key in one file.
        files.push([files[1].clone(), files[0].clone()].concat());
        files.push([files[3].clone(), b"# between\n".to_vec(), files[1].clone()].concat());
        files
    })
}

pub fn kubeconfigs() -> &'static [Vec<u8>] {
    static FILES: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    FILES.get_or_init(|| fixtures(&["scheduler.conf", "admin.conf", "kubelet.conf"]))
}

pub fn manifests() -> &'static [Vec<u8>] {
    static FILES: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    FILES.get_or_init(|| {
        let names = ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"];
        fixtures(
            &names
                .map(|name| format!("manifests/{name}.yaml"))
                .each_ref()
                .map(String::as_str),
        )
    })
}

pub fn configurations() -> &'static [Vec<u8>] {
    static FILES: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    FILES.get_or_init(|| {
        let shipped = read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("config/kubecertd.toml"));
        let every_key = String::from_utf8_lossy(&shipped)
            .replace("\n# ", "\n")
            .replace("\n#", "\n");
        vec![shipped, every_key.into_bytes(), EXAMPLE.as_bytes().to_vec()]
    })
}

const EXAMPLE: &str = "\
schedule = \"0 17 3 * * *\"\ntimezone = \"Europe/Berlin\"\nrenew_before = \"30d\"\nurgent_before = \"7d\"\nvalidity = \"365d\"\n
[paths]\nkubernetes = \"/etc/kubernetes\"\nmanifests = \"auto\"\netcd_data = \"/var/lib/etcd\"\n
[backup]\ndirectory = \"/srv/backups\"\nkeep = 7\nbefore_renewal = \"files\"\n\n[restart]\nscope = \"all\"\n
[[ca]]\nname = \"own\"\npath = \"/etc/own/ca.crt\"\nkey = \"/etc/own/ca.key\"\n
[[certificate]]\nname = \"own-*\"\npath = \"/etc/own/*.crt\"\nkey = \"/etc/own/*.key\"\nca = \"own\"\nreaders = [\"etcd\", \"x\"]\n
[[kubeconfig]]\nname = \"robot.conf\"\npath = \"/etc/own/robot.conf\"\nca = \"ca\"\n";
