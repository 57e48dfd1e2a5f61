//! The command line: one file per verb.

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

/// Keeps the certificates of a Kubernetes control-plane node alive.
#[derive(Debug, Parser)]
#[command(name = "kubecertd", version, max_term_width = 100)]
struct Args {
    /// Work on the node whose root directory this is; every other path is seen from there
    #[arg(long, global = true, value_name = "DIR", default_value = "/")]
    root: PathBuf,

    /// The configuration; drop-ins are read from config.d beside it
    #[arg(long, global = true, value_name = "FILE", default_value = context::CONFIG)]
    config: PathBuf,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show when every certificate ends, in kubeadm's words
    CheckExpiration(check_expiration::Args),
    /// Show what would be renewed and restarted, and why
    Plan(plan::Args),
    /// Renew what is due, or what is named
    Renew(renew::Args),
    /// Run as the daemon
    Run,
    /// Show what the daemon did last, will do next, and what is wrong
    Status(status::Args),
    /// Find what usually goes wrong, and say what to do about it
    Doctor(doctor::Args),
    /// Make a page that shows all of it
    Report(report::Args),
    /// Finish or undo what an interrupted renewal left
    Recover,
    /// Take, list, verify and remove backups
    #[command(subcommand)]
    Backup(backup::Args),
    /// Put back what a backup holds
    Restore(restore::Args),
    /// Check or show the configuration
    #[command(subcommand)]
    Config(config::Args),
}

/// The grammar of the command line, from which manual page and completions are made.
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

/// One line on stderr. Where that cannot be written (a full disk behind it), the work goes on.
fn say(line: impl std::fmt::Display) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Says what went wrong on stderr.
fn complain(failure: &Failure) {
    for line in failure.message.lines() {
        say(format_args!("kubecertd: {line}"));
    }
    if let Some(hint) = &failure.hint {
        say(format_args!("hint: {hint}"));
    }
}

/// Says on stderr what speaks against a plan and what of it cannot be done.
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

/// Prints a report; a reader that went away (`| head`) is no failure.
fn print(text: &str) -> Result<(), Failure> {
    use std::io::Write as _;
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::new(format!("cannot print the report: {e}")))
        }
        _ => Ok(()),
    }
}
