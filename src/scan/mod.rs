//! Look: read everything that a decision needs, once, and change nothing.

mod further;
mod signs;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::catalog::readers::ReaderSpec;
use crate::catalog::{self, AuthoritySpec, Extra, Spec, Store};
use crate::config::Settings;
use crate::format::kubeconfig::{self, Credential};
use crate::format::pair::Pair;
use crate::format::yaml;
use crate::host::{Host, write};
use crate::model::{File, Read, Timestamp, Unread};
pub use signs::{Running, Signs, running, signs};

/// Bytes of a file with certificates or keys. Real ones are a hundred times smaller.
const LARGEST_PEM: u64 = 1 << 20;

/// Bytes of a kubeconfig or manifest.
const LARGEST_YAML: u64 = yaml::LONGEST as u64;

/// Bytes that a look holds, of all files. What is made of them is several times larger, and kubecertd stays within 64 MiB.
const MOST_BYTES: u64 = 5 << 20;

/// Credentials that all patterns together stand for.
const MOST_FILES: usize = 10_000;

/// Manifests.
const MOST_MANIFESTS: usize = 1000;

/// Names that are kept of one file; one that has more is not replaced.
const MOST_NAMES: usize = 8;

/// What became of the attempt to read one path; held once, however many credentials it is part of.
pub type Shared = Result<Arc<File>, Unread>;

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
    /// Where the kubelet says whether it is well; none where it does not.
    pub kubelet_health: Option<SocketAddr>,
    /// Every file in it whose name starts with no dot (the kubelet reads them all), sorted by name.
    pub manifests: Vec<(String, Read)>,
    /// The service account key pair.
    pub service_account: (PathBuf, PathBuf),
    /// The readers that the configuration names.
    pub readers: Vec<ReaderSpec>,
    files: BTreeMap<PathBuf, Shared>,
    /// What the further pairs say whose bytes were not kept, by the name of the credential.
    pairs: BTreeMap<String, Result<Pair, String>>,
    /// Where a file that is missing would be; or why none can be made there.
    places: BTreeMap<PathBuf, Result<PathBuf, String>>,
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
    pub fn file(&self, path: &Path) -> &Shared {
        self.files.get(path).unwrap_or(&Err(Unread::Missing))
    }

    /// What the files of this credential say, if it is a further pair: the bytes were not kept.
    pub fn pair(&self, name: &str) -> Option<&Result<Pair, String>> {
        self.pairs.get(name)
    }
}

/// Looks at the node. Of further pairs it keeps what they say and not their bytes.
pub fn look(host: &Host, settings: &Settings) -> Scan {
    look_at(host, settings, None, None)
}

/// Looks at these credentials, bytes and all, and at the pods of these manifests (none: of all): what else is there was seen before, and may be a
/// lot.
pub fn look_again(host: &Host, settings: &Settings, credentials: &[String], manifests: Option<&[PathBuf]>) -> Scan {
    look_at(host, settings, Some(credentials), manifests)
}

fn look_at(host: &Host, settings: &Settings, credentials: Option<&[String]>, manifests: Option<&[PathBuf]>) -> Scan {
    let mut files = BTreeMap::new();
    let mut left = MOST_FILES;
    let extra = settings
        .extra
        .iter()
        .flat_map(|extra| expand(host, extra, &mut left, &mut files));
    let extra: Vec<_> = extra.collect();
    let (configured, kubelet) = (settings.paths.manifests.clone(), kubelet_config(host, settings));
    let mut scan = Scan {
        at: host.now(),
        specs: catalog::credentials(&settings.paths.kubernetes, &settings.paths.pki, &extra),
        authorities: catalog::authorities(&settings.paths.pki, &settings.authorities),
        manifests: Vec::new(),
        manifests_folder: configured
            .or(kubelet.static_pods)
            .unwrap_or_else(|| settings.paths.kubernetes.join("manifests")),
        kubelet_health: kubelet.health,
        service_account: (settings.paths.pki.join("sa.key"), settings.paths.pki.join("sa.pub")),
        readers: settings.readers.clone(),
        files,
        pairs: BTreeMap::new(),
        places: BTreeMap::new(),
    };
    if let Some(meant) = credentials {
        let meant: BTreeSet<_> = meant.iter().collect();
        scan.specs.retain(|spec| meant.contains(&spec.name));
    }
    let configured = extra.into_iter().map(|extra| extra.name).collect();
    read_all(host, &configured, credentials.is_some(), manifests, &mut scan);
    name_hard_links(host, settings, &mut scan);
    scan
}

