//! `kubecertd backup create | list | verify | prune`

use tracing::level_filters::LevelFilter;

use super::context::Context;
use crate::backup::stored::{self, StoredBackup};
use crate::backup::{Purpose, retention, verify};
use crate::config::Settings;
use crate::cycle;
use crate::host::log;
use crate::model::{Exit, Failure};
use crate::report::{Format, backups};

/// Subcommands of `kubecertd backup`.
#[derive(Debug, clap::Subcommand)]
pub enum Args {
    /// Create a backup now
    Create,
    /// List backups, oldest first
    List {
        /// Output format
        #[arg(short, long, value_enum, value_name = "FORMAT", default_value = "text")]
        output: Format,
    },
    /// Verify a backup against its manifest
    Verify {
        /// ID of the backup [default: the newest]
        id: Option<String>,
    },
    /// Delete backups beyond the configured retention
    Prune {
        /// Show the changes without making them
        #[arg(long)]
        dry_run: bool,
    },
}

/// Runs a subcommand of `kubecertd backup`.
pub fn run(context: &Context, args: &Args) -> Result<Exit, Failure> {
    let settings = context.settings()?;
    match args {
        Args::Create => create(context, &settings),
        Args::List { output } => {
            let backups = stored::all(&context.host, &settings.backup.directory);
            super::print(&backups::render(&backups, *output)?)?;
            if let Some(warning) = stored::open_to_others(&context.host, &settings.backup.directory) {
                super::say(format_args!("kubecertd: {warning}"));
            }
            Ok(Exit::Done)
        }
        Args::Verify { id } => check(context, &settings, id.as_deref()),
        Args::Prune { dry_run } => prune(context, &settings, *dry_run),
    }
}

fn create(context: &Context, settings: &Settings) -> Result<Exit, Failure> {
    log::start(LevelFilter::INFO);
    let backup = cycle::back_up(&context.host, settings, Purpose::ByHand)?;
    for warning in &backup.warnings {
        super::say(format_args!("kubecertd: {warning}"));
    }
    backup.unarchived.iter().for_each(super::complain);
    super::print(&format!("{}\n", backup.directory.display()))?;
    Ok(if backup.unarchived.is_empty() {
        Exit::Done
    } else {
        Exit::Partly
    })
}

fn check(context: &Context, settings: &Settings, id: Option<&str>) -> Result<Exit, Failure> {
    let backup = find(context, settings, id, |_| true)?;
    log::start(LevelFilter::INFO);
    let wrong = verify::verify(&context.host, settings, &backup);
    if let Err(failure) = verify::remember(&context.host, &backup, &wrong) {
        super::complain(&failure);
    }
    for reason in &wrong {
        super::say(format_args!("kubecertd: {}: {reason}", backup.id));
    }
    if wrong.is_empty() {
        let limit = if verify::reads_inside(settings, &backup) {
            ""
        } else {
            " (content not checked: [backup] decrypt_with is not set)"
        };
        super::print(&format!("{}: good{limit}\n", backup.id))?;
        return Ok(Exit::Done);
    }
    super::print(&format!("{}: bad\n", backup.id))?;
    Ok(Exit::Failed)
}

/// Returns the backup with this name. Without a name, returns the newest one that is `fit`.
///
/// # Errors
///
/// Fails with [`Exit::Usage`] if no backup has the name, and with [`Exit::Failed`] if none is fit.
pub(super) fn find(
    context: &Context,
    settings: &Settings,
    id: Option<&str>,
    fit: impl Fn(&StoredBackup) -> bool,
) -> Result<StoredBackup, Failure> {
    let backups = stored::all(&context.host, &settings.backup.directory);
    let directory = settings.backup.directory.display();
    let found = match id {
        Some(id) => backups.into_iter().find(|backup| backup.id == id),
        None => backups.into_iter().rfind(fit),
    };
    found.ok_or_else(|| match id {
        Some(id) => Failure::new(format!("cannot find the backup {id} in {directory}"))
            .hint("run `kubecertd backup list` to see the backups")
            .exit(Exit::Usage),
        None => Failure::new(format!("cannot find a usable backup in {directory}"))
            .hint("run `kubecertd backup list` to see the backups"),
    })
}

fn prune(context: &Context, settings: &Settings, dry_run: bool) -> Result<Exit, Failure> {
    let host = &context.host;
    let gone = if dry_run {
        let backups = stored::all(host, &settings.backup.directory);
        retention::doomed(&backups, &settings.backup, host.now())
    } else {
        let lock = host.lock("backup prune", cycle::PATIENCE)?;
        // An interrupted renewal may still need the backup that it made.
        cycle::recover(host, &lock)?;
        retention::remove_unfinished(host, &settings.backup.directory)?;
        retention::prune(host, settings, host.now(), &[])?
    };
    let lines: Vec<_> = gone.iter().map(|backup| format!("{}\n", backup.display())).collect();
    super::print(&lines.concat())?;
    Ok(Exit::Done)
}
