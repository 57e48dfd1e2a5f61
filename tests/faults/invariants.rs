//! The invariants that hold once `recover` has run, after any fault before it.

use super::backups;
use super::image::{Entry, Image, Kind};
use super::node::{BACKUPS, MISSING_KEY, PEER, SECOND_NAME, STATE, TOUCHED, replaced};
use super::pairs;
use serde_json::Value;
use std::collections::BTreeSet;

const ANNOTATION: &str = "    kubecertd.io/restarted-at: ";

/// Files of kubecertd's own that may be there when nothing is under way: the first is text, the
/// others JSON.
const OWN: [&str; 4] = ["lock", "pending-restarts.json", "written.json", "last-look.json"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Every credential is the one from before.
    Old,
    /// Every credential is a new one.
    New,
}

/// State of a tree, compared with the one from before the run.
#[derive(Debug)]
pub struct Verdict {
    /// None when it is neither.
    pub outcome: Option<Outcome>,
    /// Manifests whose annotation changed.
    pub touched: BTreeSet<String>,
    /// Manifests that are recorded as still to be touched.
    pub pending: BTreeSet<String>,
    pub wrong: Vec<String>,
}

/// Precision of the comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disk {
    /// `before` was read from the same disk: what is not replaced keeps its inode and its time.
    Same,
    /// The tree was written again, so inodes say nothing.
    Another,
}

impl Verdict {
    /// Renewed, and everybody who has to be restarted is.
    pub fn is_done(&self) -> bool {
        self.outcome == Some(Outcome::New) && self.touched.len() == TOUCHED.len() && self.pending.is_empty()
    }
}

/// Everything: the node, kubecertd's own files and its backups.
pub fn judge(before: &Image, after: &Image, disk: Disk) -> Verdict {
    let mut verdict = judge_node(before, after, disk);
    let Verdict {
        outcome,
        touched,
        pending,
        wrong,
    } = &mut verdict;
    *pending = recorded(after, wrong);
    own_files(after, wrong);
    wrong.extend(backups::violations(before, after));
    match outcome {
        Some(Outcome::Old) if *pending != recorded(before, &mut Vec::new()) => {
            wrong.push("the files are old, yet the recorded restarts changed".to_owned());
        }
        Some(Outcome::New) => {
            for manifest in TOUCHED
                .iter()
                .filter(|m| !touched.contains(**m) && !pending.contains(**m))
            {
                wrong.push(format!("{manifest} is neither touched nor recorded as to be touched"));
            }
            if !backups::holds(before, after, &replaced()) {
                wrong.push("the files are new, and no backup holds the old ones".to_owned());
            }
        }
        _ => {}
    }
    verdict
}

/// Nothing is left next to the files, in kubecertd's own directory or of a backup: for nodes on
/// which another process was running.
pub fn untidiness(image: &Image) -> Vec<String> {
    let beside = image.0.keys().filter(|path| path.contains(".kubecertd-"));
    let mut wrong: Vec<_> = beside.map(|path| format!("{path} should not be there")).collect();
    own_files(image, &mut wrong);
    wrong.extend(backups::violations(image, image));
    wrong
}

/// The node alone: what is outside kubecertd's own directory.
pub fn judge_node(before: &Image, after: &Image, disk: Disk) -> Verdict {
    let mut wrong = Vec::new();
    let outcome = outcome(before, after, &mut wrong);
    let keyless = outcome == Some(Outcome::Old) && before.bytes(MISSING_KEY).is_none();
    wrong.extend(pairs::mismatches(after, if keyless { &[MISSING_KEY] } else { &[] }));
    fidelity(before, after, &mut wrong);
    untouched(before, after, disk, &mut wrong);
    let touched = manifests(before, after, &mut wrong);
    Verdict {
        outcome,
        touched,
        pending: BTreeSet::new(),
        wrong,
    }
}

/// All files old, or all new.
fn outcome(before: &Image, after: &Image, wrong: &mut Vec<String>) -> Option<Outcome> {
    let (old, new): (Vec<_>, Vec<_>) = replaced()
        .into_iter()
        .partition(|path| before.bytes(path) == after.bytes(path));
    match (old.is_empty(), new.is_empty()) {
        (_, true) => Some(Outcome::Old),
        (true, _) => Some(Outcome::New),
        _ => {
            wrong.push(format!(
                "mixed node: {} are old and {} new",
                old.join(", "),
                new.join(", ")
            ));
            None
        }
    }
}

