//! etcd in the manifests and the configuration: its endpoints, client certificates and data
//! directory. Pure.

use std::path::{Path, PathBuf};

use crate::config::Settings;
use crate::format::manifest::Manifest;
use crate::inventory::Inventory;

/// Configuration of etcd, before it is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberConfig {
    /// Endpoints, in the order in which they are tried.
    pub endpoints: Vec<String>,
    /// Likely endpoints of the other members: those at the time when this one joined, with this
    /// one's port.
    pub others: Vec<String>,
    /// Name of the member on this node.
    pub name: Option<String>,
    /// File of its CA.
    pub ca: PathBuf,
    /// Client certificates and keys, in the order in which they are tried: one may have expired.
    pub clients: Vec<(PathBuf, PathBuf)>,
    /// Data directory of the member on this node. `None` if etcd runs elsewhere.
    pub data: Option<PathBuf>,
    /// True if a member is meant to run here, which is not so on a worker or before `kubeadm init`.
    pub is_meant: bool,
}

/// Reads it from the inventory and the settings. The configuration wins.
pub fn known(inventory: &Inventory, settings: &Settings) -> MemberConfig {
    let etcd = inventory.etcd();
    let server = inventory
        .pods
        .iter()
        .map(|pod| &pod.manifest)
        .find(|manifest| manifest.component == "kube-apiserver");
    let pki = &settings.paths.pki;
    let set = &settings.etcd;
    let path = |manifest: Option<&Manifest>, flag: &str| {
        let manifest = manifest?;
        Some(manifest.on_the_node(Path::new(manifest.flag(flag)?)))
    };
    let pair = |manifest, certificate, key| Some((path(manifest, certificate)?, path(manifest, key)?));
    let in_pki = |name: &str| Some((pki.join(format!("{name}.crt")), pki.join(format!("{name}.key"))));
    let mut clients: Vec<(PathBuf, PathBuf)> = Vec::new();
    let configured = set.certificate.clone().zip(set.key.clone());
    let candidates = match configured {
        Some(only) => vec![Some(only)],
        None => vec![
            pair(server, "etcd-certfile", "etcd-keyfile"),
            in_pki("apiserver-etcd-client"),
            in_pki("etcd/healthcheck-client"),
            // kubeadm's server certificate is also valid for clients (kubeadm `certlist.go`).
            pair(etcd, "cert-file", "key-file"),
        ],
    };
    for candidate in candidates.into_iter().flatten() {
        if !clients.contains(&candidate) {
            clients.push(candidate);
        }
    }
    let from_manifest = path(etcd, "data-dir");
    let ca = set.ca.clone();
    let ca = ca
        .or_else(|| path(server, "etcd-cafile"))
        .or_else(|| path(etcd, "trusted-ca-file"));
    MemberConfig {
        endpoints: endpoints(&set.endpoints, etcd, server),
        others: etcd.map(others).unwrap_or_default(),
        name: etcd.and_then(|etcd| Some(etcd.flag("name")?.to_owned())),
        ca: ca.unwrap_or_else(|| pki.join("etcd/ca.crt")),
        clients,
        is_meant: from_manifest.is_some() || settings.paths.etcd_data.is_some() || inventory.has_etcd(),
        data: (!inventory.etcd_is_external).then(|| {
            let data = settings.paths.etcd_data.clone().or(from_manifest);
            data.unwrap_or_else(|| "/var/lib/etcd".into())
        }),
    }
}

fn endpoints(configured: &[String], etcd: Option<&Manifest>, server: Option<&Manifest>) -> Vec<String> {
    if !configured.is_empty() {
        return configured.to_vec();
    }
    let list = |manifest: Option<&Manifest>, flag: &str| -> Vec<String> {
        let urls = manifest.and_then(|manifest| manifest.flag(flag)).unwrap_or_default();
        urls.split(',').filter_map(|url| reachable(url.trim())).collect()
    };
    let listens = list(etcd, "listen-client-urls");
    // A member that does not answer at the loopback address does not run.
    let near: Vec<_> = listens.iter().filter(|url| is_loopback(url)).cloned().collect();
    [
        near,
        listens,
        list(etcd, "advertise-client-urls"),
        list(server, "etcd-servers"),
    ]
    .into_iter()
    .find(|urls| !urls.is_empty())
    .unwrap_or_default()
}

