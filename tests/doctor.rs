//! `doctor`: each check speaks on a node that has what it looks for, and is silent on a healthy one.

mod support;

use std::fs;
use std::os::unix::fs::{chown, symlink};
use std::process::Command;

use serde_json::Value;
use support::clock::{self, DAY, FRESH};
use support::daemon::Daemon;
use support::openssl::Authority;
use support::{ECDSA, EXPIRED, Node, OLD_RELEASE, RSA, Ran, credential, mount, set_mode};

const MANIFESTS: &str = "etc/kubernetes/manifests";
const KUBELET: &str = "var/lib/kubelet/config.yaml";
const UNITS: &str = "usr/lib/systemd/system";
const ENABLED: &str = "etc/systemd/system/multi-user.target.wants";

/// A node with a kubelet that rotates and the service installed, enabled and running: this test stands in its process's place.
fn healthy(tree: &str) -> Node {
    let node = Node::of(tree);
    node.write(
        KUBELET,
        b"kind: KubeletConfiguration\nstaticPodPath: /etc/kubernetes/manifests\nrotateCertificates: true\n",
        0o644,
    );
    node.write(
        &format!("{UNITS}/kubecertd.service"),
        b"[Service]\nExecStart=/usr/bin/kubecertd run\n",
        0o644,
    );
    enable(&node, "kubecertd.service");
    let pid = std::process::id();
    let status = serde_json::json!({"daemon": {"running": true, "pid": pid, "started_ticks": started_ticks(pid)}});
    node.write("var/lib/kubecertd/status.json", status.to_string().as_bytes(), 0o600);
    set_mode(&node.path("var/lib/kubecertd"), 0o700);
    node
}

fn enable(node: &Node, unit: &str) {
    fs::create_dir_all(node.path(ENABLED)).expect("a folder");
    symlink(format!("/{UNITS}/{unit}"), node.path(&format!("{ENABLED}/{unit}"))).expect("a symlink");
}

/// The 22nd field of proc_pid_stat(5).
fn started_ticks(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("a process");
    let fields = stat.rsplit_once(')').expect("a name").1.split_whitespace();
    fields.skip(19).next().expect("a start").parse().expect("ticks")
}

fn diagnosis(node: &Node, moment: &str) -> (i32, Vec<Value>) {
    let ran = node.run(moment, &["doctor", "-o", "json"]);
    let document = ran.json();
    let findings = document["findings"].as_array().expect("a list").clone();
    // Whether this machine's clock is synchronised is none of the node's business.
    let of_the_node = |finding: &Value| {
        !finding["message"]
            .as_str()
            .is_some_and(|m| m.starts_with("is not synchronised"))
    };
    (ran.code, findings.into_iter().filter(of_the_node).collect())
}

/// Requires one finding, of this check and severity, about this, with these texts in message and hint; and the exit code that goes with it.
#[track_caller]
fn finds(node: &Node, moment: &str, check: &str, severity: &str, about: &str, message: &str, hint: &str) {
    let (code, findings) = diagnosis(node, moment);
    let [finding] = &findings[..] else {
        panic!("{} findings: {findings:#?}", findings.len())
    };
    let text = |key: &str| finding[key].as_str().unwrap_or_default();
    let found = (text("check"), text("severity"), text("about"));
    assert_eq!(found, (check, severity, about), "{finding:#}");
    assert!(text("message").contains(message), "not {message:?}: {finding:#}");
    assert!(text("hint").contains(hint), "not {hint:?}: {finding:#}");
    let wanted = match (check, severity) {
        ("configuration", _) => 78,
        (_, "fault") => 1,
        (_, "warning") => 4,
        _ => 0,
    };
    assert_eq!(code, wanted, "{finding:#}");
}

/// The findings of one check, as `about: message`.
fn of_check(node: &Node, moment: &str, check: &str) -> Vec<String> {
    let (_, findings) = diagnosis(node, moment);
    let of_it = findings.iter().filter(|finding| finding["check"] == check);
    let words = |finding: &Value| {
        format!(
            "{}: {}",
            finding["about"].as_str().unwrap(),
            finding["message"].as_str().unwrap()
        )
    };
    of_it.map(words).collect()
}

