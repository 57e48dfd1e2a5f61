//! What a certificate, a key and a file are, as plain data.
//!
//! Nothing here reads or writes; every other module speaks in these types.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use zeroize::Zeroizing;

/// An instant of the wall clock. Always UTC.
pub type Timestamp = OffsetDateTime;

/// One X.509 certificate, as far as a renewal needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// The whole certificate, DER.
    pub der: Vec<u8>,
    /// The subject, DER: compared and copied byte for byte, because RBAC and `openssl verify` see the string types too.
    pub subject_der: Vec<u8>,
    /// The subject as a person reads it.
    pub subject: String,
    /// The issuer's name, DER.
    pub issuer_der: Vec<u8>,
    /// The serial number.
    pub serial: Serial,
    /// From when to when it is good.
    pub validity: Validity,
    /// The kind of public key.
    pub key: KeyAlgorithm,
    /// The content of the `SubjectPublicKeyInfo` bit string.
    pub public_key: Vec<u8>,
    /// BasicConstraints says CA:TRUE.
    pub is_ca: bool,
    /// KeyUsage allows signing certificates, or there is no KeyUsage (RFC 5280, 4.2.1.3).
    pub may_sign: bool,
    /// SubjectKeyIdentifier, where there is one.
    pub key_id: Option<Vec<u8>>,
    /// Unique identifiers of RFC 5280, 4.1.2.8, which no library here can write.
    pub has_unique_ids: bool,
}

/// One extension of a certificate, undecoded.
#[derive(Debug, PartialEq, Eq)]
pub struct Extension<'a> {
    /// Its object identifier, as the content of the DER element: libraries disagree on arcs beyond 64 bits
    /// and below 2.48.
    pub oid: Vec<u8>,
    /// Whether it is marked critical.
    pub critical: bool,
    /// The content of its octet string, in the DER of the certificate.
    pub value: &'a [u8],
}

/// A certificate's serial number, big-endian as in the DER.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Serial(pub Vec<u8>);

impl Serial {
    /// Maximum number of bytes that are shown: RFC 5280, 4.1.2.2 allows 20, and more is an attack
    /// on the reader.
    const LONGEST: usize = 64;
}

impl fmt::Display for Serial {
    /// Upper-case hex without separators, as `openssl x509 -serial` prints it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let significant = match self.0.as_slice() {
            [0, rest @ ..] if !rest.is_empty() => rest,
            all => all,
        };
        let shown = &significant[..significant.len().min(Self::LONGEST)];
        shown.iter().try_for_each(|byte| write!(f, "{byte:02X}"))
    }
}

/// From when to when a certificate is good; both ends belong to it (RFC 5280, 4.1.2.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// notBefore.
    pub not_before: Timestamp,
    /// notAfter.
    pub not_after: Timestamp,
}

impl Validity {
    /// True once `now` is past notAfter.
    pub fn has_ended(&self, now: Timestamp) -> bool {
        now > self.not_after
    }
}

/// The kind and size of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyAlgorithm {
    /// RSA with its modulus size in bits.
    Rsa(usize),
    /// ECDSA on NIST P-256.
    P256,
    /// ECDSA on NIST P-384.
    P384,
    /// ECDSA on NIST P-521.
    P521,
    /// Ed25519 (RFC 8410).
    Ed25519,
    /// Anything else, by its object identifier: it is shown, never issued.
    Other(String),
}

impl fmt::Display for KeyAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rsa(bits) => write!(f, "RSA-{bits}"),
            Self::P256 => f.write_str("ECDSA-P256"),
            Self::P384 => f.write_str("ECDSA-P384"),
            Self::P521 => f.write_str("ECDSA-P521"),
            Self::Ed25519 => f.write_str("Ed25519"),
            Self::Other(oid) => write!(f, "unknown ({oid})"),
        }
    }
}

/// How a private key is written in PEM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyStyle {
    /// `RSA PRIVATE KEY` (RFC 8017).
    Pkcs1,
    /// `EC PRIVATE KEY` (RFC 5915).
    Sec1,
    /// `PRIVATE KEY` (RFC 5958).
    Pkcs8,
}

impl KeyStyle {
    /// The PEM label.
    pub fn label(self) -> &'static str {
        match self {
            Self::Pkcs1 => "RSA PRIVATE KEY",
            Self::Sec1 => "EC PRIVATE KEY",
            Self::Pkcs8 => "PRIVATE KEY",
        }
    }

    /// What kubeadm writes for this algorithm (kubernetes `keyutil.MarshalPrivateKeyToPEM`).
    pub fn of(algorithm: &KeyAlgorithm) -> Self {
        match algorithm {
            KeyAlgorithm::Rsa(_) => Self::Pkcs1,
            KeyAlgorithm::P256 | KeyAlgorithm::P384 | KeyAlgorithm::P521 => Self::Sec1,
            KeyAlgorithm::Ed25519 | KeyAlgorithm::Other(_) => Self::Pkcs8,
        }
    }
}

/// The bytes of a file that may hold a secret: clones share them, the last owner wipes them when it
/// drops them, and they are never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Bytes(Arc<Zeroizing<Vec<u8>>>);

impl Bytes {
    /// Takes ownership of `bytes`.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Arc::new(Zeroizing::new(bytes)))
    }

    /// Returns the bytes as text.
    ///
    /// # Errors
    ///
    /// Returns the reason if they are not UTF-8.
    pub fn text(&self) -> Result<&str, String> {
        std::str::from_utf8(&self.0).map_err(|e| format!("is not text (byte {} is not UTF-8)", e.valid_up_to()))
    }
}