/// What a pattern stands for. One that cannot be expanded stands for itself, as a file that cannot be read.
fn expand(host: &Host, extra: &Extra, left: &mut usize, files: &mut BTreeMap<PathBuf, Shared>) -> Vec<Extra> {
    let path = extra.store.path();
    let found = names(host, write::parent(path)).map(|names| catalog::expand(extra, &names));
    match found {
        Ok(found) if found.len() <= *left => {
            *left -= found.len();
            return found;
        }
        Ok(found) => files.insert(path.to_owned(), Err(too_many("stands for", found.len(), MOST_FILES))),
        Err(unread) => files.insert(path.to_owned(), Err(unread)),
    };
    vec![extra.clone()]
}

/// None where the folder, or one on the way to it, does not exist.
fn names(host: &Host, folder: &Path) -> Result<Vec<String>, Unread> {
    let names = match host.names(folder) {
        Err(Unread::Missing) => Vec::new(),
        names => names?,
    };
    Ok(names.into_iter().filter_map(|name| name.into_string().ok()).collect())
}

fn too_many(what: &str, number: usize, most: usize) -> Unread {
    Unread::Because(format!("{what} {number} files, and no more than {most} are read"))
}

/// What the kubelet's configuration says (kubelet.config.k8s.io/v1beta1).
struct KubeletConfig {
    static_pods: Option<PathBuf>,
    health: Option<SocketAddr>,
}

/// Where it says nothing, or cannot be read, its defaults hold: no static pods (kubeadm sets them) and health on 127.0.0.1:10248. A health port of
/// 0 means none.
fn kubelet_config(host: &Host, settings: &Settings) -> KubeletConfig {
    let read = || {
        let config = host.read_at_most(&settings.paths.kubelet.join("config.yaml"), LARGEST_YAML);
        yaml::parse(config.ok()?.bytes.text().ok()?).ok()
    };
    let config = read().unwrap_or_default();
    let static_pods = config
        .get("staticPodPath")
        .and_then(|path| path.as_str())
        .map(PathBuf::from);
    let port = config
        .get("healthzPort")
        .and_then(|port| port.as_u64())
        .unwrap_or(10_248);
    let address = config
        .get("healthzBindAddress")
        .and_then(|address| address.as_str()?.parse().ok());
    let address: IpAddr = address.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
    KubeletConfig {
        static_pods: static_pods.filter(|path| path.is_absolute()),
        health: u16::try_from(port)
            .ok()
            .filter(|port| *port != 0)
            .map(|port| SocketAddr::new(address, port)),
    }
}

/// The names of the manifests. A folder that cannot be listed stands for itself, as a manifest that cannot be read.
fn manifests(host: &Host, scan: &mut Scan) -> Vec<String> {
    let visible = names(host, &scan.manifests_folder).map(|mut names| {
        names.retain(|name| !name.starts_with('.'));
        names
    });
    let unread = match visible {
        Ok(names) if names.len() <= MOST_MANIFESTS => return names,
        Ok(names) => too_many("holds", names.len(), MOST_MANIFESTS),
        Err(unread) => unread,
    };
    scan.manifests.push((String::new(), Err(unread)));
    Vec::new()
}

