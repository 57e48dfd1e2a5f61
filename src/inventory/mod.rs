//! Parse: what was read becomes credentials and CAs, each with its state. One bad file never hides another.

mod authority;

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::catalog::{self, AuthoritySpec, Keeper, Spec, Store};
use crate::format::kubeconfig::{self, Kubeconfig};
use crate::format::manifest::{self, Manifest};
use crate::format::text::printable;
use crate::format::{key, pem, x509};
use crate::model::{Certificate, File, KeyStyle, Read, Timestamp, Unread};
use crate::scan::Scan;

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
    /// What is wrong with the other manifests, one sentence each.
    pub bad_manifests: Vec<String>,
    /// Whether sa.key and sa.pub belong together.
    pub service_account: Result<(), String>,
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
    Present(Box<Present>),
}

/// A credential that was read.
#[derive(Debug)]
pub struct Present {
    /// The leaf.
    pub certificate: Certificate,
    /// Its private key: how it is written, or why the pair is broken.
    pub key: Result<KeyStyle, String>,
    /// Where its bytes are.
    pub holding: Holding,
}

/// Where the bytes of a credential are.
#[derive(Debug)]
pub enum Holding {
    /// In files of their own.
    Files {
        /// The certificate's file and the place of the leaf in it.
        certificate: (File, Range<usize>),
        /// Where a key that is missing would be, without symlinks; or why none can be made there.
        key_place: Result<PathBuf, String>,
        /// The key's file and the place of the key in it; none where the file is missing or useless.
        key: Option<(File, Option<Range<usize>>)>,
    },
    /// In a kubeconfig.
    Embedded {
        /// The kubeconfig.
        file: File,
        /// The decoded certificate text and the place of the leaf in it.
        certificate: (String, Range<usize>),
        /// The decoded key text and the place of the key in it.
        key: Option<(zeroize::Zeroizing<String>, Range<usize>)>,
    },
}

