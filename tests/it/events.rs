//! The journal: what is said is explained by the catalog, and systemd's own tool reads it.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use kubecertd::events;

fn catalog() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd/kubecertd.catalog");
    std::fs::read_to_string(path).expect("the catalog")
}

#[test]
fn events_and_catalog_entries_correspond_one_to_one() {
    let catalog = catalog();
    let listed: Vec<_> = catalog.lines().filter_map(|line| line.strip_prefix("-- ")).collect();
    let set = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<BTreeSet<_>>();
    assert_eq!(set(&listed), set(&events::ALL));
    assert_eq!(listed.len(), events::ALL.len(), "an id is there twice");
    let is_id = |id: &&str| id.len() == 32 && id.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    assert!(events::ALL.iter().all(is_id));
    let source = include_str!("../../src/events.rs");
    assert_eq!(
        source.matches("pub const").count() - 1,
        events::ALL.len(),
        "an id is not in the list of all"
    );
}

#[test]
fn catalog_entries_have_a_subject_and_name_known_fields() {
    let known = [
        "MESSAGE",
        "CERTIFICATE",
        "NOT_AFTER",
        "READER",
        "METHOD",
        "SECONDS",
        "REASON",
        "BACKUP",
        "DIRECTORY",
        "HOOK",
    ];
    for entry in catalog().split("\n-- ").skip(1) {
        assert!(entry.contains("\nSubject: "), "{entry}");
        let fields = entry.split('@').skip(1).step_by(2);
        for field in fields {
            assert!(known.contains(&field), "{field} in {entry}");
        }
    }
}

#[test]
fn journalctl_takes_the_catalog() {
    let root = tempfile::tempdir().unwrap();
    for directory in ["usr/lib/systemd/catalog", "var/lib/systemd/catalog"] {
        std::fs::create_dir_all(root.path().join(directory)).unwrap();
    }
    std::fs::write(root.path().join("usr/lib/systemd/catalog/kubecertd.catalog"), catalog()).unwrap();
    let run = |arguments: &[&str]| {
        let at = format!("--root={}", root.path().display());
        let out = Command::new("journalctl").arg(at).args(arguments).output();
        let out = out.expect("journalctl (Debian: systemd)");
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        assert!(out.stderr.is_empty(), "{}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).unwrap()
    };
    run(&["--update-catalog"]);
    let listed = run(&["--list-catalog"]);
    for id in events::ALL {
        assert!(listed.contains(id), "{id} is not among\n{listed}");
    }
}
