//! The node around the certificates: its manifests, processes, clock, disk and service, and who
//! else renews.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use serde_json::Value;

use super::{ENABLED, KUBELET, MANIFESTS, UNITS, diagnosis, enable, finds, healthy, of_check, started_ticks};
use crate::support::clock::{self, DAY, FRESH};
use crate::support::daemon::Daemon;
use crate::support::{ECDSA, Node, credential, mount, set_mode};

#[test]
fn a_kubelet_that_does_not_rotate_is_found() {
    let node = healthy(ECDSA);
    node.rewrite(KUBELET, b"staticPodPath: /etc/kubernetes/manifests\n");
    finds(
        &node,
        FRESH,
        ["rotation", "warning", "/var/lib/kubelet/config.yaml"],
        "certificate will expire",
        "systemctl restart kubelet",
    );
}

#[test]
fn a_clock_that_cannot_be_right_is_found() {
    let node = healthy(ECDSA);
    let found = of_check(&node, "2026-11-01 00:00:00", "clock");
    assert!(
        found.len() == 1 && found[0].starts_with("clock: is not reliable: the clock says Nov 01, 2026"),
        "{found:?}"
    );
}

#[test]
fn a_clock_that_is_not_synchronized_is_found() {
    mount::in_own_namespace(|| {
        let node = healthy(ECDSA);
        let said = |node: &Node, answer: &str| {
            let script = node.scratch(answer);
            fs::write(&script, format!("#!/bin/sh\necho {answer}\n")).expect("a script");
            set_mode(&script, 0o755);
            let asked = ["--bind", script.to_str().expect("UTF-8"), "/usr/bin/timedatectl"];
            assert!(Command::new("mount").args(asked).status().expect("mount(8)").success());
            node.run(FRESH, &["doctor"])
        };
        said(&node, "no").exits(4).says("warning  clock: is not synchronized");
        let ran = said(&node, "yes").exits(0);
        assert_eq!(ran.stdout, "nothing is wrong (20 checks)\n");
    });
}

#[test]
fn stray_files_and_unusable_manifests_are_found() {
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
        found[1].starts_with("/etc/kubernetes/manifests/etcd.yaml.bak: does not have the name of a manifest"),
        "{found:?}"
    );

    let node = healthy(ECDSA);
    node.write(&format!("{MANIFESTS}/broken.yaml"), b"a: [", 0o600);
    finds(
        &node,
        FRESH,
        ["manifests", "fault", "/etc/kubernetes/manifests/broken.yaml"],
        "is not YAML",
        "move it out",
    );
}

/// A process of the node, as /proc shows it, that started this many seconds after this machine.
fn process(node: &Node, pid: u32, program: &str, ticks: u64) {
    let directory = format!("proc/{pid}");
    node.write(
        &format!("{directory}/cmdline"),
        format!("{program}\0--x\0").as_bytes(),
        0o444,
    );
    node.write(&format!("{directory}/cgroup"), b"0::/kubepods/pod1\n", 0o444);
    let fields = vec!["0"; 18].join(" ");
    node.write(
        &format!("{directory}/stat"),
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
        ["memory", "warning", "kube-scheduler"],
        "scheduler.conf was written Nov 25, 2026 00:00 UTC: it still uses the old one",
        "kubecertd renew scheduler.conf",
    );
}

#[test]
fn a_directory_that_cannot_be_written_to_is_found() {
    mount::in_own_namespace(|| {
        let node = healthy(ECDSA);
        let mounted = mount::Mount::read_only(&node.path("etc/kubernetes/pki/etcd"));
        finds(
            &node,
            FRESH,
            ["writable", "fault", "/etc/kubernetes/pki/etcd"],
            "is not writable: read-only file system",
            "lsattr",
        );
        drop(mounted);
        assert_eq!(diagnosis(&node, FRESH).1, Vec::<Value>::new());
    });
}

