//! Readers of a node: its static pods, the kubelet, and those that the configuration names.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::Pod;
use crate::catalog::readers::{KUBELET, RestartMethod, order};
use crate::format::manifest::Manifest;
use crate::format::text::{self, printable};
use crate::scan::Scan;

/// The kubelet's unit, unless the configuration names another.
const KUBELET_UNIT: &str = "kubelet.service";

/// A program that reads credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reader {
    /// What credentials call it: its program's name.
    pub name: String,
    /// How it is restarted.
    pub means: RestartMethod,
    /// Its manifest, if it is a static pod.
    pub manifest: Option<Manifest>,
    /// Where the configuration says that it serves.
    pub probe: Option<SocketAddr>,
    /// Where it says by plain HTTP whether it is well, if its manifest does not tell: the kubelet's.
    pub health: Option<SocketAddr>,
}

/// All readers, in the order in which they are restarted. A pod whose name is there twice is none: nobody knows which of the manifests the
/// kubelet runs, and taking one out would end the other's pod.
pub(super) fn all(scan: &Scan, pods: &[Pod]) -> Vec<Reader> {
    let by_name = by_name(pods);
    let is_only = |pod: &&Pod| {
        by_name
            .get(pod.manifest.pod.as_str())
            .is_some_and(|files| files.len() == 1)
    };
    let pods = pods.iter().filter(is_only).map(|pod| Reader {
        name: pod.manifest.component.clone(),
        means: RestartMethod::Pod {
            manifest: pod.file.real.clone(),
        },
        manifest: Some(pod.manifest.clone()),
        probe: None,
        health: None,
    });
    let kubelet = Reader {
        name: KUBELET.into(),
        means: RestartMethod::Unit {
            unit: KUBELET_UNIT.into(),
            reload: false,
        },
        manifest: None,
        probe: None,
        health: scan.kubelet_health,
    };
    let mut all: Vec<Reader> = pods.chain([kubelet]).collect();
    for spec in &scan.readers {
        if let Some(known) = all.iter_mut().find(|reader| reader.name == spec.name) {
            known.probe = spec.probe;
            if let Some(means) = &spec.means {
                known.means = means.clone();
                known.manifest = None;
            }
        } else if let Some(means) = &spec.means {
            all.push(Reader {
                name: spec.name.clone(),
                means: means.clone(),
                manifest: None,
                probe: spec.probe,
                health: None,
            });
        }
    }
    all.sort_by(|a, b| (order(&a.name), &a.name).cmp(&(order(&b.name), &b.name)));
    all
}

/// What is wrong in the manifests directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BadManifest {
    /// This file is no manifest that can be used, and why.
    Unusable(PathBuf, String),
    /// A pod of this name is in all of these files.
    Twice(String, Vec<PathBuf>),
    /// No manifest by its name.
    Stray(PathBuf),
}

impl std::fmt::Display for BadManifest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unusable(path, reason) => write!(f, "{} {reason}", path.display()),
            Self::Twice(pod, files) => {
                let files: Vec<_> = files.iter().map(|file| file.to_string_lossy()).collect();
                let files: Vec<_> = files.iter().map(|file| file.as_ref()).collect();
                write!(
                    f,
                    "{} all make a pod {pod}; the kubelet runs one of them, and none is restarted",
                    text::list(&files)
                )
            }
            Self::Stray(path) => write!(
                f,
                "{} is no manifest by its name, and the kubelet reads it all the same; move it out of the directory",
                path.display()
            ),
        }
    }
}

/// Files in the manifests directory that the kubelet takes for pods though nobody may mean them to be: it reads every file whose name starts
/// with no dot, whatever its ending (measured on kubelets 1.20 and 1.36), so a copy of a manifest is a second pod of the same name.
pub(super) fn suspicious(scan: &Scan, pods: &[Pod]) -> Vec<BadManifest> {
    let twice = by_name(pods).into_iter().filter(|(_, files)| files.len() > 1);
    let twice = twice.map(|(name, files)| {
        let files = files.into_iter().map(Path::to_owned).collect();
        BadManifest::Twice(printable(name), files)
    });
    let stray = scan.manifests.iter().filter_map(|(name, _)| {
        let is_meant = [".yaml", ".yml", ".json"].iter().any(|ending| name.ends_with(ending));
        // The directory itself, where it cannot be listed, has no name.
        let path = scan.manifests_directory.join(name);
        (!is_meant && !name.is_empty()).then_some(BadManifest::Stray(path))
    });
    twice.chain(stray).collect()
}

fn by_name(pods: &[Pod]) -> BTreeMap<&str, Vec<&Path>> {
    let mut by_name: BTreeMap<&str, Vec<&Path>> = BTreeMap::new();
    for pod in pods {
        by_name
            .entry(pod.manifest.pod.as_str())
            .or_default()
            .push(&pod.file.real);
    }
    by_name
}
