//! The node that all faults are tried on: a kubeadm tree with everything that a renewal has to
//! keep, and something to rotate away.

use super::backups;
use super::image::{Attributes, Image, Kind};
use super::support::{ECDSA, fixture};

/// Directory of kubecertd's own state.
pub const STATE: &str = "var/lib/kubecertd";
pub const BACKUPS: &str = "var/lib/kubecertd/backups";
pub const MANIFESTS: &str = "etc/kubernetes/manifests";

/// The manifests that a renewal touches (`[restart] scope = "needed"`).
pub const TOUCHED: [&str; 2] = [
    "etc/kubernetes/manifests/kube-controller-manager.yaml",
    "etc/kubernetes/manifests/kube-scheduler.yaml",
];

/// The age of everything on the node: 2026-11-23 18:50 UTC.
pub const MODIFIED: i64 = 1_795_459_800;

/// A certificate and its key, by the real paths of the files, and the CA that signs it.
pub struct Pair {
    pub certificate: &'static str,
    pub key: &'static str,
    pub ca: &'static str,
}

const fn pair(certificate: &'static str, key: &'static str, ca: &'static str) -> Pair {
    Pair { certificate, key, ca }
}

const CA: &str = "etc/kubernetes/pki/ca.crt";
const ETCD_CA: &str = "etc/kubernetes/pki/etcd/ca.crt";
const FRONT_PROXY_CA: &str = "etc/kubernetes/pki/front-proxy-ca.crt";

pub const PAIRS: [Pair; 8] = [
    pair(
        "etc/kubernetes/pki/apiserver.crt",
        "etc/kubernetes/pki/apiserver.key",
        CA,
    ),
    pair(
        "etc/kubernetes/pki/apiserver-etcd-client.crt",
        "etc/kubernetes/pki/apiserver-etcd-client.key",
        ETCD_CA,
    ),
    pair(
        "etc/kubernetes/pki/apiserver-kubelet-client.crt",
        "etc/kubernetes/pki/apiserver-kubelet-client.key",
        CA,
    ),
    pair(
        "etc/kubernetes/pki/etcd/healthcheck-client.crt",
        "etc/kubernetes/pki/etcd/healthcheck-client.key",
        ETCD_CA,
    ),
    pair(PEER, "etc/kubernetes/pki/etcd/peer.key", ETCD_CA),
    pair(
        "etc/kubernetes/pki/etcd/server.crt",
        "etc/kubernetes/pki/etcd/server.key",
        ETCD_CA,
    ),
    pair(
        "etc/ssl/kubernetes/front-proxy-client.crt",
        "etc/ssl/kubernetes/front-proxy-client.key",
        FRONT_PROXY_CA,
    ),
    pair("etc/extra/extra.crt", MISSING_KEY, CA),
];

/// The pair that has lost its key; a renewal makes one.
pub const MISSING_KEY: &str = "etc/extra/extra.key";

/// The certificate that has a second name.
pub const PEER: &str = "etc/kubernetes/pki/etcd/peer.crt";
pub const SECOND_NAME: &str = "etc/kubernetes/pki/etcd/peer-too.crt";

/// Certificate and key are in them, signed by the node's CA.
pub const KUBECONFIGS: [&str; 5] = [
    COPY,
    "etc/kubernetes/admin.conf",
    "etc/kubernetes/controller-manager.conf",
    "etc/kubernetes/scheduler.conf",
    "etc/kubernetes/super-admin.conf",
];

/// A copy of admin.conf, which changes with it.
pub const COPY: &str = "root/.kube/config";

pub const KUBECONFIG_CA: &str = CA;

/// Every name whose file a whole renewal replaces.
pub fn replaced() -> Vec<&'static str> {
    let pairs = PAIRS.iter().flat_map(|pair| [pair.key, pair.certificate]);
    pairs.chain(KUBECONFIGS).chain([SECOND_NAME]).collect()
}

const EXTRA: &str = r#"[[certificate]]
name = "extra"
path = "/etc/extra/extra.crt"
key = "/etc/extra/extra.key"
ca = "ca"

[[kubeconfig_copy]]
path = "/root/.kube/config"
of = "admin.conf"
"#;

/// Sets of earlier renewals: as many as are kept by default, so that the next one rotates the
/// oldest away.
const EARLIER: [&str; 5] = [
    "20261101T031700Z",
    "20261102T031700Z",
    "20261103T031700Z",
    "20261104T031700Z",
    "20261105T031700Z",
];

/// Sizes of an etcd member's files: one is copied in two pieces, one is empty.
const ETCD_SIZES: [u32; 12] = [3000, 70_000, 100, 0, 10, 20, 30, 40, 50, 60, 70, 80];

