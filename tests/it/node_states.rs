//! States that a node can be in, by number, each from beginning to end. `certificate_content.rs`,
//! `key_types.rs` and `kubeconfig_text.rs` go deeper into 10 to 12.

use crate::support::clock::{self, DAY, DUE, FRESH};
use crate::support::credential::{self, Credential, Material};
use crate::support::daemon::Daemon;
use crate::support::mount::{Mount, in_own_namespace};
use crate::support::openssl::{self, Authority};
use crate::support::renewal::{exactly_these_were_renewed, materials};
use crate::support::{self, ECDSA, EXPIRED, Node, RSA, der};

/// Runs `renew` and requires its exit code and that exactly these credentials were renewed.
#[track_caller]
fn renews(node: &Node, moment: &str, names: &[&str], code: i32, renewed: &[Credential]) -> support::Ran {
    let before = node.snapshot();
    let old = materials(node, renewed);
    let ran = node.run(moment, &[&["renew"], names].concat()).exits(code);
    exactly_these_were_renewed(node, &before, &old, renewed, moment);
    ran
}

fn named(names: &[&str]) -> Vec<Credential> {
    names.iter().map(|name| credential::named(name)).collect()
}

#[test]
fn case_01_a_healthy_node_is_rewritten_only_on_demand() {
    let node = Node::of(RSA);
    let before = node.snapshot();
    node.run(FRESH, &["renew"]).exits(0).says("nothing due");
    assert_eq!(
        before.changes(&node.snapshot()),
        Default::default(),
        "same inodes, same mtimes"
    );
    renews(&node, FRESH, &["all"], 0, &credential::all_of(RSA));
}

#[test]
fn case_02_one_due_leaf_is_renewed_alone_with_its_component() {
    let node = Node::of(RSA);
    credential::named("scheduler.conf").make_due(&node);
    renews(&node, FRESH, &[], 0, &named(&["scheduler.conf"]));
}

#[test]
fn case_03_without_ca_key_the_other_cas_leaves_are_renewed() {
    let node = Node::of(RSA);
    node.remove("etc/kubernetes/pki/ca.key");
    let others = credential::all_but(&credential::names(&credential::signed_by("pki/ca")));
    renews(&node, FRESH, &["all"], 0, &others).says("kept elsewhere");
}

#[test]
fn case_04_without_a_ca_key_the_table_is_complete() {
    let node = Node::of(RSA);
    credential::named("apiserver").set_validity(&node, &clock::later(FRESH, -20 * DAY), 10);
    node.remove("etc/kubernetes/pki/ca.key");
    let table = node.run(FRESH, &["check-expiration"]).exits(0).stdout;
    let row = table.lines().find(|line| line.starts_with("apiserver ")).unwrap();
    assert!(row.contains("<invalid>") && row.trim_end().ends_with("yes"), "{row}");
    assert_eq!(
        table.lines().filter(|line| line.contains(" UTC ")).count(),
        11 + 3,
        "{table}"
    );
}

#[test]
fn case_05_without_the_etcd_ca_only_its_four_leaves_are_blocked() {
    let node = Node::of(RSA);
    node.remove("etc/kubernetes/pki/etcd/ca.crt");
    let four = credential::signed_by("pki/etcd/ca");
    let mut ran = renews(
        &node,
        FRESH,
        &["all"],
        4,
        &credential::all_but(&credential::names(&four)),
    );
    for name in credential::names(&four) {
        ran = ran.complains(&format!(
            "cannot renew {name}: its CA etcd-ca cannot sign: /etc/kubernetes/pki/etcd/ca.crt is missing"
        ));
    }
}

#[test]
fn case_06_an_empty_leaf_does_not_stop_the_ten_others() {
    let node = Node::of(RSA);
    node.rewrite("etc/kubernetes/pki/etcd/server.crt", b"");
    renews(&node, FRESH, &["all"], 4, &credential::all_but(&["etcd-server"]))
        .complains("cannot read etcd-server: /etc/kubernetes/pki/etcd/server.crt is empty");
}

#[test]
fn case_07_a_foreign_ca_key_is_found_before_any_file_changes() {
    let node = Node::of(RSA);
    let other = node.read("etc/kubernetes/pki/front-proxy-ca.key");
    node.rewrite("etc/kubernetes/pki/ca.key", other.as_bytes());
    let six = credential::names(&credential::signed_by("pki/ca"));
    renews(&node, FRESH, &["all"], 4, &credential::all_but(&six)).complains("ca.key is not the key of");
    let before = node.snapshot();
    node.run(FRESH, &["renew", "apiserver"]).exits(1);
    assert_eq!(before.changes(&node.snapshot()), Default::default());
}

