//! What is to be renewed is looked at again once it is backed up: what is no longer what was planned stays as it is, and one cycle renews a thousand
//! at most.

mod support;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use support::clock::{DUE, FRESH};
use support::{ECDSA, Node, Ran};

const CLIENT: &str = "etc/kubernetes/pki/apiserver-kubelet-client";
const FURTHER: &str = "etc/further";
const PAIRS: &str =
    "[[certificate]]\nname = \"further-*\"\npath = \"/etc/further/*.crt\"\nkey = \"/etc/further/*.key\"\nca = \"ca\"\n";

fn with_pairs(number: usize) -> Node {
    let node = Node::of(ECDSA);
    node.configure(PAIRS);
    for (end, mode) in [("crt", 0o644), ("key", 0o600)] {
        let file = node.read(&format!("{CLIENT}.{end}"));
        for at in 0..number {
            node.write(&format!("{FURTHER}/{at}.{end}"), file.as_bytes(), mode);
        }
    }
    node
}

/// The thread that stands still after it has moved the backup's set to its place.
fn stopped(trace: &Path) -> Option<String> {
    let text = fs::read_to_string(trace).ok()?;
    let moved = text
        .lines()
        .find(|line| line.contains("rename(") && line.contains("/backups/.unfinished-"))?;
    let id = moved.split(' ').next()?;
    let status = fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let state = status.lines().find_map(|line| line.strip_prefix("State:"))?;
    state.trim().starts_with(['T', 't']).then(|| id.to_owned())
}

/// `renew all --force`, with a change made between the backup and the renewal.
fn renew_with(node: &Node, change: impl FnOnce()) -> Ran {
    let trace = node.scratch("trace");
    let words = format!(
        "strace -f -qq -e trace=rename -e signal=none -o {} -e inject=rename:signal=SIGSTOP:when=1",
        trace.display()
    );
    let wrapper: Vec<&str> = words.split(' ').collect();
    std::thread::scope(|scope| {
        let renewal = scope.spawn(|| node.run_under(&wrapper, FRESH, &["renew", "all", "--force"]));
        let deadline = Instant::now() + Duration::from_secs(30);
        let id = loop {
            if let Some(id) = stopped(&trace) {
                break id;
            }
            assert!(
                Instant::now() < deadline && !renewal.is_finished(),
                "it does not stop after its backup"
            );
            std::thread::sleep(Duration::from_millis(5));
        };
        change();
        let done = Command::new("kill").args(["-CONT", &id]).status().expect("kill");
        assert!(done.success());
        renewal.join().expect("it runs")
    })
}

#[test]
fn what_changes_between_backup_and_renewal_stays_as_it_is_and_the_others_are_renewed() {
    let node = with_pairs(3);
    let pair = format!("{FURTHER}/1.key");
    let changed = format!("{}# by another hand\n", node.read(&pair));
    let gone = format!("{FURTHER}/2.crt");
    let before = node.snapshot();
    let ran = renew_with(&node, || {
        node.rewrite(&pair, changed.as_bytes());
        node.remove(&gone);
    })
    .exits(4)
    .complains("cannot renew further-1: /etc/further/1.key changed since it was planned")
    .complains("cannot renew further-2: /etc/further/2.crt was there when it was planned and is no longer");
    assert_eq!(node.read(&pair), changed, "{ran}");
    assert!(!node.path(&gone).exists(), "{ran}");
    let changes = before.changes(&node.snapshot());
    let paths = support::tree::paths(&changes);
    let is_touched = |path: &str| paths.contains(&path);
    for renewed in ["apiserver.crt", "etcd/server.crt", "etcd/server.key"] {
        assert!(is_touched(&format!("etc/kubernetes/pki/{renewed}")), "{paths:?}");
    }
    assert!(
        is_touched("etc/further/0.crt") && is_touched("etc/further/0.key"),
        "{paths:?}"
    );
    for left in ["etc/further/1.crt", "etc/further/2.key"] {
        assert!(!is_touched(left), "{left} of {paths:?}");
    }
}

#[test]
fn pairs_of_two_patterns_that_are_hard_links_stay_one_pair() {
    let node = with_pairs(2);
    let other =
        "[[certificate]]\nname = \"other-*\"\npath = \"/etc/other/*.crt\"\nkey = \"/etc/other/*.key\"\nca = \"ca\"\n";
    node.configure(&format!("{PAIRS}{other}"));
    fs::create_dir_all(node.path("etc/other")).expect("a directory");
    for file in ["1.crt", "1.key"] {
        let [old, new] = [FURTHER, "etc/other"].map(|directory| node.path(&format!("{directory}/{file}")));
        fs::hard_link(old, new).expect("a hard link");
    }
    let old = node.read("etc/other/1.crt");
    node.run(FRESH, &["renew", "all", "--force"]).exits(0);
    for file in ["1.crt", "1.key"] {
        let [a, b] = [FURTHER, "etc/other"].map(|directory| {
            fs::metadata(node.path(&format!("{directory}/{file}")))
                .expect("a file")
                .ino()
        });
        assert_eq!(a, b, "{file} is one file");
    }
    assert_ne!(node.read("etc/other/1.crt"), old);
}

#[test]
fn of_1001_pairs_and_kubeadms_own_a_thousand_are_renewed_and_the_rest_the_next_time() {
    let node = with_pairs(1001);
    node.configure(&format!("renew_before = \"30d\"\n{PAIRS}"));
    let ran = node.run(DUE, &["renew"]).exits(4);
    let left = "it is left for the next cycle: one renews 1000 at most";
    let names: Vec<_> = ran.stderr.lines().filter(|line| line.contains(left)).collect();
    assert_eq!(names.len(), 12, "{ran}");
    // kubeadm's own come first.
    assert!(
        names.iter().all(|line| line.contains("cannot renew further-")),
        "{names:?}"
    );
    let ran = node.run(DUE, &["renew"]).exits(0);
    for line in names {
        let name = line.trim_start_matches("kubecertd: cannot renew ").split(':').next();
        assert!(ran.stdout.contains(name.expect("a name")), "{line} of {ran}");
    }
    node.run(DUE, &["plan", "--exit-code"]).exits(0);
}
