//! The pairs that patterns of the configuration stand for: there may be ten thousand. They are read and parsed one after the other, on two cores, and what is
//! kept of each is what a plan needs; a cycle looks again at what it renews.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{LARGEST_PEM, Scan, SharedFile, names, place, too_many};
use crate::catalog::{self, Extra};
use crate::format::pair::{self, Pair};
use crate::host::Host;
use crate::host::files::ResolvedPath;
use crate::host::write;
use crate::model::{ReadError, ReadResult};
use crate::parallel;

/// Bytes of them that are read at all. Ten thousand with RSA-2048 have 30 MB; 64 MiB take half a second.
const MOST_READ: u64 = 64 << 20;

/// Pairs that are held at once, however many cores there are: each may be 2 MiB, and several times that once it is parsed.
const AT_ONCE: usize = 2;

/// Credentials that all patterns together stand for.
pub(super) const MOST_FILES: usize = 10_000;

/// One of them: its name, its certificate's file and its key's.
pub(super) type Wanted = (String, PathBuf, PathBuf);

/// One of them before it is read: where its files are, and whether all up to this one are within [`MOST_READ`].
struct Measured {
    wanted: Wanted,
    certificate: Result<ResolvedPath, ReadError>,
    key: Result<ResolvedPath, ReadError>,
    bytes: u64,
    fits: bool,
}

/// What was found of one.
struct Found {
    wanted: Wanted,
    certificate: ReadResult,
    /// None where one file is both.
    key: Option<ReadResult>,
    pair: Option<Result<Pair, String>>,
}

/// What a pattern stands for. One that cannot be expanded stands for itself, as a file that cannot be read.
pub(super) fn expand(
    host: &Host,
    extra: &Extra,
    left: &mut usize,
    files: &mut BTreeMap<PathBuf, SharedFile>,
) -> Vec<Extra> {
    let path = extra.storage.path();
    let found = names(host, write::parent(path)).map(|names| catalog::expand(extra, &names));
    match found {
        Ok(found) if !extra.name.contains('*') => return found,
        Ok(found) if found.len() <= *left => {
            *left -= found.len();
            return found;
        }
        Ok(found) => {
            let before = MOST_FILES - *left;
            let what = match before {
                0 => "stands for",
                _ => "and the patterns before it stand for",
            };
            files.insert(path.to_owned(), Err(too_many(what, before + found.len(), MOST_FILES)))
        }
        Err(unread) => files.insert(path.to_owned(), Err(unread)),
    };
    vec![extra.clone()]
}

/// Reads them into `scan`, the smallest first, so that what is left out is what is large.
pub(super) fn read(host: &Host, wanted: Vec<Wanted>, scan: &mut Scan) {
    for found in parallel::map(AT_ONCE, measured(host, wanted), |pair| find(host, scan, pair)) {
        let (name, certificate, key) = found.wanted;
        if let Some(pair) = found.pair {
            scan.pairs.insert(name, pair);
        }
        let reads = std::iter::once((certificate, found.certificate)).chain(found.key.map(|read| (key, read)));
        for (path, read) in reads {
            if let Err(ReadError::Missing) = read {
                scan.places.insert(path.clone(), place(host, &path));
            }
            scan.files.entry(path).or_insert(read.map(Arc::new));
        }
    }
}

/// The smallest first.
fn measured(host: &Host, wanted: Vec<Wanted>) -> Vec<Measured> {
    let mut all = parallel::map(AT_ONCE, wanted, |wanted| {
        let (certificate, key) = (host.resolve(&wanted.1), host.resolve(&wanted.2));
        let found = [&certificate, &key].map(|found| host.identity(&found.as_ref().ok()?.real));
        Measured {
            bytes: found
                .iter()
                .flatten()
                .fold(0, |sum, identity| sum.saturating_add(identity.size)),
            wanted,
            certificate,
            key,
            fits: false,
        }
    });
    all.sort_by(|a, b| (a.bytes, &a.wanted).cmp(&(b.bytes, &b.wanted)));
    let mut sum = 0;
    for pair in &mut all {
        sum = u64::saturating_add(sum, pair.bytes);
        pair.fits = sum <= MOST_READ;
    }
    all
}

fn find(host: &Host, scan: &Scan, measured: Measured) -> Found {
    let read = |path: &Path, resolved: Result<ResolvedPath, ReadError>| match scan.files.get(path) {
        Some(known) => known.clone().map(Arc::unwrap_or_clone),
        None if measured.fits => host.read_resolved(resolved?, LARGEST_PEM),
        None => Err(ReadError::Because(format!(
            "is left out: a look reads {} MiB of the pairs of patterns at most",
            MOST_READ >> 20
        ))),
    };
    let (_, path, key_path) = &measured.wanted;
    let mut certificate = read(path, measured.certificate);
    let mut key = (path != key_path).then(|| read(key_path, measured.key));
    let pair = match (&certificate, key.as_ref().unwrap_or(&certificate)) {
        (Ok(file), Ok(key)) => Some(pair::parse((path, file), (key_path, Some(key)))),
        (Ok(file), Err(ReadError::Missing)) => Some(pair::parse((path, file), (key_path, None))),
        _ => None,
    };
    let files = std::iter::once(&mut certificate).chain(key.as_mut());
    files.flatten().for_each(|file| file.bytes.let_go());
    Found {
        pair: pair.map(|pair| pair.map(Pair::brief)),
        certificate,
        key,
        wanted: measured.wanted,
    }
}