#[test]
fn case_08_an_expired_ca_signs_nothing() {
    let node = Node::of(RSA);
    let ca = credential::named("apiserver").authority(&node);
    ca.set_validity(&clock::later(FRESH, -400 * DAY), 365);
    let six = credential::names(&credential::signed_by("pki/ca"));
    renews(&node, FRESH, &["all"], 4, &credential::all_but(&six)).complains("ca.crt has expired");
}

#[test]
fn case_09_a_leaf_clamped_to_its_ca_is_renewed_only_once() {
    let node = Node::of(RSA);
    let ca = credential::named("front-proxy-client").authority(&node);
    ca.set_validity(&clock::later(FRESH, -60 * DAY), 100);
    credential::named("front-proxy-client").make_due(&node);
    renews(&node, FRESH, &[], 0, &named(&["front-proxy-client"]));
    let near = clock::later(FRESH, 20 * DAY);
    renews(&node, &near, &[], 0, &[]).says("the CA ends first");
}

/// Content that kubeadm drops: an OU, a URI, an EKU of one's own, the chain, PKCS#8.
const RICH: &str = "\
basicConstraints=critical,CA:FALSE
keyUsage=critical,digitalSignature
extendedKeyUsage=serverAuth,1.3.6.1.4.1.55555.1
authorityKeyIdentifier=keyid
subjectKeyIdentifier=none
subjectAltName=DNS:master01,URI:spiffe://example.internal/apiserver,email:ops@example.internal,IP:10.0.0.11
";

#[test]
fn case_10_a_leaf_keeps_subject_names_usages_chain_and_pkcs8() {
    let node = Node::of(RSA);
    let apiserver = credential::named("apiserver");
    let key = openssl::rsa_key_in_pkcs8();
    let subject = "/C=IE/O=Example/OU=Platform/CN=kube-apiserver";
    let from = clock::later(FRESH, -10 * DAY);
    let leaf = apiserver.authority(&node).issue(&key, subject, RICH, &from, 30);
    let chain = node.read("etc/kubernetes/pki/ca.crt");
    let certificate = leaf + &chain;
    apiserver.store(&node, &Material { certificate, key });
    renews(&node, FRESH, &[], 0, &named(&["apiserver"]));
    let new = apiserver.material(&node).certificate;
    assert!(new.ends_with(&chain), "the chain is another one:\n{new}");
}

#[test]
fn case_11_in_an_edited_kubeconfig_only_two_values_differ() {
    let node = Node::of(RSA);
    let path = "etc/kubernetes/scheduler.conf";
    let ca = node.read("etc/kubernetes/pki/ca.crt");
    let two = ca.clone() + &node.read("etc/kubernetes/pki/front-proxy-ca.crt");
    let [ca, two] = [ca, two].map(|text| der::encode_base64(text.as_bytes()));
    let second = "contexts: # two of them\n- context:\n    cluster: kubernetes\n    user: somebody\n  name: second\n";
    let text = node.read(path).replace(&ca, &two).replace("contexts:\n", second);
    node.rewrite(path, format!("# Kept by hand.\n{text}").as_bytes());
    support::set_mode(&node.path(path), 0o640);
    std::os::unix::fs::chown(node.path(path), Some(1000), Some(1000)).expect("the tests run as root");
    credential::named("scheduler.conf").make_due(&node);
    renews(&node, FRESH, &[], 0, &named(&["scheduler.conf"]));
    let text = node.read(path);
    assert!(
        text.starts_with("# Kept by hand.\n") && text.contains(second) && text.contains(&two),
        "{text}"
    );
}

#[test]
fn case_12_a_p384_node_without_configuration_stays_p384_in_sec1() {
    let node = Node::of(ECDSA);
    for base in ["pki/ca", "pki/etcd/ca", "pki/front-proxy-ca"] {
        let authority = Authority::of(&node, base);
        // Leaves are signed again below, while the old CA's bytes are still in the kubeconfigs.
        let old_ca = std::fs::read_to_string(&authority.certificate).expect("the old CA");
        authority.become_p384();
        let new_ca = std::fs::read_to_string(&authority.certificate).expect("the new CA");
        for credential in credential::signed_by(base) {
            let old = credential.material(&node);
            let key = openssl::p384_key();
            let certificate = authority.reissue(&old.certificate, &old.key, Some(&key), "2026-11-20 00:00:00", 200);
            credential.store(&node, &Material { certificate, key });
            if credential.path().ends_with(".conf") {
                let text = node.read(&credential.path());
                let [old_ca, new_ca] = [&old_ca, &new_ca].map(|ca| der::encode_base64(ca.as_bytes()));
                node.rewrite(&credential.path(), text.replace(&old_ca, &new_ca).as_bytes());
            }
        }
    }
    let all = credential::all_of(ECDSA);
    let old: Vec<Material> = all.iter().map(|credential| credential.material(&node)).collect();
    node.run(FRESH, &["renew", "all"]).exits(0);
    for (credential, old) in all.iter().zip(&old) {
        let new = credential.material(&node);
        assert!(
            new.key.starts_with("-----BEGIN EC PRIVATE KEY-----"),
            "{}",
            credential.name
        );
        assert!(
            openssl::kind_of_key(&new.key).concat().contains("secp384r1"),
            "{}",
            credential.name
        );
        credential.assert_renewed(&node, old, &new, FRESH);
    }
}

