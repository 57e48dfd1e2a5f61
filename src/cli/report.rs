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

/// What every page begins with: nothing else is replaced, so that a slip of the finger does not cost a certificate.
const BEGIN: &[u8] = b"<!DOCTYPE html>";
/// No page is larger.
const LARGEST: u64 = 16 << 20;

/// Its options.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Write one self-contained page to this file, as the shell sees it and not below --root; - for standard output
    #[arg(long, value_name = "FILE", required = true)]
    html: PathBuf,
}

/// Looks now and writes the page, with what the daemon left. Nothing on the node changes. What is wrong with the node is in the page, and no
/// failure of the report.
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

/// In one step: who reads it sees the page of before or the new one. A new file is 0644, for nothing in it is private; one that is there keeps
/// owner and mode.
fn write(host: &Host, manifests: &Path, file: &Path, html: &str) -> Result<(), Failure> {
    let shown = file.display();
    let cannot = |reason: &str| Failure::new(format!("cannot write {shown}: {reason}"));
    let here = Host::new("/".into(), host.stop.clone());
    let file = std::path::absolute(file).map_err(|e| cannot(&e.to_string()))?;
    let like = match here.identity(&file) {
        Some(found) => {
            let bytes = here.read_at_most(&file, LARGEST).map(|file| file.bytes);
            if found.size > 0 && !bytes.is_ok_and(|bytes| bytes.starts_with(BEGIN)) {
                return Err(
                    cannot("it exists, and this command did not write it").hint("remove it first, or name another one")
                );
            }
            here.attributes(&file)?
        }
        None if here.exists(&file) || here.is_symlink(&file) => {
            // A rename would put the page in the place of a device, or cut a link.
            return Err(cannot("it exists and is not a regular file").hint("`--html -` writes to standard output"));
        }
        None => here.for_everybody(),
    };
    let directory = here.resolve(parent(&file)).ok().map(|directory| directory.real);
    let directory = directory.filter(|directory| here.is_directory(directory));
    let directory = directory.ok_or_else(|| cannot("its directory is not there"))?;
    let is_manifests = |found: ResolvedPath| host.outside(&found.real) == directory;
    if host.resolve(manifests).is_ok_and(is_manifests) {
        return Err(cannot("the kubelet takes every file in this directory for a pod"));
    }
    here.replace(&file, html.as_bytes(), &like)
}