impl Present {
    /// All names of the files that it is in, and of the one that a missing key would make.
    pub fn names(&self) -> BTreeSet<&Path> {
        let files = self.files().into_iter().flat_map(|file| &file.names);
        let made = match &self.holding {
            Holding::Files {
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
        match &self.holding {
            Holding::Files { certificate, key, .. } => std::iter::once(&certificate.0)
                .chain(key.as_ref().map(|(file, _)| file))
                .collect(),
            Holding::Embedded { file, .. } => vec![file],
        }
    }

    /// It sits inside a kubeconfig, so its readers hold it in memory.
    pub fn is_embedded(&self) -> bool {
        matches!(self.holding, Holding::Embedded { .. })
    }
}

/// One CA and its state.
#[derive(Debug)]
pub struct Authority {
    /// What it is.
    pub spec: AuthoritySpec,
    /// The certificate that signs (the one whose key is here, else the first); or why there is none.
    pub certificate: Result<Certificate, Unread>,
    /// Whether it can sign.
    pub signer: Signer,
}

/// Whether a CA can sign on this node.
#[derive(Debug)]
pub enum Signer {
    /// With this key file.
    Ready(File),
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
pub fn take(scan: &Scan) -> Inventory {
    let mut pods = Vec::new();
    let mut bad_manifests = Vec::new();
    for (name, read) in &scan.manifests {
        let path = scan.manifests_folder.join(name);
        match pod(read) {
            Ok(pod) => pods.push(pod),
            Err(reason) => bad_manifests.push(format!("{} {}", path.display(), printable(&reason))),
        }
    }
    let etcd_is_external = etcd_is_external(scan, &pods);
    let credentials = scan
        .specs
        .iter()
        .map(|spec| Credential {
            spec: spec.clone(),
            state: state(scan, spec),
        })
        .filter(|c| !(etcd_is_external && c.spec.ca == catalog::ETCD_CA && matches!(c.state, State::Missing)))
        .collect();
    let authorities = scan
        .authorities
        .iter()
        .filter(|spec| !(etcd_is_external && spec.name == catalog::ETCD_CA))
        .map(|spec| authority::take(scan, spec))
        .collect();
    Inventory {
        at: scan.at,
        credentials,
        authorities,
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

    /// The etcd member's manifest.
    pub fn etcd(&self) -> Option<&Manifest> {
        self.pods.iter().map(|p| &p.manifest).find(|m| m.component == "etcd")
    }

    /// An etcd member is meant to run here: its pod, or the certificate that it serves, is there.
    pub fn has_etcd(&self) -> bool {
        let serves = |c: &Credential| c.spec.readers.iter().any(|r| r == "etcd") && !matches!(c.state, State::Missing);
        self.etcd().is_some() || self.credentials.iter().any(serves)
    }

    /// The credential that kubelet.conf leads to.
    pub fn kubelet(&self) -> Option<&Credential> {
        self.credentials.iter().find(|c| c.spec.keeper == Keeper::Kubelet)
    }
}

/// An API server runs here and no etcd: neither its pod nor the certificate that it would serve.
fn etcd_is_external(scan: &Scan, pods: &[Pod]) -> bool {
    let runs = |component: &str| pods.iter().any(|pod| pod.manifest.component == component);
    let serves = scan
        .specs
        .iter()
        .any(|spec| spec.readers.iter().any(|r| r == "etcd") && !is_missing(scan.file(spec.store.path())));
    runs("kube-apiserver") && !runs("etcd") && !serves
}

fn is_missing(read: &Read) -> bool {
    matches!(read, Err(Unread::Missing))
}

/// A pod that can be restarted: its manifest parses, takes the annotation, and is root's alone.
fn pod(read: &Read) -> Result<Pod, String> {
    let file = read.as_ref().map_err(why)?;
    let text = file.bytes.text()?;
    let manifest = Manifest::parse(text)?;
    manifest::annotate(text, manifest::RESTARTED_AT, "")?;
    match &file.unsafe_way {
        Some(reason) => Err(format!("could be replaced by others than root: {reason}")),
        None => Ok(Pod {
            manifest,
            file: file.clone(),
        }),
    }
}

fn why(unread: &Unread) -> String {
    match unread {
        Unread::Missing => "is missing".into(),
        Unread::Because(reason) => reason.clone(),
    }
}

fn state(scan: &Scan, spec: &Spec) -> State {
    let path = spec.store.path();
    if is_missing(scan.file(path)) {
        return State::Missing;
    }
    let present = match &spec.store {
        Store::Pair { certificate, key } => in_files(scan, certificate, key),
        Store::Kubeconfig { path } => in_kubeconfig(scan, path),
    };
    match present {
        Ok(present) => State::Present(Box::new(present)),
        Err(reason) => State::Unreadable(printable(&reason)),
    }
}

fn in_files(scan: &Scan, certificate_path: &Path, key_path: &Path) -> Result<Present, String> {
    let at = |reason: String| format!("{} {reason}", certificate_path.display());
    let file = scan.file(certificate_path).as_ref().map_err(|e| at(why(e)))?;
    let (block, certificate) = leaf(file.bytes.text().map_err(at)?).map_err(at)?;
    let key_at = |reason: String| format!("{} {reason}", key_path.display());
    let key_file = match scan.file(key_path) {
        Ok(file) => Some(file),
        Err(Unread::Missing) => None,
        Err(unread) => return Err(key_at(why(unread))),
    };
    let found = key_file
        .ok_or_else(|| "is missing".to_owned())
        .and_then(|file| find_key(file.bytes.text()?));
    if key_file.is_some_and(|key| key.is_same(file)) {
        // One file for both: without its key it is no file that a key could be put into.
        found.as_ref().map_err(|reason| key_at(reason.clone()))?;
    }
    let place = found.as_ref().ok().map(|(block, _)| block.range.clone());
    let key = matching(found.map(|(_, facts)| facts), &certificate).map_err(&key_at);
    Ok(Present {
        certificate,
        key,
        holding: Holding::Files {
            certificate: (file.clone(), block.range),
            key_place: scan.place(key_path).map_err(key_at),
            key: key_file.map(|file| (file.clone(), place)),
        },
    })
}

fn in_kubeconfig(scan: &Scan, path: &Path) -> Result<Present, String> {
    let at = |reason: String| format!("{} {reason}", path.display());
    let file = scan.file(path).as_ref().map_err(|e| at(why(e)))?;
    let Kubeconfig { credential, .. } = kubeconfig::parse(file.bytes.text().map_err(at)?).map_err(at)?;
    match credential {
        kubeconfig::Credential::Files { certificate, key } => {
            let folder = path.parent().unwrap_or(Path::new("/"));
            in_files(scan, &folder.join(certificate), &folder.join(key)).map_err(|reason| {
                format!(
                    "{} refers to a credential that cannot be read: {reason}",
                    path.display()
                )
            })
        }
        kubeconfig::Credential::Embedded { certificate: text, key } => {
            let (block, certificate) = leaf(&text).map_err(|e| at(format!("has a client certificate that {e}")))?;
            let found = key
                .as_ref()
                .ok_or_else(|| "has no client key".to_owned())
                .and_then(|text| find_key(text));
            let place = found.as_ref().ok().map(|(block, _)| block.range.clone());
            Ok(Present {
                key: matching(found.map(|(_, facts)| facts), &certificate).map_err(at),
                certificate,
                holding: Holding::Embedded {
                    file: file.clone(),
                    certificate: (text, block.range),
                    key: key.zip(place),
                },
            })
        }
    }
}

/// The first certificate is the leaf; what follows is its chain (RFC 8446, 4.4.2).
fn leaf(text: &str) -> Result<(pem::Block, Certificate), String> {
    let mut all = x509::parse_pem(text)?;
    Ok(all.swap_remove(0))
}

fn find_key(text: &str) -> Result<(pem::Block, key::KeyFacts), String> {
    let blocks = pem::blocks(text)?;
    let block = blocks
        .into_iter()
        .find(pem::Block::is_private_key)
        .ok_or("holds no private key")?;
    let facts = key::parse(&block)?;
    Ok((block, facts))
}

fn matching(found: Result<key::KeyFacts, String>, certificate: &Certificate) -> Result<KeyStyle, String> {
    let facts = found.map_err(|reason| printable(&reason))?;
    if facts.public_key == certificate.public_key {
        Ok(facts.style)
    } else {
        Err("does not match its certificate".into())
    }
}