/// kubeadm's own files and the manifests first, so that no number of further ones keeps them out.
fn read_all(host: &Host, configured: &BTreeSet<String>, keep: bool, meant: Option<&[PathBuf]>, scan: &mut Scan) {
    let mut reader = Reader { host, left: MOST_BYTES };
    let mut own: BTreeMap<PathBuf, u64> = BTreeMap::new();
    let mut further = BTreeMap::new();
    let mut pairs = Vec::new();
    for authority in &scan.authorities {
        own.extend([&authority.certificate, &authority.key].map(|path| (path.clone(), LARGEST_PEM)));
    }
    own.extend([&scan.service_account.0, &scan.service_account.1].map(|path| (path.clone(), LARGEST_PEM)));
    for spec in &scan.specs {
        let is_further = configured.contains(&spec.name);
        let wanted = if is_further { &mut further } else { &mut own };
        match &spec.store {
            Store::Pair { certificate, key } if is_further && !keep => {
                pairs.push((spec.name.clone(), certificate.clone(), key.clone()));
            }
            Store::Pair { certificate, key } => {
                wanted.extend([certificate, key].map(|path| (path.clone(), LARGEST_PEM)));
            }
            Store::Kubeconfig { path } => _ = wanted.insert(path.clone(), LARGEST_YAML),
        }
    }
    let mut manifests = manifests(host, scan);
    let folder = host
        .resolve(&scan.manifests_folder)
        .map_or_else(|_| scan.manifests_folder.clone(), |found| found.real);
    manifests.retain(|name| meant.is_none_or(|meant| meant.contains(&folder.join(name))));
    let folder = scan.manifests_folder.clone();
    own.extend(manifests.iter().map(|name| (folder.join(name), LARGEST_YAML)));
    reader.read(own, scan);
    for name in manifests {
        let read = scan.files.remove(&folder.join(&name)).unwrap_or(Err(Unread::Missing));
        scan.manifests.push((name, read.map(Arc::unwrap_or_clone)));
    }
    reader.read(further, scan);
    further::read(host, pairs, scan);
}

/// Keeps what it reads within [`MOST_BYTES`].
struct Reader<'a> {
    host: &'a Host,
    left: u64,
}

impl Reader<'_> {
    /// Reads these files, each up to so many bytes, and then those that kubeconfigs among them refer to. The smallest come first, so that
    /// what is left out is what is large.
    fn read(&mut self, wanted: BTreeMap<PathBuf, u64>, scan: &mut Scan) {
        let mut sized = Vec::new();
        for (path, most) in wanted {
            if !scan.files.contains_key(&path) {
                sized.push((size(self.host, &path), path, most));
            }
        }
        sized.sort();
        let mut referred = BTreeMap::new();
        for (size, path, most) in sized {
            let read = match size {
                _ if size > most || size <= self.left => self.host.read_at_most(&path, most),
                _ => Err(full()),
            };
            let read = read.and_then(|file| self.hold(file));
            if most == LARGEST_YAML {
                referred.extend(referenced(&path, &read).into_iter().map(|path| (path, LARGEST_PEM)));
            }
            if let Err(Unread::Missing) = read {
                scan.places.insert(path.clone(), place(self.host, &path));
            }
            scan.files.insert(path, read.map(Arc::new));
        }
        if !referred.is_empty() {
            self.read(referred, scan);
        }
    }

    /// It may have grown since it was measured.
    fn hold(&mut self, file: File) -> Read {
        self.left = self.left.checked_sub(file.bytes.len() as u64).ok_or_else(full)?;
        Ok(file)
    }
}

fn size(host: &Host, path: &Path) -> u64 {
    let real = host.resolve(path).map(|resolved| resolved.real);
    let found = real.ok().and_then(|real| host.identity(&real));
    found.map_or(0, |identity| identity.size)
}

fn full() -> Unread {
    Unread::Because(format!("is left out: a look holds {} MiB at most", MOST_BYTES >> 20))
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
    for file in scan.files.values_mut().flatten().filter(|file| file.identity.links > 1) {
        let of_file = names.get(&(file.identity.device, file.identity.inode));
        let others = of_file.filter(|names| names.len() <= MOST_NAMES).into_iter().flatten();
        let others = others.filter(|name| **name != file.real).cloned();
        Arc::make_mut(file).names = std::iter::once(file.real.clone()).chain(others).collect();
    }
}