#[test]
fn on_a_healthy_node_nothing_is_wrong_and_nothing_is_written() {
    for tree in [RSA, ECDSA, OLD_RELEASE] {
        let node = healthy(tree);
        let before = node.snapshot();
        let (code, findings) = diagnosis(&node, FRESH);
        assert_eq!((code, findings), (0, Vec::new()), "{tree}");
        assert_eq!(before.every_change(&node.snapshot()), Default::default());
    }
}

#[test]
fn a_person_reads_the_worst_first_and_what_to_do() {
    let node = healthy(ECDSA);
    let ran = node.run(FRESH, &["doctor"]);
    assert!(ran.stdout.contains(" checks)\n"), "{ran}");
    node.write(
        &format!("{MANIFESTS}/notes.txt"),
        b"metadata: {name: x}\nspec: {containers: [{name: x}]}\n",
        0o600,
    );
    set_mode(&node.path("etc/kubernetes/pki/sa.key"), 0o644);
    let ran: Ran = node.run(FRESH, &["doctor"]).exits(1);
    let lines: Vec<_> = ran.stdout.lines().collect();
    assert_eq!(
        lines[..4],
        [
            "fault    /etc/kubernetes/pki/sa.key: is 0644: every user of the node may use this key",
            "         hint: chmod 0600 /etc/kubernetes/pki/sa.key",
            "warning  /etc/kubernetes/manifests/notes.txt: is no manifest by its name, and the kubelet reads it all the same",
            "         hint: mv /etc/kubernetes/manifests/notes.txt /root/",
        ],
        "{ran}"
    );
    assert!(ran.stdout.contains("\n1 fault, "), "{ran}");
    node.run(FRESH, &["doctor", "-o", "yaml"]).exits(1).says("worst: fault");
}

#[test]
fn on_a_worker_and_before_kubeadm_nothing_is_a_fault() {
    let node = healthy(ECDSA);
    fs::remove_dir_all(node.path("etc/kubernetes")).expect("a folder");
    let (code, findings) = diagnosis(&node, FRESH);
    assert_eq!((code, findings), (0, Vec::new()));
}

#[test]
fn a_bad_configuration_is_a_finding_and_the_rest_is_checked_all_the_same() {
    let node = healthy(ECDSA);
    node.configure("\nschedul = \"x\"\n");
    finds(
        &node,
        FRESH,
        "configuration",
        "fault",
        "/etc/kubecertd/config.toml:2",
        "schedul: unknown field",
        "kubecertd config check",
    );
    set_mode(&node.path("etc/kubernetes/pki/sa.key"), 0o604);
    let (code, findings) = diagnosis(&node, FRESH);
    assert_eq!((code, findings.len()), (78, 2), "{findings:#?}");
}

#[test]
fn what_an_interrupted_run_left_is_found() {
    let node = healthy(ECDSA);
    node.write("var/lib/kubecertd/transaction.json", b"{}", 0o600);
    finds(
        &node,
        FRESH,
        "interrupted",
        "fault",
        "kubecertd",
        "neither finished nor undone",
        "kubecertd recover",
    );
}

#[test]
fn what_has_expired_cannot_be_read_or_was_not_renewed_in_time_is_found() {
    let node = healthy(ECDSA);
    let leaf = credential::named("etcd-server");
    leaf.set_validity(&node, &clock::later(FRESH, -40 * DAY), 10);
    finds(
        &node,
        FRESH,
        "credentials",
        "fault",
        "etcd-server",
        "has expired on Oct 25, 2026",
        "kubecertd renew etcd-server",
    );
    leaf.set_validity(&node, &clock::later(FRESH, -40 * DAY), 43);
    finds(
        &node,
        FRESH,
        "credentials",
        "warning",
        "etcd-server",
        "was not renewed in time",
        "kubecertd renew etcd-server",
    );
    node.rewrite(&leaf.path(), b"");
    finds(
        &node,
        FRESH,
        "credentials",
        "fault",
        "etcd-server",
        "cannot be read: /etc/kubernetes/pki/etcd/server.crt is empty",
        "restore ID",
    );

    let other = healthy(ECDSA);
    other.rewrite(
        "etc/kubernetes/pki/apiserver.key",
        other.read("etc/kubernetes/pki/sa.key").as_bytes(),
    );
    let found = of_check(&other, FRESH, "credentials");
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with("apiserver: its pair is broken"), "{found:?}");
}

