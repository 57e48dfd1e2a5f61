//! The catalog: every credential of a node, its files, the CA that signs it, the components that
//! read it, and its purpose.
//!
//! Names, paths and CAs are kubeadm's (kubernetes `cmd/kubeadm/app/phases/certs/certlist.go`). The
//! configuration adds credentials, or moves known ones by giving the same name another path.

pub mod readers;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use readers::{APISERVER, CONTROLLER_MANAGER, ETCD, KUBELET, SCHEDULER};

/// Storage of a credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Storage {
    /// A certificate and a private key, in two files. The same path twice means one file.
    Pair {
        /// PEM file with the leaf first.
        certificate: PathBuf,
        /// PEM file with the private key.
        key: PathBuf,
    },
    /// A kubeconfig that holds the credential, or refers to its files.
    Kubeconfig {
        /// Path of the kubeconfig.
        path: PathBuf,
    },
}

impl Storage {
    /// Returns the path that stands for the credential in reports.
    pub fn path(&self) -> &Path {
        match self {
            Self::Pair { certificate, .. } => certificate,
            Self::Kubeconfig { path } => path,
        }
    }
}

/// The program that renews a credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RenewedBy {
    /// kubecertd, as kubeadm would. The credential is in kubeadm's table.
    Us,
    /// The kubelet, through the API server. kubecertd renews it only after it has expired, since
    /// the kubelet cannot rotate an expired one.
    Kubelet,
}

/// A credential of this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spec {
    /// kubeadm's name (`apiserver`, `etcd-server`, `admin.conf`), or the configured one.
    pub name: String,
    /// Storage of the credential.
    pub storage: Storage,
    /// Name of the CA that signs it.
    pub ca: String,
    /// Programs that read it, as in their manifests.
    pub readers: Vec<String>,
    /// Purpose, in one sentence.
    pub purpose: String,
    /// The program that renews it.
    pub renewed_by: RenewedBy,
}

/// A CA of this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthoritySpec {
    /// kubeadm's name, or the configured one.
    pub name: String,
    /// PEM file with one or several CA certificates.
    pub certificate: PathBuf,
    /// PEM file with the CA's private key. Missing if the CA is managed elsewhere.
    pub key: PathBuf,
}

/// A credential, or a pattern of credentials, from the configuration. A `*` stands for the same
/// text in name, path and key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extra {
    /// Name.
    pub name: String,
    /// Storage.
    pub storage: Storage,
    /// Name of the CA.
    pub ca: String,
    /// Programs that read it.
    pub readers: Vec<String>,
}

/// `[[kubeconfig_copy]]`: a copy of a kubeconfig for a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopySpec {
    /// Path of the copy.
    pub path: PathBuf,
    /// Name of the kubeconfig that it copies.
    pub of: String,
}

/// Name of etcd's CA. An external etcd has no credentials with this CA here.
pub const ETCD_CA: &str = "etcd-ca";

struct Pair(
    &'static str,
    &'static str,
    &'static str,
    &'static [&'static str],
    &'static str,
);

/// name, path below the PKI directory, CA, readers, purpose
const PAIRS: [Pair; 7] = [
    Pair(
        "apiserver",
        "apiserver",
        "ca",
        &[APISERVER],
        "The API server shows it to everybody who connects to it.",
    ),
    Pair(
        "apiserver-etcd-client",
        "apiserver-etcd-client",
        ETCD_CA,
        &[APISERVER],
        "The API server logs in to etcd with it.",
    ),
    Pair(
        "apiserver-kubelet-client",
        "apiserver-kubelet-client",
        "ca",
        &[APISERVER],
        "The API server logs in to kubelets with it, for logs and exec.",
    ),
    Pair(
        "etcd-healthcheck-client",
        "etcd/healthcheck-client",
        ETCD_CA,
        &[],
        "Probes and tools log in to etcd with it.",
    ),
    Pair(
        "etcd-peer",
        "etcd/peer",
        ETCD_CA,
        &[ETCD],
        "etcd members show it to each other.",
    ),
    Pair(
        "etcd-server",
        "etcd/server",
        ETCD_CA,
        &[ETCD],
        "etcd shows it to its clients.",
    ),
    Pair(
        "front-proxy-client",
        "front-proxy-client",
        "front-proxy-ca",
        &[APISERVER],
        "The API server logs in to aggregated API servers with it.",
    ),
];

/// name (and file below the kubernetes directory), readers, purpose
const KUBECONFIGS: [(&str, &[&str], &str); 4] = [
    ("admin.conf", &[], "Administrators log in to the API server with it."),
    (
        "controller-manager.conf",
        &[CONTROLLER_MANAGER],
        "kube-controller-manager logs in to the API server with it.",
    ),
    (
        "scheduler.conf",
        &[SCHEDULER],
        "kube-scheduler logs in to the API server with it.",
    ),
    (
        "super-admin.conf",
        &[],
        "Break-glass access that no RBAC rule can take away.",
    ),
];

