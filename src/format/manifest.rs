//! Static pod manifests: the component, its flags, and the annotation that restarts it.

use std::ops::Range;
use std::path::{Path, PathBuf};

use yaml_serde::{Mapping, Value};

use super::text::printable;
use super::yaml;

/// The annotation whose change makes the kubelet restart a static pod.
///
/// A static pod is identified by a hash of the decoded Pod object: a new mtime, a comment or a
/// deleted mirror pod does not restart it (measured on kubelets 1.20 and 1.36).
pub const RESTARTED_AT: &str = "kubecertd.io/restarted-at";

/// A static pod manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// Name of the pod, for example `kube-apiserver`, to which the kubelet adds the node's name.
    pub pod: String,
    /// Program of the first container, for example `kube-apiserver`.
    pub component: String,
    /// Major and minor version from the image's tag, if it has one.
    pub version: Option<(u32, u32)>,
    flags: Vec<(String, String)>,
    mounts: Vec<(PathBuf, PathBuf)>,
}

impl Manifest {
    /// Reads a manifest.
    pub fn parse(text: &str) -> Result<Self, String> {
        Self::of(&yaml::parse(text)?)
    }

    /// Reads a manifest of a pod that can be restarted: its annotation can be changed.
    pub fn restartable(text: &str) -> Result<Self, String> {
        let pod = yaml::parse(text)?;
        let manifest = Self::of(&pod)?;
        annotated(text, pod, RESTARTED_AT, "")?;
        Ok(manifest)
    }

    fn of(pod: &Value) -> Result<Self, String> {
        let name = pod
            .get("metadata")
            .and_then(|m| m.get("name"))
            .and_then(Value::as_str)
            .ok_or("has no metadata.name")?;
        let spec = pod.get("spec").ok_or("has no spec")?;
        let container = spec
            .get("containers")
            .and_then(|c| c.get(0))
            .ok_or("has no container")?;
        let words = words(container);
        let component = words
            .iter()
            .find(|w| !w.starts_with('-'))
            .and_then(|w| Path::new(w).file_name()?.to_str())
            .or_else(|| container.get("name").and_then(Value::as_str))
            .unwrap_or(name);
        Ok(Self {
            pod: name.to_owned(),
            component: component.to_owned(),
            version: container.get("image").and_then(Value::as_str).and_then(version_of),
            flags: flags(&words),
            mounts: mounts(spec, container),
        })
    }

    /// Returns the value of a flag, written `--name=value` or `--name value`. The last one wins, as
    /// in pflag.
    pub fn flag(&self, name: &str) -> Option<&str> {
        let found = self.flags.iter().rev().find(|(flag, _)| flag == name)?;
        Some(&found.1)
    }

    /// Returns the path on the node of a path in the container, by its hostPath volumes. The
    /// longest mount wins.
    pub fn on_the_node(&self, in_container: &Path) -> PathBuf {
        self.mounts
            .iter()
            .filter_map(|(mount, host)| Some((mount, host, in_container.strip_prefix(mount).ok()?)))
            .max_by_key(|(mount, _, _)| mount.components().count())
            .map(|(_, host, rest)| {
                if rest.as_os_str().is_empty() {
                    host.clone()
                } else {
                    host.join(rest)
                }
            })
            .unwrap_or_else(|| in_container.to_owned())
    }
}

fn words(container: &Value) -> Vec<String> {
    ["command", "args"]
        .iter()
        .filter_map(|key| container.get(*key)?.as_sequence())
        .flatten()
        .filter_map(|word| Some(word.as_str()?.to_owned()))
        .collect()
}

/// Returns the flags in the forms `--name=value` and `--name value`. A flag without a value is left
/// out.
fn flags(words: &[String]) -> Vec<(String, String)> {
    let next = |at: usize| words.get(at + 1).filter(|word| !word.starts_with('-'));
    let named = words
        .iter()
        .enumerate()
        .filter_map(|(at, word)| Some((at, word.strip_prefix("--")?)));
    named
        .filter_map(|(at, word)| match word.split_once('=') {
            Some((name, value)) => Some((name.to_owned(), value.to_owned())),
            None => Some((word.to_owned(), next(at)?.clone())),
        })
        .collect()
}