#[test]
fn a_kubelet_conf_that_points_at_an_expired_certificate_is_found() {
    let node = healthy(EXPIRED);
    let found = of_check(&node, FRESH, "kubelet");
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(
        found[0].starts_with("kubelet.conf: /etc/kubernetes/kubelet.conf points at a certificate that has expired on ")
            && found[0].contains("inside it, where the kubelet never renews it"),
        "{found:?}"
    );
}

#[test]
fn a_kubelet_that_does_not_rotate_is_found() {
    let node = healthy(ECDSA);
    node.rewrite(KUBELET, b"staticPodPath: /etc/kubernetes/manifests\n");
    finds(
        &node,
        FRESH,
        "rotation",
        "warning",
        "/var/lib/kubelet/config.yaml",
        "lets its certificate end",
        "systemctl restart kubelet",
    );
}

#[test]
fn a_ca_that_ends_before_the_next_renewals_or_cannot_sign_is_found() {
    let ca = "ca ends";
    // The fixture's CAs have ten years.
    let node = healthy(ECDSA);
    for (days, severity, message) in [
        (200, "warning", "is good for less than 365d"),
        (20, "fault", "what it signs ends with it"),
    ] {
        renew_authority(&node, "front-proxy-ca", days);
        let found = of_check(&node, FRESH, "authorities");
        assert_eq!(found.len(), 1, "{ca} in {days} days: {found:?}");
        assert!(
            found[0].starts_with("front-proxy-ca: ends ") && found[0].contains(message),
            "{found:?}"
        );
        let (code, _) = diagnosis(&node, FRESH);
        assert_eq!(code, if severity == "fault" { 1 } else { 4 });
    }
    let node = healthy(ECDSA);
    node.rewrite(
        "etc/kubernetes/pki/front-proxy-ca.key",
        node.read("etc/kubernetes/pki/sa.key").as_bytes(),
    );
    let found = of_check(&node, FRESH, "authorities");
    assert!(found.len() == 1 && found[0].contains("cannot sign"), "{found:?}");
    let expired = healthy(EXPIRED);
    assert!(!of_check(&expired, "2040-01-01 00:00:00", "authorities").is_empty());
    let external = healthy(ECDSA);
    external.remove("etc/kubernetes/pki/front-proxy-ca.key");
    assert_eq!(
        of_check(&external, FRESH, "authorities"),
        Vec::<String>::new(),
        "its key is kept elsewhere"
    );
}

/// The same CA and key with so many days from now.
fn renew_authority(node: &Node, base: &str, days: i64) {
    let ca = Authority::of(node, &format!("pki/{base}"));
    let path = format!("etc/kubernetes/pki/{base}.crt");
    let key = fs::read_to_string(&ca.key).expect("a key");
    let certificate = ca.reissue(&node.read(&path), &key, None, &clock::later(FRESH, -DAY), days + 1);
    node.rewrite(&path, certificate.as_bytes());
}