/// A replaced file is there, with the owner, mode and extended attributes of the old one, and with
/// all its names.
fn fidelity(before: &Image, after: &Image, wrong: &mut Vec<String>) {
    for path in replaced() {
        match (before.0.get(path), after.0.get(path)) {
            (Some(old), Some(new)) if old.attributes != new.attributes => {
                wrong.push(format!("{path}: {:?} became {:?}", old.attributes, new.attributes));
            }
            (Some(_), None) => wrong.push(format!("{path} is missing")),
            (None, Some(new)) if new.attributes.mode != 0o600 || new.attributes.uid != 0 => {
                wrong.push(format!("the new key {path} has {:?}", new.attributes));
            }
            _ => {}
        }
    }
    let inode = |path: &str| after.0.get(path).map(|entry| entry.inode);
    if inode(SECOND_NAME) != inode(PEER) {
        wrong.push(format!("{SECOND_NAME} is no longer another name of peer.crt"));
    }
}

/// Requires that other files stay as they are, and that nothing is added.
fn untouched(before: &Image, after: &Image, disk: Disk, wrong: &mut Vec<String>) {
    let replaced = replaced();
    let ours = |path: &str| {
        path == STATE || path.starts_with(&format!("{STATE}/")) || replaced.contains(&path) || TOUCHED.contains(&path)
    };
    let all: BTreeSet<_> = before
        .0
        .keys()
        .chain(after.0.keys())
        .filter(|path| !ours(path))
        .collect();
    for path in all {
        match (before.0.get(path), after.0.get(path)) {
            (Some(old), Some(new)) => {
                wrong.extend(difference(old, new, disk).map(|what| format!("{path}: {what} changed")));
            }
            (None, _) => wrong.push(format!("{path} should not be there")),
            (_, None) => wrong.push(format!("{path} is missing")),
        }
    }
}

fn difference(old: &Entry, new: &Entry, disk: Disk) -> Option<&'static str> {
    if old.kind != new.kind {
        return Some("content");
    }
    if old.attributes != new.attributes {
        return Some("owner, mode or an attribute");
    }
    // The time of a directory changes with its names.
    let moved = old.kind != Kind::Directory && (old.inode, old.modified) != (new.inode, new.modified);
    (disk == Disk::Same && moved).then_some("inode or time")
}

/// Both manifests are there and differ in nothing but the annotation.
fn manifests(before: &Image, after: &Image, wrong: &mut Vec<String>) -> BTreeSet<String> {
    let mut touched = BTreeSet::new();
    for path in TOUCHED {
        let (Some(old), Some(new)) = (before.text(path), after.text(path)) else {
            wrong.push(format!("the manifest {path} is missing"));
            continue;
        };
        if before.0[path].attributes != after.0[path].attributes {
            wrong.push(format!("the manifest {path} has another mode or owner"));
        }
        if old == new {
            continue;
        }
        touched.insert(path.to_owned());
        if without_annotation(old) != without_annotation(new) || !new.contains(ANNOTATION) {
            wrong.push(format!("the manifest {path} differs in more than the annotation"));
        }
    }
    touched
}

/// The lines of a manifest but for the annotation, and its heading where it stands alone below it.
fn without_annotation(text: &str) -> Vec<&str> {
    let mut lines: Vec<_> = text.split('\n').collect();
    let Some(place) = lines.iter().position(|line| line.starts_with(ANNOTATION)) else {
        return lines;
    };
    lines.remove(place);
    let alone = lines.get(place).is_none_or(|next| !next.starts_with("    "));
    if alone && place > 0 && lines[place - 1] == "  annotations:" {
        lines.remove(place - 1);
    }
    lines
}

/// The restarts that are recorded, by manifest, but for those whose manifest was changed already:
/// no kubelet runs here that could do more.
fn recorded(image: &Image, wrong: &mut Vec<String>) -> BTreeSet<String> {
    let Some(bytes) = image.bytes(&format!("{STATE}/pending-restarts.json")) else {
        return BTreeSet::new();
    };
    let record: Value = serde_json::from_slice(bytes).unwrap_or_default();
    let manifests = record.as_array().filter(|all| !all.is_empty()).map(|all| {
        let left = all.iter().filter(|one| one["touched"] != true);
        let paths = left.filter_map(|one| one["manifest"].as_str());
        paths.map(|path| path.trim_start_matches('/').to_owned()).collect()
    });
    manifests.unwrap_or_else(|| {
        wrong.push("pending-restarts.json lists no restart".to_owned());
        BTreeSet::new()
    })
}

/// Of kubecertd's own state only what may stay is there, and only root can read it.
fn own_files(image: &Image, wrong: &mut Vec<String>) {
    if image.0.get(STATE).is_none_or(|entry| entry.attributes.mode != 0o700) {
        wrong.push(format!("{STATE} is not there with mode 0700"));
    }
    for name in image.names(STATE) {
        let path = format!("{STATE}/{name}");
        if path == BACKUPS {
            continue;
        }
        if !OWN.contains(&name) {
            wrong.push(format!("{path} should not be there"));
            continue;
        }
        if image.0[&path].attributes.mode != 0o600 {
            wrong.push(format!("{path} can be read by others"));
        }
        let parses = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).is_ok();
        if name != "lock" && !image.bytes(&path).is_some_and(parses) {
            wrong.push(format!("{path} is no JSON"));
        }
    }
}
