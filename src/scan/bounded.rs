//! Reads files within a bound on the bytes of all of them together.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{MAX_PEM, MAX_YAML, Scan, ScannedCopy};
use crate::catalog::CopySpec;
use crate::format::kubeconfig;
use crate::host::files::ResolvedPath;
use crate::host::{Host, write};
use crate::model::{File, ReadError, ReadResult};

/// Files to read, each with its maximum size in bytes.
pub(super) type WantedFiles = BTreeMap<PathBuf, u64>;

/// Reads files into a scan until their bytes reach a bound.
pub(super) struct BoundedReader<'a> {
    host: &'a Host,
    max_bytes: u64,
    left: u64,
}

impl<'a> BoundedReader<'a> {
    pub(super) fn new(host: &'a Host, max_bytes: u64) -> Self {
        Self {
            host,
            max_bytes,
            left: max_bytes,
        }
    }

    /// Reads these files, and then the files that kubeconfigs among them name.
    ///
    /// The smallest file comes first. If all together are too large, the largest are left out.
    pub(super) fn read(&mut self, wanted: WantedFiles, scan: &mut Scan) {
        let unread = wanted.into_iter().filter(|(path, _)| !scan.files.contains_key(path));
        let mut sized: Vec<_> = unread
            .map(|(path, max_size)| SizedPath::measure(self.host, path, max_size))
            .collect();
        sized.sort_by(|a, b| (a.size, &a.path).cmp(&(b.size, &b.path)));
        let mut named = WantedFiles::new();
        for wanted in sized {
            let SizedPath {
                path,
                max_size,
                size,
                resolved,
            } = wanted;
            let read = if size > max_size || size <= self.left {
                let read = resolved
                    .clone()
                    .and_then(|found| self.host.read_resolved(found, max_size));
                read.and_then(|file| self.keep(file))
            } else {
                Err(self.full())
            };
            if max_size == MAX_YAML {
                named.extend(
                    files_of_kubeconfig(&path, &read)
                        .into_iter()
                        .map(|path| (path, MAX_PEM)),
                );
            }
            if let Err(ReadError::Missing) = read {
                scan.places.insert(path.clone(), place(resolved));
            }
            scan.files.insert(path, read.map(Arc::new));
        }
        if !named.is_empty() {
            self.read(named, scan);
        }
    }

    /// Reads a copy of a kubeconfig. The files that it names are not read.
    pub(super) fn read_copy(&mut self, spec: &CopySpec, scan: &Scan) -> ScannedCopy {
        let path = &spec.path;
        let directory = self.host.resolve(write::parent(path)).map(|directory| directory.real);
        let itself = directory
            .ok()
            .and_then(|directory| Some(directory.join(path.file_name()?)));
        let read = if scan.files.contains_key(path) {
            Err(ReadError::Because("is a credential, a CA or a manifest itself".into()))
        } else {
            self.host.read_at_most(path, MAX_YAML)
        };
        ScannedCopy {
            spec: spec.clone(),
            read: read.and_then(|file| self.keep(file)),
            is_symlink: itself.is_some_and(|itself| self.host.is_symlink(&itself)),
        }
    }

    /// Counts the bytes of a file, which may have grown since it was measured.
    fn keep(&mut self, file: File) -> ReadResult {
        self.left = self
            .left
            .checked_sub(file.bytes.len() as u64)
            .ok_or_else(|| self.full())?;
        Ok(file)
    }

    fn full(&self) -> ReadError {
        ReadError::Because(format!(
            "is left out: a scan holds at most {} MiB",
            self.max_bytes >> 20
        ))
    }
}

/// A file to read, measured before any file is read.
struct SizedPath {
    path: PathBuf,
    /// Maximum size, in bytes. A larger file is not read.
    max_size: u64,
    /// Size in bytes, or 0 if it is not a regular file.
    size: u64,
    resolved: Result<ResolvedPath, ReadError>,
}

impl SizedPath {
    fn measure(host: &Host, path: PathBuf, max_size: u64) -> Self {
        let resolved = host.resolve(&path);
        let found = resolved.as_ref().ok().and_then(|found| host.identity(&found.real));
        Self {
            path,
            max_size,
            size: found.map_or(0, |identity| identity.size),
            resolved,
        }
    }
}

/// Returns the place of a missing file, without symlinks; or why it cannot be created there.
fn place(resolved: Result<ResolvedPath, ReadError>) -> Result<PathBuf, String> {
    match resolved {
        Ok(found) => match found.unsafe_way {
            Some(reason) => Err(format!("users other than root can replace it: {reason}")),
            None => Ok(found.real),
        },
        Err(ReadError::Missing) => Err("its directory is missing".into()),
        Err(ReadError::Because(reason)) => Err(reason),
    }
}

/// Returns the files that the user of a kubeconfig names.
fn files_of_kubeconfig(path: &Path, read: &ReadResult) -> Vec<PathBuf> {
    let text = read.as_ref().ok().and_then(|file| file.bytes.text().ok());
    let directory = write::parent(path);
    text.and_then(kubeconfig::files)
        .map_or_else(Vec::new, |(certificate, key)| {
            vec![directory.join(certificate), directory.join(key)]
        })
}
