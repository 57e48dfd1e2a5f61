//! `kubecertd check-expiration`

use super::context::Context;
use crate::model::{Exit, Failure};
use crate::report::{Format, expiration};
use crate::{inventory, scan};

/// Its options.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How to print it
    #[arg(short, long, value_enum, default_value = "text")]
    output: Format,
}

/// Prints the tables; exit code 4 when something that is there cannot be read.
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