/// Returns the three CAs of a kubeadm node and the CAs of the configuration, sorted by name.
pub fn authorities(pki: &Path, configured: &[AuthoritySpec]) -> Vec<AuthoritySpec> {
    let known = [("ca", "ca"), (ETCD_CA, "etcd/ca"), ("front-proxy-ca", "front-proxy-ca")];
    let mut all: Vec<AuthoritySpec> = known
        .into_iter()
        .map(|(name, base)| AuthoritySpec {
            name: name.into(),
            certificate: pki.join(format!("{base}.crt")),
            key: pki.join(format!("{base}.key")),
        })
        .collect();
    for spec in configured {
        all.retain(|known| known.name != spec.name);
        all.push(spec.clone());
    }
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all
}

/// Returns the credentials of a kubeadm node and those of the configuration, sorted by name as
/// kubeadm does.
///
/// `extra` must not hold patterns (see [`expand`]).
pub fn credentials(kubernetes: &Path, pki: &Path, extra: &[Extra]) -> Vec<Spec> {
    let owned = |readers: &[&str]| readers.iter().map(|r| (*r).to_owned()).collect();
    let pairs = PAIRS.iter().map(|Pair(name, base, ca, readers, purpose)| Spec {
        name: (*name).into(),
        storage: Storage::Pair {
            certificate: pki.join(format!("{base}.crt")),
            key: pki.join(format!("{base}.key")),
        },
        ca: (*ca).into(),
        readers: owned(readers),
        purpose: (*purpose).into(),
        renewed_by: RenewedBy::Us,
    });
    let kubeconfig = |name: &str, readers: &[&str], purpose: &str, renewed_by| Spec {
        name: name.into(),
        storage: Storage::Kubeconfig {
            path: kubernetes.join(name),
        },
        ca: "ca".into(),
        readers: owned(readers),
        purpose: purpose.into(),
        renewed_by,
    };
    let configs = KUBECONFIGS
        .iter()
        .map(|(name, readers, purpose)| kubeconfig(name, readers, purpose, RenewedBy::Us));
    let kubelet = kubeconfig(
        "kubelet.conf",
        &[KUBELET],
        "The kubelet logs in to the API server with it and renews it itself.",
        RenewedBy::Kubelet,
    );
    let all = pairs.chain(configs).chain([kubelet]);
    let mut all: BTreeMap<String, Spec> = all.map(|spec| (spec.name.clone(), spec)).collect();
    for extra in extra {
        let (readers, purpose, renewed_by) = all.remove(&extra.name).map_or_else(
            || (Vec::new(), "Configured on this node.".to_owned(), RenewedBy::Us),
            |known| (known.readers, known.purpose, known.renewed_by),
        );
        let readers = if extra.readers.is_empty() {
            readers
        } else {
            extra.readers.clone()
        };
        let spec = Spec {
            name: extra.name.clone(),
            storage: extra.storage.clone(),
            ca: extra.ca.clone(),
            readers,
            purpose,
            renewed_by,
        };
        all.insert(extra.name.clone(), spec);
    }
    all.into_values().collect()
}

/// Returns the entries that a pattern stands for, given the names of the files in its directory.
///
/// A file that matches the pattern of the key is a key (`member-x-key.pem` also matches
/// `member-*.pem`).
pub fn expand(extra: &Extra, files: &[String]) -> Vec<Extra> {
    let path = extra.storage.path();
    let Some((prefix, suffix)) = star(path) else {
        return vec![extra.clone()];
    };
    let key_pattern = match &extra.storage {
        Storage::Pair { key, certificate } if key != certificate => star(key),
        _ => None,
    };
    let fits = |file: &str, (prefix, suffix): &(String, String)| {
        file.len() > prefix.len() + suffix.len() && file.starts_with(prefix.as_str()) && file.ends_with(suffix.as_str())
    };
    let fill = |path: &Path, with: &str| PathBuf::from(path.to_string_lossy().replace('*', with));
    let mut found: Vec<Extra> = files
        .iter()
        .filter(|file| fits(file, &(prefix.clone(), suffix.clone())))
        .filter(|file| !key_pattern.as_ref().is_some_and(|pattern| fits(file, pattern)))
        .map(|file| {
            let with = &file[prefix.len()..file.len() - suffix.len()];
            Extra {
                name: extra.name.replace('*', with),
                storage: match &extra.storage {
                    Storage::Pair { certificate, key } => Storage::Pair {
                        certificate: fill(certificate, with),
                        key: fill(key, with),
                    },
                    Storage::Kubeconfig { path } => Storage::Kubeconfig { path: fill(path, with) },
                },
                ..extra.clone()
            }
        })
        .collect();
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found
}

fn star(path: &Path) -> Option<(String, String)> {
    let name = path.file_name()?.to_str()?;
    let (prefix, suffix) = name.split_once('*')?;
    Some((prefix.to_owned(), suffix.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_matches_pairs_and_never_a_key_as_certificate() {
        let extra = Extra {
            name: "member-*".into(),
            storage: Storage::Pair {
                certificate: "/s/m-*.pem".into(),
                key: "/s/m-*-key.pem".into(),
            },
            ca: "c".into(),
            readers: vec![],
        };
        let files = ["m-a.pem", "m-a-key.pem", "m-.pem", "x.pem"].map(str::to_owned);
        let found = expand(&extra, &files);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].name, "member-a");
        assert_eq!(
            found[0].storage,
            Storage::Pair {
                certificate: "/s/m-a.pem".into(),
                key: "/s/m-a-key.pem".into()
            }
        );
    }
}
