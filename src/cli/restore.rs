//! `kubecertd restore`

use tracing::level_filters::LevelFilter;

use super::backup::find;
use super::context::Context;
use crate::backup::stored::StoredBackup;
use crate::config::Settings;
use crate::cycle::{self, Cycle, restore, restore_etcd};
use crate::host::log;
use crate::model::{Exit, Failure};
use crate::report::Format;
use crate::report::restore::{EtcdReport, Report};
use crate::restore::Part;
use crate::restore::etcd::Way;

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
    let (report, by_hand) = if args.dry_run {
        match restore_etcd::assess(host, settings, &chosen()?)? {
            Way::Here(plan) => {
                let aside = format!("{}.kubecertd-TIME", plan.data.display());
                (
                    Some(EtcdReport::of(&plan, host.exists(&plan.data), aside.as_ref())),
                    None,
                )
            }
            by_hand @ Way::ByHand { .. } => (None, Some(by_hand)),
        }
    } else {
        let lock = host.lock("restore --etcd", cycle::PATIENCE)?;
        cycle::recover(host, &lock)?;
        match restore_etcd::execute(
            &Cycle {
                host,
                settings,
                lock: &lock,
            },
            &chosen()?,
        )? {
            Ok(report) => (Some(report), None),
            Err(by_hand) => (None, Some(by_hand)),
        }
    };
    if let Some(Way::ByHand { because, procedure }) = by_hand {
        super::print(&procedure)?;
        return Err(
            Failure::new(format!("cannot restore etcd on this node alone: {because}"))
                .hint("run the commands above; kubecertd changed nothing"),
        );
    }
    let Some(report) = report else { return Ok(Exit::Failed) };
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
