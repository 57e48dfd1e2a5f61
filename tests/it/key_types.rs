//! Kinds of keys and CAs, extended attributes, and files that hold certificate and key together.

use std::path::Path;
use std::process::Command;

use crate::support::clock::FRESH;
use crate::support::credential::{self, Material};
use crate::support::openssl::{Authority, openssl};
use crate::support::renewal::renew_replaces_only;
use crate::support::{Node, RSA};

const CRT: &str = "etc/kubernetes/pki/apiserver.crt";
const KEY: &str = "etc/kubernetes/pki/apiserver.key";

const EXTENSIONS: &str = "\
basicConstraints=critical,CA:FALSE
keyUsage=critical,digitalSignature
extendedKeyUsage=serverAuth,clientAuth
subjectAltName=DNS:master01,IP:10.0.0.11,dirName:other,RID:1.2.3.4,otherName:1.3.6.1.4.1.311.20.2.3;UTF8:master@example
authorityKeyIdentifier=keyid
subjectKeyIdentifier=none
[other]
CN=the same node
";

fn rsa(bits: usize) -> String {
    openssl(&["genrsa", "-traditional", &bits.to_string()])
}

fn sec1(curve: &str) -> String {
    openssl(&["ecparam", "-name", curve, "-genkey", "-noout"])
}

fn pkcs8(algorithm: &[&str]) -> String {
    openssl(&[&["genpkey"], algorithm].concat())
}

/// A node whose apiserver leaf has this key.
fn node_with(key: String) -> (Node, Material) {
    let node = Node::of(RSA);
    let apiserver = credential::named("apiserver");
    let authority = apiserver.authority(&node);
    let certificate = authority.issue(&key, "/CN=kube-apiserver", EXTENSIONS, "2026-11-20 00:00:00", 200);
    let old = Material { certificate, key };
    apiserver.store(&node, &old);
    (node, old)
}

#[track_caller]
fn keeps_its_kind(key: String) {
    let (node, old) = node_with(key);
    renew_replaces_only(&node, "apiserver", &[CRT, KEY]);
    let apiserver = credential::named("apiserver");
    apiserver.assert_renewed(&node, &old, &apiserver.material(&node), FRESH);
}

#[test]
fn rsa_3072_and_4096_keep_their_size() {
    keeps_its_kind(rsa(3072));
    keeps_its_kind(rsa(4096));
}

#[test]
fn ecdsa_in_sec1_and_in_pkcs8_keeps_its_form() {
    for curve in ["prime256v1", "secp384r1", "secp521r1"] {
        keeps_its_kind(sec1(curve));
        keeps_its_kind(pkcs8(&[
            "-algorithm",
            "EC",
            "-pkeyopt",
            &format!("ec_paramgen_curve:{curve}"),
        ]));
    }
}

#[test]
fn ed25519_stays_what_it_is() {
    keeps_its_kind(pkcs8(&["-algorithm", "ED25519"]));
}

/// A key of a kind that cannot be made is refused with its kind, before anything is touched.
#[test]
fn kinds_of_keys_that_cannot_be_made_are_refused_by_name() {
    for (key, kind) in [
        (rsa(1024), "RSA-1024"),
        (sec1("secp256k1"), "1.3.132.0.10"),
        (pkcs8(&["-algorithm", "ED448"]), "1.3.101.113"),
    ] {
        let (node, _) = node_with(key);
        let before = node.snapshot();
        node.run(FRESH, &["renew", "apiserver"])
            .exits(1)
            .complains("cannot renew apiserver: keys of this kind cannot be created")
            .complains(kind);
        assert_eq!(before.changes(&node.snapshot()), Default::default());
    }
}

#[test]
fn an_encrypted_key_is_refused() {
    for encrypt in [
        &["rsa", "-aes128", "-traditional", "-passout", "pass:x"][..],
        &["pkcs8", "-topk8", "-passout", "pass:x"],
    ] {
        let (node, old) = node_with(rsa(2048));
        let encrypted = openssl(&[encrypt, &["-in", node.path(KEY).to_str().unwrap()]].concat());
        node.rewrite(KEY, encrypted.as_bytes());
        node.run(FRESH, &["renew", "apiserver"]).exits(1).complains("encrypted");
        assert_eq!(node.read(CRT), old.certificate);
        assert_eq!(node.read(KEY), encrypted);
    }
}

