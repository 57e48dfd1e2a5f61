//! `kubecertd plan`

use super::context::Context;
use crate::cycle::{self, ExecutionRefusal};
use crate::guard::Trigger;
use crate::model::{Exit, Failure};
use crate::plan::Request;
use crate::report::{Format, plan};

/// Options of `kubecertd plan`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Output format
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value = "text")]
    output: Format,

    /// Exit with code 10 if a credential is due
    #[arg(long)]
    exit_code: bool,
}

/// Prints the plan of the next cycle.
pub fn run(context: &Context, args: &Args) -> Result<Exit, Failure> {
    let settings = context.settings()?;
    let look =
        cycle::assess(&context.host, &settings, &Request::DUE, Trigger::Manual).map_err(ExecutionRefusal::failure)?;
    let plan = look.clearance.plan();
    super::print(&plan::render(plan, &look.clearance.warnings, args.output)?)?;
    super::complain_of(plan, &look.clearance.warnings);
    let due = !plan.is_empty();
    Ok(match (args.exit_code && due, plan.faults().next()) {
        (true, _) => Exit::Due,
        (false, Some(_)) => Exit::Partly,
        (false, None) => Exit::Done,
    })
}
