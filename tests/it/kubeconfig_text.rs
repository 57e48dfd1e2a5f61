//! Kubeconfigs: only the values of a credential change; comments, order, quotes, line ends and
//! other users stay.

use crate::support::clock::FRESH;
use crate::support::credential::{self, Material};
use crate::support::renewal::renew_replaces_only;
use crate::support::{Node, RSA, der, fixture, set_mode};
use std::fs;
use std::os::unix::fs::chown;

/// A scheduler.conf as people keep them: comments, quotes, a second user, two CAs.
fn kubeconfig_by_hand(node: &Node) -> String {
    let scheduler = credential::named("scheduler.conf").material(node);
    let observer = credential::named("admin.conf").material(node);
    let other_ca = fs::read_to_string(fixture("kubeadm-1.20-rsa2048/etc/kubernetes/pki/ca.crt")).expect("a CA");
    let bundle = node.read("etc/kubernetes/pki/ca.crt") + &other_ca;
    let [bundle, certificate, key, other_certificate, other_key] = [
        &bundle,
        &scheduler.certificate,
        &scheduler.key,
        &observer.certificate,
        &observer.key,
    ]
    .map(|text| der::encode_base64(text.as_bytes()));
    format!(
        "# Kept by hand: see the runbook.
kind: Config
apiVersion: v1
users:
    - user:   # somebody else, sorted first
        client-key-data: {other_key}
        client-certificate-data: {other_certificate}
      name: observer
    - name: \"system:kube-scheduler\"
      user:
        client-certificate-data:   \"{certificate}\"   # renewed every year
        client-key-data: '{key}'
current-context: 'system:kube-scheduler@kubernetes'
contexts:
- context: {{cluster: kubernetes, user: observer}}
  name: observer@kubernetes
- context:
    cluster: kubernetes
    namespace: kube-system
    user: system:kube-scheduler
  name: system:kube-scheduler@kubernetes

clusters:
- cluster:
    certificate-authority-data: {bundle}
    server: https://10.0.0.11:6443
    tls-server-name: k8s-api.example.internal
  name: kubernetes
preferences: {{}}
# The end.
"
    )
}

#[test]
fn an_edited_kubeconfig_changes_in_two_values_only() {
    let node = Node::of(RSA);
    let path = "etc/kubernetes/scheduler.conf";
    let old_text = kubeconfig_by_hand(&node);
    node.rewrite(path, old_text.as_bytes());
    set_mode(&node.path(path), 0o640);
    chown(node.path(path), Some(1000), Some(1000)).expect("the tests run as root");
    renew_replaces_only(
        &node,
        "scheduler.conf",
        &["etc/kubernetes/manifests/kube-scheduler.yaml", path],
    );
    let new_text = node.read(path);
    let [old, new] = [&old_text, &new_text].map(|text| Material::in_kubeconfig(text, 1));
    credential::named("scheduler.conf").assert_renewed(&node, &old, &new, FRESH);
    assert!(
        texts_differ_only_in(&old_text, &new_text, &old, &new),
        "more than the two values changed:\n{new_text}"
    );
}

/// The new text is the old one with one credential's values exchanged, byte for byte.
fn texts_differ_only_in(old_text: &str, new_text: &str, old: &Material, new: &Material) -> bool {
    let [old_certificate, old_key, new_certificate, new_key] =
        [&old.certificate, &old.key, &new.certificate, &new.key].map(|text| der::encode_base64(text.as_bytes()));
    new_text
        == old_text
            .replace(&old_certificate, &new_certificate)
            .replace(&old_key, &new_key)
}

#[test]
fn a_kubeconfig_with_crlf_and_without_a_final_newline_stays_so() {
    let node = Node::of(RSA);
    let path = "etc/kubernetes/admin.conf";
    let old_text = node.read(path).trim_end().replace('\n', "\r\n");
    node.rewrite(path, old_text.as_bytes());
    renew_replaces_only(&node, "admin.conf", &[path]);
    let new_text = node.read(path);
    let [old, new] = [&old_text, &new_text].map(|text| Material::in_kubeconfig(text, 0));
    credential::named("admin.conf").assert_renewed(&node, &old, &new, FRESH);
    assert!(
        texts_differ_only_in(&old_text, &new_text, &old, &new),
        "more than the two values changed:\n{new_text:?}"
    );
}

/// As `kubectl config view --raw -o json` prints it: one line, and valid YAML too.
#[test]
fn a_kubeconfig_in_json_stays_as_it_is_but_for_the_two_values() {
    let node = Node::of(RSA);
    let path = "etc/kubernetes/admin.conf";
    let old = credential::named("admin.conf").material(&node);
    let [ca, certificate, key] = [&node.read("etc/kubernetes/pki/ca.crt"), &old.certificate, &old.key]
        .map(|text| der::encode_base64(text.as_bytes()));
    let old_text = format!(
        r#"{{"kind":"Config","apiVersion":"v1","clusters":[{{"name":"k","cluster":{{"server":"https://10.0.0.11:6443","certificate-authority-data":"{ca}"}}}}],"contexts":[{{"name":"c","context":{{"cluster":"k","user":"u"}}}}],"current-context":"c","users":[{{"name":"u","user":{{"client-certificate-data":"{certificate}","client-key-data":"{key}"}}}}]}}"#
    );
    node.rewrite(path, old_text.as_bytes());
    renew_replaces_only(&node, "admin.conf", &[path]);
    let new_text = node.read(path);
    let value = |key: &str| {
        let document: serde_json::Value = serde_json::from_str(&new_text).expect("still JSON");
        let value = document["users"][0]["user"][key].as_str().expect("a value").to_owned();
        String::from_utf8(der::decode_base64(&value)).expect("PEM")
    };
    let new = Material {
        certificate: value("client-certificate-data"),
        key: value("client-key-data"),
    };
    credential::named("admin.conf").assert_renewed(&node, &old, &new, FRESH);
    assert!(
        texts_differ_only_in(&old_text, &new_text, &old, &new),
        "more than the two values changed:\n{new_text}"
    );
}

/// kubeadm 1.36 shows no table at all for such a kubeconfig. Its reader reads the files again by
/// itself, so it is not restarted.
#[test]
fn a_kubeconfig_that_names_files_has_the_files_renewed() {
    let node = Node::of(RSA);
    let path = "etc/kubernetes/controller-manager.conf";
    let old = credential::named("controller-manager.conf").material(&node);
    let files = [
        "etc/kubernetes/pki/controller-manager.crt",
        "etc/kubernetes/pki/controller-manager.key",
    ];
    node.write(files[0], old.certificate.as_bytes(), 0o644);
    node.write(files[1], old.key.as_bytes(), 0o600);
    let named = |line: &str| match line.trim_start().split(':').next() {
        Some("client-certificate-data") => format!("    client-certificate: /{}", files[0]),
        Some("client-key-data") => format!("    client-key: /{}", files[1]),
        _ => line.to_owned(),
    };
    let text = node.read(path).lines().map(named).collect::<Vec<_>>().join("\n");
    node.rewrite(path, text.as_bytes());
    node.run(FRESH, &["check-expiration"])
        .exits(0)
        .says("controller-manager.conf    Nov 23, 2027 18:43 UTC");
    renew_replaces_only(&node, "controller-manager.conf", &files);
    let new = Material {
        certificate: node.read(files[0]),
        key: node.read(files[1]),
    };
    credential::named("controller-manager.conf").assert_renewed(&node, &old, &new, FRESH);
}