#[test]
fn cas_of_every_kind_sign() {
    let cas = [
        rsa(4096),
        sec1("prime256v1"),
        sec1("secp384r1"),
        sec1("secp521r1"),
        pkcs8(&["-algorithm", "ED25519"]),
    ];
    for key in cas {
        let node = Node::of(RSA);
        Authority::of(&node, "pki/front-proxy-ca").become_one_with(&key);
        let leaf = credential::named("front-proxy-client");
        leaf.make_due(&node);
        let old = leaf.material(&node);
        node.run(FRESH, &["renew", "front-proxy-client"]).exits(0);
        leaf.assert_renewed(&node, &old, &leaf.material(&node), FRESH);
    }
}

fn getfattr(path: &Path) -> String {
    let output = Command::new("getfattr")
        .args(["-d", "-m", "-", "--absolute-names", "-e", "hex"])
        .arg(path)
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}

fn command(words: &[&str], path: &Path) {
    let done = Command::new(words[0]).args(&words[1..]).arg(path).status().unwrap();
    assert!(done.success(), "{words:?}");
}

#[test]
fn acls_labels_and_other_extended_attributes_are_kept() {
    let node = Node::of(RSA);
    for path in [CRT, KEY, "etc/kubernetes/scheduler.conf"].map(|p| node.path(p)) {
        command(&["setfacl", "-m", "u:1234:r--,m::r--"], &path);
        command(&["setfattr", "-n", "user.origin", "-v", "hand-made"], &path);
        command(
            &[
                "setfattr",
                "-n",
                "security.selinux",
                "-v",
                "system_u:object_r:kubernetes_file_t:s0",
            ],
            &path,
        );
    }
    let read = || [CRT, KEY, "etc/kubernetes/scheduler.conf"].map(|p| getfattr(&node.path(p)));
    let before = read();
    assert!(
        before
            .iter()
            .all(|a| a.contains("posix_acl") && a.contains("user.origin") && a.contains("selinux")),
        "{before:?}"
    );
    node.run(FRESH, &["renew", "apiserver", "scheduler.conf"]).exits(0);
    assert_eq!(read(), before);
}

/// A default ACL of the directory would let others read the new key.
#[test]
fn a_default_acl_of_the_directory_does_not_widen_a_key() {
    let node = Node::of(RSA);
    command(
        &["setfacl", "-d", "-m", "u:1234:rwx,m::rwx"],
        &node.path("etc/kubernetes/pki"),
    );
    let before = getfattr(&node.path(KEY));
    node.run(FRESH, &["renew", "apiserver"]).exits(0);
    assert_eq!(getfattr(&node.path(KEY)), before);
    assert_eq!(before, "", "the old key had no ACL");
}

/// As the kubelet's and HAProxy's files: certificate, then key, and text around them.
#[test]
fn certificate_and_key_in_one_file_are_replaced_together() {
    let node = Node::of(RSA);
    let old = credential::named("front-proxy-client").material(&node);
    let text = |m: &Material| format!("# both\n{}# then the key\n{}# end", m.certificate, m.key);
    node.write("etc/kubernetes/pki/both.pem", text(&old).as_bytes(), 0o600);
    node.configure(
        "[[certificate]]\nname = \"both\"\npath = \"/etc/kubernetes/pki/both.pem\"\nca = \"front-proxy-ca\"\n",
    );
    node.run(FRESH, &["renew", "both"]).exits(0);
    let new = node.read("etc/kubernetes/pki/both.pem");
    let (certificate, rest) = new
        .strip_prefix("# both\n")
        .unwrap()
        .split_once("# then the key\n")
        .unwrap();
    let material = Material {
        certificate: certificate.into(),
        key: rest.strip_suffix("# end").unwrap().into(),
    };
    assert_eq!(text(&material), new);
    let ca = node.read("etc/kubernetes/pki/front-proxy-ca.crt");
    credential::assert_renewed("both", &ca, &old, &material, FRESH);
}
