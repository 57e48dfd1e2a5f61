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
use crate::{cycle, inventory, scan};

/// Its options.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How to print it
    #[arg(short, long, value_enum, default_value = "text")]
    output: Format,
}

/// Looks at everything once, changes nothing, and prints what it found. A bad configuration is one of the findings: the defaults stand in for what
/// is wrong in it.
pub fn run(context: &Context, args: &Args) -> Result<Exit, Failure> {
    let host = &context.host;
    let (settings, problems) = context.settings_and_problems();
    let scan = scan::scan(host, &settings);
    let inventory = inventory::build(&scan);
    let programs: Vec<_> = inventory.readers.iter().map(|reader| reader.name.as_str()).collect();
    let running = scan::running(host, &programs);
    let plan = plan::make(&inventory, &settings, &running, &Request::DUE)?;
    let conditions = scan::conditions(host, &settings, &scan);
    let status = status::known(host);
    let daemon = status.as_ref().filter(|status| status.daemon.running);
    let mut written = directories::written(&plan, &inventory, &settings);
    written.insert(STATE.into());
    let surroundings = scan::surroundings::observe(
        host,
        written,
        &settings.backup.directory,
        daemon.map(|status| status.daemon.pid),
        member::known(&inventory, &settings).data.as_deref(),
    );
    let pending: Vec<_> = pending::read(host).into_iter().map(|pending| pending.reader).collect();
    let diagnosis = examine(&Evidence {
        settings: &settings,
        problems: &problems,
        scan: &scan,
        inventory: &inventory,
        plan: &plan,
        conditions: &conditions,
        running: &running,
        surroundings: &surroundings,
        pending: &pending,
        daemon_runs: daemon.is_some(),
        interrupted: cycle::is_unfinished(host) && host.lock_holder_now().is_none(),
    });
    super::print(&doctor::render(&diagnosis, args.output)?)?;
    Ok(diagnosis.exit())
}
