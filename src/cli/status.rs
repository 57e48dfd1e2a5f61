//! `kubecertd status`

use std::path::PathBuf;

use super::context::Context;
use crate::host::Host;
use crate::model::{Exit, Failure};
use crate::report::Format;
use crate::report::status::Status;

/// Its options.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How to print it
    #[arg(short, long, value_enum, default_value = "text")]
    output: Format,
}

/// Prints what the daemon left last: from the state directory, or its public copy for those who may not look in there. It need not run, and no
/// configuration is read. What can be seen of the moment is added: whether the daemon lives, and who is at work.
pub fn run(context: &Context, args: &Args) -> Result<Exit, Failure> {
    let status = known(&context.host).ok_or_else(|| {
        Failure::new("cannot show the status: the daemon has not looked at this node yet")
            .hint("`systemctl status kubecertd` says whether it runs; `kubecertd plan` looks now")
    })?;
    super::print(&status.render(args.output)?)?;
    Ok(Exit::Done)
}

/// What the daemon left, and whether it lives.
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
