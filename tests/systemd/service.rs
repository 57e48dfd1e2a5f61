//! The daemon as systemd runs it.

use crate::node::Node;
use crate::support::credential;

const LEAF: &str = "etcd-server";

/// A reader whose restart takes as long as a test wants to look: the renewal is installed, and not
/// proven.
const SLOW: &str = r#"
schedule = "0 * * * * *"
spread = "0s"

[[certificate]]
name = "etcd-server"
path = "/etc/kubernetes/pki/etcd/server.crt"
key = "/etc/kubernetes/pki/etcd/server.key"
ca = "etcd-ca"
readers = ["slow"]

[[reader]]
name = "slow"
exec = ["/usr/local/sbin/slow"]
"#;

/// A node in the middle of a cycle: the new files are in place, and the reader is being restarted.
fn in_the_middle() -> Node {
    let node = Node::with_one_due(LEAF);
    node.write("usr/local/sbin/slow", "#!/bin/sh\nexec sleep 300\n");
    node.sh("chmod 755 /usr/local/sbin/slow").exits(0);
    node.write("etc/kubecertd/config.d/slow.toml", SLOW);
    node.install();
    node.wait("the reader is being restarted", || {
        node.sh("grep -qsx sleep /proc/[0-9]*/comm").code == 0
            && node.path("var/lib/kubecertd/transaction.json").exists()
    });
    node
}

/// Nothing is left to do, and the pair is one.
fn is_settled(node: &Node) {
    node.wait("the journal of the renewal is gone", || {
        !node.path("var/lib/kubecertd/transaction.json").exists()
    });
    node.sh("kubecertd plan").exits(0);
    let leaf = credential::named(LEAF);
    let pair = node.material(&leaf);
    assert_eq!(
        crate::support::openssl::public_key_of_key(&pair.key),
        crate::support::openssl::public_key_of_certificate(&pair.certificate),
        "key and certificate belong together"
    );
}

#[test]
fn a_daemon_killed_in_a_cycle_leaves_nothing_half_done() {
    let node = in_the_middle();
    node.sh("systemctl kill -s KILL --kill-whom=main kubecertd").exits(0);
    is_settled(&node);
    node.wait("it is started again", || node.property("NRestarts") == "1");
}

#[test]
fn a_daemon_stopped_in_a_cycle_rolls_back() {
    let node = in_the_middle();
    node.sh("systemctl stop kubecertd").exits(0);
    assert_eq!(node.property("ActiveState"), "inactive", "{}", node.property("Result"));
    is_settled(&node);
    node.sh("kubecertd plan --exit-code").exits(10).says(LEAF);
}

#[test]
fn a_cycle_interrupted_by_a_crash_is_recovered_at_boot() {
    let node = Node::with_one_due(LEAF);
    node.install();
    let condition = || {
        node.sh("systemctl show -p ConditionResult --value kubecertd-recover")
            .stdout
    };
    node.sh("systemctl start kubecertd-recover").exits(0);
    assert_eq!(condition().trim(), "no", "nothing was interrupted");
    for record in ["transaction.json", "parked.json"] {
        node.sh(&format!(
            "touch /var/lib/kubecertd/{record}; systemctl start kubecertd-recover; true"
        ));
        assert_eq!(condition().trim(), "yes", "{record}");
        node.sh(&format!(
            "rm -f /var/lib/kubecertd/{record}; systemctl reset-failed kubecertd-recover; true"
        ));
    }
    node.sh("systemctl show -p Before --value kubecertd-recover")
        .says("kubelet.service");
}

#[test]
fn a_frozen_daemon_is_started_again() {
    let node = Node::with_one_due(LEAF);
    node.write(
        "etc/systemd/system/kubecertd.service.d/soon.conf",
        "[Service]\nWatchdogSec=5s\nRestartSec=1s\n",
    );
    node.install();
    let first = node.property("MainPID");
    node.sh("systemctl kill -s STOP --kill-whom=main kubecertd").exits(0);
    node.wait("another process runs", || {
        let now = node.property("MainPID");
        now != first && now != "0" && node.property("ActiveState") == "active"
    });
    assert_eq!(node.property("NRestarts"), "1");
}

