//! The node's credentials as its files have them, and as its ports serve them.

use super::node::{API, Node};
use std::collections::BTreeMap;
use std::path::Path;

/// The ten of v1.20, by kubecertd's names.
pub const CREDENTIALS: [(&str, &str); 10] = [
    ("admin.conf", "/etc/kubernetes/admin.conf"),
    ("apiserver", "/etc/kubernetes/pki/apiserver.crt"),
    ("apiserver-etcd-client", "/etc/kubernetes/pki/apiserver-etcd-client.crt"),
    (
        "apiserver-kubelet-client",
        "/etc/kubernetes/pki/apiserver-kubelet-client.crt",
    ),
    ("controller-manager.conf", "/etc/kubernetes/controller-manager.conf"),
    (
        "etcd-healthcheck-client",
        "/etc/kubernetes/pki/etcd/healthcheck-client.crt",
    ),
    ("etcd-peer", "/etc/kubernetes/pki/etcd/peer.crt"),
    ("etcd-server", "/etc/kubernetes/pki/etcd/server.crt"),
    ("front-proxy-client", "/etc/kubernetes/pki/front-proxy-client.crt"),
    ("scheduler.conf", "/etc/kubernetes/scheduler.conf"),
];

/// The kubelet's client certificate.
pub const KUBELET: &str = "/var/lib/kubelet/pki/kubelet-client-current.pem";

/// Ports and the certificates that they serve.
const SERVED: [(&str, &str); 3] = [
    (API, "apiserver"),
    ("10.0.0.11:2379", "etcd-server"),
    ("10.0.0.11:2380", "etcd-peer"),
];

impl Node {
    /// The serial number, hex, of the certificate in a file: PEM, or inside a kubeconfig.
    #[track_caller]
    pub fn serial(&self, path: &str) -> String {
        let pem = if path.ends_with(".conf") {
            let script = format!("sed -n 's/^ *client-certificate-data: *//p' {path} | base64 -d");
            self.run(&["sh", "-c", &script]).stdout
        } else {
            self.run(&["cat", path]).stdout
        };
        let serial = self.run_with(&["openssl", "x509", "-noout", "-serial"], &pem);
        serial.exits(0).stdout.trim().replace("serial=", "")
    }

    /// The serial numbers of the ten, by name.
    #[track_caller]
    pub fn serials(&self) -> BTreeMap<&'static str, String> {
        CREDENTIALS
            .into_iter()
            .map(|(name, path)| (name, self.serial(path)))
            .collect()
    }

    /// Every port serves what its file has, admin.conf opens the API server, and it still has what
    /// was written before.
    #[track_caller]
    pub fn uses_its_files(&self) {
        let files = self.serials();
        for (address, name) in SERVED {
            assert_eq!(self.served_serial(address), files[name], "{address} serves {name}");
        }
        self.has_its_mark();
    }

    /// Writes an object that every later look must find.
    #[track_caller]
    pub fn mark(&self) {
        self.kubectl(&["create", "configmap", "e2e", "--from-literal=written=before"])
            .exits(0);
    }

    #[track_caller]
    pub fn has_its_mark(&self) {
        let object = self.kubectl(&["get", "configmap", "e2e", "-o", "jsonpath={.data.written}"]);
        assert_eq!(object.exits(0).stdout, "before");
    }

    /// Signs every leaf again so that it ends that soon.
    #[track_caller]
    pub fn end_in(&self, seconds: u32) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/expire.sh");
        self.run(&[script.to_str().expect("a path in UTF-8"), &seconds.to_string()])
            .exits(0);
    }

    /// Tells if the certificate in a PEM file has expired.
    pub fn has_ended(&self, path: &str) -> bool {
        self.run(&["openssl", "x509", "-noout", "-checkend", "0", "-in", path])
            .code
            == 1
    }
}
