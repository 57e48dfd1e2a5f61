//! Readers that are systemd units: control planes that were set up from binaries.

use crate::node::Node;

const LEAF: &str = "etcd-server";

const TOOL: &str = "[Service]\nExecStart=/usr/bin/sleep infinity\nExecReload=/usr/bin/touch /run/reloaded\n";

/// The certificate is read by `tool.service`; the daemon itself has nothing to do for a year.
fn configured(reload: bool) -> String {
    format!(
        "schedule = \"0 0 0 1 1 *\"\n\
         [[certificate]]\nname = \"{LEAF}\"\npath = \"/etc/kubernetes/pki/etcd/server.crt\"\n\
         key = \"/etc/kubernetes/pki/etcd/server.key\"\nca = \"etcd-ca\"\nreaders = [\"tool\"]\n\
         [[reader]]\nname = \"tool\"\nunit = \"tool.service\"\nreload = {reload}\n"
    )
}

fn main_pid(node: &Node) -> String {
    let show = "systemctl show --value -p MainPID tool.service";
    node.sh(show).exits(0).stdout.trim().to_owned()
}

/// `renew`, and how it was proven that the unit uses the new certificate.
fn renewed(node: &Node) -> String {
    let ran = node.run(&["kubecertd", "renew", LEAF, "-o", "json"]).exits(0);
    let report: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran}"));
    assert_eq!(report["restarted"][0]["unit"], "tool.service", "{ran}");
    assert_eq!(report["proofs"][0]["reader"], "tool", "{ran}");
    report["proofs"][0]["proof"].as_str().expect("a word").to_owned()
}

#[test]
fn systemd_restarts_or_reloads_units_that_read_a_certificate() {
    let node = Node::with_one_due(LEAF);
    node.write("etc/systemd/system/tool.service", TOOL);
    node.write("etc/kubecertd/config.d/tool.toml", &configured(false));
    node.sh("systemctl daemon-reload && systemctl start tool").exits(0);
    node.install();
    let first = main_pid(&node);
    assert_eq!(renewed(&node), "restarted");
    let second = main_pid(&node);
    assert!(second != "0" && second != first, "{first}, then {second}");

    node.write("etc/kubecertd/config.d/tool.toml", &configured(true));
    assert_eq!(renewed(&node), "assumed", "nothing can be asked of it");
    assert_eq!(main_pid(&node), second, "it goes on");
    assert!(node.path("run/reloaded").exists() || node.sh("test -e /run/reloaded").code == 0);
}

/// A node whose daemon renews within seconds, and restarts the reader with this script.
fn restarts_with(script: &str, more: &str) -> Node {
    let node = Node::with_one_due(LEAF);
    node.write("usr/local/sbin/restart-it", script);
    node.sh("chmod 755 /usr/local/sbin/restart-it").exits(0);
    let exec = "exec = [\"/usr/local/sbin/restart-it\"]\n";
    let often = "schedule = \"*/10 * * * * *\"\nspread = \"0s\"\n";
    let settings = configured(false)
        .replace("schedule = \"0 0 0 1 1 *\"\n", often)
        .replace("unit = \"tool.service\"\nreload = false\n", exec);
    node.write("etc/kubecertd/config.d/tool.toml", &format!("{settings}{more}"));
    node.install();
    node
}

#[test]
fn a_command_that_restarts_a_reader_runs_outside_of_the_sandbox() {
    // /usr is read-only to the daemon, and /root is hidden from it.
    let node = restarts_with(
        "#!/bin/sh\ncp /proc/self/cgroup /usr/local/cgroup && echo it >/root/restarted\n",
        "",
    );
    node.logs("restarted tool (exec");
    assert_eq!(node.read("root/restarted").trim(), "it");
    let group = node.read("usr/local/cgroup");
    assert!(
        group.contains(".service") && !group.contains("kubecertd.service"),
        "{group}"
    );
    node.logs("cycle: renewed: etcd-server");
}

#[test]
fn a_command_that_hangs_is_ended_with_all_that_it_started() {
    let node = restarts_with(
        "#!/bin/sh\ntrap '' TERM\nsleep 1000 &\nwait\nsleep 1000\n",
        "[restart]\ntimeout = \"5s\"\n",
    );
    node.logs("cannot restart tool: cannot run /usr/local/sbin/restart-it: it did not end within 5 s");
    // No other cycle begins: what is left is the command of this one.
    node.sh("systemctl stop kubecertd").exits(0);
    node.wait("all of it has ended", || {
        node.sh("grep -qsx sleep /proc/[0-9]*/comm").code != 0
    });
    node.sh("systemctl list-units --all --no-legend 'run-*.service' | grep . && exit 1 || exit 0")
        .exits(0);
}
