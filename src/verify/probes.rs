//! The probes for a reader and their addresses, from the flags in its manifest. Pure.
//!
//! Flags and defaults are those of kubernetes (`SecureServingOptions`); the kubelet's health port
//! is that of `KubeletConfiguration`, and etcd's ports are those of `etcd --help`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;

use crate::catalog::readers::{APISERVER, CONTROLLER_MANAGER, ETCD, KUBELET, SCHEDULER};
use crate::catalog::{Spec, Storage};
use crate::format::manifest::Manifest;
use crate::format::x509;
use crate::inventory::readers::Reader;
use crate::inventory::{Inventory, Location, Material, State};

/// A probe that shows that a renewed credential is in use.
#[derive(Debug, Clone)]
pub struct Probe {
    /// Name of the credential.
    pub credential: String,
    /// The question.
    pub question: Question,
}

/// A question to a component.
#[derive(Clone)]
pub enum Question {
    /// Do all of these addresses serve this certificate (DER)?
    Served(Vec<SocketAddr>, Vec<u8>),
    /// Does a server accept a login with the credential?
    Accepted(Box<Login>),
    /// There is nothing to ask.
    Nothing,
}

impl std::fmt::Debug for Question {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Served(addresses, _) => write!(f, "ServedCertificates({addresses:?})"),
            Self::Accepted(login) => write!(f, "Accepted({:?})", login.addresses),
            Self::Nothing => f.write_str("Nothing"),
        }
    }
}

/// A login to a server that identifies clients by their certificates.
pub struct Login {
    /// Addresses of the server. One that answers is enough.
    pub addresses: Vec<SocketAddr>,
    /// Requested path, which an unknown client is not allowed to read.
    pub path: &'static str,
    /// Certificate with chain, and key, as PEM.
    pub identity: (String, zeroize::Zeroizing<String>),
    /// CAs (DER), one of which must have signed the server's certificate. Empty means any.
    pub authorities: Vec<Vec<u8>>,
}

impl Clone for Login {
    fn clone(&self) -> Self {
        Self {
            addresses: self.addresses.clone(),
            path: self.path,
            identity: self.identity.clone(),
            authorities: self.authorities.clone(),
        }
    }
}

/// Health endpoint of a component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// Address.
    pub address: SocketAddr,
    /// Requested path.
    pub path: &'static str,
    /// True if it speaks TLS.
    pub tls: bool,
}

const fn local(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}

/// Returns the health endpoint of a component. `None` if it has none.
pub fn health(reader: &Reader) -> Option<Health> {
    let secure = |path, address| Health {
        address,
        path,
        tls: true,
    };
    let manifest = reader.manifest.as_ref();
    match reader.name.as_str() {
        KUBELET => reader.health.map(|address| Health {
            address: reachable(address),
            path: "/healthz",
            tls: false,
        }),
        APISERVER => served_at(manifest?, 6443).map(|address| secure("/readyz", address)),
        CONTROLLER_MANAGER => served_at(manifest?, 10_257).map(|address| secure("/healthz", address)),
        SCHEDULER => served_at(manifest?, 10_259).map(|address| secure("/healthz", address)),
        ETCD => {
            let plain = addresses(manifest?.flag("listen-metrics-urls")?, "http://");
            plain.into_iter().next().map(|address| Health {
                address,
                path: "/health",
                tls: false,
            })
        }
        _ => None,
    }
}

/// Returns the address from `--bind-address` and `--secure-port`. `None` if the port is 0, which
/// disables it.
fn served_at(manifest: &Manifest, default_port: u16) -> Option<SocketAddr> {
    let port = match manifest.flag("secure-port") {
        Some(port) => port.parse().ok()?,
        None => default_port,
    };
    let address = manifest.flag("bind-address").and_then(|address| address.parse().ok());
    (port != 0).then(|| {
        reachable(SocketAddr::new(
            address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
            port,
        ))
    })
}

/// Returns the loopback address for a server that listens on all addresses.
fn reachable(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => local(address.port()),
        IpAddr::V6(ip) if ip.is_unspecified() => {
            SocketAddr::new(IpAddr::V6(std::net::Ipv6Addr::LOCALHOST), address.port())
        }
        _ => address,
    }
}

/// Returns the addresses in a list of URLs with this scheme. URLs with a host name are left out,
/// since etcd listens on addresses only.
fn addresses(urls: &str, scheme: &str) -> Vec<SocketAddr> {
    let hosts = urls.split(',').filter_map(|url| url.trim().strip_prefix(scheme));
    hosts
        .filter_map(|host| host.trim_end_matches('/').parse().ok().map(reachable))
        .collect()
}

