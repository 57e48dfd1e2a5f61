//! Renewals that the node does not take: everything goes back to the old state, or the run says
//! that it could not.

use super::components::SCHEDULER;
use super::node::Node;
use super::running::Renewal;
use super::scenario;
use std::time::Duration;

const PKI: &str = "/etc/kubernetes/pki";

#[test]
fn a_certificate_that_the_node_refuses_is_rolled_back() {
    scenario::run(&[
        (
            "an API server that does not come up with the new certificates",
            does_not_come_up,
        ),
        ("an API server that refuses the new clients", refuses_the_new_clients),
        ("a reader that never comes back", never_comes_back),
        ("a command, and a unit, that never ends", never_ends),
    ]);
}

/// Puts another CA in front of the old one, as in the middle of a change of CAs:
/// what is signed from now on is signed by the new one. `kept` gets the old CA alone.
fn another_ca(node: &Node, ca: &str, kept: &str) {
    let script = format!(
        "cd {PKI} && cp {ca}.crt {kept} &&
         openssl req -x509 -newkey rsa:2048 -nodes -keyout /run/e2e/ca.key -out /run/e2e/ca.crt -days 3650 -subj /CN=other-ca \
           -addext keyUsage=critical,digitalSignature,keyEncipherment,keyCertSign 2>/dev/null &&
         cat /run/e2e/ca.crt {kept} >/run/e2e/both.crt &&
         install -m 0644 /run/e2e/both.crt {ca}.crt && openssl rsa -traditional -in /run/e2e/ca.key -out {ca}.key"
    );
    node.run(&["sh", "-c", &script]).exits(0);
}

/// Changes a flag of the API server's, and waits for the new one.
fn change_flag(node: &Node, flag: &str, value: &str) {
    let path = "/etc/kubernetes/manifests/kube-apiserver.yaml";
    let before = node.processes();
    let change = |line: &str| match line.split_once(&format!("--{flag}=")) {
        Some((start, _)) => format!("{start}--{flag}={value}\n"),
        None => format!("{line}\n"),
    };
    let changed: String = node.read(path).lines().map(change).collect();
    node.write(path, &changed);
    node.wait("the API server is a new process", Duration::from_secs(120), || {
        node.processes()
            .get("kube-apiserver")
            .is_some_and(|now| Some(now) != before.get("kube-apiserver"))
    });
    node.settle();
}

/// The run failed, and the node is as it was before: files, what is served, and who is let in.
fn is_put_back(node: &Node, renewal: &Renewal) {
    assert_eq!(renewal.ran.code, 1, "{}", renewal.ran);
    assert_eq!(renewal.renewed(node), [""; 0], "{}", renewal.ran);
    println!(
        "{}; the run took {:.1} s",
        renewal.polls,
        renewal.ran.took.as_secs_f64()
    );
    node.settle();
    node.uses_its_files();
}

fn does_not_come_up(node: &Node) {
    // It trusts only the old CA of etcd's: with etcd's new certificate, signed by the new one, it
    // finds no etcd.
    another_ca(node, "etcd/ca", "etcd-old-ca.crt");
    change_flag(node, "etcd-cafile", &format!("{PKI}/etcd-old-ca.crt"));
    let renewal = Renewal::of(
        node,
        "[restart]\nscope = \"all\"\nmethod = \"park\"\ntimeout = \"30s\"\n",
    );
    is_put_back(node, &renewal);
    change_flag(node, "etcd-cafile", &format!("{PKI}/etcd/ca.crt"));
}

fn refuses_the_new_clients(node: &Node) {
    another_ca(node, "ca", "old-ca.crt");
    change_flag(node, "client-ca-file", &format!("{PKI}/old-ca.crt"));
    let names = ["admin.conf", "controller-manager.conf"];
    let renewal = Renewal::of_these(node, "[restart]\nscope = \"needed\"\ntimeout = \"30s\"\n", &names);
    is_put_back(node, &renewal);
    change_flag(node, "client-ca-file", &format!("{PKI}/ca.crt"));
}

fn never_comes_back(node: &Node) {
    // The kubelet runs and is well; what it asks of containerd is never done.
    for method in ["touch", "park"] {
        node.configure(&format!(
            "[restart]\nmethod = \"{method}\"\ngrace = \"2s\"\ntimeout = \"10s\"\n"
        ));
        node.signal("containerd", "STOP");
        let ran = node.kubecertd(&["renew", "scheduler.conf", "-o", "json"]);
        node.signal("containerd", "CONT");
        println!("{method}: exit code {} after {:.1} s", ran.code, ran.took.as_secs_f64());
        assert!(ran.took < Duration::from_secs(90), "{ran}");
        let ran = ran.exits(3);
        assert!(ran.stdout.contains(SCHEDULER), "it says who: {ran}");
        node.kubecertd(&["recover"]).exits(0);
        node.settle();
    }
}

fn never_ends(node: &Node) {
    node.run(&["cp", "-a", "/etc/kubernetes/admin.conf", "/etc/kubernetes/tool.conf"])
        .exits(0);
    // A unit that never comes back is a `systemctl` that never ends. No systemd runs on this node,
    // so a file of its own stands for it.
    node.write("/usr/bin/systemctl", "#!/bin/sh\nexec sleep 1000\n");
    node.run(&["chmod", "0755", "/usr/bin/systemctl"]).exits(0);
    let before = node.serial("/etc/kubernetes/tool.conf");
    for means in ["exec = [\"/bin/sleep\", \"1000\"]", "unit = \"tool.service\""] {
        node.configure(&format!(
            "[restart]\ntimeout = \"10s\"\n\
             [[kubeconfig]]\nname = \"tool.conf\"\npath = \"/etc/kubernetes/tool.conf\"\nca = \"ca\"\nreaders = [\"tool\"]\n\
             [[reader]]\nname = \"tool\"\n{means}\n"
        ));
        let ran = node.kubecertd(&["renew", "tool.conf"]);
        assert!(ran.took < Duration::from_secs(120), "{ran}");
        println!("{means}: exit code {} after {:.1} s", ran.code, ran.took.as_secs_f64());
        // It does not end for the old credential either.
        let _ = ran.exits(3).says("tool");
        assert_eq!(node.serial("/etc/kubernetes/tool.conf"), before);
    }
    node.run(&["rm", "/etc/kubernetes/tool.conf", "/usr/bin/systemctl"])
        .exits(0);
}
