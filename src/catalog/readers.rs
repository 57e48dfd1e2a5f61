//! Readers: the programs that read credentials, the way in which each reloads a renewed one, and
//! the way in which it is restarted.

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

/// Readers in the order in which they are restarted: each needs the one before it, and the kubelet
/// starts them all.
pub const ORDER: [&str; 5] = [KUBELET, ETCD, APISERVER, CONTROLLER_MANAGER, SCHEDULER];

/// Returns the position of a reader in [`ORDER`]. Other readers come last.
pub fn order(reader: &str) -> usize {
    ORDER.iter().position(|known| *known == reader).unwrap_or(ORDER.len())
}

/// The way in which a reader is restarted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "lowercase")]
pub enum RestartMethod {
    /// A static pod: the kubelet restarts it when its manifest changes.
    Pod {
        /// Path of the manifest, without symlinks.
        manifest: PathBuf,
    },
    /// A systemd unit.
    Unit {
        /// Name of the unit, for example `kube-apiserver.service`.
        unit: String,
        /// True for `systemctl reload`, false for `systemctl restart`.
        reload: bool,
    },
    /// A command of the operator, which is run without a shell.
    Exec {
        /// Absolute path of the program, and its arguments.
        command: Vec<String>,
    },
}

/// `[[reader]]`: a reader that is not a static pod, or whose port its manifest does not give.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReaderSpec {
    /// Name in `readers` of credentials. A known name replaces parts of the built-in knowledge.
    pub name: String,
    /// The way in which it is restarted. `None` for a static pod.
    pub means: Option<RestartMethod>,
    /// Address at which it serves the certificates that it reads. `None` if its manifest gives it.
    pub probe: Option<SocketAddr>,
}

/// The way in which a component takes up a renewed credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReloadBehavior {
    /// The component reads the files again by itself.
    Rereads,
    /// The component caches the credential until it is restarted.
    Holds,
}

/// Returns the way in which `component` of `version` takes up a credential. An unknown version
/// counts as one that caches it.
///
/// - client-go reads credentials embedded in a kubeconfig once (measured on 1.36). Files that a
///   kubeconfig names are read again (client-go `transport/cert_rotation.go`, since 1.20).
/// - kube-apiserver reloads its serving and front-proxy pair since 1.18 (`dynamiccertificates`),
///   and its client pairs for etcd and kubelets at the next handshake (measured on 1.36).
/// - etcd reads its files at every handshake (`pkg/transport`, since 3.2; measured on 3.6).
/// - The kubelet reads its client certificate only at its start and after its own rotation
///   (`pkg/kubelet/certificate`).
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

/// The flag that replaces the certificate of [`in_memory`].
pub const SERVING_FLAG: &str = "tls-cert-file";

/// Returns the certificate that a component makes at its start and keeps in memory, and its life in
/// days. Only a restart renews it.
///
/// kube-controller-manager and kube-scheduler serve a self-signed one unless `--tls-cert-file` is
/// set (k8s.io/apiserver `options/serving.go`, `MaybeDefaultWithSelfSignedCerts`; 365 days).
/// kube-apiserver talks to itself with one (`loopback`): a year in old versions, three years in
/// 1.36.
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
