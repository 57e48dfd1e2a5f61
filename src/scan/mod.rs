//! Look: read everything that a decision needs, once, and change nothing.

mod conditions;
mod kubelet;
mod patterns;
pub mod surroundings;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::catalog::readers::ReaderSpec;
use crate::catalog::{self, AuthoritySpec, CopySpec, Spec, Storage};
use crate::config::Settings;
use crate::format::kubeconfig;
use crate::format::yaml;
use crate::host::files::ResolvedPath;
use crate::host::{Host, write};
use crate::model::{File, ReadError, ReadResult, Timestamp};
pub use conditions::{Conditions, RunningReader, observe};

/// Bytes of a file with certificates or keys. Real ones are a hundred times smaller.
const LARGEST_PEM: u64 = 1 << 20;

/// Bytes of a kubeconfig or manifest.
const LARGEST_YAML: u64 = yaml::LONGEST as u64;

/// Maximum size of all files that a scan holds, in bytes: 1,000 RSA-4096 pairs are 5.7 MiB. The
/// values parsed from them are several times larger, and kubecertd stays within 64 MiB.
const MOST_BYTES: u64 = 6 << 20;

/// The same after the renewal: its serial number and key ids make a new pair larger than the old one.
const MOST_BACK: u64 = 10 << 20;

/// Manifests.
const MOST_MANIFESTS: usize = 1000;

/// Names that are kept of one file; one that has more is not replaced.
const MOST_NAMES: usize = 8;

/// What became of the attempt to read one path; held once, however many credentials it is part of.
pub type SharedFile = Result<Arc<File>, ReadError>;

/// What was on the node at one instant: bytes and names, nothing decided.
#[derive(Debug)]
pub struct Scan {
    /// When it was read.
    pub at: Timestamp,
    /// The credentials that the catalogue and the configuration name, sorted by name.
    pub specs: Vec<Spec>,
    /// The CAs, sorted by name.
    pub authorities: Vec<AuthoritySpec>,
    /// Where the kubelet says whether it is well; none where it does not.
    pub kubelet_health: Option<SocketAddr>,
    /// Whether the kubelet renews its client certificate (`rotateCertificates`); none where its configuration cannot be read.
    pub kubelet_rotates: Option<bool>,
    /// The kubelet's `staticPodPath`, or the configured directory.
    pub manifests_directory: PathBuf,
    /// Every file in it whose name starts with no dot (the kubelet reads them all), sorted by name.
    pub manifests: Vec<(String, ReadResult)>,
    /// The service account key pair.
    pub service_account: (PathBuf, PathBuf),
    /// The readers that the configuration names.
    pub readers: Vec<ReaderSpec>,
    /// The copies of kubeconfigs that the configuration names.
    pub copies: Vec<ScannedCopy>,
    files: BTreeMap<PathBuf, SharedFile>,
    /// Where a file that is missing would be; or why none can be made there.
    places: BTreeMap<PathBuf, Result<PathBuf, String>>,
}

/// A copy of a kubeconfig.
#[derive(Debug)]
pub struct ScannedCopy {
    /// Where it is, and of what.
    pub spec: CopySpec,
    /// What was read there.
    pub read: ReadResult,
    /// The path itself is a symlink.
    pub is_symlink: bool,
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
    pub fn file(&self, path: &Path) -> &SharedFile {
        self.files.get(path).unwrap_or(&Err(ReadError::Missing))
    }
}

/// Reads the node.
pub fn scan(host: &Host, settings: &Settings) -> Scan {
    scan_within(host, settings, None, (None, MOST_BYTES))
}

/// Reads these credentials and these manifests (none: all of them) again, once they are renewed. What
/// else is there was read before, and may be a lot.
pub fn scan_again(host: &Host, settings: &Settings, credentials: &[String], manifests: Option<&[PathBuf]>) -> Scan {
    scan_within(host, settings, Some(credentials), (manifests, MOST_BACK))
}

fn scan_within(
    host: &Host,
    settings: &Settings,
    credentials: Option<&[String]>,
    (manifests, most): (Option<&[PathBuf]>, u64),
) -> Scan {
    let mut files = BTreeMap::new();
    let extra = patterns::expand(host, &settings.extra, &mut files);
    let (configured, kubelet) = (settings.paths.manifests.clone(), kubelet::config(host, settings));
    let mut scan = Scan {
        at: host.now(),
        specs: catalog::credentials(&settings.paths.kubernetes, &settings.paths.pki, &extra),
        authorities: catalog::authorities(&settings.paths.pki, &settings.authorities),
        manifests: Vec::new(),
        manifests_directory: configured
            .or(kubelet.static_pods)
            .unwrap_or_else(|| settings.paths.kubernetes.join("manifests")),
        kubelet_health: kubelet.health,
        kubelet_rotates: kubelet.rotates,
        service_account: (settings.paths.pki.join("sa.key"), settings.paths.pki.join("sa.pub")),
        readers: settings.readers.clone(),
        copies: Vec::new(),
        files,
        places: BTreeMap::new(),
    };
    if let Some(meant) = credentials {
        let meant: BTreeSet<_> = meant.iter().collect();
        scan.specs.retain(|spec| meant.contains(&spec.name));
    }
    let copies = if credentials.is_none() {
        settings.copies.as_slice()
    } else {
        &[]
    };
    let configured = extra.into_iter().map(|extra| extra.name).collect();
    read_all(host, &configured, copies, (manifests, most), &mut scan);
    name_hard_links(host, settings, &mut scan);
    scan
}

