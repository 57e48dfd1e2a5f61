//! Parking: one rename hides a manifest from the kubelet as a dot-file in the same directory. The
//! manifest comes back with a new annotation.
//!
//! The kubelet ignores names that start with a dot, and ends the pod within a second. The manifest
//! is missing while it is parked. So it is recorded durably before that, and [`recover`] brings it
//! back.

use std::path::{Path, PathBuf};

use super::static_pod::annotated;
use crate::host::Host;
use crate::host::record::Record;
use crate::host::write::{beside, parent};
use crate::model::Failure;

/// Record of the parked manifests, in the state directory.
const RECORD: Record<Vec<PathBuf>> = Record::new("parked.json");

/// Parks a manifest whose annotation can be changed. A manifest that is parked already stays so.
pub fn park(host: &Host, manifest: &Path) -> Result<(), Failure> {
    if !host.exists(manifest) && host.exists(&beside(manifest, "parked")) {
        return Ok(());
    }
    annotated(host, manifest, manifest)?;
    let mut all = read(host)?;
    if !all.iter().any(|parked| parked == manifest) {
        all.push(manifest.to_owned());
    }
    record(host, &all)?;
    host.rename(manifest, &beside(manifest, "parked"))?;
    host.sync_directory(parent(manifest))
}

/// Brings a parked manifest back with a new annotation: kubelets 1.22 and 1.23 do not start a
/// static pod again that returns unchanged (kubernetes/kubernetes#104648).
pub fn unpark(host: &Host, manifest: &Path) -> Result<(), Failure> {
    let parked = beside(manifest, "parked");
    // A manifest that another process put in its place counts instead.
    if host.exists(&parked) && !host.exists(manifest) {
        let text = annotated(host, &parked, manifest)?;
        let like = host.attributes(&parked)?;
        host.replace(manifest, text.as_bytes(), &like)?;
    }
    host.unlink(&beside(manifest, "new"))?;
    host.unlink(&parked)?;
    // A directory that is gone has nothing to make durable.
    if host.exists(parent(manifest)) {
        host.sync_directory(parent(manifest))?;
    }
    let mut all = read(host)?;
    all.retain(|other| other != manifest);
    record(host, &all)
}

/// Brings back every manifest that an interrupted process left parked. One that fails does not stop
/// the others. Returns the manifests that exist again; one that was removed with its parked file
/// does not.
pub fn recover(host: &Host) -> Result<Vec<PathBuf>, Failure> {
    let all = read(host)?;
    let mut failed = None;
    for manifest in &all {
        if let Err(failure) = unpark(host, manifest) {
            let parked = beside(manifest, "parked");
            let advice = format!("rename {} to {} manually", parked.display(), manifest.display());
            failed = failed.or(Some(failure.hint(advice).exit(crate::model::Exit::RollbackFailed)));
        }
    }
    let there = all.into_iter().filter(|manifest| host.exists(manifest));
    failed.map_or_else(|| Ok(there.collect()), Err)
}

fn read(host: &Host) -> Result<Vec<PathBuf>, Failure> {
    let fail = |reason: String| {
        Failure::new(format!("cannot read {}: {reason}", RECORD.path(host).display()))
            .hint("rename every .NAME.kubecertd-parked in the manifests directory to NAME, then remove the record")
            .exit(crate::model::Exit::RollbackFailed)
    };
    RECORD.read(host).map(Option::unwrap_or_default).map_err(fail)
}

fn record(host: &Host, all: &[PathBuf]) -> Result<(), Failure> {
    if all.is_empty() {
        return RECORD.remove(host);
    }
    RECORD.write(host, &all.to_vec())
}

/// Removes the temporary file of an interrupted write.
pub fn clean(host: &Host) -> Result<(), Failure> {
    RECORD.clean(host)
}