/// The fixture, an etcd member, a symlinked pair, a file with two names, odd modes, owners and
/// attributes, a pair without its key, a copy of admin.conf, five backups of earlier renewals and
/// what is left of a sixth.
pub fn image() -> Image {
    let mut image = Image::read(&fixture(ECDSA));
    for (path, entry) in &mut image.0 {
        entry.attributes = Attributes::plain(usual_mode(path, &entry.kind));
        entry.modified = (MODIFIED, 0);
    }
    for (number, size) in ETCD_SIZES.into_iter().enumerate() {
        let content: Vec<u8> = (0..size)
            .map(|i: u32| (i.wrapping_mul(2_654_435_761) >> 24) as u8)
            .collect();
        let kind = if number % 2 == 0 { "snap" } else { "wal" };
        put(
            &mut image,
            &format!("var/lib/etcd/member/{kind}/{number}.{kind}"),
            &content,
            0o600,
        );
    }
    put(&mut image, "etc/kubecertd/config.toml", EXTRA.as_bytes(), 0o644);
    let certificate = image
        .bytes("etc/kubernetes/pki/apiserver-kubelet-client.crt")
        .expect("a fixture")
        .to_vec();
    put(&mut image, "etc/extra/extra.crt", &certificate, 0o644);
    move_behind_symlinks(&mut image);
    let admin = image.bytes("etc/kubernetes/admin.conf").expect("a fixture").to_vec();
    put(&mut image, COPY, &admin, 0o600);
    attributes(&mut image, COPY).gid = 1000;
    let peer = image.0[PEER].clone();
    image.0.insert(SECOND_NAME.to_owned(), peer);
    let odd = &mut attributes(&mut image, "etc/kubernetes/pki/etcd/server.key");
    (odd.mode, odd.uid, odd.gid) = (0o440, 2379, 2380);
    attributes(&mut image, "etc/kubernetes/scheduler.conf").mode = 0o640;
    for path in ["etc/kubernetes/pki/apiserver.crt", "etc/kubernetes/admin.conf"] {
        let extended = &mut attributes(&mut image, path).extended;
        extended.insert("user.note".to_owned(), b"keep me\0".to_vec());
    }
    for set in EARLIER {
        backups::add(&mut image, &format!("{BACKUPS}/{set}"));
    }
    put(
        &mut image,
        &format!("{BACKUPS}/.unfinished-20261106T031700Z/files/etc/half"),
        b"half a file",
        0o600,
    );
    attributes(&mut image, STATE).mode = 0o700;
    image
}

fn usual_mode(path: &str, kind: &Kind) -> u32 {
    match kind {
        Kind::Directory if path == MANIFESTS => 0o700,
        Kind::Directory => 0o755,
        _ if path.ends_with(".crt") || path.ends_with(".pub") => 0o644,
        _ => 0o600,
    }
}

/// One link is absolute, as seen from the node, and one relative.
fn move_behind_symlinks(image: &mut Image) {
    for (name, target) in [
        ("front-proxy-client.crt", "/etc/ssl/kubernetes/front-proxy-client.crt"),
        ("front-proxy-client.key", "../../ssl/kubernetes/front-proxy-client.key"),
    ] {
        let link = format!("etc/kubernetes/pki/{name}");
        let file = image.0.remove(&link).expect("a fixture");
        let Kind::File(bytes) = &file.kind else {
            panic!("{link} is no file")
        };
        put(
            image,
            &format!("etc/ssl/kubernetes/{name}"),
            bytes,
            file.attributes.mode,
        );
        image.add(&link, Kind::Symlink(target.to_owned()), 0o777, MODIFIED);
    }
}

/// A file, and the directories on the way where they are missing.
pub fn put(image: &mut Image, path: &str, bytes: &[u8], mode: u32) {
    add_directories(image, path);
    image.put(path, bytes, mode, MODIFIED);
}

fn add_directories(image: &mut Image, path: &str) {
    for (end, _) in path.match_indices('/') {
        let directory = &path[..end];
        if !image.0.contains_key(directory) {
            let own = directory.starts_with(BACKUPS) || directory.starts_with("var/lib/etcd");
            image.add(directory, Kind::Directory, if own { 0o700 } else { 0o755 }, MODIFIED);
        }
    }
}

fn attributes<'a>(image: &'a mut Image, path: &str) -> &'a mut Attributes {
    &mut image
        .0
        .get_mut(path)
        .unwrap_or_else(|| panic!("{path} is not there"))
        .attributes
}