/// None where the directory, or one on the way to it, does not exist.
fn names(host: &Host, directory: &Path) -> Result<Vec<String>, ReadError> {
    let names = match host.names(directory) {
        Err(ReadError::Missing) => Vec::new(),
        names => names?,
    };
    Ok(names.into_iter().filter_map(|name| name.into_string().ok()).collect())
}

fn too_many(what: &str, number: usize, most: usize) -> ReadError {
    ReadError::Because(format!("{what} {number} files, and no more than {most} are read"))
}

/// The names of the manifests. A directory that cannot be listed stands for itself, as a manifest that cannot be read.
fn manifests(host: &Host, scan: &mut Scan) -> Vec<String> {
    let visible = names(host, &scan.manifests_directory).map(|mut names| {
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
fn read_all(
    host: &Host,
    configured: &BTreeSet<String>,
    copies: &[CopySpec],
    (meant, most): (Option<&[PathBuf]>, u64),
    scan: &mut Scan,
) {
    let mut reader = Reader { host, most, left: most };
    let mut own: BTreeMap<PathBuf, u64> = BTreeMap::new();
    let mut further = BTreeMap::new();
    for authority in &scan.authorities {
        own.extend([&authority.certificate, &authority.key].map(|path| (path.clone(), LARGEST_PEM)));
    }
    own.extend([&scan.service_account.0, &scan.service_account.1].map(|path| (path.clone(), LARGEST_PEM)));
    for spec in &scan.specs {
        let is_configured = configured.contains(&spec.name);
        let wanted = if is_configured { &mut further } else { &mut own };
        match &spec.storage {
            Storage::Pair { certificate, key } => {
                wanted.extend([certificate, key].map(|path| (path.clone(), LARGEST_PEM)));
            }
            Storage::Kubeconfig { path } => _ = wanted.insert(path.clone(), LARGEST_YAML),
        }
    }
    let mut manifests = manifests(host, scan);
    let directory = host
        .resolve(&scan.manifests_directory)
        .map_or_else(|_| scan.manifests_directory.clone(), |found| found.real);
    manifests.retain(|name| meant.is_none_or(|meant| meant.contains(&directory.join(name))));
    let directory = scan.manifests_directory.clone();
    own.extend(manifests.iter().map(|name| (directory.join(name), LARGEST_YAML)));
    reader.read(own, scan);
    for name in manifests {
        let read = scan
            .files
            .remove(&directory.join(&name))
            .unwrap_or(Err(ReadError::Missing));
        scan.manifests.push((name, read.map(Arc::unwrap_or_clone)));
    }
    reader.read(further, scan);
    for spec in copies {
        let copy = reader.copy(spec, scan);
        scan.copies.push(copy);
    }
}

/// Keeps what it reads within so many bytes.
struct Reader<'a> {
    host: &'a Host,
    most: u64,
    left: u64,
}

impl Reader<'_> {
    /// Reads these files, each with its largest size, and then the files that kubeconfigs among them name.
    ///
    /// The smallest file comes first, so that large files are left out if all are too many.
    fn read(&mut self, wanted: BTreeMap<PathBuf, u64>, scan: &mut Scan) {
        let unread = wanted.into_iter().filter(|(path, _)| !scan.files.contains_key(path));
        let mut sized: Vec<_> = unread
            .map(|(path, most)| SizedPath::measure(self.host, path, most))
            .collect();
        sized.sort_by(|a, b| (a.size, &a.path).cmp(&(b.size, &b.path)));
        let mut referred = BTreeMap::new();
        for wanted in sized {
            let SizedPath {
                path,
                most,
                size,
                resolved,
            } = wanted;
            let read = if size > most || size <= self.left {
                let read = resolved.clone().and_then(|found| self.host.read_resolved(found, most));
                read.and_then(|file| self.hold(file))
            } else {
                Err(self.full())
            };
            if most == LARGEST_YAML {
                referred.extend(referenced(&path, &read).into_iter().map(|path| (path, LARGEST_PEM)));
            }
            if let Err(ReadError::Missing) = read {
                scan.places.insert(path.clone(), place(resolved));
            }
            scan.files.insert(path, read.map(Arc::new));
        }
        if !referred.is_empty() {
            self.read(referred, scan);
        }
    }

    /// It is no file of the look's own: nothing that it refers to is read, and it is backed up only where it is brought along.
    fn copy(&mut self, spec: &CopySpec, scan: &Scan) -> ScannedCopy {
        let path = &spec.path;
        let directory = self.host.resolve(write::parent(path)).map(|directory| directory.real);
        let itself = directory
            .ok()
            .and_then(|directory| Some(directory.join(path.file_name()?)));
        let read = match scan.files.contains_key(path) {
            true => Err(ReadError::Because("is a file that is looked at for itself".into())),
            false => self.host.read_at_most(path, LARGEST_YAML),
        };
        ScannedCopy {
            spec: spec.clone(),
            read: read.and_then(|file| self.hold(file)),
            is_symlink: itself.is_some_and(|itself| self.host.is_symlink(&itself)),
        }
    }

    /// It may have grown since it was measured.
    fn hold(&mut self, file: File) -> ReadResult {
        self.left = self
            .left
            .checked_sub(file.bytes.len() as u64)
            .ok_or_else(|| self.full())?;
        Ok(file)
    }

    fn full(&self) -> ReadError {
        ReadError::Because(format!("is left out: a look holds {} MiB at most", self.most >> 20))
    }
}

/// A file to be read, found and measured before any file of its kind is read.
struct SizedPath {
    path: PathBuf,
    /// Its largest size, in bytes; a larger file is not read.
    most: u64,
    /// Its size in bytes, or 0 if it is not a regular file.
    size: u64,
    resolved: Result<ResolvedPath, ReadError>,
}

impl SizedPath {
    fn measure(host: &Host, path: PathBuf, most: u64) -> Self {
        let resolved = host.resolve(&path);
        let found = resolved.as_ref().ok().and_then(|found| host.identity(&found.real));
        Self {
            path,
            most,
            size: found.map_or(0, |identity| identity.size),
            resolved,
        }
    }
}

/// Returns the place of a file that is missing, without symlinks; or why it cannot be made there.
fn place(resolved: Result<ResolvedPath, ReadError>) -> Result<PathBuf, String> {
    match resolved {
        Ok(found) => match found.unsafe_way {
            Some(reason) => Err(format!("others than root could replace it: {reason}")),
            None => Ok(found.real),
        },
        Err(ReadError::Missing) => Err("its directory is missing".into()),
        Err(ReadError::Because(reason)) => Err(reason),
    }
}

/// The files that a kubeconfig's user refers to.
fn referenced(path: &Path, read: &ReadResult) -> Vec<PathBuf> {
    let text = read.as_ref().ok().and_then(|file| file.bytes.text().ok());
    let directory = write::parent(path);
    text.and_then(kubeconfig::files)
        .map_or_else(Vec::new, |(certificate, key)| {
            vec![directory.join(certificate), directory.join(key)]
        })
}

/// Finds all names of files that have more than one, in the directories that are looked at.
fn name_hard_links(host: &Host, settings: &Settings, scan: &mut Scan) {
    let copies = scan.copies.iter().filter_map(|copy| copy.read.as_ref().ok());
    let mut read = scan.files.values().flatten().map(Arc::as_ref).chain(copies);
    if !read.any(|file| file.identity.links > 1) {
        return;
    }
    let mut directories: BTreeSet<PathBuf> = BTreeSet::new();
    directories.extend([
        settings.paths.kubernetes.clone(),
        settings.paths.pki.clone(),
        settings.paths.pki.join("etcd"),
    ]);
    let copies = scan.copies.iter().map(|copy| &copy.spec.path);
    directories.extend(
        scan.files
            .keys()
            .chain(copies)
            .map(|path| write::parent(path).to_owned()),
    );
    let mut names: BTreeMap<(u64, u64), BTreeSet<PathBuf>> = BTreeMap::new();
    for directory in directories {
        let Ok(directory) = host.resolve(&directory) else {
            continue;
        };
        for name in host.names(&directory.real).unwrap_or_default() {
            let path = directory.real.join(name);
            if let Some(found) = host.identity(&path) {
                names.entry((found.device, found.inode)).or_default().insert(path);
            }
        }
    }
    let copies = scan.copies.iter_mut().filter_map(|copy| copy.read.as_mut().ok());
    let files = scan.files.values_mut().flatten().filter(|file| file.identity.links > 1);
    for file in files.map(Arc::make_mut).chain(copies) {
        let of_file = names.get(&(file.identity.device, file.identity.inode));
        let of_file = of_file.filter(|names| names.len() <= MOST_NAMES).into_iter().flatten();
        file.names.extend(of_file.filter(|name| **name != file.real).cloned());
    }
}
