//! Backup sets: complete, or not there at all.

use super::image::{Entry, Image, Kind};
use super::node::{self, BACKUPS, MODIFIED};
use aws_lc_rs::digest;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Number of backups that stay by default (`[backup] keep`).
const KEPT: usize = 5;

/// A small set of an earlier renewal.
pub fn add(image: &mut Image, set: &str) {
    let content: &[u8] = b"apiVersion: v1\n";
    node::put(image, &format!("{set}/files/etc/kubernetes/old.conf"), content, 0o600);
    let common = |path: &str, kind: &str, mode: u32| json!({"path": path, "kind": kind, "mode": mode, "uid": 0, "gid": 0, "mtime": MODIFIED});
    let mut file = common("/etc/kubernetes/old.conf", "file", 0o600);
    file["size"] = json!(content.len());
    file["sha256"] = json!(hex(content));
    let entries = vec![file, common("/etc/kubernetes", "directory", 0o700)];
    let list = json!({
        "format": 1, "node": "master01", "created": "2026-11-01T03:17:00Z", "reason": "before renewing all", "entries": entries,
    });
    node::put(
        image,
        &format!("{set}/manifest.json"),
        list.to_string().as_bytes(),
        0o600,
    );
}

/// Returns the faults of the backups in `after`. `before` is the node at the start of the run that
/// made the newest of them.
pub fn violations(before: &Image, after: &Image) -> Vec<String> {
    let mut wrong = Vec::new();
    for name in after.names(BACKUPS) {
        let set = format!("{BACKUPS}/{name}");
        if !is_set(name) {
            wrong.push(format!("{set} is no set and should not be there"));
        } else if let Err(reason) = complete(after, &set) {
            wrong.push(format!("the backup {name} is not complete: {reason}"));
        }
    }
    wrong.extend(lost(before, after));
    wrong
}

/// Tells if a new backup holds the old bytes of these files.
pub fn holds(before: &Image, after: &Image, paths: &[&str]) -> bool {
    after
        .names(BACKUPS)
        .into_iter()
        .filter(|name| !before.names(BACKUPS).contains(name))
        .any(|name| {
            let kept = |path: &str| after.bytes(&format!("{BACKUPS}/{name}/files/{path}"));
            paths
                .iter()
                .all(|path| before.bytes(path).is_none() || kept(path) == before.bytes(path))
        })
}

/// Rotation takes the oldest away, and only when a new one is there.
fn lost(before: &Image, after: &Image) -> Vec<String> {
    let left = after.names(BACKUPS);
    let all: BTreeSet<_> = before
        .names(BACKUPS)
        .into_iter()
        .chain(left.clone())
        .filter(|name| is_set(name))
        .collect();
    let newest = all.into_iter().rev().take(KEPT);
    newest
        .filter(|name| !left.contains(name))
        .map(|name| format!("the backup {name} is lost"))
        .collect()
}

/// `20261124T031700Z`, with `-2` and so on for a second one in the same second.
fn is_set(name: &str) -> bool {
    let time = name.split('-').next().unwrap_or_default();
    let shape: String = time.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    shape == "00000000T000000Z"
}

/// Every entry of the list is there as it says, and nothing else is there.
fn complete(image: &Image, set: &str) -> Result<(), String> {
    let private = |path: &str, mode: u32| match image.0.get(path) {
        Some(entry) if entry.attributes.mode == mode && entry.attributes.uid == 0 => Ok(()),
        Some(entry) => Err(format!("{path} has mode {:o}", entry.attributes.mode)),
        None => Err(format!("{path} is missing")),
    };
    private(set, 0o700)?;
    private(&format!("{set}/manifest.json"), 0o600)?;
    let text = image.bytes(&format!("{set}/manifest.json")).unwrap_or_default();
    let list: Value = serde_json::from_slice(text).map_err(|error| format!("manifest.json does not parse: {error}"))?;
    let entries = list["entries"]
        .as_array()
        .filter(|entries| !entries.is_empty())
        .ok_or("it lists nothing")?;
    let mut listed = BTreeSet::new();
    for item in entries {
        let path = item["path"].as_str().ok_or("an entry without a path")?;
        let at = format!("{set}/files{path}");
        let entry = image.0.get(&at).ok_or_else(|| format!("{path} is missing"))?;
        matches(entry, item).map_err(|reason| format!("{path} {reason}"))?;
        listed.insert(at);
    }
    let prefix = format!("{set}/files/");
    let unlisted = image
        .0
        .range(prefix.clone()..)
        .take_while(|(path, _)| path.starts_with(&prefix))
        .find(|(path, entry)| {
            let on_the_way =
                entry.kind == Kind::Directory && listed.iter().any(|listed| listed.starts_with(&format!("{path}/")));
            !listed.contains(*path) && !on_the_way
        });
    unlisted.map_or(Ok(()), |(path, _)| Err(format!("{path} is not listed")))
}

fn matches(entry: &Entry, item: &Value) -> Result<(), &'static str> {
    let number = |key: &str| item[key].as_i64();
    let kind = match &entry.kind {
        Kind::File(bytes) => {
            if number("size") != i64::try_from(bytes.len()).ok() {
                return Err("has another size");
            }
            if item["sha256"] != hex(bytes) {
                return Err("has another digest");
            }
            if number("mtime") != Some(entry.modified.0) {
                return Err("has another time");
            }
            "file"
        }
        Kind::Directory => "directory",
        Kind::Symlink(target) => {
            if item["target"] != *target {
                return Err("has another target");
            }
            "symlink"
        }
    };
    let attributes = &entry.attributes;
    let [mode, uid, gid] = [attributes.mode, attributes.uid, attributes.gid].map(|n| Some(i64::from(n)));
    if item["kind"] != kind {
        return Err("is of another kind");
    }
    if number("mode") != mode || number("uid") != uid || number("gid") != gid {
        return Err("has another mode or owner");
    }
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    let digest = digest::digest(&digest::SHA256, bytes);
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}
