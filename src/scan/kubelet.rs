//! The kubelet's configuration, as far as a scan needs it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use super::MAX_YAML;
use crate::config::Settings;
use crate::format::yaml;
use crate::host::Host;

/// Values of the kubelet's configuration (kubelet.config.k8s.io/v1beta1).
pub(super) struct Config {
    pub(super) static_pods: Option<PathBuf>,
    pub(super) health: Option<SocketAddr>,
    pub(super) rotates: Option<bool>,
}

/// Reads the kubelet's configuration. If it says nothing, or cannot be read, the kubelet's defaults
/// hold: no static pods (kubeadm sets them), and health on 127.0.0.1:10248. A health port of 0
/// turns it off.
pub(super) fn config(host: &Host, settings: &Settings) -> Config {
    let read = || {
        let config = host.read_at_most(&settings.paths.kubelet.join("config.yaml"), MAX_YAML);
        yaml::parse(config.ok()?.bytes.text().ok()?).ok()
    };
    let found = read();
    // The API's default is not to; kubeadm writes it.
    let rotates =
        |config: &yaml_serde::Value| config.get("rotateCertificates").and_then(|it| it.as_bool()) == Some(true);
    let rotates = found.as_ref().map(rotates);
    let config = found.unwrap_or_default();
    let static_pods = config
        .get("staticPodPath")
        .and_then(|path| path.as_str())
        .map(PathBuf::from);
    let port = config
        .get("healthzPort")
        .and_then(|port| port.as_u64())
        .unwrap_or(10_248);
    let address = config
        .get("healthzBindAddress")
        .and_then(|address| address.as_str()?.parse().ok());
    let address: IpAddr = address.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
    Config {
        static_pods: static_pods.filter(|path| path.is_absolute()),
        health: u16::try_from(port)
            .ok()
            .filter(|port| *port != 0)
            .map(|port| SocketAddr::new(address, port)),
        rotates,
    }
}
