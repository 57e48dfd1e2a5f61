//! Components (readers) of a node: its static pods, the kubelet, and those that the configuration
//! names.

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

/// A component: a program that reads credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reader {
    /// The name of its program.
    pub name: String,
    /// The way to restart it.
    pub means: RestartMethod,
    /// The manifest of a static pod.
    pub manifest: Option<Manifest>,
    /// The configured address of its server.
    pub probe: Option<SocketAddr>,
    /// The address of the kubelet's health endpoint (plain HTTP). Manifests tell those of other
    /// components.
    pub health: Option<SocketAddr>,
}

/// Returns all components, in the order of restarts.
///
/// A pod whose name is in two manifests is left out: the kubelet runs one of them, and kubecertd
/// cannot know which. Taking one out could stop the other's pod.
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

/// A problem in the manifests directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BadManifest {
    /// This file is not a usable manifest, for this reason.
    Unusable(PathBuf, String),
    /// All of these files define a pod of this name.
    Twice(String, Vec<PathBuf>),
    /// The name of this file is not that of a manifest.
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
                "{} does not have the name of a manifest, but the kubelet reads it anyway; \
                 move it out of the directory",
                path.display()
            ),
        }
    }
}

/// Returns files that the kubelet takes for pods by mistake.
///
/// The kubelet reads every file whose name does not start with a dot, with any ending (measured on
/// kubelets 1.20 and 1.36). So a copy of a manifest is a second pod of the same name.
pub(super) fn suspicious(scan: &Scan, pods: &[Pod]) -> Vec<BadManifest> {
    let twice = by_name(pods).into_iter().filter(|(_, files)| files.len() > 1);
    let twice = twice.map(|(name, files)| {
        let files = files.into_iter().map(Path::to_owned).collect();
        BadManifest::Twice(printable(name), files)
    });
    let stray = scan.manifests.iter().filter_map(|(name, _)| {
        let is_meant = [".yaml", ".yml", ".json"].iter().any(|ending| name.ends_with(ending));
        // A directory that cannot be listed is an entry without a name.
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
