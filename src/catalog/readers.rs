//! Readers: the programs that read credentials, how each takes up a renewed one, and how it is made to start anew.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// etcd.
pub const ETCD: &str = "etcd";
/// The API server.
pub const APISERVER: &str = "kube-apiserver";
/// The controller manager.
pub const CONTROLLER_MANAGER: &str = "kube-controller-manager";
/// The scheduler.
pub const SCHEDULER: &str = "kube-scheduler";
/// The kubelet.
pub const KUBELET: &str = "kubelet";

/// Readers in the order in which they are restarted: each needs the one before, and the kubelet starts them all.
pub const ORDER: [&str; 5] = [KUBELET, ETCD, APISERVER, CONTROLLER_MANAGER, SCHEDULER];

/// Where a reader stands in [`ORDER`]; others come after it.
pub fn order(reader: &str) -> usize {
    ORDER.iter().position(|known| *known == reader).unwrap_or(ORDER.len())
}

/// How a reader is made to start anew.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "lowercase")]
pub enum RestartMethod {
    /// It is a static pod: the kubelet makes it anew when its manifest changes.
    Pod {
        /// The manifest, without symlinks.
        manifest: PathBuf,
    },
    /// It is a systemd unit.
    Unit {
        /// For example `kube-apiserver.service`.
        unit: String,
        /// `systemctl reload` instead of `restart`.
        reload: bool,
    },
    /// A command of the operator's restarts it: the program and its arguments, no shell.
    Exec {
        /// The program (absolute path) and its arguments.
        command: Vec<String>,
    },
}

/// `[[reader]]`: a reader that is no static pod, or where it shows its certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReaderSpec {
    /// What credentials call it in `readers`; a known name changes what is known of it.
    pub name: String,
    /// How it is restarted; none for a static pod.
    pub means: Option<RestartMethod>,
    /// Where it serves the certificates that it reads, where its manifest does not say.
    pub probe: Option<SocketAddr>,
}

/// How a component takes up a renewed credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReloadBehavior {
    /// It reads the files again by itself.
    Rereads,
    /// It holds the credential in memory until it is restarted.
    Holds,
}

/// Whether `component` of `version` takes up a credential by itself.
///
/// Credentials embedded in a kubeconfig are read once by client-go (measured on 1.36: held until a restart); files that a
/// kubeconfig names are read again (client-go `transport/cert_rotation.go`, since 1.20).
/// kube-apiserver re-reads its serving and front-proxy pair since 1.18 (`dynamiccertificates`), and its client pairs for etcd
/// and kubelets at the next handshake (measured on 1.36). etcd reads its files at every handshake (`pkg/transport`, since 3.2;
/// measured on 3.6). The kubelet reads its client certificate at its start and after its own rotation only
/// (`pkg/kubelet/certificate`). An unknown version counts as one that holds.
pub fn reload_behavior(component: &str, version: Option<(u32, u32)>, embedded: bool) -> ReloadBehavior {
    let rereads_since = match component {
        _ if embedded => None,
        ETCD => Some((3, 2)),
        APISERVER | CONTROLLER_MANAGER | SCHEDULER => Some((1, 20)),
        _ => None,
    };
    match (rereads_since, version) {
        (Some(since), Some(version)) if version >= since => ReloadBehavior::Rereads,
        _ => ReloadBehavior::Holds,
    }
}

/// The flag that replaces the certificate which [`in_memory`] speaks of.
pub const SERVING_FLAG: &str = "tls-cert-file";

/// A certificate that a component makes at its start, keeps in memory only, and renews by a restart only: what it is, and its life in days.
///
/// kube-controller-manager and kube-scheduler serve a self-signed one where `--tls-cert-file` is not set (k8s.io/apiserver
/// `options/serving.go`, `MaybeDefaultWithSelfSignedCerts`; 365 days). kube-apiserver talks to itself with one (`loopback`): a year in
/// old versions, three years in 1.36.
pub fn in_memory(component: &str, version: Option<(u32, u32)>, has_serving_flag: bool) -> Option<(&'static str, i64)> {
    match component {
        CONTROLLER_MANAGER | SCHEDULER if !has_serving_flag => Some(("the serving certificate in its memory", 365)),
        APISERVER if version < Some((1, 36)) => Some(("the loopback certificate in its memory", 365)),
        APISERVER => Some(("the loopback certificate in its memory", 3 * 365)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_version_holds_its_credentials() {
        assert_eq!(reload_behavior(APISERVER, None, false), ReloadBehavior::Holds);
        assert_eq!(
            reload_behavior(APISERVER, Some((1, 36)), false),
            ReloadBehavior::Rereads
        );
        assert_eq!(reload_behavior(SCHEDULER, Some((1, 36)), true), ReloadBehavior::Holds);
        assert_eq!(reload_behavior(KUBELET, Some((1, 36)), false), ReloadBehavior::Holds);
    }

    #[test]
    fn in_memory_certificates_last_a_year_except_on_new_api_servers() {
        let days = |component, version, flag| in_memory(component, version, flag).map(|(_, days)| days);
        assert_eq!(days(SCHEDULER, Some((1, 36)), false), Some(365));
        assert_eq!(days(SCHEDULER, Some((1, 36)), true), None);
        assert_eq!(days(APISERVER, Some((1, 35)), true), Some(365));
        assert_eq!(days(APISERVER, None, true), Some(365));
        assert_eq!(days(APISERVER, Some((1, 36)), true), Some(1095));
        assert_eq!(days(ETCD, None, false), None);
    }
}
