//! The judges of the other tests: that they agree with openssl, and that they see what they are
//! there to see.

use crate::support::clock::{self, FRESH, MINUTE};
use crate::support::credential::{self, Material};
use crate::support::openssl::{self, openssl};
use crate::support::{self, EXPIRED, Node, OLD_RELEASE, RSA, der, set_mode};
use std::fs;
use std::os::unix::fs::{chown, symlink};
use std::panic::catch_unwind;

#[test]
fn moments_and_seconds_are_each_others_reverse() {
    for day in (0..40_000).map(|day| day * clock::DAY + day) {
        assert_eq!(clock::seconds(&clock::moment(day)), day);
    }
    assert_eq!(clock::seconds("2028-02-29T23:59:59Z"), 1_835_481_599);
}

#[test]
fn the_clock_of_kubeadms_run_follows_from_its_output() {
    let states = [RSA, support::ECDSA, OLD_RELEASE, EXPIRED]
        .map(str::to_owned)
        .into_iter()
        .chain(["no-ca-key", "two-missing", "external-etcd"].map(|state| format!("{RSA}.{state}")));
    for state in states {
        for format in ["json", "yaml"] {
            let moment = support::kubeadm_clock(&state, format);
            assert!(moment.starts_with("2026-11-23 20:2"), "{state} as {format}: {moment}");
        }
    }
}

#[test]
fn base64_is_openssls() {
    let node = Node::of(RSA);
    for length in 0..100u8 {
        let bytes: Vec<u8> = (0..length).map(|byte| byte.wrapping_mul(97)).collect();
        node.write("bytes", &bytes, 0o600);
        let path = node.path("bytes").display().to_string();
        assert_eq!(der::encode_base64(&bytes), openssl(&["base64", "-A", "-in", &path]));
        assert_eq!(der::decode_base64(&der::encode_base64(&bytes)), bytes);
    }
}

#[test]
fn certificates_are_read_as_openssl_reads_them() {
    let node = Node::of(OLD_RELEASE);
    for credential in credential::all_of(OLD_RELEASE) {
        let pem = credential.material(&node).certificate;
        let read = der::Certificate::from_pem(&pem);
        let serial: String = read.serial.iter().map(|byte| format!("{byte:02X}")).collect();
        assert_eq!(serial.trim_start_matches("00"), openssl::serial(&pem));
        // Valid one second after notBefore and one before notAfter, and not outside.
        let ca = fs::read_to_string(credential.authority(&node).certificate).expect("the CA");
        let valid = |at: i64| openssl::verify(&ca, &pem, at).is_ok();
        let around = [
            read.not_before - 1,
            read.not_before + 1,
            read.not_after - 1,
            read.not_after + 1,
        ];
        assert_eq!(around.map(valid), [false, true, true, false], "{}", credential.name);
    }
}

/// Quiet on purpose: a panic here is what is wanted.
fn is_rejected(judge: impl FnOnce() + std::panic::UnwindSafe) -> bool {
    catch_unwind(judge).is_err()
}

#[test]
fn the_oracles_reject_a_wrong_renewal() {
    let node = Node::of(RSA);
    let apiserver = credential::named("apiserver");
    let old = apiserver.material(&node);
    let authority = apiserver.authority(&node);
    let ca = fs::read_to_string(&authority.certificate).expect("the CA");
    let start = clock::later(FRESH, -5 * MINUTE);
    let key = openssl::rsa_key_in_pkcs8();
    let again = |days: i64, key: &str| authority.reissue(&old.certificate, &old.key, Some(key), &start, days);
    let cases = [
        ("nothing changed", old.clone()),
        (
            "the old key",
            Material {
                certificate: again(365, &old.key),
                key: old.key.clone(),
            },
        ),
        (
            "a PKCS#8 key and 300 days",
            Material {
                certificate: again(300, &key),
                key: key.clone(),
            },
        ),
        (
            "a key of another pair",
            Material {
                certificate: again(365, &key),
                key: old.key.clone(),
            },
        ),
        (
            "another kind of key",
            Material {
                certificate: again(365, &openssl::p384_key()),
                key: openssl::p384_key(),
            },
        ),
        (
            "another holder",
            credential::named("front-proxy-client").material(&node),
        ),
    ];
    for (what, new) in cases {
        let (ca, old) = (ca.clone(), old.clone());
        assert!(
            is_rejected(move || credential::assert_renewed("apiserver", &ca, &old, &new, FRESH)),
            "passes as a renewal: {what}"
        );
    }
}

/// The other side: a leaf that openssl renewed passes. openssl counts whole days from notBefore, so
/// its CA is made to end with it.
#[test]
fn the_oracles_accept_a_right_renewal() {
    let node = Node::of(RSA);
    let authority = credential::named("apiserver").authority(&node);
    let extensions = "basicConstraints=critical,CA:FALSE\nauthorityKeyIdentifier=keyid\nsubjectKeyIdentifier=hash\nsubjectAltName=DNS:a\n";
    let issue = |from: &str| {
        let key = openssl::p384_key();
        Material {
            certificate: authority.issue(&key, "/O=a+O=b/CN=c", extensions, from, 100),
            key,
        }
    };
    let (old, new) = (issue("2026-11-01 00:00:00"), issue(&clock::later(FRESH, -5 * MINUTE)));
    let end = der::Certificate::from_pem(&new.certificate).not_after;
    authority.set_validity(&clock::moment(end - 200 * clock::DAY), 200);
    let ca = fs::read_to_string(&authority.certificate).expect("the CA");
    credential::assert_renewed("c", &ca, &old, &new, FRESH);
}

#[test]
fn every_kind_of_change_to_a_tree_is_seen() {
    let node = Node::of(RSA);
    let pki = |name: &str| format!("etc/kubernetes/pki/{name}");
    symlink("sa.pub", node.path(&pki("link"))).expect("a symlink");
    let before = node.snapshot();
    set_mode(&node.path(&pki("ca.key")), 0o640);
    chown(node.path(&pki("ca.crt")), Some(1000), None).expect("the tests run as root");
    let sa = node.read(&pki("sa.key"));
    node.write(&pki("sa.key.new"), sa.as_bytes(), 0o600);
    fs::rename(node.path(&pki("sa.key.new")), node.path(&pki("sa.key"))).expect("a rename");
    fs::File::open(node.path(&pki("sa.pub")))
        .and_then(|file| file.set_modified(std::time::SystemTime::now()))
        .expect("an mtime");
    node.rewrite(&pki("apiserver.crt"), b"x");
    node.remove(&pki("apiserver.key"));
    node.remove(&pki("link"));
    symlink("sa.key", node.path(&pki("link"))).expect("a symlink");
    fs::create_dir(node.path(&pki("directory"))).expect("a directory");
    node.write("var/lib/kubecertd/lock", b"", 0o600);
    let changes = before.changes(&node.snapshot());
    let wanted = [
        ("apiserver.crt", "content"),
        ("apiserver.key", "removed"),
        ("ca.crt", "owner"),
        ("ca.key", "mode"),
        ("directory", "added"),
        ("sa.key", "inode"),
        ("sa.pub", "modified"),
    ];
    for (name, change) in wanted {
        assert_eq!(changes.get(&pki(name)).map(String::as_str), Some(change), "{name}");
    }
    assert!(changes[&pki("link")].starts_with("content"), "{changes:?}");
    assert_eq!(changes.len(), wanted.len() + 1, "{changes:?}");
    assert!(
        before
            .every_change(&node.snapshot())
            .contains_key("var/lib/kubecertd/lock")
    );
}
