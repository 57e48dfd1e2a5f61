//! `kubecertd restore`

use tracing::level_filters::LevelFilter;

use super::backup::find;
use super::context::Context;
use crate::backup::stored::StoredBackup;
use crate::config::Settings;
use crate::cycle::restore_etcd::{self, EtcdRestore};
use crate::cycle::{self, Cycle, restore};
use crate::host::log;
use crate::model::{Exit, Failure};
use crate::report::Format;
use crate::report::restore::Report;
use crate::restore::Part;

/// Options of `kubecertd restore`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// ID of the backup [default: the newest good one]
    id: Option<String>,

    /// Restore only these parts
    #[arg(long, value_enum, value_name = "PARTS", value_delimiter = ',')]
    only: Vec<Part>,

    /// Restore etcd's data instead (single-member cluster)
    #[arg(long, conflicts_with = "only")]
    etcd: bool,

    /// Show the changes without making them
    #[arg(long)]
    dry_run: bool,

    /// Output format
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value = "text")]
    output: Format,
}

/// Restores files, or etcd's data with `--etcd`.
pub fn run(context: &Context, args: &Args) -> Result<Exit, Failure> {
    log::start(LevelFilter::INFO);
    let settings = context.settings()?;
    let host = &context.host;
    if args.etcd {
        return run_etcd(context, &settings, args);
    }
    if args.dry_run {
        let backup = chosen(context, &settings, args)?;
        let report = restore::assess(host, &settings, &backup, &args.only)?;
        say(&report, args.output);
        return Ok(Exit::Done);
    }
    let lock = host.lock("restore", cycle::PATIENCE)?;
    cycle::recover(host, &lock)?;
    let backup = chosen(context, &settings, args)?;
    let report = Cycle {
        host,
        settings: &settings,
        lock: &lock,
    }
    .restore(&backup, &args.only)?;
    say(&report, args.output);
    Ok(Exit::Done)
}

fn run_etcd(context: &Context, settings: &Settings, args: &Args) -> Result<Exit, Failure> {
    let host = &context.host;
    let has_data =
        |backup: &StoredBackup| backup.is_good() && backup.manifest.as_ref().is_ok_and(|list| list.etcd.is_some());
    let chosen = || find(context, settings, args.id.as_deref(), has_data);
    let restore = if args.dry_run {
        restore_etcd::assess(host, settings, &chosen()?)?
    } else {
        let lock = host.lock("restore --etcd", cycle::PATIENCE)?;
        cycle::recover(host, &lock)?;
        let cycle = Cycle {
            host,
            settings,
            lock: &lock,
        };
        restore_etcd::execute(&cycle, &chosen()?)?
    };
    let report = match restore {
        EtcdRestore::Report(report) => report,
        EtcdRestore::Manual(manual) => {
            super::print(&manual.procedure)?;
            let message = format!("cannot restore etcd on this node alone: {}", manual.because);
            return Err(Failure::new(message).hint("run the commands above; kubecertd changed nothing"));
        }
    };
    if let Err(failure) = report.render(args.output).and_then(|text| super::print(&text)) {
        super::complain(&failure);
    }
    for warning in report.warnings.iter().chain(&report.error) {
        super::say(format_args!("kubecertd: {warning}"));
    }
    Ok(report.exit())
}

fn chosen(context: &Context, settings: &Settings, args: &Args) -> Result<StoredBackup, Failure> {
    find(context, settings, args.id.as_deref(), StoredBackup::is_good)
}

/// Prints the report. The exit code describes the node, so that a failure to print must not change
/// it.
fn say(report: &Report, output: Format) {
    if let Err(failure) = report.render(output).and_then(|text| super::print(&text)) {
        super::complain(&failure);
    }
    for warning in &report.rollout.warnings {
        super::say(format_args!("kubecertd: {warning}"));
    }
}
