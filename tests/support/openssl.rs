//! The real openssl: it judges what kubecertd issued, and makes certificates that no fixture has.

use super::{Node, clock, faketime_library};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// Runs openssl and returns its output, or its error message.
fn attempt(moment: Option<&str>, args: &[&str]) -> Result<String, String> {
    let mut command = Command::new("openssl");
    if let Some(moment) = moment {
        command
            .env("LD_PRELOAD", faketime_library())
            .env("TZ", "UTC")
            .env("FAKETIME", format!("@{moment}"))
            .env("NO_FAKE_STAT", "1");
    }
    let output = command.args(args).output().expect("openssl starts");
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        Ok(stdout)
    } else {
        Err(format!("{stdout}{}", String::from_utf8_lossy(&output.stderr)))
    }
}

#[track_caller]
pub fn openssl(args: &[&str]) -> String {
    attempt(None, args).unwrap_or_else(|error| panic!("openssl {}: {error}", args.join(" ")))
}

/// Runs openssl as [`openssl`] does, at this time: `-days` counts from there.
#[track_caller]
pub fn openssl_at(moment: &str, args: &[&str]) -> String {
    attempt(Some(moment), args).unwrap_or_else(|error| panic!("openssl {} at {moment}: {error}", args.join(" ")))
}

/// PEM texts as files for openssl to read.
pub struct Desk(TempDir);

impl Desk {
    pub fn new() -> Self {
        Desk(TempDir::with_prefix("kubecertd-openssl-").expect("a temporary directory"))
    }

    pub fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    pub fn put(&self, name: &str, text: &str) -> String {
        fs::write(self.path(name), text).expect("a scratch file");
        self.path(name)
    }

    pub fn get(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).expect("a scratch file")
    }
}

/// `openssl verify -x509_strict` of a leaf against its CA at a moment (seconds since 1970).
pub fn verify(ca: &str, leaf: &str, at: i64) -> Result<(), String> {
    let desk = Desk::new();
    let at = at.to_string();
    attempt(
        None,
        &[
            "verify",
            "-x509_strict",
            "-attime",
            &at,
            "-CAfile",
            &desk.put("ca.pem", ca),
            &desk.put("leaf.pem", leaf),
        ],
    )
    .map(drop)
}

/// The public key that a certificate holds, as PEM.
pub fn public_key_of_certificate(certificate: &str) -> String {
    let desk = Desk::new();
    openssl(&[
        "x509",
        "-noout",
        "-pubkey",
        "-in",
        &desk.put("certificate", certificate),
    ])
}

/// The public key that belongs to a private key, as PEM; the private key is checked on the way.
pub fn public_key_of_key(key: &str) -> String {
    let desk = Desk::new();
    let path = desk.put("key", key);
    openssl(&["pkey", "-check", "-noout", "-in", &path]);
    openssl(&["pkey", "-pubout", "-in", &path])
}

/// `Private-Key: (2048 bit, 2 primes)`, `ASN1 OID: prime256v1` ...: algorithm, size and curve
/// without the numbers.
pub fn kind_of_key(key: &str) -> Vec<String> {
    let desk = Desk::new();
    let text = openssl(&["pkey", "-noout", "-text", "-in", &desk.put("key", key)]);
    text.lines()
        .filter(|line| line.contains("Private-Key:") || line.contains("OID") || line.contains("CURVE"))
        .map(str::to_owned)
        .collect()
}

/// The serial number as openssl writes it: upper-case hexadecimal.
pub fn serial(certificate: &str) -> String {
    let desk = Desk::new();
    let line = openssl(&[
        "x509",
        "-noout",
        "-serial",
        "-in",
        &desk.put("certificate", certificate),
    ]);
    line.trim().trim_start_matches("serial=").to_owned()
}

/// A digest of some bytes.
pub fn digest(hash: &str, bytes: &[u8]) -> Vec<u8> {
    let desk = Desk::new();
    fs::write(desk.path("bytes"), bytes).expect("a scratch file");
    let out = desk.path("digest");
    openssl(&[
        "dgst",
        "-binary",
        &format!("-{hash}"),
        "-out",
        &out,
        &desk.path("bytes"),
    ]);
    fs::read(out).expect("a digest")
}

/// A CA on disk.
pub struct Authority {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

impl Authority {
    /// `pki/ca`, `pki/etcd/ca` or `pki/front-proxy-ca` of a node.
    pub fn of(node: &Node, base: &str) -> Self {
        Authority {
            certificate: node.path(&format!("etc/kubernetes/{base}.crt")),
            key: node.path(&format!("etc/kubernetes/{base}.key")),
        }
    }

