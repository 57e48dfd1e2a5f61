//! Plain data about certificates, keys, files, processes and failures. Reads and writes nothing.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use zeroize::Zeroizing;

/// An instant of the wall clock. Always UTC.
pub type Timestamp = OffsetDateTime;

/// An X.509 certificate, as far as a renewal needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// DER of the whole certificate.
    pub der: Vec<u8>,
    /// DER of the subject. RBAC and `openssl verify` also see the string types, so that it is
    /// compared and copied byte for byte.
    pub subject_der: Vec<u8>,
    /// Subject in readable form.
    pub subject: String,
    /// DER of the issuer's name.
    pub issuer_der: Vec<u8>,
    /// Serial number.
    pub serial: Serial,
    /// Time in which it is valid.
    pub validity: Validity,
    /// Kind of the public key.
    pub key: KeyAlgorithm,
    /// Content of the `SubjectPublicKeyInfo` bit string.
    pub public_key: Vec<u8>,
    /// True if BasicConstraints says CA:TRUE.
    pub is_ca: bool,
    /// True if KeyUsage allows signing certificates, or is absent (RFC 5280, 4.2.1.3).
    pub may_sign: bool,
    /// SubjectKeyIdentifier, if the certificate has one.
    pub key_id: Option<Vec<u8>>,
    /// True if it has unique identifiers (RFC 5280, 4.1.2.8), which no library here can write.
    pub has_unique_ids: bool,
}

/// An undecoded extension of a certificate.
#[derive(Debug, PartialEq, Eq)]
pub struct Extension<'a> {
    /// Object identifier, as the content of the DER element: libraries disagree on arcs beyond 64
    /// bits and below 2.48.
    pub oid: Vec<u8>,
    /// True if it is critical.
    pub critical: bool,
    /// Content of the octet string, as in the DER of the certificate.
    pub value: &'a [u8],
}

/// Serial number of a certificate, big-endian as in the DER.
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

/// Time in which a certificate is valid, both ends included (RFC 5280, 4.1.2.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// notBefore.
    pub not_before: Timestamp,
    /// notAfter.
    pub not_after: Timestamp,
}

impl Validity {
    /// Returns true once `now` is past notAfter.
    pub fn has_ended(&self, now: Timestamp) -> bool {
        now > self.not_after
    }
}

/// Kind and size of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyAlgorithm {
    /// RSA, with the size of the modulus in bits.
    Rsa(usize),
    /// ECDSA on NIST P-256.
    P256,
    /// ECDSA on NIST P-384.
    P384,
    /// ECDSA on NIST P-521.
    P521,
    /// Ed25519 (RFC 8410).
    Ed25519,
    /// Another kind, by its object identifier, which can be shown and not issued.
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

/// PEM form of a private key.
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
    /// Returns the PEM label.
    pub fn label(self) -> &'static str {
        match self {
            Self::Pkcs1 => "RSA PRIVATE KEY",
            Self::Sec1 => "EC PRIVATE KEY",
            Self::Pkcs8 => "PRIVATE KEY",
        }
    }

    /// Returns the form that kubeadm writes for this algorithm (kubernetes
    /// `keyutil.MarshalPrivateKeyToPEM`).
    pub fn of(algorithm: &KeyAlgorithm) -> Self {
        match algorithm {
            KeyAlgorithm::Rsa(_) => Self::Pkcs1,
            KeyAlgorithm::P256 | KeyAlgorithm::P384 | KeyAlgorithm::P521 => Self::Sec1,
            KeyAlgorithm::Ed25519 | KeyAlgorithm::Other(_) => Self::Pkcs8,
        }
    }
}

/// Bytes of a file that may hold a secret. Clones share them, the last owner wipes them when it
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

/// The inode that a path named when it was read, and its owner.
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
    /// Number of hard links.
    pub links: u64,
    /// Size in bytes.
    pub size: u64,
    /// Modification time.
    pub modified: Timestamp,
}

/// Owner, mode and extended attributes of a file. ACLs and SELinux labels are extended attributes.
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
    /// Returns attributes for root with this mode and without extended attributes.
    pub fn plain(mode: u32) -> Self {
        Self {
            uid: 0,
            gid: 0,
            mode,
            extended: Vec::new(),
        }
    }
}

/// A regular file that was read completely.
#[derive(Debug, Clone)]
pub struct File {
    /// Path after all symlinks, seen from the root.
    pub real: PathBuf,
    /// Content.
    pub bytes: Bytes,
    /// Inode, mode and owner.
    pub identity: Identity,
    /// All names of the inode in the scanned directories, `real` first. A file with hard links has
    /// more than one.
    pub names: Vec<PathBuf>,
    /// The reason that a directory on the path cannot be trusted: it does not belong to root, or
    /// others can write to it.
    pub unsafe_way: Option<String>,
}

impl File {
    /// Returns true if both are the same inode.
    pub fn is_same(&self, other: &Self) -> bool {
        (self.identity.device, self.identity.inode) == (other.identity.device, other.identity.inode)
    }
}

/// The reason that a file could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReadError {
    /// The file does not exist.
    Missing,
    /// The file exists, with this fault.
    Because(String),
}

/// Result of reading one path.
pub type ReadResult = Result<File, ReadError>;

/// A running program. Process ids are reused; id, start time and boot together are not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Process id.
    pub pid: i32,
    /// Start time in clock ticks since boot (`starttime` of proc_pid_stat(5)).
    pub ticks: u64,
    /// Last part of the name that it was started with.
    pub program: String,
    /// True if it runs in a container of a pod: its control group is below `kubepods`.
    pub in_pod: bool,
}

/// A member of an etcd cluster, from the cluster's own list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// Member id.
    pub id: u64,
    /// Value of `--name`. Empty for a member that was added and has not started yet.
    pub name: String,
    /// URLs for clients. Empty for a member that has not started yet.
    pub client_urls: Vec<String>,
    /// True if it has no vote yet.
    pub is_learner: bool,
}

/// The part of a change that a failure stops.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FailureScope {
    /// All of it: a full disk, or a process that was asked to end.
    Everything,
    /// One file, before it is known to which credential the file belongs.
    OneFile,
    /// The credential, or the copy of a kubeconfig, with this name. The others can still be
    /// replaced.
    Credential(String),
}

/// A failure as a person sees it: the attempted action, the cause, a hint, and the exit code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The action first, with the path or the certificate; lower case, no full stop.
    pub message: String,
    /// Advice for the operator.
    pub hint: Option<String>,
    /// Exit code.
    pub exit: Exit,
    /// The part of the change that it stops.
    pub scope: FailureScope,
}

impl Failure {
    /// Returns a failure that left the node as it was, with exit code 1.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            hint: None,
            exit: Exit::Failed,
            scope: FailureScope::Everything,
        }
    }

    /// Adds advice.
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

    /// Says that the cause lies in one file (it is immutable, or a mount), not in the disk under
    /// it.
    pub fn of_one_file(mut self) -> Self {
        self.scope = FailureScope::OneFile;
        self
    }

    /// Changes the exit code.
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

/// Exit codes, a stable interface for scripts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exit {
    /// 0: done, or nothing due.
    Done = 0,
    /// 1: failed. The node is unchanged, or was rolled back.
    Failed = 1,
    /// 2: wrong command line.
    Usage = 2,
    /// 3: rollback failed. Operator action is required.
    RollbackFailed = 3,
    /// 4: some credentials could not be read or renewed. The others are done.
    Partly = 4,
    /// 10: a credential is due (`plan --exit-code`).
    Due = 10,
    /// 78: invalid configuration (EX_CONFIG of sysexits), after which the unit does not restart.
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
