//! Scan: reads every file that a decision needs, once, and changes nothing.
//!
//! [`scan`] reads the files. [`observe`] asks for the processes, other tools and the clock later,
//! since the files say which components run here. Nothing is parsed for its meaning; `inventory`
//! does that.

mod bounded;
mod conditions;
mod hard_links;
mod kubelet;
mod patterns;
pub mod surroundings;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::catalog::readers::ReaderSpec;
use crate::catalog::{self, AuthoritySpec, CopySpec, Extra, Spec, Storage};
use crate::config::Settings;
use crate::format::yaml;
use crate::host::Host;
use crate::model::{File, ReadError, ReadResult, Timestamp};
use bounded::{BoundedReader, WantedFiles};
pub use conditions::{Conditions, RunningReader, observe};

/// Maximum size of a file with certificates or keys, in bytes. Real ones are a hundred times
/// smaller.
const MAX_PEM: u64 = 1 << 20;

/// Maximum size of a kubeconfig or manifest, in bytes.
const MAX_YAML: u64 = yaml::LONGEST as u64;

/// Maximum size of all files of a scan, in bytes: 1,000 RSA-4096 pairs are 5.7 MiB. The values
/// parsed from them are several times larger, and kubecertd stays within 64 MiB.
const MAX_BYTES: u64 = 6 << 20;

/// The same after the renewal: its serial number and key ids make a new pair larger than the old
/// one.
const MAX_BYTES_RENEWED: u64 = 10 << 20;

/// Maximum number of manifests.
const MAX_MANIFESTS: usize = 1000;

/// The result of reading one path. All credentials that share the file share its bytes.
pub type SharedFile = Result<Arc<File>, ReadError>;

/// The files of the node at one instant: bytes and names, nothing decided.
#[derive(Debug)]
pub struct Scan {
    /// The time of the scan.
    pub at: Timestamp,
    /// The credentials that the catalog and the configuration name, sorted by name.
    pub specs: Vec<Spec>,
    /// The CAs, sorted by name.
    pub authorities: Vec<AuthoritySpec>,
    /// The address of the kubelet's health endpoint; `None` if it is turned off.
    pub kubelet_health: Option<SocketAddr>,
    /// True if the kubelet renews its client certificate (`rotateCertificates`); `None` if its
    /// configuration cannot be read.
    pub kubelet_rotates: Option<bool>,
    /// The kubelet's `staticPodPath`, or the configured directory.
    pub manifests_directory: PathBuf,
    /// Every file in it whose name does not start with a dot, sorted by name. The kubelet reads
    /// them all.
    pub manifests: Vec<(String, ReadResult)>,
    /// The service account key pair.
    pub service_account: (PathBuf, PathBuf),
    /// The components (readers) that the configuration names.
    pub readers: Vec<ReaderSpec>,
    /// The copies of kubeconfigs that the configuration names.
    pub copies: Vec<ScannedCopy>,
    files: BTreeMap<PathBuf, SharedFile>,
    /// The place of each missing file; or why none can be created there.
    places: BTreeMap<PathBuf, Result<PathBuf, String>>,
}

/// A copy of a kubeconfig.
#[derive(Debug)]
pub struct ScannedCopy {
    /// The path, and the credential that it is a copy of.
    pub spec: CopySpec,
    /// The result of reading it.
    pub read: ReadResult,
    /// True if the path itself is a symlink.
    pub is_symlink: bool,
}

impl Scan {
    /// Returns every path that exists, as the catalog or the configuration names it (it may be a
    /// symlink).
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        let there = self.files.iter().filter(|(_, read)| read.is_ok());
        there.map(|(path, _)| path.as_path())
    }

    /// Returns the place of the missing file `path`, without symlinks; or why it cannot be created
    /// there.
    pub fn place(&self, path: &Path) -> Result<PathBuf, String> {
        let nowhere = || Err(format!("{} was not scanned", path.display()));
        self.places.get(path).cloned().unwrap_or_else(nowhere)
    }

    /// Returns the result of reading `path`.
    pub fn file(&self, path: &Path) -> &SharedFile {
        self.files.get(path).unwrap_or(&Err(ReadError::Missing))
    }
}

/// The part of the node that is read.
struct Extent<'a> {
    /// The credentials, by name; `None` stands for all of them.
    credentials: Option<&'a [String]>,
    /// The manifests, by path without symlinks; `None` stands for all of them.
    manifests: Option<&'a [PathBuf]>,
    copies: &'a [CopySpec],
    max_bytes: u64,
}

/// Reads the whole node.
pub fn scan(host: &Host, settings: &Settings) -> Scan {
    let everything = Extent {
        credentials: None,
        manifests: None,
        copies: &settings.copies,
        max_bytes: MAX_BYTES,
    };
    scan_extent(host, settings, &everything)
}