    /// Signs a request; `extra` says where the extensions come from.
    fn sign(&self, desk: &Desk, request: &str, from: &str, days: i64, extra: &[&str]) -> String {
        let (certificate, key, days) = (text(&self.certificate), text(&self.key), days.to_string());
        // openssl would take SHA-256 for every key; kubeadm (Go) and kubecertd take the hash that
        // fits the curve.
        let kind = kind_of_key(&fs::read_to_string(&self.key).expect("a CA key")).concat();
        let hash = [("ED25519", None), ("384", Some("-sha384")), ("521", Some("-sha512"))]
            .into_iter()
            .find(|(mark, _)| kind.contains(mark))
            .map_or(Some("-sha256"), |(_, hash)| hash);
        let args = [
            "x509",
            "-req",
            "-in",
            request,
            "-CA",
            certificate,
            "-CAkey",
            key,
            "-days",
            &days,
        ];
        let out = desk.path("signed");
        let serial = format!("0x5{}", openssl(&["rand", "-hex", "15"]).trim());
        openssl_at(
            from,
            &[
                &args,
                hash.as_slice(),
                &["-set_serial", &serial, "-out", &out][..],
                extra,
            ]
            .concat(),
        );
        desk.get("signed")
    }

    /// The same certificate with another validity: `days` from `from`, and with `new_key` also
    /// another key. openssl adds an SKI.
    pub fn reissue(&self, certificate: &str, key: &str, new_key: Option<&str>, from: &str, days: i64) -> String {
        let desk = Desk::new();
        let (certificate, key, request) = (
            desk.put("certificate", certificate),
            desk.put("key", key),
            desk.path("request"),
        );
        openssl(&[
            "x509",
            "-x509toreq",
            "-copy_extensions",
            "copyall",
            "-in",
            &certificate,
            "-signkey",
            &key,
            "-out",
            &request,
        ]);
        let mut extra = vec!["-copy_extensions", "copyall"];
        let public = new_key.map(|key| desk.put("public", &public_key_of_key(key)));
        if let Some(public) = &public {
            extra.extend(["-force_pubkey", public]);
        }
        self.sign(&desk, &request, from, days, &extra)
    }

    /// A new leaf for a key, with extensions as an openssl configuration section writes them.
    pub fn issue(&self, key: &str, subject: &str, extensions: &str, from: &str, days: i64) -> String {
        let desk = Desk::new();
        let (key, request, extensions) = (
            desk.put("key", key),
            desk.path("request"),
            desk.put("extensions", extensions),
        );
        openssl(&["req", "-new", "-utf8", "-key", &key, "-subj", subject, "-out", &request]);
        self.sign(&desk, &request, from, days, &["-extfile", &extensions])
    }

    /// Replaces the CA certificate by one of the same key, subject and extensions with another
    /// validity.
    pub fn set_validity(&self, from: &str, days: i64) {
        let desk = Desk::new();
        let (certificate, key, out) = (text(&self.certificate), text(&self.key), desk.path("ca"));
        openssl_at(
            from,
            &[
                "x509",
                "-in",
                certificate,
                "-signkey",
                key,
                "-days",
                &days.to_string(),
                "-out",
                &out,
            ],
        );
        fs::write(&self.certificate, desk.get("ca")).expect("the CA is writable");
    }

    /// Replaces the CA by another one of the same name, on a P-384 key.
    pub fn become_p384(&self) {
        self.become_one_with(&p384_key());
    }

    /// Replaces the CA by another one of the same name, on this key.
    pub fn become_one_with(&self, key: &str) {
        let desk = Desk::new();
        let subject = openssl(&[
            "x509",
            "-noout",
            "-subject",
            "-nameopt",
            "RFC2253",
            "-in",
            text(&self.certificate),
        ]);
        let subject = format!("/{}", subject.trim().trim_start_matches("subject="));
        let key = desk.put("key", key);
        let usage = "keyUsage=critical,digitalSignature,keyEncipherment,keyCertSign";
        let out = desk.path("ca");
        let args = [
            "req", "-x509", "-new", "-key", &key, "-subj", &subject, "-days", "3650", "-addext", usage, "-out", &out,
        ];
        openssl_at(&clock::later(clock::FRESH, -clock::DAY), &args);
        fs::write(&self.certificate, desk.get("ca")).expect("the CA is writable");
        fs::write(&self.key, desk.get("key")).expect("the CA key is writable");
    }
}

/// A new P-384 key in SEC1 form (`EC PRIVATE KEY`), as kubeadm writes ECDSA keys.
pub fn p384_key() -> String {
    openssl(&["ecparam", "-name", "secp384r1", "-genkey", "-noout"])
}

/// A new RSA key in PKCS#8 form (`PRIVATE KEY`), which kubeadm itself never writes.
pub fn rsa_key_in_pkcs8() -> String {
    openssl(&["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"])
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}
