//! `[[kubeconfig_copy]]`: copies of kubeconfigs change with their originals, when and only when
//! they hold the same credential.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};

use crate::support::clock::{self, FRESH};
use crate::support::credential::{self, Material};
use crate::support::{self, ECDSA, Node, RSA, Ran, STRACE, der};
use crate::support::{mount, tree};

const COPY: &str = "root/.kube/config";
const ADMIN: &str = "etc/kubernetes/admin.conf";
const CONFIGURED: &str = "[[kubeconfig_copy]]\npath = \"/root/.kube/config\"\nof = \"admin.conf\"\n";

/// A node whose administrator has copied admin.conf, added a comment, a user and a context of
/// another cluster, and made that the current one.
fn node(tree: &str) -> Node {
    let node = Node::of(tree);
    node.configure(CONFIGURED);
    node.write(COPY, edited(&node).as_bytes(), 0o640);
    chown(node.path(COPY), Some(0), Some(1000)).expect("an owner");
    node
}

fn edited(node: &Node) -> String {
    let text = node.read(ADMIN).replace(
        "\nusers:\n",
        "\nusers:   # two of them\n- {name: other, user: {token: t}}\n",
    );
    let text = text.replace(
        "\ncontexts:\n",
        "\ncontexts:\n- {name: away, context: {cluster: kubernetes, user: other}}\n",
    );
    text.replace(
        "current-context: kubernetes-admin@kubernetes",
        "current-context: 'away'",
    )
}

/// The copy's document in a report or a plan.
fn row(document: &serde_json::Value) -> (String, String) {
    let row = &document["copies"][0];
    let text = |key: &str| row[key].as_str().expect("text").to_owned();
    assert_eq!((text("path"), text("of")), (format!("/{COPY}"), "admin.conf".into()));
    (text("decision"), text("reason"))
}

/// Renews admin.conf and requires that the copy was left as it was, for this reason.
#[track_caller]
fn is_left(node: &Node, reason: &str) {
    let before = node.snapshot();
    let plan = node.run(FRESH, &["plan", "-o", "json"]).exits(0).json();
    let (decision, said) = row(&plan);
    assert!(decision == "leave" && said.contains(reason), "{decision}: {said}");
    let ran = node.run(FRESH, &["renew", "admin.conf"]).exits(0);
    let ran = ran.complains(&format!("/{COPY} is not updated: "));
    ran.complains(reason);
    let changes = before.changes(&node.snapshot());
    assert_eq!(tree::paths(&changes), [ADMIN], "the files that changed");
}

#[test]
fn a_copy_gets_the_new_credential_and_keeps_everything_else() {
    for tree in [RSA, ECDSA] {
        let node = node(tree);
        let before = node.snapshot();
        let old = node.read(COPY);
        let admin = credential::named("admin.conf").material(&node);
        let report = node.renew(FRESH, &["admin.conf"], 0);
        assert_eq!(row(&report), ("update".into(), "admin.conf is renewed".into()));
        let changes = before.changes(&node.snapshot());
        assert_eq!(tree::paths(&changes), [ADMIN, COPY]);
        assert_eq!(changes[COPY], "content inode modified", "owner and mode stay");
        let new = credential::named("admin.conf").material(&node);
        assert_ne!(new.certificate, admin.certificate);
        let expected = [(&admin.certificate, &new.certificate), (&admin.key, &new.key)]
            .into_iter()
            .fold(old, |text, (old, new)| {
                text.replace(&der::encode_base64(old.as_bytes()), &der::encode_base64(new.as_bytes()))
            });
        support::assert_same_text(&node.read(COPY), &expected, "the copy");
    }
}

#[test]
fn a_copy_is_left_alone_while_its_original_is_not_renewed() {
    let node = node(ECDSA);
    let before = node.snapshot();
    let report = node.renew(FRESH, &["scheduler.conf"], 0);
    assert_eq!(row(&report), ("leave".into(), "admin.conf is not renewed".into()));
    assert!(!before.changes(&node.snapshot()).contains_key(COPY));
}