#[test]
fn names_that_certificates_miss_are_found() {
    let node = healthy(ECDSA);
    let admin = node.read("etc/kubernetes/admin.conf");
    node.rewrite(
        "etc/kubernetes/admin.conf",
        admin
            .replace("k8s-api.example.internal", "lb.example.internal")
            .as_bytes(),
    );
    finds(
        &node,
        FRESH,
        "names",
        "fault",
        "apiserver",
        "is not for lb.example.internal, by which /etc/kubernetes/admin.conf calls it",
        "kubeadm init phase certs apiserver",
    );
    node.rewrite(
        "etc/kubernetes/admin.conf",
        admin
            .replace(
                "    server: https://k8s-api.example.internal:6443",
                "    server: https://lb.example.internal:6443\n    tls-server-name: k8s-api.example.internal",
            )
            .as_bytes(),
    );
    assert_eq!(
        of_check(&node, FRESH, "names"),
        Vec::<String>::new(),
        "the client asks for another name"
    );

    let node = healthy(ECDSA);
    for (manifest, old, new, severity, about) in [
        (
            "kube-apiserver",
            "--advertise-address=10.0.0.11",
            "--advertise-address=10.0.0.99",
            "warning",
            "apiserver",
        ),
        (
            "etcd",
            "--advertise-client-urls=https://10.0.0.11:",
            "--advertise-client-urls=https://10.0.0.99:",
            "fault",
            "etcd-server",
        ),
        (
            "etcd",
            "--initial-advertise-peer-urls=https://10.0.0.11:",
            "--initial-advertise-peer-urls=https://[fd00::9]:",
            "fault",
            "etcd-peer",
        ),
    ] {
        let path = credential::manifest(manifest);
        let text = node.read(&path);
        assert!(text.contains(old));
        node.rewrite(&path, text.replace(old, new).as_bytes());
        let name = if new.contains("fd00") { "fd00::9" } else { "10.0.0.99" };
        finds(
            &node,
            FRESH,
            "names",
            severity,
            about,
            &format!("is not for {name}"),
            "move its .crt and .key",
        );
        node.rewrite(&path, text.as_bytes());
    }
}

#[test]
fn a_clock_that_cannot_be_right_is_found() {
    let node = healthy(ECDSA);
    let found = of_check(&node, "2026-11-01 00:00:00", "clock");
    assert!(
        found.len() == 1 && found[0].starts_with("clock: cannot be right: the clock says Nov 01, 2026"),
        "{found:?}"
    );
}

#[test]
fn a_clock_that_is_not_synchronised_is_found() {
    mount::in_own_namespace("a_clock_that_is_not_synchronised_is_found", || {
        let node = healthy(ECDSA);
        let said = |node: &Node, answer: &str| {
            let script = node.scratch(answer);
            fs::write(&script, format!("#!/bin/sh\necho {answer}\n")).expect("a script");
            set_mode(&script, 0o755);
            let asked = ["--bind", script.to_str().expect("UTF-8"), "/usr/bin/timedatectl"];
            assert!(Command::new("mount").args(asked).status().expect("mount(8)").success());
            node.run(FRESH, &["doctor"])
        };
        said(&node, "no").exits(4).says("warning  clock: is not synchronised");
        let ran = said(&node, "yes").exits(0);
        assert_eq!(ran.stdout, "nothing is wrong (20 checks)\n");
    });
}

#[test]
fn files_that_nobody_means_and_manifests_that_cannot_be_used_are_found() {
    let node = healthy(ECDSA);
    let etcd = node.read(&credential::manifest("etcd"));
    node.write(&format!("{MANIFESTS}/.etcd.yaml.bak"), etcd.as_bytes(), 0o600);
    assert_eq!(
        diagnosis(&node, FRESH).1,
        Vec::<Value>::new(),
        "the kubelet reads no dot-file"
    );
    node.write(&format!("{MANIFESTS}/etcd.yaml.bak"), etcd.as_bytes(), 0o600);
    let found = of_check(&node, FRESH, "manifests");
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(
        found[0].contains(
            "the pod etcd is in /etc/kubernetes/manifests/etcd.yaml and /etc/kubernetes/manifests/etcd.yaml.bak"
        ),
        "{found:?}"
    );
    assert!(
        found[1].starts_with("/etc/kubernetes/manifests/etcd.yaml.bak: is no manifest by its name"),
        "{found:?}"
    );

    let node = healthy(ECDSA);
    node.write(&format!("{MANIFESTS}/broken.yaml"), b"a: [", 0o600);
    finds(
        &node,
        FRESH,
        "manifests",
        "fault",
        "/etc/kubernetes/manifests/broken.yaml",
        "is not YAML",
        "move it out",
    );
}