/// Reads these credentials and manifests again after they were renewed. `None` stands for all
/// manifests.
///
/// The rest of the node was read before, and may be a lot.
pub fn scan_again(host: &Host, settings: &Settings, credentials: &[String], manifests: Option<&[PathBuf]>) -> Scan {
    let renewed = Extent {
        credentials: Some(credentials),
        manifests,
        copies: &[],
        max_bytes: MAX_BYTES_RENEWED,
    };
    scan_extent(host, settings, &renewed)
}

/// Reads kubeadm's own files and the manifests first, so that no number of configured ones can
/// displace them.
fn scan_extent(host: &Host, settings: &Settings, extent: &Extent<'_>) -> Scan {
    let mut files = BTreeMap::new();
    let extra = patterns::expand(host, &settings.extra, &mut files);
    let mut scan = specified(host, settings, &extra);
    scan.files = files;
    if let Some(meant) = extent.credentials {
        let meant: BTreeSet<_> = meant.iter().collect();
        scan.specs.retain(|spec| meant.contains(&spec.name));
    }
    let configured: BTreeSet<_> = extra.iter().map(|extra| extra.name.as_str()).collect();
    let mut own = files_of_authorities(&scan);
    let mut further = WantedFiles::new();
    for spec in &scan.specs {
        let is_configured = configured.contains(spec.name.as_str());
        let wanted = if is_configured { &mut further } else { &mut own };
        wanted.extend(files_of(spec));
    }
    let manifests = manifests(host, extent, &mut scan);
    own.extend(manifests.values().map(|path| (path.clone(), MAX_YAML)));

    let mut reader = BoundedReader::new(host, extent.max_bytes);
    reader.read(own, &mut scan);
    for (name, path) in manifests {
        let read = scan.files.remove(&path).unwrap_or(Err(ReadError::Missing));
        scan.manifests.push((name, read.map(Arc::unwrap_or_clone)));
    }
    reader.read(further, &mut scan);
    for copy in extent.copies {
        let copy = reader.read_copy(copy, &scan);
        scan.copies.push(copy);
    }
    hard_links::find(host, settings, &mut scan);
    scan
}

/// Returns a scan with everything that the catalog and the configuration name, and no file read
/// yet.
fn specified(host: &Host, settings: &Settings, extra: &[Extra]) -> Scan {
    let paths = &settings.paths;
    let kubelet = kubelet::config(host, settings);
    Scan {
        at: host.now(),
        specs: catalog::credentials(&paths.kubernetes, &paths.pki, extra),
        authorities: catalog::authorities(&paths.pki, &settings.authorities),
        manifests: Vec::new(),
        manifests_directory: (paths.manifests.clone())
            .or(kubelet.static_pods)
            .unwrap_or_else(|| paths.kubernetes.join("manifests")),
        kubelet_health: kubelet.health,
        kubelet_rotates: kubelet.rotates,
        service_account: (paths.pki.join("sa.key"), paths.pki.join("sa.pub")),
        readers: settings.readers.clone(),
        copies: Vec::new(),
        files: BTreeMap::new(),
        places: BTreeMap::new(),
    }
}

fn files_of_authorities(scan: &Scan) -> WantedFiles {
    let authorities = scan.authorities.iter().flat_map(|it| [&it.certificate, &it.key]);
    let account = [&scan.service_account.0, &scan.service_account.1];
    authorities.chain(account).map(|path| (path.clone(), MAX_PEM)).collect()
}

fn files_of(spec: &Spec) -> WantedFiles {
    match &spec.storage {
        Storage::Pair { certificate, key } => [certificate, key].map(|path| (path.clone(), MAX_PEM)).into(),
        Storage::Kubeconfig { path } => [(path.clone(), MAX_YAML)].into(),
    }
}

/// Returns the manifests to read: their names and paths.
///
/// A directory that cannot be listed becomes a manifest without a name that cannot be read.
fn manifests(host: &Host, extent: &Extent<'_>, scan: &mut Scan) -> BTreeMap<String, PathBuf> {
    let directory = &scan.manifests_directory;
    let visible = names(host, directory).map(|mut names| {
        names.retain(|name| !name.starts_with('.'));
        names
    });
    let visible = visible.and_then(|names| match names.len() {
        0..=MAX_MANIFESTS => Ok(names),
        number => Err(too_many("holds", number, MAX_MANIFESTS)),
    });
    match visible {
        Ok(mut names) => {
            let real = host
                .resolve(directory)
                .map_or_else(|_| directory.clone(), |found| found.real);
            names.retain(|name| extent.manifests.is_none_or(|meant| meant.contains(&real.join(name))));
            let named = names.into_iter().map(|name| (name.clone(), directory.join(name)));
            named.collect()
        }
        Err(unread) => {
            scan.manifests.push((String::new(), Err(unread)));
            BTreeMap::new()
        }
    }
}

/// Returns the names in a directory, in UTF-8. A directory that does not exist has none.
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
