//! Further pairs, which the configuration adds: there may be ten thousand. They are read and parsed one after the other, on all cores, and what is
//! kept of each is what a plan needs; a cycle looks again at what it renews.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{LARGEST_PEM, Scan, place, size};
use crate::cores;
use crate::format::pair::{self, Pair};
use crate::host::Host;
use crate::model::{Read, Unread};

/// Bytes of further pairs that are read at all. Ten thousand with RSA-2048 have 30 MB; 64 MiB take half a second.
const MOST_READ: u64 = 64 << 20;

/// Pairs that are held at once, however many cores there are: each may be 2 MiB, and several times that once it is parsed.
const AT_ONCE: usize = 4;

/// One of them: its name, its certificate's file and its key's.
pub(super) type Wanted = (String, PathBuf, PathBuf);

/// What was found of one.
struct Found {
    certificate: Read,
    /// None where one file is both.
    key: Option<Read>,
    pair: Option<Result<Pair, String>>,
}

/// Reads them into `scan`, the smallest first, so that what is left out is what is large.
pub(super) fn read(host: &Host, wanted: Vec<Wanted>, scan: &mut Scan) {
    let found = cores::work(AT_ONCE, sorted(host, wanted), |(wanted, fits)| {
        let found = find(host, scan, &wanted, fits);
        (wanted, found)
    });
    for ((name, certificate, key), found) in found {
        if let Some(pair) = found.pair {
            scan.pairs.insert(name, pair);
        }
        let reads = std::iter::once((certificate, found.certificate)).chain(found.key.map(|read| (key, read)));
        for (path, read) in reads {
            if let Err(Unread::Missing) = read {
                scan.places.insert(path.clone(), place(host, &path));
            }
            scan.files.entry(path).or_insert(read.map(Arc::new));
        }
    }
}

/// By size, and whether all up to this one are within the bound.
fn sorted(host: &Host, wanted: Vec<Wanted>) -> Vec<(Wanted, bool)> {
    let mut sized: Vec<_> = wanted
        .into_iter()
        .map(|wanted| (size(host, &wanted.1) + size(host, &wanted.2), wanted))
        .collect();
    sized.sort();
    let mut sum = 0;
    let fits = sized.into_iter().map(|(size, wanted)| {
        sum += size;
        (wanted, sum <= MOST_READ)
    });
    fits.collect()
}

fn find(host: &Host, scan: &Scan, (_, certificate, key): &Wanted, fits: bool) -> Found {
    let read = |path: &Path| match scan.files.get(path) {
        Some(known) => known.clone().map(Arc::unwrap_or_clone),
        None if fits => host.read_at_most(path, LARGEST_PEM),
        None => Err(Unread::Because(format!(
            "is left out: a look reads {} MiB of further pairs at most",
            MOST_READ >> 20
        ))),
    };
    let mut found = Found {
        certificate: read(certificate),
        key: (certificate != key).then(|| read(key)),
        pair: None,
    };
    let key_read = found.key.as_ref().unwrap_or(&found.certificate);
    if let (Ok(file), Ok(_) | Err(Unread::Missing)) = (&found.certificate, key_read) {
        let pair = pair::parse((certificate, file), (key, key_read.as_ref().ok()));
        found.pair = Some(pair.map(Pair::brief));
    }
    for file in [Some(&mut found.certificate), found.key.as_mut()]
        .into_iter()
        .flatten()
        .flatten()
    {
        file.bytes.let_go();
    }
    found
}
