//! `kubecertd config check` and `kubecertd config show`

use super::context::Context;
use crate::config::show;
use crate::model::{Exit, Failure};

/// Subcommands of `kubecertd config`.
#[derive(Debug, clap::Subcommand)]
pub enum Args {
    /// List all problems of the configuration
    Check,
    /// Print the configuration in effect as TOML
    Show,
}

/// Checks or shows the configuration.
pub fn run(context: &Context, args: &Args) -> Result<Exit, Failure> {
    let settings = context.settings()?;
    match args {
        Args::Check => {}
        Args::Show => super::print(&show(&settings))?,
    }
    Ok(Exit::Done)
}
