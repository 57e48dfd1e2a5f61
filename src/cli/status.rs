//! `kubecertd status`

use std::path::PathBuf;

use super::context::Context;
use crate::host::Host;
use crate::model::{Exit, Failure};
use crate::report::Format;
use crate::report::status::Status;

/// Options of `kubecertd status`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Output format
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value = "text")]
    output: Format,
}

/// Prints the status that the daemon wrote last: from the state directory, or from its public copy
/// for users without access. The daemon need not run, and the configuration is not read.
///
/// # Errors
///
/// Fails if the daemon has not written a status yet.
pub fn run(context: &Context, args: &Args) -> Result<Exit, Failure> {
    let status = known(&context.host).ok_or_else(|| {
        Failure::new("cannot show the status: the daemon has not assessed this node yet")
            .hint("run `systemctl status kubecertd`, or `kubecertd plan` to assess the node now")
    })?;
    super::print(&status.render(args.output)?)?;
    Ok(Exit::Done)
}

/// Returns the status that the daemon wrote last, completed with the running processes of this
/// moment. Returns `None` without a status.
pub(super) fn known(host: &Host) -> Option<Status> {
    let read = |path: PathBuf| {
        let file = host.read_own(&path).ok()?;
        serde_json::from_slice::<Status>(&file.bytes).ok()
    };
    let found = read(host.state("status.json")).or_else(|| read(host.published("status.json")));
    let mut status = found?;
    let started = host.started_ticks(status.daemon.pid);
    status.daemon.running &= started == Some(status.daemon.started_ticks);
    status.at_work = host.lock_holder_now();
    Some(status)
}