/// A process of the node, as /proc shows it, that started so many seconds after this machine.
fn process(node: &Node, pid: u32, program: &str, ticks: u64) {
    let folder = format!("proc/{pid}");
    node.write(
        &format!("{folder}/cmdline"),
        format!("{program}\0--x\0").as_bytes(),
        0o444,
    );
    node.write(&format!("{folder}/cgroup"), b"0::/kubepods/pod1\n", 0o444);
    let fields = vec!["0"; 18].join(" ");
    node.write(
        &format!("{folder}/stat"),
        format!("{pid} (x) S {fields} {ticks} 0\n").as_bytes(),
        0o444,
    );
}

#[test]
fn a_process_that_is_older_than_its_credential_is_found() {
    let node = healthy(ECDSA);
    let ticks = started_ticks(std::process::id());
    process(&node, 41, "kube-scheduler", ticks);
    process(&node, 42, "kube-apiserver", ticks);
    assert_eq!(
        diagnosis(&node, FRESH).1,
        Vec::<Value>::new(),
        "both started after their files were written"
    );
    // The files are written a day later than the processes started, by the same clock.
    let later = clock::later(FRESH, DAY);
    for path in [
        "etc/kubernetes/scheduler.conf",
        "etc/kubernetes/pki/apiserver.crt",
        "etc/kubernetes/pki/apiserver.key",
    ] {
        let file = fs::File::open(node.path(path)).expect("a file");
        let at = std::time::Duration::from_secs(clock::seconds(&later).try_into().expect("after 1970"));
        file.set_modified(std::time::SystemTime::UNIX_EPOCH + at)
            .expect("a time");
    }
    finds(
        &node,
        &clock::later(FRESH, 60),
        "memory",
        "warning",
        "kube-scheduler",
        "scheduler.conf was written Nov 25, 2026 00:00 UTC: it holds the one of before",
        "kubecertd renew scheduler.conf",
    );
}

#[test]
fn what_will_not_be_renewed_the_day_it_is_due_is_found_before() {
    let node = healthy(ECDSA);
    chown(node.path("etc/kubernetes/pki/etcd"), Some(2379), None).expect("an owner");
    let found = of_check(&node, FRESH, "refused");
    assert_eq!(found.len(), 3, "{found:?}");
    assert!(found[0].contains("will not be renewed when it is due: /etc/kubernetes/pki/etcd/healthcheck-client.crt could be replaced by others"), "{found:?}");
}

#[test]
fn a_folder_that_cannot_be_written_to_is_found() {
    mount::in_own_namespace("a_folder_that_cannot_be_written_to_is_found", || {
        let node = healthy(ECDSA);
        let mounted = mount::Mount::read_only(&node.path("etc/kubernetes/pki/etcd"));
        finds(
            &node,
            FRESH,
            "writable",
            "fault",
            "/etc/kubernetes/pki/etcd",
            "cannot be written to: read-only file system",
            "lsattr",
        );
        drop(mounted);
        assert_eq!(diagnosis(&node, FRESH).1, Vec::<Value>::new());
    });
}

/// The daemon sees a read-only folder that everybody else may write to, as in a sandbox that is older than the folder.
#[test]
fn a_folder_that_the_service_alone_cannot_write_to_is_found_with_the_drop_in() {
    let node = healthy(ECDSA);
    fs::create_dir_all(node.path("root/.kube")).expect("a folder");
    node.configure("[[kubeconfig_copy]]\npath = \"/root/.kube/config\"\nof = \"admin.conf\"\n");
    node.write(
        "root/.kube/config",
        node.read("etc/kubernetes/admin.conf").as_bytes(),
        0o600,
    );
    node.remove("var/lib/kubecertd/status.json");
    let script = "for f in etc/kubernetes/pki/etcd root/.kube; do mount --bind $0/$f $0/$f && mount -o remount,bind,ro $0/$f; done; exec \"$@\"";
    let root = node.root();
    let wrapper = [
        "unshare",
        "--mount",
        "--propagation",
        "private",
        "sh",
        "-c",
        script,
        root.to_str().expect("UTF-8"),
    ];
    let mut daemon = Daemon::start(&node, FRESH, &wrapper);
    daemon.says("READY=1");
    let found = of_check(&node, FRESH, "writable");
    let wanted = ["/etc/kubernetes/pki/etcd", "/root/.kube"]
        .map(|folder| format!("{folder}: cannot be written to by the service: read-only file system"));
    assert_eq!(found, wanted);
    node.run(FRESH, &["doctor"])
        .exits(1)
        .says("`ReadWritePaths=/etc/kubernetes/pki/etcd`")
        .says("`ProtectHome=tmpfs` and `BindPaths=-/root/.kube`");
}

