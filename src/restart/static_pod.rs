//! Static pods: a changed annotation in the manifest, put in place by one rename, makes the kubelet start a new container.

use std::path::Path;

use crate::format::manifest::{RESTARTED_AT, annotate};
use crate::host::Host;
use crate::model::{Failure, ReadError};

/// Changes the annotation of one manifest; all its other bytes, its owner and its mode stay.
///
/// The new file is made under a name that starts with a dot, which the kubelet ignores, so the manifest is never missing and
/// never there twice.
pub fn touch(host: &Host, manifest: &Path) -> Result<(), Failure> {
    let edited = annotated(host, manifest, manifest)?;
    let like = host.attributes(manifest)?;
    host.replace(manifest, edited.as_bytes(), &like)
}

/// The text of the manifest that is kept at `at`, with a fresh annotation.
pub(super) fn annotated(host: &Host, at: &Path, manifest: &Path) -> Result<String, Failure> {
    let fail = |reason: String| {
        Failure::new(format!(
            "cannot restart the pod of {}: the manifest {reason}",
            manifest.display()
        ))
    };
    let file = host.read(at).map_err(|unread| match unread {
        ReadError::Missing => fail("is missing".into()),
        ReadError::Because(reason) => fail(reason),
    })?;
    if let Some(reason) = &file.unsafe_way {
        return Err(fail(format!("could be replaced by others than root: {reason}")));
    }
    let text = file.bytes.text().map_err(&fail)?;
    annotate(text, RESTARTED_AT, &host.now_exact()).map_err(&fail)
}
