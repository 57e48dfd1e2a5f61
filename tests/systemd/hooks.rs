//! Hooks as systemd runs them: units of their own, outside of the daemon's sandbox.

use crate::node::Node;

const LEAF: &str = "etcd-server";

/// A node whose daemon renews within a minute, with this hook.
fn renews(hook: &str, more: &str) -> Node {
    let node = Node::with_one_due(LEAF);
    node.write("usr/local/sbin/told", hook);
    node.sh("chmod 755 /usr/local/sbin/told").exits(0);
    let settings = "schedule = \"*/10 * * * * *\"\nspread = \"0s\"\n[hooks]\non_renewed = [\"told\"]\n";
    node.write("etc/kubecertd/config.d/hooks.toml", &format!("{settings}{more}"));
    node.install();
    node
}

#[test]
fn a_hook_is_a_unit_outside_of_the_sandbox_and_gets_the_event() {
    // /root is hidden from the daemon, /usr is read-only to it, and it may call no set-user-ID
    // program.
    let node = renews(
        "#!/bin/sh\ncat >/root/event\ncp /proc/self/cgroup /usr/local/cgroup\ngrep NoNewPrivs /proc/self/status >/root/privileges\necho it was told\n",
        "",
    );
    node.logs("told [hooks] on_renewed");
    let event: serde_json::Value = serde_json::from_str(&node.read("root/event")).expect("JSON");
    assert_eq!(
        (&event["event"], &event["credentials"][0]["name"]),
        (&"renewed".into(), &LEAF.into())
    );
    let group = node.read("usr/local/cgroup");
    assert!(
        group.contains(".service") && !group.contains("kubecertd.service"),
        "{group}"
    );
    assert_eq!(node.read("root/privileges").split_whitespace().last(), Some("0"));
    node.logs("it was told");
    node.sh("systemctl list-units --all --no-legend 'run-*.service' | grep . && exit 1 || exit 0")
        .exits(0);
}

#[test]
fn a_failing_or_hanging_hook_does_not_stop_the_renewal() {
    let node = renews(
        "#!/bin/sh\ntrap '' TERM\nsleep 1000 &\nwait\nsleep 1000\n",
        "timeout = \"2s\"\n",
    );
    node.logs("cannot call [hooks] on_renewed: cannot run told: it did not end within 2 s");
    node.wait("all of it has ended", || {
        node.sh("grep -qsx sleep /proc/[0-9]*/comm").code != 0
    });
    node.logs("cycle: renewed: etcd-server");
    node.sh("kubecertd plan --exit-code").exits(0);
    assert_eq!(node.property("NRestarts"), "0");
}
