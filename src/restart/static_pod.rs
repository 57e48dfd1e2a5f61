//! Static pods: the kubelet starts a new container when an annotation in the manifest changes.

use std::path::Path;

use crate::format::manifest::{RESTARTED_AT, annotate};
use crate::host::Host;
use crate::model::{Failure, ReadError};

/// Changes the annotation of a manifest. All other bytes, the owner and the mode stay.
///
/// The new file is made under a name that starts with a dot, which the kubelet ignores. So the
/// manifest is never missing and never there twice.
pub fn touch(host: &Host, manifest: &Path) -> Result<(), Failure> {
    let edited = annotated(host, manifest, manifest)?;
    let like = host.attributes(manifest)?;
    host.replace(manifest, edited.as_bytes(), &like)
}

/// Returns the text of the manifest that is stored at `at`, with a new annotation.
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
        return Err(fail(format!("can be replaced by users other than root: {reason}")));
    }
    let text = file.bytes.text().map_err(&fail)?;
    annotate(text, RESTARTED_AT, &host.now_exact()).map_err(&fail)
}
