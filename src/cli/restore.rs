//! `kubecertd restore`

use tracing::level_filters::LevelFilter;

use super::backup::find;
use super::context::Context;
use crate::backup::set::Set;
use crate::config::Settings;
use crate::cycle::{self, restore};
use crate::host::log;
use crate::model::{Exit, Failure};
use crate::report::Format;
use crate::report::restore::Report;
use crate::restore::Part;

/// Its options.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The set, as `backup list` names it; the newest good one without it
    id: Option<String>,

    /// Restore these parts alone
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Part>,

    /// Show what would change and change nothing
    #[arg(long)]
    dry_run: bool,

    /// How to print it
    #[arg(short, long, value_enum, default_value = "text")]
    output: Format,
}

/// Restores.
pub fn run(context: &Context, arguments: &Arguments) -> Result<Exit, Failure> {
    log::start(LevelFilter::INFO);
    let settings = context.settings()?;
    let host = &context.host;
    if arguments.dry_run {
        let set = chosen(context, &settings, arguments)?;
        let report = restore::look(host, &settings, &set, &arguments.only)?;
        say(&report, arguments.output);
        return Ok(Exit::Done);
    }
    let lock = host.lock("restore", cycle::PATIENCE)?;
    cycle::recover(host, &lock)?;
    let set = chosen(context, &settings, arguments)?;
    let report = restore::act(host, &settings, &lock, &set, &arguments.only)?;
    say(&report, arguments.output);
    Ok(Exit::Done)
}

fn chosen(context: &Context, settings: &Settings, arguments: &Arguments) -> Result<Set, Failure> {
    find(context, settings, arguments.id.as_deref(), Set::is_good)
}

/// The exit code speaks of the node: an output that is full must not turn it into another one.
fn say(report: &Report, output: Format) {
    if let Err(failure) = report.render(output).and_then(|text| super::print(&text)) {
        super::complain(&failure);
    }
    for warning in &report.warnings {
        super::say(format_args!("kubecertd: {warning}"));
    }
}
