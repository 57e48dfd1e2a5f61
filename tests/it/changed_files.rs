//! Files that change between the backup and their replacement are never overwritten, whether
//! kubeadm's or a pattern's.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::clock::FRESH;
use crate::support::{self, ECDSA, Node, Ran};

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

/// Makes a change between the backup and the renewal: nothing is renewed, and only the change is
/// left.
#[track_caller]
fn stops_for(path: &str, reason: &str, change: impl FnOnce(&Node, &str)) {
    let node = with_pairs(3);
    let before = node.snapshot();
    let ran = renew_with(&node, || change(&node, path)).exits(1).complains(reason);
    let changes = before.changes(&node.snapshot());
    let paths = support::tree::paths(&changes);
    let renewed: Vec<_> = paths
        .into_iter()
        .filter(|changed| *changed != path && !changed.starts_with("var/"))
        .collect();
    assert!(renewed.is_empty(), "{renewed:?} changed too: {ran}");
}

fn append(node: &Node, path: &str) {
    let changed = format!("{}# by another hand\n", node.read(path));
    node.rewrite(path, changed.as_bytes());
}

#[test]
fn a_pattern_pair_changed_after_the_backup_stops_the_renewal() {
    stops_for(
        "etc/further/1.key",
        "cannot replace /etc/further/1.key: another program changed it meanwhile",
        append,
    );
}

#[test]
fn a_kubeadm_pair_changed_after_the_backup_stops_the_renewal() {
    stops_for(
        "etc/kubernetes/pki/apiserver.crt",
        "cannot replace /etc/kubernetes/pki/apiserver.crt: another program changed it meanwhile",
        append,
    );
}

#[test]
fn a_pair_deleted_after_the_backup_stops_the_renewal() {
    stops_for("etc/further/2.crt", "/etc/further/2.crt", |node, path| {
        node.remove(path);
    });
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