/// Returns the probes that show that `reader` uses these credentials.
pub fn of_reader(inventory: &Inventory, reader: &Reader, credentials: &[String]) -> Vec<Probe> {
    let read = inventory
        .credentials
        .iter()
        .filter(|credential| credentials.contains(&credential.spec.name));
    read.filter_map(|credential| match &credential.state {
        State::Present(present) => Some(Probe {
            credential: credential.spec.name.clone(),
            question: question(inventory, reader, &credential.spec, present),
        }),
        _ => None,
    })
    .collect()
}

/// Returns the probes for credentials that no component of this node reads: kubecertd logs in with
/// them.
pub fn of_people(inventory: &Inventory, credentials: &[String]) -> Vec<Probe> {
    let known = inventory
        .credentials
        .iter()
        .filter(|c| c.spec.readers.is_empty() && credentials.contains(&c.spec.name));
    known
        .filter_map(|c| {
            let present = inventory.present(&c.spec.name)?;
            let question = match c.spec.name.as_str() {
                "etcd-healthcheck-client" => etcd_login(inventory, present, &c.spec.name),
                _ => api_login(inventory, present),
            };
            Some(Probe {
                credential: c.spec.name.clone(),
                question: question.unwrap_or(Question::Nothing),
            })
        })
        .collect()
}

/// A port that serves a credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// The component that serves it.
    pub reader: String,
    /// Name of the credential.
    pub credential: String,
    /// Address.
    pub address: SocketAddr,
}

/// Returns every port of this node that serves a credential, even one whose file cannot be read.
pub fn ports(inventory: &Inventory) -> Vec<Port> {
    let of = |reader: &Reader| {
        let reads = inventory
            .credentials
            .iter()
            .filter(|c| c.spec.readers.contains(&reader.name));
        let ports = reads.flat_map(|credential| {
            served_by(reader, &credential.spec).into_iter().map(|address| Port {
                reader: reader.name.clone(),
                credential: credential.spec.name.clone(),
                address,
            })
        });
        ports.collect::<Vec<_>>()
    };
    inventory.readers.iter().flat_map(of).collect()
}

/// Returns the addresses at which a component serves a credential; none for a client certificate.
/// The configured `probe` is the port for clients: etcd serves another one to its peers.
fn served_by(reader: &Reader, spec: &Spec) -> Vec<SocketAddr> {
    let manifest = reader.manifest.as_ref();
    let listens = |flag| addresses(manifest.and_then(|m| m.flag(flag)).unwrap_or_default(), "https://");
    match (reader.name.as_str(), spec.name.as_str(), reader.probe) {
        (ETCD, "etcd-peer", _) => listens("listen-peer-urls"),
        (APISERVER, "apiserver-etcd-client" | "apiserver-kubelet-client" | "front-proxy-client", _) => Vec::new(),
        _ if matches!(spec.storage, Storage::Kubeconfig { .. }) => Vec::new(),
        (_, _, Some(probe)) => vec![probe],
        (APISERVER, "apiserver", None) => manifest.and_then(|m| served_at(m, 6443)).into_iter().collect(),
        (ETCD, "etcd-server", None) => listens("listen-client-urls"),
        _ => Vec::new(),
    }
}

fn question(inventory: &Inventory, reader: &Reader, spec: &Spec, present: &Material) -> Question {
    let addresses = served_by(reader, spec);
    let name = spec.name.as_str();
    let leaf = &present.certificate.der;
    if !addresses.is_empty() && !leaf.is_empty() {
        return Question::Served(addresses, leaf.clone());
    }
    let found = match (reader.name.as_str(), name) {
        (APISERVER, "apiserver-etcd-client") => etcd_login(inventory, present, name),
        (APISERVER, "apiserver-kubelet-client") => login(present, vec![local(10_250)], "/pods", Vec::new()),
        _ => api_login(inventory, present),
    };
    found.unwrap_or(Question::Nothing)
}

fn login(
    present: &Material,
    addresses: Vec<SocketAddr>,
    path: &'static str,
    authorities: Vec<Vec<u8>>,
) -> Option<Question> {
    let (certificate, key) = present.identity().filter(|_| !addresses.is_empty())?;
    Some(Question::Accepted(Box::new(Login {
        addresses,
        path,
        identity: (certificate.to_owned(), key.to_owned().into()),
        authorities,
    })))
}

