//! Inventory: parses the files of a scan into credentials, CAs and components, each with its state.
//! A bad file never hides another one.

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
use crate::format::key::KeyFault;
use crate::format::manifest::Manifest;
use crate::format::text::printable;
use crate::model::{Certificate, File, KeyStyle, ReadError, ReadResult, Timestamp};
use crate::scan::{Scan, SharedFile};
use copies::Copy;
use readers::{BadManifest, Reader};

/// The node's credentials, CAs and static pods.
#[derive(Debug)]
pub struct Inventory {
    /// The time of the scan.
    pub at: Timestamp,
    /// Sorted by name.
    pub credentials: Vec<Credential>,
    /// Sorted by name.
    pub authorities: Vec<Authority>,
    /// The static pods whose manifests parse.
    pub pods: Vec<Pod>,
    /// Problems in the manifests directory.
    pub bad_manifests: Vec<BadManifest>,
    /// The components (readers) of this node, in the order of restarts.
    pub readers: Vec<Reader>,
    /// The reason if sa.key and sa.pub are not a pair.
    pub service_account: Result<(), String>,
    /// The copies of kubeconfigs that the configuration names.
    pub copies: Vec<Copy>,
    /// True if etcd runs on other machines only.
    pub etcd_is_external: bool,
    /// The files that are never written: CAs, their keys, and the service account keys.
    pub protected: BTreeSet<PathBuf>,
}

/// A credential and its state.
#[derive(Debug)]
pub struct Credential {
    /// The entry in the catalog.
    pub spec: Spec,
    /// The result of reading it.
    pub state: State,
}

/// The state of a credential.
#[derive(Debug)]
pub enum State {
    /// The file does not exist.
    Missing,
    /// The file cannot be used, with path and reason.
    Unreadable(String),
    /// The credential was read.
    Present(Box<Material>),
}

/// The content of a credential that was read.
#[derive(Debug)]
pub struct Material {
    /// The leaf.
    pub certificate: Certificate,
    /// The style of the private key; or why the pair is broken.
    pub key: Result<KeyStyle, KeyFault>,
    /// The place of its bytes.
    pub location: Location,
}

/// The place of a credential's bytes.
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
    /// Returns all names of its files, and the path of a missing key.
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

    /// Returns all files that hold a part of it.
    pub fn files(&self) -> Vec<&File> {
        match &self.location {
            Location::Files { certificate, key, .. } => std::iter::once(&*certificate.file)
                .chain(key.as_ref().map(|key| &*key.file))
                .collect(),
            Location::Embedded { file, .. } => vec![file],
        }
    }

    /// Returns the certificate with its chain and the key, as PEM; `None` if one of them is not
    /// text.
    pub fn identity(&self) -> Option<(&str, &str)> {
        match &self.location {
            Location::Files { certificate, key, .. } => {
                let key = &key.as_ref()?.file;
                Some((certificate.file.bytes.text().ok()?, key.bytes.text().ok()?))
            }
            Location::Embedded { certificate, key, .. } => Some((&certificate.text, &key.as_ref()?.text)),
        }
    }

    /// Returns true if it is inside a kubeconfig, so that its components hold it in memory.
    pub fn is_embedded(&self) -> bool {
        matches!(self.location, Location::Embedded { .. })
    }
}

/// A CA and its state.
#[derive(Debug)]
pub struct Authority {
    /// The entry in the catalog.
    pub spec: AuthoritySpec,
    /// The certificate that signs: the one whose key is here, or else the first.
    pub certificate: Result<Certificate, ReadError>,
    /// All certificates of the file, DER. A program that trusts the file trusts each of them.
    pub bundle: Vec<Vec<u8>>,
    /// The key that it signs with, or the reason that it cannot sign.
    pub signer: Signer,
}

/// The ability of a CA to sign on this node.
#[derive(Debug)]
pub enum Signer {
    /// The CA can sign with this key file.
    Ready(Arc<File>),
    /// The key is kept elsewhere.
    External,
    /// The CA must not sign, for this reason.
    Unusable(String),
}

/// A static pod.
#[derive(Debug)]
pub struct Pod {
    /// The parsed manifest.
    pub manifest: Manifest,
    /// The file of the manifest.
    pub file: File,
}

/// Builds the inventory from a scan.
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
    /// Returns the CA with this name.
    pub fn authority(&self, name: &str) -> Option<&Authority> {
        self.authorities.iter().find(|a| a.spec.name == name)
    }

    /// Returns the manifest of the static pod that runs this component.
    pub fn pod(&self, component: &str) -> Option<&Manifest> {
        self.pods.iter().map(|p| &p.manifest).find(|m| m.component == component)
    }

    /// Returns the manifest of the etcd member.
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

    /// Returns the content of the credential with this name, if it could be read.
    pub fn present(&self, name: &str) -> Option<&Material> {
        match &self.credential(name)?.state {
            State::Present(present) => Some(present),
            _ => None,
        }
    }

    /// Returns true if an etcd member belongs here: its pod or its serving certificate exists.
    pub fn has_etcd(&self) -> bool {
        let serves = |c: &Credential| c.spec.readers.iter().any(|r| r == "etcd") && !matches!(c.state, State::Missing);
        self.etcd().is_some() || self.credentials.iter().any(serves)
    }

    /// Returns the credential of kubelet.conf.
    pub fn kubelet(&self) -> Option<&Credential> {
        self.credentials
            .iter()
            .find(|c| c.spec.renewed_by == RenewedBy::Kubelet)
    }
}

/// Returns true if an API server runs here, but neither etcd's pod nor its serving certificate
/// exists.
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

/// Returns a pod that can be restarted: its manifest parses, takes the annotation, and only root
/// can replace it.
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