#[test]
fn a_disk_that_is_too_full_for_the_next_backup_is_found() {
    mount::in_own_namespace("a_disk_that_is_too_full_for_the_next_backup_is_found", || {
        let node = healthy(ECDSA);
        fs::create_dir_all(node.path("srv/backups")).expect("a folder");
        let _mounted = mount::Mount::memory(&node.path("srv/backups"), "size=4m,mode=0700");
        node.configure("[backup]\ndirectory = \"/srv/backups\"\n");
        finds(
            &node,
            FRESH,
            "space",
            "fault",
            "/srv/backups",
            "has 4.0 MiB free, and the next backup needs 8.0 MiB",
            "backup prune",
        );
    });
}

#[test]
fn service_account_keys_that_are_no_pair_are_found() {
    let node = healthy(ECDSA);
    let other = fs::read_to_string(support::fixture(&format!("{RSA}/etc/kubernetes/pki/sa.pub"))).expect("a key");
    node.rewrite("etc/kubernetes/pki/sa.pub", other.as_bytes());
    finds(
        &node,
        FRESH,
        "service-account",
        "fault",
        "/etc/kubernetes/pki/sa.key",
        "are not a pair",
        "openssl pkey -in /etc/kubernetes/pki/sa.key -pubout",
    );
}

#[test]
fn keys_that_others_may_use_are_found() {
    for (path, mode, owner, severity, message) in [
        ("pki/ca.key", 0o604, (0, 0), "fault", "every user of the node"),
        ("admin.conf", 0o644, (0, 0), "fault", "every user of the node"),
        (
            "pki/apiserver.key",
            0o640,
            (0, 999),
            "warning",
            "group 999 may use this key",
        ),
        (
            "pki/etcd/server.key",
            0o600,
            (2379, 2379),
            "warning",
            "belongs to user 2379",
        ),
    ] {
        let node = healthy(ECDSA);
        let path = format!("etc/kubernetes/{path}");
        chown(node.path(&path), Some(owner.0), Some(owner.1)).expect("an owner");
        set_mode(&node.path(&path), mode);
        finds(
            &node,
            FRESH,
            "modes",
            severity,
            &format!("/{path}"),
            message,
            &format!("/{path}"),
        );
    }
    let node = healthy(ECDSA);
    set_mode(&node.path("etc/kubernetes/pki/ca.key"), 0o640);
    assert_eq!(diagnosis(&node, FRESH).1, Vec::<Value>::new(), "root's own group");
}

#[test]
fn a_service_that_is_not_there_not_enabled_masked_or_ended_is_found() {
    let node = healthy(ECDSA);
    fs::remove_file(node.path(&format!("{ENABLED}/kubecertd.service"))).expect("a symlink");
    finds(
        &node,
        FRESH,
        "service",
        "warning",
        "kubecertd.service",
        "is not enabled",
        "systemctl enable --now kubecertd",
    );
    enable(&node, "kubecertd.service");
    node.remove("var/lib/kubecertd/status.json");
    finds(
        &node,
        FRESH,
        "service",
        "warning",
        "kubecertd.service",
        "does not run",
        "systemctl start kubecertd",
    );
    symlink("/dev/null", node.path("etc/systemd/system/kubecertd.service")).expect("a symlink");
    finds(
        &node,
        FRESH,
        "service",
        "warning",
        "kubecertd.service",
        "is masked",
        "systemctl unmask",
    );
    node.remove("etc/systemd/system/kubecertd.service");
    node.remove(&format!("{UNITS}/kubecertd.service"));
    finds(
        &node,
        FRESH,
        "service",
        "note",
        "kubecertd.service",
        "is not installed",
        "",
    );
}

