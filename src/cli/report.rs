//! `kubecertd report`

use std::path::{Path, PathBuf};

use super::context::Context;
use super::status;
use crate::backup::stored;
use crate::cycle::{self, ExecutionRefusal};
use crate::guard::Trigger;
use crate::host::Host;
use crate::host::files::ResolvedPath;
use crate::host::write::parent;
use crate::model::{Exit, Failure};
use crate::plan::Request;
use crate::report::html::Page;
use crate::restart::pending;

/// Beginning of every page. Only a file that begins so is replaced, so that a typing mistake does
/// not cost a certificate.
const BEGIN: &[u8] = b"<!DOCTYPE html>";
/// Maximum size of a page, in bytes.
const LARGEST: u64 = 16 << 20;

/// Options of `kubecertd report`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Output file, outside of --root; `-` for standard output
    #[arg(long, value_name = "FILE", required = true)]
    html: PathBuf,
}

/// Assesses the node now and writes the page, with the status that the daemon left. Nothing on the
/// node changes. Problems of the node are in the page and do not make the report fail.
pub fn run(context: &Context, args: &Args) -> Result<Exit, Failure> {
    let host = &context.host;
    let settings = context.settings()?;
    let look = cycle::assess(host, &settings, &Request::DUE, Trigger::Manual).map_err(ExecutionRefusal::failure)?;
    let status = status::known(host);
    let page = Page {
        node: &host.node_name(),
        inventory: &look.inventory,
        plan: look.clearance.plan(),
        warnings: &look.clearance.warnings,
        settings: &settings,
        status: status.as_ref(),
        pending: &pending::read(host),
        backups: &stored::all(host, &settings.backup.directory),
    };
    let html = page.render();
    if args.html == Path::new("-") {
        super::print(&html)?;
    } else {
        write(host, &look.scan.manifests_directory, &args.html, &html)?;
    }
    Ok(Exit::Done)
}

/// Replaces the page in one step: a reader sees the old page or the new one. A new file has mode
/// 0644, because nothing in it is private. An existing file keeps owner and mode.
///
/// # Errors
///
/// Fails if the file exists and is not such a page, if it is not a regular file, or if it is in the
/// manifests directory.
fn write(host: &Host, manifests: &Path, file: &Path, html: &str) -> Result<(), Failure> {
    let shown = file.display();
    let cannot = |reason: &str| Failure::new(format!("cannot write {shown}: {reason}"));
    let here = Host::new("/".into(), host.stop.clone());
    let file = std::path::absolute(file).map_err(|e| cannot(&e.to_string()))?;
    let like = match here.identity(&file) {
        Some(found) => {
            let bytes = here.read_at_most(&file, LARGEST).map(|file| file.bytes);
            if found.size > 0 && !bytes.is_ok_and(|bytes| bytes.starts_with(BEGIN)) {
                return Err(cannot("it exists and is not a report of kubecertd")
                    .hint("remove the file, or choose another name"));
            }
            here.attributes(&file)?
        }
        None if here.exists(&file) || here.is_symlink(&file) => {
            // A rename would replace a device or a symlink.
            return Err(cannot("it is not a regular file").hint("use `--html -` for standard output"));
        }
        None => here.for_everybody(),
    };
    let directory = here.resolve(parent(&file)).ok().map(|directory| directory.real);
    let directory = directory.filter(|directory| here.is_directory(directory));
    let directory = directory.ok_or_else(|| cannot("its directory does not exist"))?;
    let is_manifests = |found: ResolvedPath| host.outside(&found.real) == directory;
    if host.resolve(manifests).is_ok_and(is_manifests) {
        return Err(cannot("the kubelet starts every file in this directory as a pod"));
    }
    here.replace(&file, html.as_bytes(), &like)
}
