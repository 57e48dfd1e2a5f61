//! Nodes with something to show, and the page of `report --html` as a program reads it.

use super::clock::{self, DAY, FRESH};
use super::{ECDSA, Node, credential};

/// A name that would be markup in a page that does not escape it.
pub const HOSTILE: &str = "own-<img src=x onerror=alert(1)>&amp;";

/// The names of [`every_state`], in the order in which they are to stand, with their states.
pub const ROWS: [(&str, &str); 16] = [
    ("apiserver-etcd-client", "unreadable"),
    ("scheduler.conf", "expired"),
    ("etcd-server", "urgent"),
    ("controller-manager.conf", "due"),
    ("front-proxy-client", "blocked"),
    ("etcd-peer", "fine"),
    ("admin.conf", "fine"),
    ("apiserver", "fine"),
    ("apiserver-kubelet-client", "fine"),
    ("etcd-healthcheck-client", "fine"),
    ("kubelet.conf", "fine"),
    (HOSTILE, "fine"),
    ("super-admin.conf", "missing"),
    ("ca", "fine"),
    ("etcd-ca", "fine"),
    ("front-proxy-ca", "fine"),
];

/// A node with a credential of each state that there is at [`FRESH`], one with a bad name, and a
/// backup.
pub fn every_state() -> Node {
    let node = Node::of(ECDSA);
    node.write("etc/hostname", b"cp-1.example.internal\n", 0o644);
    let ends = |name: &str, days: i64| {
        let from = clock::later(FRESH, (days - 365) * DAY);
        credential::named(name).set_validity(&node, &from, 365);
    };
    node.run(FRESH, &["backup", "create"]).exits(0);
    ends("scheduler.conf", -2);
    ends("etcd-server", 3);
    ends("controller-manager.conf", 20);
    ends("front-proxy-client", 25);
    ends("etcd-peer", 70);
    ends("admin.conf", 140);
    node.remove("etc/kubernetes/pki/front-proxy-ca.key");
    node.remove("etc/kubernetes/super-admin.conf");
    node.rewrite("etc/kubernetes/pki/apiserver-etcd-client.crt", b"no certificate\n");
    let certificate = node.read("etc/kubernetes/pki/apiserver.crt");
    let key = node.read("etc/kubernetes/pki/apiserver.key");
    let file = HOSTILE.trim_start_matches("own-");
    node.write(&format!("etc/ssl/own/{file}.pem"), certificate.as_bytes(), 0o644);
    node.write(&format!("etc/ssl/own/{file}.key"), key.as_bytes(), 0o600);
    node.configure(
        "schedule = \"0 17 3 * * *\"\nspread = \"0s\"\nclock_wait = \"0s\"\n\
         [[window]]\ndays = [\"sat\"]\nstart = \"02:00\"\nlength = \"4h\"\n\
         [[certificate]]\nname = \"own-*\"\npath = \"/etc/ssl/own/*.pem\"\nkey = \"/etc/ssl/own/*.key\"\nca = \"ca\"\n",
    );
    node
}