#[test]
fn timers_and_entries_of_cron_that_renew_are_found() {
    let node = healthy(ECDSA);
    node.write(
        &format!("{UNITS}/k8s-certs-renew.service"),
        b"[Service]\nExecStart=/usr/local/bin/k8s-certs-renew.sh\n",
        0o644,
    );
    node.write(
        &format!("{UNITS}/k8s-certs-renew.timer"),
        b"[Timer]\nOnCalendar=monthly\n",
        0o644,
    );
    node.write(
        &format!("{UNITS}/other.service"),
        b"[Service]\nExecStart=/usr/bin/kubeadm certs renew all\n",
        0o644,
    );
    node.write(
        &format!("{UNITS}/monthly.timer"),
        b"[Timer]\nUnit=other.service\n",
        0o644,
    );
    node.write(
        "etc/cron.d/look",
        b"# kubeadm certs renew all\n0 3 * * * root kubeadm certs check-expiration\n",
        0o644,
    );
    assert_eq!(
        diagnosis(&node, FRESH).1,
        Vec::<Value>::new(),
        "nothing of it is enabled"
    );
    enable(&node, "k8s-certs-renew.timer");
    finds(
        &node,
        FRESH,
        "timers",
        "warning",
        "k8s-certs-renew.timer",
        "starts /usr/lib/systemd/system/k8s-certs-renew.service: it renews beside kubecertd",
        "systemctl disable --now k8s-certs-renew.timer",
    );
    fs::remove_file(node.path(&format!("{ENABLED}/k8s-certs-renew.timer"))).expect("a symlink");
    enable(&node, "monthly.timer");
    finds(
        &node,
        FRESH,
        "timers",
        "warning",
        "monthly.timer",
        "starts /usr/lib/systemd/system/other.service",
        "monthly.timer",
    );
    fs::remove_file(node.path(&format!("{ENABLED}/monthly.timer"))).expect("a symlink");
    for path in [
        "etc/crontab",
        "etc/cron.d/renew",
        "etc/cron.monthly/renew",
        "var/spool/cron/crontabs/root",
        "var/spool/cron/root",
    ] {
        node.write(path, b"#!/bin/sh\n0 3 1 * * root kubeadm certs renew all\n", 0o755);
        finds(
            &node,
            FRESH,
            "cron",
            "warning",
            &format!("/{path}"),
            "calls kubeadm in line 2",
            &format!("/{path}"),
        );
        node.remove(path);
    }
}

#[test]
fn a_kubeadm_at_work_is_noted() {
    let node = healthy(ECDSA);
    node.write("proc/4711/comm", b"kubeadm\n", 0o444);
    finds(
        &node,
        FRESH,
        "kubeadm",
        "note",
        "kubeadm",
        "kubeadm is running (pid 4711)",
        "",
    );
}

#[test]
fn a_copy_that_does_not_change_with_its_original_is_noted() {
    let node = healthy(ECDSA);
    node.configure("[[kubeconfig_copy]]\npath = \"/root/.kube/config\"\nof = \"admin.conf\"\n");
    node.write(
        "root/.kube/config",
        node.read("etc/kubernetes/scheduler.conf").as_bytes(),
        0o600,
    );
    finds(
        &node,
        FRESH,
        "copies",
        "note",
        "/root/.kube/config",
        "does not change with admin.conf: it does not hold the credential",
        "compare it with /etc/kubernetes/admin.conf",
    );
    node.rewrite("root/.kube/config", node.read("etc/kubernetes/admin.conf").as_bytes());
    assert_eq!(diagnosis(&node, FRESH).1, Vec::<Value>::new());
}