/// Returns `(1, 36)` for `registry.k8s.io/kube-apiserver:v1.36.2`. A digest after the tag is
/// ignored.
pub fn version_of(image: &str) -> Option<(u32, u32)> {
    let tagged = image.split('@').next()?;
    let (_, tag) = tagged.rsplit_once(':').filter(|(_, tag)| !tag.contains('/'))?;
    let mut numbers = tag.trim_start_matches('v').split(['.', '-', '_']);
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

fn mounts(spec: &Value, container: &Value) -> Vec<(PathBuf, PathBuf)> {
    let of = |value: &Value, key: &str| Some(value.get(key)?.as_str()?.to_owned());
    let list = container.get("volumeMounts").and_then(Value::as_sequence);
    list.into_iter()
        .flatten()
        .filter_map(|mount| {
            let volume = yaml::named(spec.get("volumes"), &of(mount, "name")?)?;
            let host = of(volume.get("hostPath")?, "path")?;
            Some((of(mount, "mountPath")?.into(), host.into()))
        })
        .collect()
}

/// Returns `text` with `metadata.annotations[name] = value`. All other bytes stay.
///
/// The result is parsed again and must differ from the original only in this annotation. Otherwise
/// the manifest is left alone.
pub fn annotate(text: &str, name: &str, value: &str) -> Result<String, String> {
    annotated(text, yaml::parse(text)?, name, value)
}

fn annotated(text: &str, mut wanted: Value, name: &str, value: &str) -> Result<String, String> {
    let metadata = wanted
        .get_mut("metadata")
        .and_then(Value::as_mapping_mut)
        .ok_or("has no metadata")?;
    let annotations = metadata
        .entry("annotations".into())
        .or_insert_with(|| Value::Mapping(Mapping::new()));
    if matches!(annotations, Value::Tagged(_)) {
        return Err("has annotations with a tag, which an edit would lose".into());
    }
    if annotations.is_null() {
        *annotations = Value::Mapping(Mapping::new());
    }
    annotations
        .as_mapping_mut()
        .ok_or("has annotations that are not a mapping")?
        .insert(name.into(), value.into());

    let checked = |after: String| {
        yaml::check(&after, &wanted)?;
        if loses_a_comment(text, &after) {
            return Err("cannot be edited without losing a comment".into());
        }
        Ok(after)
    };
    // The editor gets only the lines of the metadata: with whole manifests it took a third of a
    // scan.
    let block = metadata_block(text);
    let within = |block: Range<usize>| {
        let edited = edit(&text[block.clone()], name, value).ok()?;
        checked([&text[..block.start], &edited, &text[block.end..]].concat()).ok()
    };
    match block.and_then(within) {
        Some(after) => Ok(after),
        None => checked(edit(text, name, value)?),
    }
}

/// Returns the lines of the metadata, if they look like a block. In an unusual text they may be
/// other lines.
fn metadata_block(text: &str) -> Option<Range<usize>> {
    let begin = if text.starts_with("metadata:") {
        0
    } else {
        text.find("\nmetadata:")? + 1
    };
    let mut lines = text[begin..].split_inclusive('\n');
    let first = lines.next()?.len();
    let rest = lines.take_while(|line| line.starts_with([' ', '\r', '\n']));
    Some(begin..begin + first + rest.map(str::len).sum::<usize>())
}

/// Returns true if a comment stood between the first and the last byte that differ: the editor
/// drops the rest of a line after `null`.
fn loses_a_comment(before: &str, after: &str) -> bool {
    let same = |(a, b): &(u8, u8)| a == b;
    let head = before.bytes().zip(after.bytes()).take_while(same).count();
    let (before, after) = (&before.as_bytes()[head..], &after.as_bytes()[head..]);
    let tail = before
        .iter()
        .rev()
        .zip(after.iter().rev())
        .take_while(|(a, b)| a == b)
        .count();
    before[..before.len() - tail].contains(&b'#')
}

fn edit(text: &str, name: &str, value: &str) -> Result<String, String> {
    let file: yaml_edit::YamlFile = text.parse().map_err(|e| printable(&format!("is not YAML ({e})")))?;
    let metadata = file
        .documents()
        .find_map(|document| document.as_mapping())
        .and_then(|pod| pod.get_mapping("metadata"))
        .ok_or("has no metadata")?;
    // Quoted, because YAML 1.1 readers take a plain timestamp for a date, and annotations are
    // strings.
    let value = yaml_edit::ScalarValue::double_quoted(value);
    match metadata.get_mapping("annotations") {
        Some(annotations) => annotations.set(name, &value),
        None => {
            let annotations = yaml_edit::Mapping::new();
            annotations.set(name, &value);
            metadata.set("annotations", &annotations);
        }
    }
    Ok(file.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: &str = "2026-11-24T00:00:00.123Z";

    fn changed(before: &str) -> (Vec<String>, String) {
        let after = annotate(before, RESTARTED_AT, AT).unwrap();
        let old: Vec<_> = before.lines().collect();
        let added = after.lines().filter(|l| !old.contains(l)).map(str::to_owned).collect();
        (added, after)
    }

    #[test]
    fn the_annotation_is_added_once_and_replaced_the_next_time() {
        let before = "metadata:\n  annotations:\n    a: b # why\n  name: x\nspec: {}\n";
        let (added, after) = changed(before);
        assert_eq!(added.len(), 1, "{after}");
        let again = annotate(&after, RESTARTED_AT, "2027-01-01T00:00:00.000Z").unwrap();
        assert_eq!(again.lines().count(), after.lines().count());
        assert!(again.contains("a: b # why"));
    }

    #[test]
    fn annotations_are_made_where_there_are_none() {
        for before in [
            "metadata:\n  name: x\nspec: {}\n",
            "metadata:\n  annotations: {}\n  name: x\nspec: {}\n",
            "metadata:\n  annotations:\n  name: x\nspec: {}\n",
            "metadata:\n  annotations: ~\n  name: x\nspec: {}\n",
            "metadata: {name: x}\nspec: {}\n",
            "metadata:\r\n  name: x\r\nspec: {}",
        ] {
            let (_, after) = changed(before);
            assert!(after.contains(&format!("\"{AT}\"")), "{before:?} -> {after:?}");
        }
    }

    #[test]
    fn annotations_behind_a_comment_that_is_not_indented_are_found() {
        let (added, after) = changed("metadata:\n  name: x\n# why\n  annotations:\n    a: b\nspec: {}\n");
        assert_eq!(added.len(), 1, "{after}");
        assert!(after.contains("# why\n  annotations:\n    a: b\n"), "{after}");
    }

    #[test]
    fn annotations_behind_an_alias_are_refused() {
        let text = "x: &l {a: b}\nmetadata:\n  annotations: *l\n  name: x\nspec: {}\n";
        assert!(annotate(text, RESTARTED_AT, AT).is_err());
    }

    #[test]
    fn flags_version_and_mounts_are_read() {
        let text = "metadata: {name: etcd}\nspec:\n  containers:\n  \
                    - command: [/usr/bin/etcd, --data-dir, /data/x]\n    \
                    image: h:5000/etcd:3.6.8-0@sha256:00\n    \
                    volumeMounts: [{name: d, mountPath: /data}]\n  \
                    volumes: [{name: d, hostPath: {path: /var/lib/etcd}}]\n";
        let manifest = Manifest::parse(text).unwrap();
        assert_eq!((manifest.component.as_str(), manifest.version), ("etcd", Some((3, 6))));
        let dir = manifest.flag("data-dir").unwrap();
        assert_eq!(manifest.on_the_node(Path::new(dir)), Path::new("/var/lib/etcd/x"));
        assert_eq!(version_of("localhost:5000/kube-apiserver"), None);
    }
}
