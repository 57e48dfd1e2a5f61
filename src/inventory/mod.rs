//! Parse: what was read becomes credentials and CAs, each with its state. One bad file never hides another.

mod authority;
pub mod copies;
mod credential;
pub mod readers;

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use zeroize::Zeroizing;

use crate::catalog::readers::ETCD;
use crate::catalog::{self, AuthoritySpec, RenewedBy, Spec};
use crate::format::manifest::Manifest;
use crate::format::text::printable;
use crate::model::{Certificate, File, KeyStyle, ReadError, ReadResult, Timestamp};
use crate::scan::{Scan, SharedFile};
use copies::Copy;
use readers::{BadManifest, Reader};

/// The node's credentials, CAs and static pods.
#[derive(Debug)]
pub struct Inventory {
    /// When it was looked at.
    pub at: Timestamp,
    /// Sorted by name.
    pub credentials: Vec<Credential>,
    /// Sorted by name.
    pub authorities: Vec<Authority>,
    /// The static pods whose manifests parse.
    pub pods: Vec<Pod>,
    /// What is wrong in the manifests directory.
    pub bad_manifests: Vec<BadManifest>,
    /// Every reader that is known here, in the order of restarts.
    pub readers: Vec<Reader>,
    /// Whether sa.key and sa.pub belong together.
    pub service_account: Result<(), String>,
    /// The copies of kubeconfigs that the configuration names.
    pub copies: Vec<Copy>,
    /// No etcd member runs on this node.
    pub etcd_is_external: bool,
    /// Names of the files that are never written: CAs, their keys, and the service account keys.
    pub protected: BTreeSet<PathBuf>,
}

/// One credential and its state.
#[derive(Debug)]
pub struct Credential {
    /// What it is.
    pub spec: Spec,
    /// What was found.
    pub state: State,
}

/// What was found of a credential.
#[derive(Debug)]
pub enum State {
    /// Its file is not there.
    Missing,
    /// Its file is there and cannot be used; the path and the reason.
    Unreadable(String),
    /// It was read.
    Present(Box<Material>),
}

/// A credential that was read.
#[derive(Debug)]
pub struct Material {
    /// The leaf.
    pub certificate: Certificate,
    /// Its private key: how it is written, or why the pair is broken.
    pub key: Result<KeyStyle, String>,
    /// Where its bytes are.
    pub location: Location,
}

/// Where the bytes of a credential are.
#[derive(Debug)]
pub enum Location {
    /// In files of their own.
    Files {
        /// The certificate, with its chain.
        certificate: CertificateFile,
        /// The path of a key that is missing, without symlinks; or why it cannot be created there.
        key_place: Result<PathBuf, String>,
        /// The key; `None` if its file is missing.
        key: Option<KeyFile>,
    },
    /// In a kubeconfig.
    Embedded {
        /// The kubeconfig.
        file: Arc<File>,
        /// The certificate, with its chain.
        certificate: EmbeddedPem,
        /// The key; `None` if there is none, or it is useless.
        key: Option<EmbeddedPem>,
        /// The CAs of its API server, PEM.
        authorities: Option<String>,
    },
}

/// A file with a certificate.
#[derive(Debug)]
pub struct CertificateFile {
    /// The file.
    pub file: Arc<File>,
    /// The place of the leaf in it.
    pub leaf: Range<usize>,
}

/// A file with a private key.
#[derive(Debug)]
pub struct KeyFile {
    /// The file.
    pub file: Arc<File>,
    /// The place of the key in it; `None` if it holds no key.
    pub place: Option<Range<usize>>,
}

/// PEM that was decoded from a kubeconfig.
pub struct EmbeddedPem {
    /// The whole text.
    pub text: Zeroizing<String>,
    /// The place of the leaf, or of the key, in it.
    pub place: Range<usize>,
}

impl fmt::Debug for EmbeddedPem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EmbeddedPem({})", self.text.len())
    }
}

impl Material {
    /// All names of the files that it is in, and of the one that a missing key would make.
    pub fn names(&self) -> BTreeSet<&Path> {
        let files = self.files().into_iter().flat_map(|file| &file.names);
        let made = match &self.location {
            Location::Files {
                key: None,
                key_place: Ok(place),
                ..
            } => Some(place),
            _ => None,
        };
        files.chain(made).map(PathBuf::as_path).collect()
    }

    /// All files that hold a part of it.
    pub fn files(&self) -> Vec<&File> {
        match &self.location {
            Location::Files { certificate, key, .. } => std::iter::once(&*certificate.file)
                .chain(key.as_ref().map(|key| &*key.file))
                .collect(),
            Location::Embedded { file, .. } => vec![file],
        }
    }

    /// The certificate with its chain and the key, as PEM, where both can be read as text.
    pub fn identity(&self) -> Option<(&str, &str)> {
        match &self.location {
            Location::Files { certificate, key, .. } => {
                let key = &key.as_ref()?.file;
                Some((certificate.file.bytes.text().ok()?, key.bytes.text().ok()?))
            }
            Location::Embedded { certificate, key, .. } => Some((&certificate.text, &key.as_ref()?.text)),
        }
    }

    /// It sits inside a kubeconfig, so its readers hold it in memory.
    pub fn is_embedded(&self) -> bool {
        matches!(self.location, Location::Embedded { .. })
    }
}

