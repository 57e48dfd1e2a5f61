//! `kubecertd check-expiration`

use super::context::Context;
use crate::model::{Exit, Failure};
use crate::report::{Format, expiration};
use crate::{inventory, scan};

/// Options of `kubecertd check-expiration`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Output format
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value = "text")]
    output: Format,
}

/// Prints the tables. The exit code is 4 if an existing file cannot be read.
pub fn run(context: &Context, args: &Args) -> Result<Exit, Failure> {
    let settings = context.settings()?;
    let inventory = inventory::build(&scan::scan(&context.host, &settings));
    super::print(&expiration::render(&inventory, args.output)?)?;
    let unreadable = expiration::unreadable(&inventory);
    for reason in &unreadable {
        super::say(format_args!("kubecertd: cannot read {reason}"));
    }
    Ok(if unreadable.is_empty() {
        Exit::Done
    } else {
        Exit::Partly
    })
}
