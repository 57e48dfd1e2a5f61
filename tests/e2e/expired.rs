//! A node that was off too long: everything has ended, the kubelet's own credential too, and the
//! API server is down.

use super::components::{API_SERVER, ETCD};
use super::node::{API, Node};
use super::pki::KUBELET;
use super::running::{Renewal, all_names};
use super::scenario;
use std::time::{Duration, Instant};

/// Long enough for everybody to start with what ends then.
const LIFE: u32 = 60;
/// The kubelet's back-off for a container that crashes goes up to five minutes.
const BACK: Duration = Duration::from_secs(330);

const CONFIG: &str =
    "[restart]\ntimeout = \"3m\"\n[[reader]]\nname = \"kubelet\"\nexec = [\"/run/e2e/restart-kubelet\"]\n";

#[test]
fn an_expired_node_comes_back() {
    scenario::run(&[
        ("expired, the kubelet has run since before", |node| {
            comes_back(node, Kubelet::Runs);
        }),
        ("expired, the kubelet was started after it", |node| {
            comes_back(node, Kubelet::IsNew);
        }),
        ("expired, the kubelet has ended over it", |node| {
            comes_back(node, Kubelet::HasEnded);
        }),
    ]);
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kubelet {
    Runs,
    /// Started after its credential had expired.
    IsNew,
    /// As between two tries of systemd to start one that ends over its credential.
    HasEnded,
}

fn comes_back(node: &Node, is: Kubelet) {
    node.end_in(LIFE);
    // Everybody takes what ends soon into memory.
    node.run(&["/run/e2e/restart-kubelet"]).exits(0);
    end_processes(node, &["kube-controller-manager", "kube-scheduler"]);
    node.settle();
    node.wait(
        "everything has ended",
        Duration::from_secs(u64::from(LIFE) + 10),
        || node.has_ended(KUBELET),
    );
    match is {
        Kubelet::Runs => {}
        Kubelet::IsNew => _ = node.run(&["/run/e2e/restart-kubelet"]).exits(0),
        Kubelet::HasEnded => _ = node.run(&["/run/e2e/stop-kubelet"]).exits(0),
    }
    end_processes(node, &[ETCD, API_SERVER]);
    node.wait("the API server is down", Duration::from_secs(60), || {
        !node.answers(API, "/readyz")
    });
    let kubelet = node.serial(KUBELET);

    let begin = Instant::now();
    let renewal = Renewal::of(node, CONFIG);
    let ran = &renewal.ran;
    // What kubecertd says of it is worth more than the logs of who is not there.
    let is_back = || node.answers(API, "/readyz");
    node.wait(&format!("the API server is back after\n{ran}"), BACK, is_back);
    println!(
        "/readyz {:.1} s after the start of renew, which took {:.1} s",
        begin.elapsed().as_secs_f64(),
        ran.took.as_secs_f64()
    );
    assert_eq!(ran.code, 0, "{ran}");
    assert!(
        !renewal.proofs().iter().any(|(_, proof)| proof == "pending"),
        "everybody is brought to the new credentials: {ran}"
    );
    assert_eq!(renewal.renewed(node), all_names());
    assert_ne!(node.serial(KUBELET), kubelet, "the kubelet has a new credential: {ran}");
    assert_eq!(
        node.run(&["cat", KUBELET]).stdout.matches("-----BEGIN").count(),
        2,
        "certificate and key"
    );
    node.settle();
    node.uses_its_files();
    the_kubelet_reports(node);
}

/// The kubelet renews its lease every ten seconds: it is let in with its new credential.
fn the_kubelet_reports(node: &Node) {
    let lease = || {
        let get = [
            "-n",
            "kube-node-lease",
            "get",
            "lease",
            "node1",
            "-o",
            "jsonpath={.spec.renewTime}",
        ];
        node.kubectl(&get).stdout
    };
    let before = lease();
    node.wait("the kubelet renews its lease", Duration::from_secs(60), || {
        let now = lease();
        !now.is_empty() && now != before
    });
}

/// As a reboot would, but one by one.
fn end_processes(node: &Node, components: &[&str]) {
    let before = node.processes();
    for component in components {
        node.signal(component, "KILL");
    }
    node.wait("they are gone", Duration::from_secs(30), || {
        let now = node.processes();
        components
            .iter()
            .all(|component| now.get(component) != before.get(component))
    });
}