impl From<Zeroizing<String>> for Bytes {
    /// Takes ownership of the text, without a copy.
    fn from(mut text: Zeroizing<String>) -> Self {
        Self::new(std::mem::take(&mut *text).into_bytes())
    }
}

impl std::ops::Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bytes({})", self.len())
    }
}

/// Which inode a path named when we looked, and how it is owned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Device number.
    pub device: u64,
    /// Inode number.
    pub inode: u64,
    /// Permission bits (07777).
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Number of names.
    pub links: u64,
    /// Bytes.
    pub size: u64,
    /// Modification time.
    pub modified: Timestamp,
}

/// Owner, mode and extended attributes (ACLs and SELinux labels are among them) of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attributes {
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Permission bits (07777).
    pub mode: u32,
    /// Names and values of the extended attributes.
    pub extended: Vec<(OsString, Vec<u8>)>,
}

impl Attributes {
    /// root's, with this mode and nothing else.
    pub fn plain(mode: u32) -> Self {
        Self {
            uid: 0,
            gid: 0,
            mode,
            extended: Vec::new(),
        }
    }
}

/// A regular file that was read whole.
#[derive(Debug, Clone)]
pub struct File {
    /// Where it really is: the path after all symlinks, seen from the root.
    pub real: PathBuf,
    /// Its content.
    pub bytes: Bytes,
    /// Its inode, mode and owner.
    pub identity: Identity,
    /// All names of the inode in the scanned directories, `real` first (more than one for a hard link).
    pub names: Vec<PathBuf>,
    /// Why the directories on the way must not be written through, where that is so (not root's, or writable by others).
    pub unsafe_way: Option<String>,
}

impl File {
    /// Whether both are one inode.
    pub fn is_same(&self, other: &Self) -> bool {
        (self.identity.device, self.identity.inode) == (other.identity.device, other.identity.inode)
    }
}

/// Why a file could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReadError {
    /// There is no such file.
    Missing,
    /// There is something, and this is what is wrong with it.
    Because(String),
}

/// What became of the attempt to read one path.
pub type ReadResult = Result<File, ReadError>;

/// A running program. Process ids are used again; id, start and boot together are not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Its id.
    pub pid: i32,
    /// When it started, in clock ticks since boot (`starttime` of proc_pid_stat(5)).
    pub ticks: u64,
    /// The last part of the name that it was called by.
    pub program: String,
    /// It runs in a pod's container (its control group is below `kubepods`, where the kubelet puts them).
    pub in_pod: bool,
}

/// A member of an etcd cluster, as the cluster lists it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// Its id.
    pub id: u64,
    /// `--name`; empty for one that was added and has not started yet.
    pub name: String,
    /// Where clients reach it; empty likewise.
    pub client_urls: Vec<String>,
    /// It has no vote yet.
    pub is_learner: bool,
}

/// The part of a change that a failure stops.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FailureScope {
    /// All of it: a full disk, or a process that was asked to end.
    Everything,
    /// One file, before it is known to which credential the file belongs.
    OneFile,
    /// The credential, or the copy of a kubeconfig, with this name. The others can be replaced.
    Credential(String),
}

/// A failure that a person sees: what was attempted and why it failed, what to do, and the exit code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Act first, with the path or the certificate, lower case, no full stop.
    pub message: String,
    /// What the operator can do about it.
    pub hint: Option<String>,
    /// The exit code.
    pub exit: Exit,
    /// The files that it keeps from being replaced.
    pub scope: FailureScope,
}

impl Failure {
    /// A failure that left the node as it was.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            hint: None,
            exit: Exit::Failed,
            scope: FailureScope::Everything,
        }
    }

    /// The same with advice.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Limits a failure of one file (see [`Self::of_one_file`]) to the credential that the file
    /// belongs to. A failure of everything stays one.
    pub fn about(mut self, credential: &str) -> Self {
        if self.scope == FailureScope::OneFile {
            self.scope = FailureScope::Credential(credential.to_owned());
        }
        self
    }

    /// Says that the cause lies in one file (it is immutable, or a mount), not in the disk under it.
    pub fn of_one_file(mut self) -> Self {
        self.scope = FailureScope::OneFile;
        self
    }

    /// The same with another exit code.
    pub fn exit(mut self, exit: Exit) -> Self {
        self.exit = exit;
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// Exit codes. They are an interface: scripts branch on them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exit {
    /// 0: done, or nothing due.
    Done = 0,
    /// 1: failed; the node is unchanged or was put back.
    Failed = 1,
    /// 2: the command line is wrong.
    Usage = 2,
    /// 3: could not put back; a person is needed.
    NotPutBack = 3,
    /// 4: some credentials could not be read or renewed, the rest are done.
    Partly = 4,
    /// 10: something is due (`plan --exit-code`).
    Due = 10,
    /// 78: bad configuration (sysexits EX_CONFIG, which the unit does not restart on).
    Config = 78,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serials_read_as_openssl_prints_them() {
        assert_eq!(Serial(vec![0, 0x8f, 1]).to_string(), "8F01");
        assert_eq!(Serial(vec![0]).to_string(), "00");
        assert_eq!(Serial(vec![0x0a]).to_string(), "0A");
    }

    #[test]
    fn secrets_are_not_printed() {
        assert_eq!(format!("{:?}", Bytes::new(vec![7; 3])), "Bytes(3)");
    }
}
