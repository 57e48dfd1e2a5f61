//! Checks of names: the certificates of the API server and of etcd must include the names that
//! clients use.

use super::{Evidence, Finding};
use crate::catalog::readers::{APISERVER, ETCD};
use crate::format::kubeconfig::{self, host_of};
use crate::format::x509::is_for;
use crate::model::Certificate;

/// Kubeconfigs of kubeadm. All of them are for this cluster.
const KUBECONFIGS: [&str; 5] = [
    "admin.conf",
    "super-admin.conf",
    "controller-manager.conf",
    "scheduler.conf",
    "kubelet.conf",
];

/// Certificates of etcd, each with the flag that has its URLs.
const OF_ETCD: [(&str, &str); 2] = [
    ("etcd-server", "advertise-client-urls"),
    ("etcd-peer", "initial-advertise-peer-urls"),
];

/// A name, and the place that uses it.
type UsedName = (String, String);

pub(super) fn check(evidence: &Evidence<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    let certificate = |name: &str| Some(&evidence.inventory.present(name)?.certificate);
    if let Some(certificate) = certificate("apiserver") {
        for (name, place) in missing(certificate, servers(evidence)) {
            let message = format!(
                "does not include {name}, which {place} uses to connect; \
                 clients will reject it (hostname mismatch)"
            );
            found.push(Finding::fault("apiserver", message).hint(again("apiserver")));
        }
        for (name, place) in missing(certificate, advertised(evidence)) {
            let message = format!("does not include {name}, the node's address in {place}");
            found.push(Finding::warning("apiserver", message).hint(again("apiserver")));
        }
    }
    for (credential, flag) in OF_ETCD {
        if let Some(certificate) = certificate(credential) {
            for (name, place) in missing(certificate, urls(evidence, flag)) {
                let message = format!("does not include {name}, an address of etcd ({place}); is it another node's?");
                found.push(Finding::fault(credential, message).hint(again(credential)));
            }
        }
    }
    found
}

/// Returns a hint. kubecertd keeps the names of a certificate, and kubeadm creates one only if it
/// is missing.
fn again(credential: &str) -> String {
    format!(
        "move its .crt and .key out of the PKI directory, then run \
         `kubeadm init phase certs {credential} --config FILE` with the name in FILE \
         (apiServer.certSANs, etcd.local.serverCertSANs, peerCertSANs)"
    )
}

fn missing(certificate: &Certificate, called: Vec<UsedName>) -> impl Iterator<Item = UsedName> {
    let mut told: Vec<String> = Vec::new();
    called.into_iter().filter(move |(name, _)| {
        let is_new = !is_for(certificate, name) && !told.contains(name);
        told.push(name.clone());
        is_new
    })
}

/// Returns the servers of the kubeconfigs, such as the control-plane endpoint.
fn servers(evidence: &Evidence<'_>) -> Vec<UsedName> {
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

fn advertised(evidence: &Evidence<'_>) -> Vec<UsedName> {
    let flag = evidence
        .inventory
        .pod(APISERVER)
        .and_then(|pod| pod.flag("advertise-address"));
    // 0.0.0.0 or no flag stand for the address of the default route.
    let address = flag.filter(|address| !["0.0.0.0", "::"].contains(address));
    let place = "--advertise-address of its manifest";
    address
        .map(|address| (address.to_owned(), place.to_owned()))
        .into_iter()
        .collect()
}

fn urls(evidence: &Evidence<'_>, flag: &str) -> Vec<UsedName> {
    let urls = evidence
        .inventory
        .pod(ETCD)
        .and_then(|pod| pod.flag(flag))
        .unwrap_or_default();
    let urls = urls.split(',').map(str::trim).filter(|url| url.starts_with("https://"));
    urls.filter_map(|url| Some((host_of(url)?.to_owned(), format!("--{flag}"))))
        .collect()
}
