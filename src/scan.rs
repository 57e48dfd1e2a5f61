//! Look: read everything that a decision needs, once, and change nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::catalog::readers::ReaderSpec;
use crate::catalog::{self, AuthoritySpec, Spec, Store};
use crate::config::Settings;
use crate::format::kubeconfig::{self, Credential};
use crate::format::yaml;
use crate::host::{Host, write};
use crate::memory::{self, LastLook};
use crate::model::{File, Process, Read, Timestamp, Unread};

/// What was on the node at one instant: bytes and names, nothing decided.
#[derive(Debug)]
pub struct Scan {
    /// When it was read.
    pub at: Timestamp,
    /// The credentials that the catalogue and the configuration name, sorted by name.
    pub specs: Vec<Spec>,
    /// The CAs, sorted by name.
    pub authorities: Vec<AuthoritySpec>,
    /// The kubelet's `staticPodPath`, or the configured folder.
    pub manifests_folder: PathBuf,
    /// Every file in it whose name starts with no dot (the kubelet reads them all), sorted by name.
    pub manifests: Vec<(String, Read)>,
    /// The service account key pair.
    pub service_account: (PathBuf, PathBuf),
    /// The readers that the configuration names.
    pub readers: Vec<ReaderSpec>,
    files: BTreeMap<PathBuf, Read>,
    /// Where a file that is missing would be; or why none can be made there.
    places: BTreeMap<PathBuf, Result<PathBuf, String>>,
}

/// Signs that somebody else is at work, and what is known of the clock.
#[derive(Debug, Clone, Default)]
pub struct Signs {
    /// The process id of a running kubeadm.
    pub kubeadm: Option<u32>,
    /// Files below `/etc/kubernetes/tmp`, where kubeadm stages an upgrade, that changed less than an hour ago.
    pub staged: Vec<PathBuf>,
    /// Files of credentials and CAs that changed less than a minute ago, and not by us.
    pub fresh: Vec<PathBuf>,
    /// Whether systemd says that the clock is synchronised; none where it does not say.
    pub synchronised: Option<bool>,
    /// The last look that the daemon recorded.
    pub last_look: Option<LastLook>,
    /// This boot.
    pub boot_id: String,
    /// Seconds since boot.
    pub uptime: i64,
}

impl Scan {
    /// Every path that was asked for and is there, as it was asked for (it may be a symlink).
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        let there = self.files.iter().filter(|(_, read)| read.is_ok());
        there.map(|(path, _)| path.as_path())
    }

    /// Where a file that is missing at `path` would be, without symlinks; or why none can be made there.
    pub fn place(&self, path: &Path) -> Result<PathBuf, String> {
        let nowhere = || Err(format!("{} was not looked at", path.display()));
        self.places.get(path).cloned().unwrap_or_else(nowhere)
    }

    /// What was read at `path`.
    pub fn file(&self, path: &Path) -> &Read {
        self.files.get(path).unwrap_or(&Err(Unread::Missing))
    }
}

/// Looks at the node.
pub fn look(host: &Host, settings: &Settings) -> Scan {
    let extra: Vec<_> = settings.extra.iter().flat_map(|extra| expand(host, extra)).collect();
    let manifests_folder = manifests_folder(host, settings);
    let mut scan = Scan {
        at: host.now(),
        specs: catalog::credentials(&settings.paths.kubernetes, &settings.paths.pki, &extra),
        authorities: catalog::authorities(&settings.paths.pki, &settings.authorities),
        manifests: manifests(host, &manifests_folder),
        manifests_folder,
        service_account: (settings.paths.pki.join("sa.key"), settings.paths.pki.join("sa.pub")),
        readers: settings.readers.clone(),
        files: BTreeMap::new(),
        places: BTreeMap::new(),
    };
    read_all(host, &mut scan);
    name_hard_links(host, settings, &mut scan);
    scan
}

fn expand(host: &Host, extra: &catalog::Extra) -> Vec<catalog::Extra> {
    let folder = write::parent(extra.store.path());
    let names = host.names(folder).unwrap_or_default();
    let names: Vec<_> = names.into_iter().filter_map(|name| name.into_string().ok()).collect();
    catalog::expand(extra, &names)
}

/// `staticPodPath` of the kubelet's configuration (kubelet.config.k8s.io/v1beta1); kubeadm's folder where it says nothing.
fn manifests_folder(host: &Host, settings: &Settings) -> PathBuf {
    let from_kubelet = || {
        let config = host.read(&settings.paths.kubelet.join("config.yaml")).ok()?;
        let value = yaml::parse(config.bytes.text().ok()?).ok()?;
        let path = PathBuf::from(value.get("staticPodPath")?.as_str()?);
        path.is_absolute().then_some(path)
    };
    let configured = settings.paths.manifests.clone();
    configured
        .or_else(from_kubelet)
        .unwrap_or_else(|| settings.paths.kubernetes.join("manifests"))
}

