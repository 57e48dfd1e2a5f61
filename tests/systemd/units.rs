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
fn a_unit_that_reads_a_renewed_certificate_is_restarted_or_reloaded_by_systemd() {
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

#[test]
fn a_command_that_restarts_a_reader_runs_outside_of_the_sandbox() {
    let node = Node::with_one_due(LEAF);
    // /usr is read-only to the daemon, and /root is hidden from it.
    node.write(
        "usr/local/sbin/restart-it",
        "#!/bin/sh\ncp /proc/self/cgroup /usr/local/cgroup && echo it >/root/restarted\n",
    );
    node.sh("chmod 755 /usr/local/sbin/restart-it").exits(0);
    let exec = "exec = [\"/usr/local/sbin/restart-it\"]\n";
    let often = "schedule = \"*/10 * * * * *\"\nspread = \"0s\"\n";
    let settings = configured(false)
        .replace("schedule = \"0 0 0 1 1 *\"\n", often)
        .replace("unit = \"tool.service\"\nreload = false\n", exec);
    node.write("etc/kubecertd/config.d/tool.toml", &settings);
    node.install();
    node.logs("restarted tool (exec");
    assert_eq!(node.read("root/restarted").trim(), "it");
    let group = node.read("usr/local/cgroup");
    assert!(
        group.contains(".service") && !group.contains("kubecertd.service"),
        "{group}"
    );
    node.logs("cycle: renewed: etcd-server");
}
