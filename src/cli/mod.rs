//! The command line, one file per command.

mod backup;
mod check_expiration;
mod config;
mod context;
mod doctor;
mod hooks;
mod plan;
mod recover;
mod renew;
mod report;
mod restore;
mod run;
mod status;

use std::path::PathBuf;

use clap::{CommandFactory as _, Parser, Subcommand};

use crate::host;
use crate::model::{Exit, Failure};
use crate::plan::{Decision, Plan};

/// Renew Kubernetes node certificates before they expire
#[derive(Debug, Parser)]
#[command(name = "kubecertd", version, max_term_width = 100)]
struct Args {
    /// Operate on the filesystem rooted at DIR
    #[arg(long, global = true, value_name = "DIR", default_value = "/")]
    root: PathBuf,

    /// Configuration file; drop-ins are in config.d next to it
    #[arg(long, global = true, value_name = "FILE", default_value = context::CONFIG)]
    config: PathBuf,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show certificate expiration, as kubeadm does
    CheckExpiration(check_expiration::Args),
    /// Show what to renew and restart, and why
    Plan(plan::Args),
    /// Renew credentials that are due, or those you name
    Renew(renew::Args),
    /// Run the daemon
    Run,
    /// Show the last and next actions of the daemon, and problems
    Status(status::Args),
    /// Find common problems and show how to fix them
    Doctor(doctor::Args),
    /// Write an HTML report
    Report(report::Args),
    /// Complete or roll back an interrupted run
    Recover,
    /// Create, list, verify and prune backups
    #[command(subcommand)]
    Backup(backup::Args),
    /// Restore files or etcd's data from a backup
    Restore(restore::Args),
    /// Check or show the configuration
    #[command(subcommand)]
    Config(config::Args),
}

/// Returns the grammar of the command line, for the manual page and the completions.
pub fn grammar() -> clap::Command {
    Args::command()
}

/// Runs the command line of this process.
pub fn main() -> Exit {
    host::no_core_dumps();
    let args = Args::parse();
    let context = context::Context::new(&args.root, &args.config, !matches!(args.command, Command::Run));
    let done = match args.command {
        Command::CheckExpiration(a) => context.and_then(|c| check_expiration::run(&c, &a)),
        Command::Plan(a) => context.and_then(|c| plan::run(&c, &a)),
        Command::Renew(a) => context.and_then(|c| renew::run(&c, &a)),
        Command::Run => context.and_then(run::run),
        Command::Status(a) => context.and_then(|c| status::run(&c, &a)),
        Command::Doctor(a) => context.and_then(|c| doctor::run(&c, &a)),
        Command::Report(a) => context.and_then(|c| report::run(&c, &a)),
        Command::Recover => context.and_then(|c| recover::run(&c)),
        Command::Backup(a) => context.and_then(|c| backup::run(&c, &a)),
        Command::Restore(a) => context.and_then(|c| restore::run(&c, &a)),
        Command::Config(a) => context.and_then(|c| config::run(&c, &a)),
    };
    done.unwrap_or_else(|failure| {
        complain(&failure);
        failure.exit
    })
}

/// Writes one line to stderr. A failure, such as a full disk, does not stop the work.
fn say(line: impl std::fmt::Display) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Writes a failure and its hint to stderr.
fn complain(failure: &Failure) {
    for line in failure.message.lines() {
        say(format_args!("kubecertd: {line}"));
    }
    if let Some(hint) = &failure.hint {
        say(format_args!("hint: {hint}"));
    }
}

/// Writes the warnings of a plan, and the credentials that it cannot renew, to stderr.
fn complain_of(plan: &Plan, warnings: &[String]) {
    for item in plan.faults() {
        match &item.decision {
            Decision::Unreadable(reason) => say(format_args!("kubecertd: cannot read {}: {reason}", item.name)),
            Decision::Blocked { because, .. } => say(format_args!("kubecertd: cannot renew {}: {because}", item.name)),
            _ => {}
        }
    }
    for warning in warnings {
        say(format_args!("kubecertd: {warning}"));
    }
}

/// Prints a report. A closed pipe (`| head`) is not a failure.
///
/// # Errors
///
/// Fails if standard output cannot be written.
fn print(text: &str) -> Result<(), Failure> {
    use std::io::Write as _;
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::new(format!("cannot print the report: {e}")))
        }
        _ => Ok(()),
    }
}
