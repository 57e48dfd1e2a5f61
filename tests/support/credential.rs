//! The credentials of a kubeadm node as the tests know them, and what must hold between an old and
//! a renewed one.

use super::der::{self, Certificate};
use super::openssl::{self, Authority};
use super::{EXPIRED, Node, OLD_RELEASE, clock};
use std::fs;

/// A renewable credential: a pair `BASE.crt` and `BASE.key` in /etc/kubernetes, or a kubeconfig
/// there.
#[derive(Clone, Copy, Debug)]
pub struct Credential {
    pub name: &'static str,
    base: Option<&'static str>,
    ca: &'static str,
}

const fn pair(name: &'static str, base: &'static str, ca: &'static str) -> Credential {
    Credential {
        name,
        base: Some(base),
        ca,
    }
}

const fn kubeconfig(name: &'static str) -> Credential {
    Credential {
        name,
        base: None,
        ca: "pki/ca",
    }
}

/// The credentials of a node, in kubeadm's order.
const CATALOGUE: [Credential; 11] = [
    kubeconfig("admin.conf"),
    pair("apiserver", "pki/apiserver", "pki/ca"),
    pair("apiserver-etcd-client", "pki/apiserver-etcd-client", "pki/etcd/ca"),
    pair("apiserver-kubelet-client", "pki/apiserver-kubelet-client", "pki/ca"),
    kubeconfig("controller-manager.conf"),
    pair("etcd-healthcheck-client", "pki/etcd/healthcheck-client", "pki/etcd/ca"),
    pair("etcd-peer", "pki/etcd/peer", "pki/etcd/ca"),
    pair("etcd-server", "pki/etcd/server", "pki/etcd/ca"),
    pair("front-proxy-client", "pki/front-proxy-client", "pki/front-proxy-ca"),
    kubeconfig("scheduler.conf"),
    kubeconfig("super-admin.conf"),
];

/// The kubelet's kubeconfig, which is renewed only once it has expired.
const KUBELET: Credential = kubeconfig("kubelet.conf");

/// Returns the credentials that `renew all` replaces in a fixture tree: kubeadm 1.20 made no
/// super-admin.conf, and only in the expired tree the kubelet can no longer renew its own.
pub fn all_of(tree: &str) -> Vec<Credential> {
    let mut all: Vec<_> = CATALOGUE
        .into_iter()
        .filter(|credential| tree != OLD_RELEASE || credential.name != "super-admin.conf")
        .collect();
    if tree == EXPIRED {
        all.push(KUBELET);
        all.sort_by_key(|credential| credential.name);
    }
    all
}

pub fn named(name: &str) -> Credential {
    *CATALOGUE
        .iter()
        .find(|credential| credential.name == name)
        .unwrap_or_else(|| panic!("no credential is called {name}"))
}

/// Every credential of a 1.36 node but these.
pub fn all_but(names: &[&str]) -> Vec<Credential> {
    CATALOGUE
        .into_iter()
        .filter(|credential| !names.contains(&credential.name))
        .collect()
}

/// The credentials that a CA (`pki/ca`, ...) signs.
pub fn signed_by(ca: &str) -> Vec<Credential> {
    CATALOGUE.into_iter().filter(|credential| credential.ca == ca).collect()
}

pub fn names(credentials: &[Credential]) -> Vec<&'static str> {
    credentials.iter().map(|credential| credential.name).collect()
}

/// The files that renewing these replaces, sorted: their own, and the manifests of the two readers
/// that hold a kubeconfig in memory (`[restart] scope = "needed"`).
pub fn replaced(credentials: &[Credential]) -> Vec<String> {
    let mut files: Vec<String> = credentials.iter().flat_map(Credential::files).collect();
    for reader in ["controller-manager", "scheduler"] {
        if credentials
            .iter()
            .any(|credential| credential.name == format!("{reader}.conf"))
        {
            files.push(manifest(&format!("kube-{reader}")));
        }
    }
    files.sort();
    files
}

pub fn manifest(reader: &str) -> String {
    format!("etc/kubernetes/manifests/{reader}.yaml")
}

/// The PEM texts of a credential at one moment.
#[derive(Clone, PartialEq, Eq)]
pub struct Material {
    pub certificate: String,
    pub key: String,
}

impl Credential {
    /// The files it is stored in: certificate and key, or the kubeconfig.
    pub fn files(&self) -> Vec<String> {
        match self.base {
            Some(base) => vec![
                format!("etc/kubernetes/{base}.crt"),
                format!("etc/kubernetes/{base}.key"),
            ],
            None => vec![format!("etc/kubernetes/{}", self.name)],
        }
    }

    /// The first of its files, the one that holds the certificate.
    pub fn path(&self) -> String {
        self.files().remove(0)
    }

    pub fn authority(&self, node: &Node) -> Authority {
        Authority::of(node, self.ca)
    }

    pub fn material(&self, node: &Node) -> Material {
        match &self.files()[..] {
            [certificate, key] => Material {
                certificate: node.read(certificate),
                key: node.read(key),
            },
            [kubeconfig] => Material::in_kubeconfig(&node.read(kubeconfig), 0),
            _ => unreachable!("one file or two"),
        }
    }

    /// Replaces what is stored on the node, in place.
    pub fn store(&self, node: &Node, new: &Material) {
        match &self.files()[..] {
            [certificate, key] => {
                node.rewrite(certificate, new.certificate.as_bytes());
                node.rewrite(key, new.key.as_bytes());
            }
            [kubeconfig] => {
                let old = self.material(node);
                let text = node.read(kubeconfig);
                let text = text.replace(
                    &der::encode_base64(old.certificate.as_bytes()),
                    &der::encode_base64(new.certificate.as_bytes()),
                );
                let text = text.replace(
                    &der::encode_base64(old.key.as_bytes()),
                    &der::encode_base64(new.key.as_bytes()),
                );
                node.rewrite(kubeconfig, text.as_bytes());
            }
            _ => unreachable!("one file or two"),
        }
    }