#[test]
fn a_reload_keeps_the_old_configuration_if_the_new_one_is_bad() {
    let node = Node::with_one_due(LEAF);
    node.install();
    let first = node.property("MainPID");
    let status = || node.property("StatusText");
    node.write(
        "etc/kubecertd/config.d/hour.toml",
        "schedule = \"0 0 5 * * *\"\nspread = \"0s\"\n",
    );
    node.sh("systemctl reload kubecertd").exits(0);
    node.wait("the new schedule holds", || status().contains("05:00"));
    node.write("etc/kubecertd/config.d/hour.toml", "schedule = \"never\"\n");
    node.sh("systemctl reload kubecertd");
    node.logs("hour.toml:1:12");
    assert_eq!(
        (node.property("MainPID"), node.property("ActiveState").as_str()),
        (first, "active")
    );
    node.wait("the old schedule holds", || status().contains("05:00"));
}

#[test]
fn a_bad_configuration_is_not_tried_again_and_again() {
    let node = Node::with_one_due(LEAF);
    node.write("etc/kubecertd/config.d/bad.toml", "schedule = \"never\"\n");
    // The package is installed, and says what is wrong.
    node.sh("apt-get install -y ./kubecertd_*_amd64.deb")
        .exits(0)
        .says("kubecertd config check");
    assert_eq!(node.property("ActiveState"), "failed");
    assert_eq!(
        (node.property("ExecMainStatus"), node.property("NRestarts")),
        ("78".into(), "0".into())
    );
    node.logs("bad.toml:1:12");
}

#[test]
fn the_journal_has_fields_that_a_machine_reads_and_explanations() {
    let node = Node::with_one_due(LEAF);
    node.install();
    node.sh("kubecertd renew").exits(0);
    node.sh("systemctl restart kubecertd").exits(0);
    node.wait("it looks", || !node.journal().is_empty());
    for line in node.journal() {
        assert_eq!(line["SYSLOG_IDENTIFIER"], "kubecertd");
        let priority: u8 = line["PRIORITY"]
            .as_str()
            .expect("a priority")
            .parse()
            .expect("a number");
        assert!((3..=6).contains(&priority), "{line}");
        assert!(!line.to_string().contains("-----BEGIN"), "{line}");
    }
    let ids: Vec<_> = node
        .journal()
        .iter()
        .filter_map(|line| line["MESSAGE_ID"].as_str().map(str::to_owned))
        .collect();
    assert!(!ids.is_empty(), "no MESSAGE_ID in {:?}", node.journal());
    for id in ids {
        node.run(&["journalctl", "--dump-catalog", &id])
            .exits(0)
            .says("Subject:");
    }
}

#[test]
fn the_sandbox_allows_a_renewal_and_keeps_the_state_private() {
    let node = Node::with_one_due(LEAF);
    node.write(
        "etc/kubecertd/config.d/often.toml",
        "schedule = \"*/10 * * * * *\"\nspread = \"0s\"\n",
    );
    // Owners, as where etcd runs as a user of its own.
    node.sh("chown -R 996:996 /var/lib/etcd && chown 996:996 /etc/kubernetes/pki/etcd/server.*")
        .exits(0);
    node.install();
    node.logs("cycle: renewed:");
    let modes = node.sh("stat -c '%a %u %n' /var/lib/kubecertd /run/kubecertd /etc/kubernetes/pki/etcd/server.key");
    assert_eq!(
        modes.exits(0).stdout,
        "700 0 /var/lib/kubecertd\n755 0 /run/kubecertd\n600 996 /etc/kubernetes/pki/etcd/server.key\n"
    );
    node.sh("systemctl stop kubecertd && test -d /run/kubecertd").exits(0);
    // A word in a unit that this systemd does not know, say.
    node.sh("systemd-analyze verify --man=no kubecertd.service kubecertd-recover.service")
        .exits(0);
}