fn manifests(host: &Host, folder: &Path) -> Vec<(String, Read)> {
    let names = host.names(folder).unwrap_or_default();
    names
        .into_iter()
        .filter_map(|name| name.into_string().ok())
        .filter(|name| !name.starts_with('.'))
        .map(|name| {
            let read = host.read(&folder.join(&name));
            (name, read)
        })
        .collect()
}

fn read_all(host: &Host, scan: &mut Scan) {
    let mut wanted: BTreeSet<PathBuf> = BTreeSet::new();
    for authority in &scan.authorities {
        wanted.extend([authority.certificate.clone(), authority.key.clone()]);
    }
    wanted.extend([scan.service_account.0.clone(), scan.service_account.1.clone()]);
    for spec in &scan.specs {
        match &spec.store {
            Store::Pair { certificate, key } => wanted.extend([certificate.clone(), key.clone()]),
            Store::Kubeconfig { path } => {
                let read = host.read(path);
                wanted.extend(referenced(path, &read));
                scan.files.insert(path.clone(), read);
            }
        }
    }
    for path in wanted {
        let read = host.read(&path);
        if let Err(Unread::Missing) = read {
            scan.places.insert(path.clone(), place(host, &path));
        }
        scan.files.insert(path, read);
    }
}

fn place(host: &Host, path: &Path) -> Result<PathBuf, String> {
    match host.resolve(path) {
        Ok(found) => match found.unsafe_way {
            Some(reason) => Err(format!("others than root could replace it: {reason}")),
            None => Ok(found.real),
        },
        Err(Unread::Missing) => Err("its folder is missing".into()),
        Err(Unread::Because(reason)) => Err(reason),
    }
}

/// The files that a kubeconfig's user refers to.
fn referenced(path: &Path, read: &Read) -> Vec<PathBuf> {
    let parsed = read
        .as_ref()
        .ok()
        .and_then(|file| kubeconfig::parse(file.bytes.text().ok()?).ok());
    match parsed.map(|k| k.credential) {
        Some(Credential::Files { certificate, key }) => {
            let folder = write::parent(path);
            vec![folder.join(certificate), folder.join(key)]
        }
        _ => Vec::new(),
    }
}

/// Finds all names of files that have more than one, in the folders that are looked at.
fn name_hard_links(host: &Host, settings: &Settings, scan: &mut Scan) {
    if !scan.files.values().flatten().any(|file| file.identity.links > 1) {
        return;
    }
    let mut folders: BTreeSet<PathBuf> = BTreeSet::new();
    folders.extend([
        settings.paths.kubernetes.clone(),
        settings.paths.pki.clone(),
        settings.paths.pki.join("etcd"),
    ]);
    folders.extend(scan.files.keys().map(|path| write::parent(path).to_owned()));
    let mut names: BTreeMap<(u64, u64), BTreeSet<PathBuf>> = BTreeMap::new();
    for folder in folders {
        let Ok(folder) = host.resolve(&folder) else { continue };
        for name in host.names(&folder.real).unwrap_or_default() {
            let path = folder.real.join(name);
            if let Some(found) = host.identity(&path) {
                names.entry((found.device, found.inode)).or_default().insert(path);
            }
        }
    }
    for file in scan.files.values_mut().flatten() {
        let of_file = names.get(&(file.identity.device, file.identity.inode));
        let others = of_file
            .into_iter()
            .flatten()
            .filter(|name| **name != file.real)
            .cloned();
        file.names = std::iter::once(file.real.clone()).chain(others).collect();
    }
}

/// A reader's process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Running {
    /// The reader.
    pub reader: String,
    /// When it started, by the wall clock of now.
    pub started: Timestamp,
}

/// Which of these programs run.
pub fn running(host: &Host, programs: &[&str]) -> Vec<Running> {
    let processes = host.processes(programs).into_iter();
    let started = |process: Process| {
        Some(Running {
            started: host.started(&process)?,
            reader: process.program,
        })
    };
    processes.filter_map(started).collect()
}

/// Gathers what the guard wants to know, after a look.
pub fn signs(host: &Host, settings: &Settings, scan: &Scan) -> Signs {
    let staging = settings.paths.kubernetes.join("tmp");
    let hour_ago = scan.at - time::Duration::HOUR;
    let staged = host
        .names(&staging)
        .unwrap_or_default()
        .into_iter()
        .map(|name| staging.join(name));
    let ours = memory::wrote(host);
    let is_fresh = |file: &&File| {
        let age = scan.at - file.identity.modified;
        age.abs() < time::Duration::MINUTE && !ours(&file.real, file.identity.inode)
    };
    Signs {
        kubeadm: host.running("kubeadm"),
        staged: staged.filter(|path| host.changed_since(path, hour_ago)).collect(),
        fresh: scan
            .files
            .values()
            .flatten()
            .filter(is_fresh)
            .map(|file| file.real.clone())
            .collect(),
        synchronised: host.synchronised(),
        last_look: memory::last_look(host),
        boot_id: host.boot_id(),
        uptime: host.uptime(),
    }
}