#[test]
fn case_13_a_file_size_limit_never_leaves_half_a_file() {
    // 1000 and 3000 bytes are less than a key and a kubeconfig: where kubeadm leaves a cut one.
    for limit in [200, 1000, 3000] {
        let node = Node::of(ECDSA);
        let before = node.snapshot();
        // The kernel ends a process at this limit (SIGXFSZ).
        let limited = format!("prlimit --fsize={limit} \"$@\" || exit 9");
        let ran = node
            .run_under(&["bash", "-c", &limited, "bash"], FRESH, &["renew", "all"])
            .exits(9);
        node.run(FRESH, &["recover"]).exits(0);
        let changes = before.changes(&node.snapshot());
        assert_eq!(changes, Default::default(), "limit {limit}: {ran}");
        renews(&node, FRESH, &["all"], 0, &credential::all_of(ECDSA));
    }
}

#[test]
fn case_14_a_running_kubeadm_defers_the_daemon() {
    let node = Node::of(ECDSA);
    credential::named("etcd-server").make_due(&node);
    node.write("proc/4711/comm", b"kubeadm\n", 0o444);
    node.configure("schedule = \"* * * * * *\"\nclock_wait = \"0s\"\n");
    let before = node.snapshot();
    let mut daemon = Daemon::start(&node, FRESH, &[]);
    daemon.logs("cycle deferred: kubeadm is running (pid 4711)");
    daemon.terminate();
    assert_eq!(daemon.ends(), 0);
    assert_eq!(before.changes(&node.snapshot()), Default::default());
}

#[test]
fn case_15_a_kubeconfig_as_old_as_its_ca_is_not_renewed_early() {
    let node = Node::of(RSA);
    // Five years gone and 200 days left: a rule by share of the lifetime would renew it.
    credential::named("admin.conf").set_validity(&node, &clock::later(FRESH, -5 * 365 * DAY), 5 * 365 + 200);
    renews(&node, FRESH, &[], 0, &[]).says("nothing due");
}

#[test]
fn case_16_a_clock_400_days_ahead_and_back_renews_nothing() {
    let node = Node::of(ECDSA);
    node.configure("schedule = \"* * * * * *\"\nclock_wait = \"0s\"\n");
    let before = node.snapshot();
    let look = |moment: &str, says: &str| {
        let mut daemon = Daemon::start(&node, moment, &[]);
        daemon.logs(says);
        daemon.terminate();
        assert_eq!(daemon.ends(), 0);
    };
    look(FRESH, "nothing is due");
    look(
        &clock::later(FRESH, 400 * DAY),
        "the clock jumped ahead by 1y since the last assessment",
    );
    look(&clock::later(FRESH, DAY / 24), "nothing is due");
    assert_eq!(before.changes(&node.snapshot()), Default::default());
}

#[test]
fn case_18_a_full_backup_disk_stops_and_keeps_good_backups() {
    in_own_namespace(|| {
        let node = Node::of(ECDSA);
        let directory = node.path("var/lib/kubecertd/backups");
        std::fs::create_dir_all(&directory).unwrap();
        let _mount = Mount::memory(&directory, "size=8m,mode=0700");
        node.run(FRESH, &["renew", "apiserver"]).exits(0);
        let sets = || std::fs::read_dir(&directory).unwrap().count();
        assert_eq!(sets(), 1);
        let filler = node.path("var/lib/kubecertd/backups/.others");
        let full = std::fs::write(&filler, vec![0; 9 << 20]).expect_err("it does not fit");
        assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
        let before = node.snapshot();
        node.run(FRESH, &["renew", "all"]).exits(1);
        assert_eq!(before.changes(&node.snapshot()), Default::default());
        assert_eq!(
            sets(),
            2,
            "the good one and what fills the disk, and nothing unfinished beside them"
        );
    });
}

#[test]
fn case_21_everything_expired_is_renewed_with_nothing_running() {
    let node = Node::of(EXPIRED);
    renews(&node, DUE, &[], 0, &credential::all_of(EXPIRED));
}