/// Returns a login to etcd's client port, which answers `/health` only to clients whose certificate
/// it accepts (`--client-cert-auth`).
fn etcd_login(inventory: &Inventory, present: &Material, name: &str) -> Option<Question> {
    let own = inventory
        .etcd()
        .map(|etcd| addresses(etcd.flag("listen-client-urls").unwrap_or_default(), "https://"));
    let named = || {
        inventory
            .pod(APISERVER)
            .map(|api| addresses(api.flag("etcd-servers").unwrap_or_default(), "https://"))
    };
    let addresses = own.filter(|own| !own.is_empty()).or_else(named)?;
    let spec = &inventory.credential(name)?.spec;
    let authority = inventory.authority(&spec.ca);
    // The API server may trust another file than the CA's, which is not known here.
    let trusts_another = |path: &Path| {
        let api = inventory.pod(APISERVER).filter(|_| name == "apiserver-etcd-client");
        let trusted = api.and_then(|api| Some(api.on_the_node(Path::new(api.flag("etcd-cafile")?))));
        trusted.is_some_and(|trusted| trusted != path)
    };
    let trusted = authority.filter(|authority| !trusts_another(&authority.spec.certificate));
    login(
        present,
        addresses,
        "/health",
        trusted.map(|authority| authority.bundle.clone()).unwrap_or_default(),
    )
}

/// Returns a login to the API server of this node, whose certificate must be signed by a CA in the
/// kubeconfig.
fn api_login(inventory: &Inventory, present: &Material) -> Option<Question> {
    let Location::Embedded { authorities, .. } = &present.location else {
        return None;
    };
    let address = served_at(inventory.pod(APISERVER)?, 6443)?;
    let known = x509::parse_pem(authorities.as_deref().unwrap_or_default()).unwrap_or_default();
    let known = known.into_iter().map(|(_, authority)| authority.der).collect();
    login(present, vec![address], "/api", known)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(component: &str, flags: &str) -> Manifest {
        Manifest::parse(&format!(
            "metadata: {{name: x}}\nspec: {{containers: [{{command: [{component}, {flags}]}}]}}\n"
        ))
        .unwrap()
    }

    #[test]
    fn addresses_come_from_flags_and_wildcards_mean_loopback() {
        let at = |flags| served_at(&manifest(APISERVER, flags), 6443).map(|address| address.to_string());
        assert_eq!(at("--x=1").as_deref(), Some("127.0.0.1:6443"));
        assert_eq!(
            at("--bind-address=0.0.0.0, --secure-port=7443").as_deref(),
            Some("127.0.0.1:7443")
        );
        assert_eq!(at("--bind-address=10.0.0.11").as_deref(), Some("10.0.0.11:6443"));
        assert_eq!(at("'--bind-address=::'").as_deref(), Some("[::1]:6443"));
        assert_eq!(at("--secure-port=0"), None);
        let urls = addresses(
            "https://127.0.0.1:2379,https://10.0.0.11:2379,http://127.0.0.1:1",
            "https://",
        );
        assert_eq!(urls.len(), 2);
    }

    #[test]
    fn a_configured_port_proves_server_certificates_only() {
        let probe: SocketAddr = "127.0.0.1:2379".parse().unwrap();
        let reader = |name: &str| Reader {
            name: name.into(),
            means: crate::catalog::readers::RestartMethod::Unit {
                unit: "x.service".into(),
                reload: false,
            },
            manifest: None,
            probe: Some(probe),
            health: None,
        };
        let spec = |name: &str, storage| Spec {
            name: name.into(),
            storage,
            ca: String::new(),
            readers: Vec::new(),
            purpose: String::new(),
            renewed_by: crate::catalog::RenewedBy::Us,
        };
        let pair = || Storage::Pair {
            certificate: "/c".into(),
            key: "/k".into(),
        };
        for (name, credential) in [(ETCD, "etcd-server"), (APISERVER, "apiserver"), (ETCD, "member-1")] {
            assert_eq!(
                served_by(&reader(name), &spec(credential, pair())),
                [probe],
                "{credential}"
            );
        }
        for (name, credential) in [
            (ETCD, "etcd-peer"),
            (APISERVER, "apiserver-etcd-client"),
            (APISERVER, "front-proxy-client"),
        ] {
            assert!(
                served_by(&reader(name), &spec(credential, pair())).is_empty(),
                "{credential}"
            );
        }
        let kubeconfig = Storage::Kubeconfig { path: "/c".into() };
        assert!(served_by(&reader(SCHEDULER), &spec("scheduler.conf", kubeconfig)).is_empty());
    }

    #[test]
    fn health_is_asked_where_the_manifest_says() {
        let reader = |name: &str, flags| Reader {
            name: name.into(),
            means: crate::catalog::readers::RestartMethod::Pod { manifest: "/m".into() },
            manifest: Some(manifest(name, flags)),
            probe: None,
            health: None,
        };
        let etcd = health(&reader(ETCD, "--listen-metrics-urls=http://127.0.0.1:2381")).unwrap();
        assert_eq!((etcd.address.port(), etcd.path, etcd.tls), (2381, "/health", false));
        assert_eq!(health(&reader(ETCD, "--x=1")), None);
        assert_eq!(
            health(&reader(SCHEDULER, "--bind-address=127.0.0.1"))
                .unwrap()
                .address
                .port(),
            10_259
        );
        assert_eq!(health(&reader(CONTROLLER_MANAGER, "--secure-port=0")), None);
    }
}