    /// Signs the same certificate again so that it is valid from `from` for `days`; the key stays.
    pub fn set_validity(&self, node: &Node, from: &str, days: i64) {
        let old = self.material(node);
        let certificate = self
            .authority(node)
            .reissue(&old.certificate, &old.key, None, from, days);
        self.store(
            node,
            &Material {
                certificate,
                key: old.key,
            },
        );
    }

    /// Makes it end in twenty days, seen from [`clock::FRESH`].
    pub fn make_due(&self, node: &Node) {
        self.set_validity(node, &clock::later(clock::FRESH, -10 * clock::DAY), 30);
    }

    /// Requires that `new` is a renewal of `old`, made by a run that started at `moment`: verified
    /// by openssl against the node's CA, a new key of the same kind, and everything that says who
    /// the holder is byte for byte as before.
    #[track_caller]
    pub fn assert_renewed(&self, node: &Node, old: &Material, new: &Material, moment: &str) {
        let ca = fs::read_to_string(self.authority(node).certificate).expect("the CA certificate");
        assert_renewed(self.name, &ca, old, new, moment);
    }
}

impl Material {
    /// The credential of the user at `index` in a kubeconfig with embedded data.
    pub fn in_kubeconfig(text: &str, index: usize) -> Self {
        let value = |key: &str| {
            let prefix = format!("{key}:");
            let mut values = text.lines().filter_map(|line| line.trim_start().strip_prefix(&prefix));
            let value = values
                .nth(index)
                .unwrap_or_else(|| panic!("no {key} number {index} in the kubeconfig"));
            String::from_utf8(der::decode_base64(
                value
                    .split(" #")
                    .next()
                    .expect("a first part")
                    .trim()
                    .trim_matches(['"', '\'']),
            ))
            .expect("embedded data is PEM")
        };
        Material {
            certificate: value("client-certificate-data"),
            key: value("client-key-data"),
        }
    }
}

/// See [`Credential::assert_renewed`].
#[track_caller]
pub fn assert_renewed(name: &str, ca: &str, old: &Material, new: &Material, moment: &str) {
    let (was, is) = (
        Certificate::from_pem(&old.certificate),
        Certificate::from_pem(&new.certificate),
    );
    assert_same_holder(name, &was, &is);
    assert_validity(name, ca, &is, moment);
    for at in [is.not_before + 1, clock::seconds(moment), is.not_after - 1] {
        openssl::verify(ca, &new.certificate, at)
            .unwrap_or_else(|error| panic!("{name}: openssl verify at {}: {error}", clock::moment(at)));
    }
    let key = openssl::public_key_of_key(&new.key);
    assert_eq!(
        key,
        openssl::public_key_of_certificate(&new.certificate),
        "{name}: the key does not belong to the certificate"
    );
    assert_ne!(
        key,
        openssl::public_key_of_key(&old.key),
        "{name}: the key is still the old one"
    );
    assert_eq!(
        openssl::kind_of_key(&new.key),
        openssl::kind_of_key(&old.key),
        "{name}: another kind of key"
    );
    for (new, old) in [(&new.certificate, &old.certificate), (&new.key, &old.key)] {
        assert_eq!(labels(new), labels(old), "{name}: other PEM blocks");
    }
}

#[track_caller]
fn assert_same_holder(name: &str, was: &Certificate, is: &Certificate) {
    assert_eq!(is.subject, was.subject, "{name}: the subject's DER differs");
    assert_eq!(
        is.extensions_to_keep(),
        was.extensions_to_keep(),
        "{name}: the extensions differ (SAN, KU, EKU, ...)"
    );
    assert_eq!(
        is.public_key_algorithm, was.public_key_algorithm,
        "{name}: another key algorithm or curve"
    );
    assert_eq!(
        is.signature_algorithm, was.signature_algorithm,
        "{name}: another signature algorithm"
    );
    match (was.subject_key_id(), is.subject_key_id()) {
        (None, None) => {}
        (Some(old), Some(new)) => assert_ne!(new, old, "{name}: the subject key identifier is the old key's"),
        (old, new) => panic!(
            "{name}: a subject key identifier before: {}, after: {}",
            old.is_some(),
            new.is_some()
        ),
    }
    assert_ne!(is.serial, was.serial, "{name}: the serial number is the old one");
    assert!(
        is.serial.len() >= 8 && is.serial.len() <= 20 && is.serial[0] < 0x80,
        "{name}: serial {:?} is short, long or negative",
        is.serial
    );
}

/// notBefore is five minutes before the run, notAfter 365 days after it or the end of the CA.
#[track_caller]
fn assert_validity(name: &str, ca: &str, is: &Certificate, moment: &str) {
    let run = is.not_before + 5 * clock::MINUTE;
    let start = clock::seconds(moment);
    assert!(
        (start..start + clock::MINUTE).contains(&run),
        "{name}: notBefore is {}, the run was at {moment}",
        clock::moment(is.not_before)
    );
    let end = Certificate::from_pem(ca).not_after.min(run + 365 * clock::DAY);
    assert_eq!(clock::moment(is.not_after), clock::moment(end), "{name}: notAfter");
}

fn labels(pem: &str) -> Vec<String> {
    der::pem_blocks(pem).into_iter().map(|(label, _)| label).collect()
}