#[test]
fn a_plan_shows_the_future_of_a_copy() {
    let node = node(ECDSA);
    credential::named("admin.conf").make_due(&node);
    // The copy has the old certificate of the same key.
    node.run(FRESH, &["plan"])
        .exits(0)
        .says("update /root/.kube/config, a copy of admin.conf: admin.conf is renewed");
    node.run(FRESH, &["renew"])
        .exits(0)
        .says("updated /root/.kube/config with admin.conf");
    assert_eq!(
        Material::in_kubeconfig(&node.read(COPY), 0).certificate,
        credential::named("admin.conf").material(&node).certificate
    );
}

#[test]
fn foreign_missing_and_malformed_copies_are_left_and_reported() {
    let broken = node(ECDSA);
    broken.rewrite(COPY, b"a: [");
    is_left(&broken, "is not YAML");
    let missing = node(ECDSA);
    missing.remove(COPY);
    is_left(&missing, "it is missing");
    let other = node(ECDSA);
    other.rewrite(COPY, other.read("etc/kubernetes/scheduler.conf").as_bytes());
    is_left(&other, "does not hold the credential that admin.conf holds");
}

#[test]
fn copies_that_others_could_replace_are_left_and_reported() {
    let home = node(ECDSA);
    chown(home.path("root/.kube"), Some(1000), None).expect("an owner");
    is_left(
        &home,
        "users other than root can replace it: /root/.kube belongs to user 1000",
    );

    let link = node(ECDSA);
    fs::rename(link.path(COPY), link.path("root/elsewhere")).expect("a rename");
    symlink("/root/elsewhere", link.path(COPY)).expect("a symlink");
    is_left(&link, "it is a symlink to /root/elsewhere");

    let twice = node(ECDSA);
    fs::create_dir(twice.path("srv")).expect("a directory");
    fs::hard_link(twice.path(COPY), twice.path("srv/config")).expect("a link");
    is_left(&twice, "it has another name outside of the scanned directories");
}

#[test]
fn a_symlink_to_the_original_is_kept() {
    let node = node(ECDSA);
    node.remove(COPY);
    symlink(format!("/{ADMIN}"), node.path(COPY)).expect("a symlink");
    is_left(&node, "it is admin.conf itself by another name");
    assert!(node.path(COPY).is_symlink());
}

#[test]
fn a_value_that_cannot_be_edited_alone_is_left() {
    let node = node(ECDSA);
    let text = node.read(COPY);
    let (head, tail) = text.split_once("    client-key-data: ").expect("a key");
    let (key, rest) = tail.split_once('\n').expect("a line");
    let (one, two) = key.split_at(40);
    let folded = format!("{head}    client-key-data: >-\n      {one}\n      {two}\n{rest}");
    node.rewrite(COPY, folded.as_bytes());
    is_left(&node, "folded");
}

/// A service whose sandbox keeps the home directories read-only sees this.
#[test]
fn a_copy_that_cannot_be_replaced_does_not_stop_the_renewal() {
    mount::in_own_namespace(|| {
        let node = node(ECDSA);
        let before = node.snapshot();
        let mounted = mount::Mount::read_only(&node.path("root/.kube"));
        let ran = node.run(FRESH, &["renew", "admin.conf", "etcd-server"]).exits(4);
        ran.complains(&format!(
            "/{COPY} is not updated: cannot write /root/.kube/.config.kubecertd-new: read-only file system"
        ));
        drop(mounted);
        let pair = [
            "etc/kubernetes/pki/etcd/server.crt",
            "etc/kubernetes/pki/etcd/server.key",
        ];
        let changes = before.changes(&node.snapshot());
        assert_eq!(tree::paths(&changes), [ADMIN, pair[0], pair[1]]);
    });
}

