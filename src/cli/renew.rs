//! `kubecertd renew`

use tracing::level_filters::LevelFilter;

use super::context::Context;
use super::hooks;
use crate::cycle::{self, Cycle, ExecutionRefusal};
use crate::guard::Trigger;
use crate::host::log;
use crate::model::{Exit, Failure};
use crate::plan::{Request, Which};
use crate::report::hook::Event;
use crate::report::{Format, plan};

/// Options of `kubecertd renew`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Credentials to renew, or `all` [default: all that are due]
    #[arg(value_name = "NAME")]
    names: Vec<String>,

    /// Show the changes without making them
    #[arg(long)]
    dry_run: bool,

    /// Renew even if not due, or if it gains less than a day
    #[arg(long)]
    force: bool,

    /// Output format
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value = "text")]
    output: Format,
}

/// Runs one cycle.
pub fn run(context: &Context, args: &Args) -> Result<Exit, Failure> {
    log::start(LevelFilter::INFO);
    let settings = context.settings()?;
    let request = args.request()?;
    let assess = || cycle::assess(&context.host, &settings, &request, Trigger::Manual);
    if args.dry_run {
        let clearance = assess().map_err(ExecutionRefusal::failure)?.clearance;
        let plan = clearance.plan();
        super::print(&plan::render(plan, &clearance.warnings, args.output)?)?;
        super::complain_of(plan, &clearance.warnings);
        return Ok(if plan.faults().next().is_some() {
            Exit::Partly
        } else {
            Exit::Done
        });
    }
    let lock = context.host.lock("renew", cycle::PATIENCE)?;
    cycle::recover(&context.host, &lock)?;
    let cycle = Cycle {
        host: &context.host,
        settings: &settings,
        lock: &lock,
    };
    let assessment = assess().map_err(ExecutionRefusal::failure)?;
    let report = cycle.execute(&request, Trigger::Manual, assessment, assess);
    // The exit code describes the node. A failure to print must not change it.
    if let Err(failure) = report.render(args.output).and_then(|text| super::print(&text)) {
        super::complain(&failure);
    }
    super::complain_of(&report.plan, &report.rollout.warnings);
    if let Some(failure) = &report.failure {
        super::complain(failure);
    }
    drop(lock);
    for event in Event::of_cycle(&report, &context.host.node_name(), context.host.now()) {
        if let Some(Err(failure)) = hooks::call(&context.host, &settings.hooks, &event) {
            super::complain(&failure);
        }
    }
    Ok(report.exit())
}

impl Args {
    fn request(&self) -> Result<Request, Failure> {
        let which = match self.names.as_slice() {
            [] => Which::Due,
            [all] if all == "all" => Which::All,
            names if names.iter().any(|name| name == "all") => {
                return Err(
                    Failure::new("cannot renew `all` and named credentials: `all` includes them")
                        .hint("run `kubecertd renew all`, or leave out `all`")
                        .exit(Exit::Usage),
                );
            }
            names => Which::Named(names.to_vec()),
        };
        Ok(Request {
            which,
            force: self.force,
        })
    }
}