/// One CA and its state.
#[derive(Debug)]
pub struct Authority {
    /// What it is.
    pub spec: AuthoritySpec,
    /// The certificate that signs (the one whose key is here, else the first); or why there is none.
    pub certificate: Result<Certificate, ReadError>,
    /// All certificates of the file, DER: who trusts the file trusts each of them.
    pub bundle: Vec<Vec<u8>>,
    /// Whether it can sign.
    pub signer: Signer,
}

/// Whether a CA can sign on this node.
#[derive(Debug)]
pub enum Signer {
    /// With this key file.
    Ready(Arc<File>),
    /// Its key is kept elsewhere.
    External,
    /// It must not sign, and this is why.
    Unusable(String),
}

/// One static pod.
#[derive(Debug)]
pub struct Pod {
    /// Its manifest, parsed.
    pub manifest: Manifest,
    /// Its manifest's file.
    pub file: File,
}

/// Parses a scan.
pub fn build(scan: &Scan) -> Inventory {
    let mut pods = Vec::new();
    let mut bad_manifests = Vec::new();
    for (name, read) in &scan.manifests {
        let path = scan.manifests_directory.join(name);
        match pod(read) {
            Ok(pod) => pods.push(pod),
            Err(reason) => bad_manifests.push(BadManifest::Unusable(path, printable(&reason))),
        }
    }
    bad_manifests.extend(readers::suspicious(scan, &pods));
    let etcd_is_external = etcd_is_external(scan, &pods);
    let mut credentials: Vec<_> = scan
        .specs
        .iter()
        .map(|spec| Credential {
            spec: spec.clone(),
            state: credential::state(scan, spec),
        })
        .filter(|c| !(etcd_is_external && c.spec.ca == catalog::ETCD_CA && matches!(c.state, State::Missing)))
        .collect();
    credentials.sort_by(|a, b| a.spec.name.cmp(&b.spec.name));
    let authorities = scan
        .authorities
        .iter()
        .filter(|spec| !(etcd_is_external && spec.name == catalog::ETCD_CA))
        .map(|spec| authority::take(scan, spec))
        .collect();
    Inventory {
        at: scan.at,
        copies: copies::all(scan, &credentials),
        credentials,
        authorities,
        readers: readers::all(scan, &pods),
        pods,
        bad_manifests,
        service_account: authority::service_account(scan),
        etcd_is_external,
        protected: protected(scan),
    }
}

fn protected(scan: &Scan) -> BTreeSet<PathBuf> {
    let authorities = scan.authorities.iter().flat_map(|a| [&a.certificate, &a.key]);
    let account = [&scan.service_account.0, &scan.service_account.1];
    let files = authorities
        .chain(account)
        .filter_map(|path| scan.file(path).as_ref().ok());
    files.flat_map(|file| file.names.clone()).collect()
}

impl Inventory {
    /// The CA with this name.
    pub fn authority(&self, name: &str) -> Option<&Authority> {
        self.authorities.iter().find(|a| a.spec.name == name)
    }

    /// The manifest of the static pod that runs this program.
    pub fn pod(&self, component: &str) -> Option<&Manifest> {
        self.pods.iter().map(|p| &p.manifest).find(|m| m.component == component)
    }

    /// The etcd member's manifest.
    pub fn etcd(&self) -> Option<&Manifest> {
        self.pod(ETCD)
    }

    /// Returns the credential with this name.
    pub fn credential(&self, name: &str) -> Option<&Credential> {
        let at = self
            .credentials
            .binary_search_by(|known| known.spec.name.as_str().cmp(name));
        at.ok().map(|at| &self.credentials[at])
    }

    /// The credential with this name, if it could be read.
    pub fn present(&self, name: &str) -> Option<&Material> {
        match &self.credential(name)?.state {
            State::Present(present) => Some(present),
            _ => None,
        }
    }

    /// An etcd member is meant to run here: its pod, or the certificate that it serves, is there.
    pub fn has_etcd(&self) -> bool {
        let serves = |c: &Credential| c.spec.readers.iter().any(|r| r == "etcd") && !matches!(c.state, State::Missing);
        self.etcd().is_some() || self.credentials.iter().any(serves)
    }

    /// The credential that kubelet.conf leads to.
    pub fn kubelet(&self) -> Option<&Credential> {
        self.credentials
            .iter()
            .find(|c| c.spec.renewed_by == RenewedBy::Kubelet)
    }
}

/// An API server runs here and no etcd: neither its pod nor the certificate that it would serve.
fn etcd_is_external(scan: &Scan, pods: &[Pod]) -> bool {
    let runs = |component: &str| pods.iter().any(|pod| pod.manifest.component == component);
    let serves = scan
        .specs
        .iter()
        .any(|spec| spec.readers.iter().any(|r| r == "etcd") && !is_missing(scan.file(spec.storage.path())));
    runs("kube-apiserver") && !runs("etcd") && !serves
}

fn is_missing(read: &SharedFile) -> bool {
    matches!(read, Err(ReadError::Missing))
}

/// A pod that can be restarted: its manifest parses, takes the annotation, and is root's alone.
fn pod(read: &ReadResult) -> Result<Pod, String> {
    let file = read.as_ref().map_err(why)?;
    let text = file.bytes.text()?;
    let manifest = Manifest::restartable(text)?;
    match &file.unsafe_way {
        Some(reason) => Err(format!("can be replaced by users other than root: {reason}")),
        None => Ok(Pod {
            manifest,
            file: file.clone(),
        }),
    }
}

fn why(unread: &ReadError) -> String {
    match unread {
        ReadError::Missing => "is missing".into(),
        ReadError::Because(reason) => reason.clone(),
    }
}