/// The daemon sees a read-only directory that everybody else may write to, as in a sandbox that is
/// older than the directory.
#[test]
fn a_directory_read_only_for_the_service_is_found() {
    let node = healthy(ECDSA);
    fs::create_dir_all(node.path("root/.kube")).expect("a directory");
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
        .map(|directory| format!("{directory}: is not writable for the service: read-only file system"));
    assert_eq!(found, wanted);
    node.run(FRESH, &["doctor"])
        .exits(1)
        .says("`ReadWritePaths=/etc/kubernetes/pki/etcd`")
        .says("`ProtectHome=tmpfs` and `BindPaths=-/root/.kube`");
}

#[test]
fn a_disk_that_is_too_full_for_the_next_backup_is_found() {
    mount::in_own_namespace(|| {
        let node = healthy(ECDSA);
        fs::create_dir_all(node.path("srv/backups")).expect("a directory");
        let _mounted = mount::Mount::memory(&node.path("srv/backups"), "size=4m,mode=0700");
        node.configure("[backup]\ndirectory = \"/srv/backups\"\n");
        finds(
            &node,
            FRESH,
            ["space", "fault", "/srv/backups"],
            "has 4.0 MiB free, but the next backup needs 8.0 MiB",
            "backup prune",
        );
    });
}

#[test]
fn a_service_missing_disabled_masked_or_stopped_is_found() {
    let node = healthy(ECDSA);
    fs::remove_file(node.path(&format!("{ENABLED}/kubecertd.service"))).expect("a symlink");
    finds(
        &node,
        FRESH,
        ["service", "warning", "kubecertd.service"],
        "is not enabled",
        "systemctl enable --now kubecertd",
    );
    enable(&node, "kubecertd.service");
    node.remove("var/lib/kubecertd/status.json");
    finds(
        &node,
        FRESH,
        ["service", "warning", "kubecertd.service"],
        "is not running",
        "systemctl start kubecertd",
    );
    symlink("/dev/null", node.path("etc/systemd/system/kubecertd.service")).expect("a symlink");
    finds(
        &node,
        FRESH,
        ["service", "warning", "kubecertd.service"],
        "is masked",
        "systemctl unmask",
    );
    node.remove("etc/systemd/system/kubecertd.service");
    node.remove(&format!("{UNITS}/kubecertd.service"));
    finds(
        &node,
        FRESH,
        ["service", "note", "kubecertd.service"],
        "is not installed",
        "",
    );
}

#[test]
fn timers_that_renew_are_found() {
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
    assert_eq!(
        diagnosis(&node, FRESH).1,
        Vec::<Value>::new(),
        "nothing of it is enabled"
    );
    enable(&node, "k8s-certs-renew.timer");
    finds(
        &node,
        FRESH,
        ["timers", "warning", "k8s-certs-renew.timer"],
        "starts /usr/lib/systemd/system/k8s-certs-renew.service: it renews in addition to kubecertd",
        "systemctl disable --now k8s-certs-renew.timer",
    );
    fs::remove_file(node.path(&format!("{ENABLED}/k8s-certs-renew.timer"))).expect("a symlink");
    enable(&node, "monthly.timer");
    finds(
        &node,
        FRESH,
        ["timers", "warning", "monthly.timer"],
        "starts /usr/lib/systemd/system/other.service",
        "monthly.timer",
    );
}

#[test]
fn entries_and_scripts_of_cron_that_renew_are_found() {
    let node = healthy(ECDSA);
    let look = b"# kubeadm certs renew all\n0 3 * * * root kubeadm certs check-expiration\n";
    node.write("etc/cron.d/look", look, 0o644);
    assert_eq!(diagnosis(&node, FRESH).1, Vec::<Value>::new(), "a look is no renewal");
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
            ["cron", "warning", &format!("/{path}")],
            "calls kubeadm in line 2",
            &format!("/{path}"),
        );
        node.remove(path);
    }
}

#[test]
fn a_running_kubeadm_is_noted() {
    let node = healthy(ECDSA);
    node.write("proc/4711/comm", b"kubeadm\n", 0o444);
    finds(
        &node,
        FRESH,
        ["kubeadm", "note", "kubeadm"],
        "kubeadm is running (pid 4711)",
        "",
    );
}
