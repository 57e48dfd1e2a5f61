//! The parts of the old certificate that a renewed one keeps: subject, extensions, key kind, PEM
//! style, chain. kubeadm drops part of it silently; kubecertd keeps it or refuses.

use crate::support::clock::FRESH;
use crate::support::credential::{self, Material};
use crate::support::openssl;
use crate::support::renewal::renew_replaces_only;
use crate::support::{Node, RSA, der, fixture};
use std::fs;

/// Puts a leaf with this subject and these extensions in place of the apiserver's, renews it and
/// compares.
#[track_caller]
fn apiserver_is_renewed_as_it_was(subject: &str, extensions: &str, key: String) {
    let node = Node::of(RSA);
    let apiserver = credential::named("apiserver");
    let certificate = apiserver
        .authority(&node)
        .issue(&key, subject, extensions, "2026-11-20 00:00:00", 200);
    let old = Material { certificate, key };
    apiserver.store(&node, &old);
    renew_replaces_only(
        &node,
        "apiserver",
        &["etc/kubernetes/pki/apiserver.crt", "etc/kubernetes/pki/apiserver.key"],
    );
    apiserver.assert_renewed(&node, &old, &apiserver.material(&node), FRESH);
}

fn rsa_key() -> String {
    fs::read_to_string(fixture("kubeadm-1.20-rsa2048/etc/kubernetes/pki/apiserver.key")).expect("a test key")
}

const PLAIN: &str = "\
basicConstraints=critical,CA:FALSE
keyUsage=critical,digitalSignature
extendedKeyUsage=clientAuth
authorityKeyIdentifier=keyid
subjectKeyIdentifier=none
";

#[test]
fn all_subject_attributes_are_kept() {
    let subject = "/C=IE/ST=Leinster/L=Dublin/O=Example/OU=Platform/OU=Clusters/CN=kube-apiserver/serialNumber=42/emailAddress=ops@example.internal";
    apiserver_is_renewed_as_it_was(subject, PLAIN, rsa_key());
}

/// For a client certificate each O is a group.
#[test]
fn several_organisations_in_rdns_of_their_own_are_kept() {
    apiserver_is_renewed_as_it_was("/O=system:masters/O=ops/O=audit/CN=kube-apiserver", PLAIN, rsa_key());
}

/// The form in which Go writes several organizations.
#[test]
fn several_organisations_in_one_rdn_are_kept() {
    apiserver_is_renewed_as_it_was("/O=audit+O=ops+O=system:masters/CN=kube-apiserver", PLAIN, rsa_key());
}

#[test]
fn sans_private_ekus_and_unknown_extensions_are_kept() {
    let extensions = "\
basicConstraints=critical,CA:FALSE
keyUsage=critical,digitalSignature,keyEncipherment,keyAgreement
extendedKeyUsage=serverAuth,clientAuth,1.3.6.1.4.1.55555.1
authorityKeyIdentifier=keyid
subjectKeyIdentifier=none
certificatePolicies=1.3.6.1.4.1.55555.4
tlsfeature=status_request
1.3.6.1.4.1.55555.2=ASN1:UTF8String:kept
subjectAltName=@names
[names]
DNS.1=master01
DNS.2=*.example.internal
DNS.3=master01
IP.1=10.0.0.11
IP.2=fd00::11
URI.1=spiffe://example.internal/apiserver
email.1=ops@example.internal
RID.1=1.2.3.4
dirName.1=directory
otherName.1=1.2.3.5;UTF8:host
[directory]
CN=a directory name
";
    apiserver_is_renewed_as_it_was(
        "/C=IE/O=Example/O=Other/OU=Platform/CN=kube-apiserver",
        extensions,
        openssl::rsa_key_in_pkcs8(),
    );
}

#[test]
fn the_subject_key_identifier_follows_the_new_key() {
    let node = Node::of(RSA);
    let apiserver = credential::named("apiserver");
    let extensions = PLAIN.replace("subjectKeyIdentifier=none", "subjectKeyIdentifier=hash");
    let key = rsa_key();
    let certificate =
        apiserver
            .authority(&node)
            .issue(&key, "/CN=kube-apiserver", &extensions, "2026-11-20 00:00:00", 200);
    let old = Material { certificate, key };
    apiserver.store(&node, &old);
    node.run(FRESH, &["renew", "apiserver"]).exits(0);
    let new = apiserver.material(&node);
    apiserver.assert_renewed(&node, &old, &new, FRESH);
    let new = der::Certificate::from_pem(&new.certificate);
    let identifier = &new.subject_key_id().expect("an identifier").whole;
    // The rules in use: SHA-1 of the key's bits (RFC 5280, 4.2.1.2), and SHA-256 cut to 160 bits of
    // the same or of the whole key with its algorithm (RFC 7093, 2).
    let rules = [
        ("sha1", &new.public_key),
        ("sha256", &new.public_key),
        ("sha256", &new.public_key_info),
    ];
    let allowed = rules.map(|(hash, of)| openssl::digest(hash, of)[..20].to_vec());
    assert!(
        allowed.iter().any(|hash| identifier.ends_with(hash)),
        "{identifier:x?} is none of {allowed:x?}"
    );
}

#[test]
fn a_pkcs8_key_stays_pkcs8() {
    apiserver_is_renewed_as_it_was("/CN=kube-apiserver", PLAIN, openssl::rsa_key_in_pkcs8());
}

#[test]
fn the_chain_after_the_leaf_is_kept() {
    let node = Node::of(RSA);
    let apiserver = credential::named("apiserver");
    let chain = node.read("etc/kubernetes/pki/ca.crt");
    let mut old = apiserver.material(&node);
    old.certificate.push_str(&chain);
    apiserver.store(&node, &old);
    renew_replaces_only(
        &node,
        "apiserver",
        &["etc/kubernetes/pki/apiserver.crt", "etc/kubernetes/pki/apiserver.key"],
    );
    let new = apiserver.material(&node);
    apiserver.assert_renewed(&node, &old, &new, FRESH);
    assert!(
        new.certificate.ends_with(&chain),
        "the second certificate is another one:\n{}",
        new.certificate
    );
}
