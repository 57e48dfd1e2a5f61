//! Names: those by which the API server and etcd are called must be in the certificates that they show.

use super::{Evidence, Finding};
use crate::catalog::readers::{APISERVER, ETCD};
use crate::format::kubeconfig::{self, host_of};
use crate::format::x509::is_for;
use crate::model::Certificate;

/// kubeadm's kubeconfigs: all of them lead to this cluster.
const KUBECONFIGS: [&str; 5] = [
    "admin.conf",
    "super-admin.conf",
    "controller-manager.conf",
    "scheduler.conf",
    "kubelet.conf",
];

/// etcd's certificates, and the flag with the URLs by which it is called.
const OF_ETCD: [(&str, &str); 2] = [
    ("etcd-server", "advertise-client-urls"),
    ("etcd-peer", "initial-advertise-peer-urls"),
];

/// The name, and where it stands.
type Called = (String, String);

pub(super) fn check(evidence: &Evidence<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    let certificate = |name: &str| Some(&evidence.inventory.present(name)?.certificate);
    if let Some(certificate) = certificate("apiserver") {
        for (name, place) in missing(certificate, servers(evidence)) {
            let message =
                format!("is not for {name}, by which {place} calls it: who does is refused by the check of the name");
            found.push(Finding::fault("apiserver", message).hint(again("apiserver")));
        }
        for (name, place) in missing(certificate, advertised(evidence)) {
            let message = format!("is not for {name}, the node's address in {place}");
            found.push(Finding::warning("apiserver", message).hint(again("apiserver")));
        }
    }
    for (credential, flag) in OF_ETCD {
        if let Some(certificate) = certificate(credential) {
            for (name, place) in missing(certificate, urls(evidence, flag)) {
                let message = format!("is not for {name}, by which etcd is called ({place}): is it another node's?");
                found.push(Finding::fault(credential, message).hint(again(credential)));
            }
        }
    }
    found
}

/// kubecertd keeps the names of a certificate; kubeadm makes one anew only where none is.
fn again(credential: &str) -> String {
    format!(
        "move its .crt and .key out of the PKI directory, then `kubeadm init phase certs {credential} --config FILE`, with the name in FILE (apiServer.certSANs, etcd.local.serverCertSANs, peerCertSANs)"
    )
}

fn missing(certificate: &Certificate, called: Vec<Called>) -> impl Iterator<Item = Called> {
    let mut told: Vec<String> = Vec::new();
    called.into_iter().filter(move |(name, _)| {
        let is_new = !is_for(certificate, name) && !told.contains(name);
        told.push(name.clone());
        is_new
    })
}

/// The control-plane endpoint and the like: the servers of the kubeconfigs.
fn servers(evidence: &Evidence<'_>) -> Vec<Called> {
    let of_ours = evidence
        .inventory
        .credentials
        .iter()
        .filter(|c| KUBECONFIGS.contains(&c.spec.name.as_str()));
    let servers = of_ours.filter_map(|credential| {
        let path = credential.spec.storage.path();
        let file = evidence.scan.file(path).as_ref().ok()?;
        let server = kubeconfig::parse(file.bytes.text().ok()?).ok()?.server?;
        Some((server, path.display().to_string()))
    });
    servers.collect()
}

fn advertised(evidence: &Evidence<'_>) -> Vec<Called> {
    let flag = evidence
        .inventory
        .pod(APISERVER)
        .and_then(|pod| pod.flag("advertise-address"));
    // 0.0.0.0 and none: the address of the default route.
    let address = flag.filter(|address| !["0.0.0.0", "::"].contains(address));
    let place = "--advertise-address of its manifest";
    address
        .map(|address| (address.to_owned(), place.to_owned()))
        .into_iter()
        .collect()
}

fn urls(evidence: &Evidence<'_>, flag: &str) -> Vec<Called> {
    let urls = evidence
        .inventory
        .pod(ETCD)
        .and_then(|pod| pod.flag(flag))
        .unwrap_or_default();
    let urls = urls.split(',').map(str::trim).filter(|url| url.starts_with("https://"));
    urls.filter_map(|url| Some((host_of(url)?.to_owned(), format!("--{flag}"))))
        .collect()
}
