//! From the package to the renewal, and away again.

use std::fs;

use crate::node::{Node, package};
use crate::support::{clock, credential};

const LEAF: &str = "front-proxy-client";

/// Renews every minute.
const EVERY_MINUTE: &str = "schedule = \"0 * * * * *\"\nspread = \"0s\"\n";

/// The commands of a section of a document, line by line.
fn commands(document: &str, heading: &str) -> Vec<String> {
    let section = document
        .split(&format!("\n## {heading}\n"))
        .nth(1)
        .expect("the section");
    let section = section.split("\n## ").next().expect("its end");
    let blocks = section
        .split("```sh\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next());
    blocks.flat_map(str::lines).map(str::to_owned).collect()
}

/// docs/install.md has every command that the README has, and more.
#[test]
fn the_readme_installs_as_docs_install_does() {
    let whole = commands(include_str!("../../docs/install.md"), "Packages");
    for line in commands(include_str!("../../README.md"), "Install") {
        assert!(whole.contains(&line), "{line:?} is not in {whole:?}");
    }
}

#[test]
fn the_commands_of_docs_install_work_word_by_word() {
    let node = Node::with_one_due(LEAF);
    let commands = commands(include_str!("../../docs/install.md"), "Packages");
    let on_debian = commands
        .iter()
        .filter(|line| !line.starts_with("dnf ") && !line.starts_with("make "));
    let mut ran = 0;
    for line in on_debian {
        println!("$ {line}");
        node.sh(line).exits(0);
        ran += 1;
    }
    assert!(ran >= 6, "only {ran} commands in {commands:?}");
    assert!(!node.path("usr/bin/kubecertd").exists(), "the last ones remove it");
}

#[test]
fn the_plan_is_logged_at_once_and_the_renewal_waits() {
    let node = Node::with_one_due(LEAF);
    let leaf = credential::named(LEAF);
    let old = node.material(&leaf);
    let ca = node.read("etc/kubernetes/pki/front-proxy-ca.crt");
    node.write("etc/kubecertd/config.d/often.toml", EVERY_MINUTE);
    node.install();
    // The package waits for READY=1, which comes after the first look.
    node.logs(&format!("due: {LEAF}"));
    assert_eq!(node.property("ActiveState"), "active");
    node.sh("systemctl is-enabled kubecertd kubecertd-recover").exits(0);
    // No other command from here on.
    let line = node.logs("cycle: renewed:");
    assert_eq!(line["_SYSTEMD_UNIT"], "kubecertd.service");
    let micros: i64 = line["__REALTIME_TIMESTAMP"]
        .as_str()
        .expect("a time")
        .parse()
        .expect("a number");
    // The line ends the cycle, which began in the minute before.
    let began = clock::moment(micros / 1_000_000 - 50);
    credential::assert_renewed(LEAF, &ca, &old, &node.material(&leaf), &began);
}

#[test]
fn the_first_assessment_after_installation_only_reports() {
    let node = Node::with_one_due(LEAF);
    let leaf = credential::named(LEAF);
    let old = node.material(&leaf);
    node.install();
    node.logs(&format!("due: {LEAF}"));
    node.wait("it says when it looks next", || {
        node.property("StatusText").contains("next cycle")
    });
    assert!(node.material(&leaf) == old, "the certificate is the old one");
    assert!(
        !node.path("var/lib/kubecertd/backups").exists(),
        "and no backup was taken"
    );
}

#[test]
fn a_machine_without_a_control_plane_is_waited_for() {
    let node = Node::empty();
    node.install();
    node.wait("it runs", || node.property("ActiveState") == "active");
    assert_eq!(node.property("NRestarts"), "0");
}

#[test]
fn an_upgrade_keeps_the_state_and_an_edited_configuration() {
    let node = Node::with_one_due(LEAF);
    fs::copy(package("previous", ".deb"), node.path("root/previous.deb")).expect("a copy");
    node.write("etc/kubecertd/config.d/often.toml", EVERY_MINUTE);
    node.sh("apt-get install -y ./previous.deb").exits(0);
    node.logs("cycle: renewed:");
    let before = node.property("MainPID");
    let config = node.read("etc/kubecertd/config.toml");
    let config = config.replacen("#renew_before = \"30d\"", "renew_before = \"20d\"", 1);
    node.write("etc/kubecertd/config.toml", &config);
    let backups = node.sh("ls /var/lib/kubecertd/backups").exits(0).stdout;
    node.sh("systemctl disable kubecertd-recover").exits(0);

    node.install();
    assert_eq!(node.read("etc/kubecertd/config.toml"), config);
    assert_eq!(node.sh("ls /var/lib/kubecertd/backups").exits(0).stdout, backups);
    assert_ne!(node.property("MainPID"), before, "the new program runs");
    node.wait("it runs", || node.property("ActiveState") == "active");
    node.sh("systemctl is-enabled kubecertd").exits(0);
    node.sh("systemctl is-enabled kubecertd-recover")
        .exits(1)
        .says("disabled");
    node.sh("kubecertd config show").exits(0).says("renew_before = \"20d\"");
}

#[test]
fn removal_stops_it_and_a_purge_leaves_the_backups_alone() {
    let node = Node::with_one_due(LEAF);
    node.install();
    node.sh("kubecertd renew").exits(0);
    node.sh("apt-get remove -y kubecertd").exits(0);
    assert_ne!(node.property("ActiveState"), "active");
    assert!(
        node.path("etc/kubecertd/config.toml").exists(),
        "the configuration is left until the purge"
    );
    let sets = node
        .sh("find /var/lib/kubecertd/backups -type f | sort")
        .exits(0)
        .stdout;
    node.sh("apt-get purge -y kubecertd")
        .exits(0)
        .says("left in /var/lib/kubecertd/backups");
    assert_eq!(
        node.sh("find /var/lib/kubecertd/backups -type f | sort")
            .exits(0)
            .stdout,
        sets
    );
    node.sh("ls -A /var/lib/kubecertd").exits(0);
    assert_eq!(node.sh("ls -A /var/lib/kubecertd").stdout, "backups\n");
    for path in [
        "etc/kubecertd",
        "usr/lib/systemd/system/kubecertd.service",
        "run/kubecertd",
    ] {
        assert!(!node.path(path).exists(), "{path} is left");
    }
    node.sh("systemctl list-unit-files --no-legend 'kubecertd*' | grep .")
        .exits(1);
}

#[test]
fn the_package_stays_while_a_renewal_cannot_be_rolled_back() {
    let node = Node::with_one_due(LEAF);
    node.install();
    node.sh("systemctl stop kubecertd").exits(0);
    node.write("var/lib/kubecertd/transaction.json", "{");
    node.sh("apt-get remove -y kubecertd")
        .exits(100)
        .says("kubecertd is not removed");
    assert!(node.path("usr/bin/kubecertd").exists());
    node.sh("rm /var/lib/kubecertd/transaction.json && apt-get remove -y kubecertd")
        .exits(0);
}