/// Returns the other members of `--initial-cluster`, with the client port of this one.
fn others(etcd: &Manifest) -> Vec<String> {
    let own = etcd.flag("name").unwrap_or_default();
    let client = etcd
        .flag("advertise-client-urls")
        .and_then(|urls| urls.split(',').next());
    let port = client.and_then(|url| Some(url.trim_end_matches('/').rsplit_once(':')?.1));
    let Some((client, port)) = client.zip(port) else {
        return Vec::new();
    };
    let scheme = client.split_once("://").map_or("https", |(scheme, _)| scheme);
    let members = etcd.flag("initial-cluster").unwrap_or_default().split(',');
    let hosts = members.filter_map(|member| {
        let (name, url) = member.split_once('=')?;
        let (_, address) = url.split_once("://")?;
        (name.trim() != own).then_some(address.rsplit_once(':')?.0)
    });
    hosts.map(|host| format!("{scheme}://{host}:{port}")).collect()
}

/// Returns the address to connect to for an address to listen on. `None` for a socket file.
fn reachable(url: &str) -> Option<String> {
    let (scheme, address) = url.split_once("://")?;
    let (host, port) = address.trim_end_matches('/').rsplit_once(':')?;
    let host = match host {
        "0.0.0.0" | "" => "127.0.0.1",
        "[::]" => "[::1]",
        host => host,
    };
    ["http", "https"]
        .contains(&scheme)
        .then(|| format!("{scheme}://{host}:{port}"))
}

/// Returns true for an address of this machine.
pub fn is_loopback(url: &str) -> bool {
    ["://127.", "://[::1]", "://localhost:"]
        .iter()
        .any(|near| url.contains(near))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn etcd(flags: &str) -> Manifest {
        let text = format!("metadata: {{name: etcd}}\nspec:\n  containers:\n  - command: [etcd, {flags}]\n");
        Manifest::parse(&text).unwrap()
    }

    #[test]
    fn a_member_of_this_node_is_asked_at_its_loopback_address() {
        let of = |flags| endpoints(&[], Some(&etcd(flags)), None);
        assert_eq!(
            of("\"--listen-client-urls=https://10.0.0.11:2379,https://127.0.0.1:2379\""),
            ["https://127.0.0.1:2379"]
        );
        assert_eq!(
            of("\"--listen-client-urls=https://0.0.0.0:2379\""),
            ["https://127.0.0.1:2379"]
        );
        assert_eq!(
            of("\"--listen-client-urls=unix:///x.sock\", \"--advertise-client-urls=https://10.0.0.11:2379/\""),
            ["https://10.0.0.11:2379"]
        );
    }

    #[test]
    fn the_manifest_names_the_other_members_at_the_time_of_joining() {
        let flags = "--name=b, --advertise-client-urls=https://10.0.0.12:2379, \
                     \"--initial-cluster=a=https://10.0.0.11:2380,b=https://10.0.0.12:2380,c=https://[fd00::3]:2380\"";
        assert_eq!(
            others(&etcd(flags)),
            ["https://10.0.0.11:2379", "https://[fd00::3]:2379"]
        );
        assert!(others(&etcd("--name=b")).is_empty());
    }

    #[test]
    fn external_etcd_is_found_from_api_server_or_configuration() {
        let server = etcd("\"--etcd-servers=https://10.0.0.21:2379,https://10.0.0.22:2379\"");
        let servers = endpoints(&[], None, Some(&server));
        assert_eq!(servers, ["https://10.0.0.21:2379", "https://10.0.0.22:2379"]);
        let configured = ["https://e:1".to_owned()];
        assert_eq!(endpoints(&configured, None, Some(&server)), configured);
    }
}
