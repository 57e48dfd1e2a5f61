//! The remains of an interrupted cycle are recovered, or reported with what to do. `tests/faults`
//! interrupts one at every call.

use crate::support::clock::FRESH;
use crate::support::{ECDSA, Node, STRACE, tree};
use std::fs;
use std::process::Command;

const JOURNAL: &str = "var/lib/kubecertd/transaction.json";

/// From the eighth on every rename fails: five files are new by then, and none can be rolled back
/// by a rename.
const BREAKS: [&str; 4] = ["-e", "trace=rename", "-e", "inject=rename:error=EIO:when=8+"];

#[test]
fn a_failed_rollback_is_explained_and_recover_finishes_it() {
    let node = Node::of(ECDSA);
    let before = node.snapshot();
    let ran = node
        .run_under(&[&STRACE[..], &BREAKS].concat(), FRESH, &["renew", "all"])
        .exits(3);
    let changed = before.changes(&node.snapshot());
    let new: Vec<_> = tree::paths(&changed)
        .into_iter()
        .filter(|path| !path.contains(".kubecertd-"))
        .map(|path| format!("/{path}"))
        .collect();
    assert!(!new.is_empty(), "nothing was replaced before it broke: {ran}");
    let stated = ran.stderr.split("(not restored: ").nth(1).expect("the paths");
    let mut stated: Vec<_> = stated.split(')').next().expect("an end").split(", ").collect();
    stated.sort_unstable();
    assert_eq!(stated, new, "{ran}");
    ran.complains("run `kubecertd recover` once the cause is gone");
    node.run(FRESH, &["recover"]).exits(0).says("the old files are back");
    assert_eq!(before.changes(&node.snapshot()), Default::default());
    node.run(FRESH, &["recover"]).exits(0);
    node.run(FRESH, &["renew", "all"]).exits(0);
}

/// Every command that writes stops with code 3 and says what to do; commands that read still run;
/// nothing is changed, the journal neither.
#[track_caller]
fn stops_what_writes_and_no_look(node: &Node, reason: &str) {
    let before = node.snapshot();
    for verb in [&["recover"][..], &["renew", "all"], &["backup", "create"]] {
        node.run(FRESH, verb)
            .exits(3)
            .complains("cannot read the journal /var/lib/kubecertd/transaction.json: ")
            .complains(reason)
            .complains("hint: ");
    }
    node.run(FRESH, &["check-expiration"]).exits(0);
    assert_eq!(before.changes(&node.snapshot()), Default::default());
    assert!(node.path(JOURNAL).symlink_metadata().is_ok(), "the journal is gone");
}

#[test]
fn a_damaged_journal_stops_only_commands_that_write() {
    for damaged in [&b""[..], b"{\"format\":1", b"[]", &[0xff; 100]] {
        let node = Node::of(ECDSA);
        node.write(JOURNAL, damaged, 0o600);
        stops_what_writes_and_no_look(&node, "");
    }
}

#[test]
fn a_journal_of_another_version_is_left_to_that_version() {
    let node = Node::of(ECDSA);
    let journal = r#"{"format":2,"cycle":"c","phase":"installing","backup":"/b","files":[],"restarts":[]}"#;
    node.write(JOURNAL, journal.as_bytes(), 0o600);
    stops_what_writes_and_no_look(&node, "its format is 2, and this version knows 1");
}

#[test]
fn a_special_file_in_place_of_the_journal_stops_writers() {
    let node = Node::of(ECDSA);
    node.write(JOURNAL, b"", 0o600);
    node.remove(JOURNAL);
    let made = Command::new("mkfifo")
        .arg(node.path(JOURNAL))
        .status()
        .expect("coreutils");
    assert!(made.success());
    stops_what_writes_and_no_look(&node, "is not a regular file");
    node.remove(JOURNAL);
    fs::create_dir(node.path(JOURNAL)).expect("a directory");
    stops_what_writes_and_no_look(&node, "is a directory");
    fs::remove_dir(node.path(JOURNAL)).expect("the directory");
    let hole = fs::File::create(node.path(JOURNAL)).expect("a file");
    hole.set_len(1 << 30).expect("a hole");
    stops_what_writes_and_no_look(&node, "is larger than 8 MiB");
}
