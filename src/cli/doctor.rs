//! `kubecertd doctor`

use super::context::Context;
use super::status;
use crate::doctor::{Evidence, examine};
use crate::etcd::member;
use crate::host::STATE;
use crate::model::{Exit, Failure};
use crate::plan::{self, Request, directories};
use crate::report::{Format, doctor};
use crate::restart::pending;
use crate::{cycle, scan};

/// Options of `kubecertd doctor`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Output format
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value = "text")]
    output: Format,
}

/// Examines the node, changes nothing, and prints the findings. An invalid configuration is one of
/// them; the examination then uses defaults in place of invalid values.
pub fn run(context: &Context, args: &Args) -> Result<Exit, Failure> {
    let host = &context.host;
    let (settings, problems) = context.settings_and_problems();
    let node = cycle::NodeState::read(host, &settings);
    let plan = plan::make(&node.inventory, &settings, &node.conditions.running, &Request::DUE)?;
    let status = status::known(host);
    let daemon = status.as_ref().filter(|status| status.daemon.running);
    let mut written = directories::written(&plan, &node.inventory, &settings);
    written.insert(STATE.into());
    let surroundings = scan::surroundings::observe(
        host,
        written,
        &settings.backup.directory,
        daemon.map(|status| status.daemon.pid),
        member::known(&node.inventory, &settings).data.as_deref(),
    );
    let pending: Vec<_> = pending::read(host)
        .into_iter()
        .map(|pending| pending.step.reader)
        .collect();
    let diagnosis = examine(&Evidence {
        settings: &settings,
        problems: &problems,
        scan: &node.scan,
        inventory: &node.inventory,
        plan: &plan,
        conditions: &node.conditions,
        surroundings: &surroundings,
        pending: &pending,
        daemon_runs: daemon.is_some(),
        interrupted: cycle::is_unfinished(host) && host.lock_holder_now().is_none(),
    });
    super::print(&doctor::render(&diagnosis, args.output)?)?;
    Ok(diagnosis.exit())
}