#[test]
fn a_copy_is_backed_up_and_restored_with_its_original() {
    let node = node(ECDSA);
    let (copy, admin) = (node.read(COPY), node.read(ADMIN));
    let report = node.renew(FRESH, &["admin.conf"], 0);
    let set = report["backup"]
        .as_str()
        .expect("a backup")
        .trim_start_matches('/')
        .to_owned();
    assert_eq!(node.read(&format!("{set}/files/{COPY}")), copy);
    let later = clock::later(FRESH, clock::DAY);
    let id = set.rsplit('/').next().expect("a name");
    node.run(&later, &["restore", id, "--only", "kubeconfig"]).exits(0);
    assert_eq!((node.read(COPY), node.read(ADMIN)), (copy, admin));
    let found = fs::metadata(node.path(COPY)).expect("a copy");
    assert_eq!((found.permissions().mode() & 0o7777, found.gid()), (0o640, 1000));
}

/// Fails a call that names this path, the so manieth time.
fn renew_with_error(node: &Node, call: &str, path: &str, time: usize) -> Ran {
    let path = node.path(path);
    let (path, trace, inject) = (
        path.to_str().expect("a path in UTF-8"),
        format!("trace={call}"),
        format!("inject={call}:error=EIO:when={time}"),
    );
    let strace = [&STRACE[..], &["-P", path, "-e", &trace, "-e", &inject]].concat();
    node.run_under(&strace, FRESH, &["renew", "admin.conf"])
}

/// The journal cannot say that all is in place: everything goes back.
#[test]
fn a_rollback_includes_the_copies() {
    let node = node(ECDSA);
    let before = node.snapshot();
    let ran = renew_with_error(&node, "rename", "var/lib/kubecertd/.transaction.json.kubecertd-new", 2).exits(1);
    ran.complains("I/O error");
    assert_eq!(before.changes(&node.snapshot()), Default::default());
}

/// A copy is people's: that it is gone does not undo what was installed.
#[test]
fn a_copy_removed_since_does_not_roll_back_a_renewal() {
    let node = node(ECDSA);
    let before = node.snapshot();
    renew_with_error(&node, "unlink", "etc/kubernetes/.admin.conf.kubecertd-old", 1)
        .exits(0)
        .complains("`kubecertd recover` will clear it away");
    node.remove(COPY);
    node.run(FRESH, &["recover"]).exits(0).says("was finished");
    let changes = before.changes(&node.snapshot());
    assert_eq!(tree::paths(&changes), [ADMIN, COPY]);
    assert_eq!(changes[COPY], "removed");
}

#[test]
fn a_configuration_that_makes_no_sense_is_refused_by_line() {
    let node = Node::of(ECDSA);
    for (toml, complaint) in [
        (
            "path = \"/root/a\"\nof = \"nobody.conf\"\n",
            "no kubeconfig `nobody.conf`; known are admin.conf, controller-manager.conf",
        ),
        (
            "path = \"/root/a\"\nof = \"kubelet.conf\"\n",
            "no kubeconfig `kubelet.conf`",
        ),
        ("path = \"root/a\"\nof = \"admin.conf\"\n", "kubeconfig_copy.path"),
        ("of = \"admin.conf\"\n", "every [[kubeconfig_copy]] needs a `path`"),
        (
            "path = \"/etc/kubernetes/pki/ca.key\"\nof = \"admin.conf\"\n",
            "is not a copy: it is renewed or protected itself",
        ),
        (
            "path = \"/root/a\"\nof = \"admin.conf\"\n[[kubeconfig_copy]]\npath = \"/root/a\"\nof = \"admin.conf\"\n",
            "is there twice",
        ),
    ] {
        node.configure(&format!("[[kubeconfig_copy]]\n{toml}"));
        node.run(FRESH, &["config", "check"]).exits(78).complains(complaint);
    }
    node.configure(CONFIGURED);
    node.run(FRESH, &["config", "show"]).exits(0).says(CONFIGURED);
}
