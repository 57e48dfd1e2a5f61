//! `kubecertd config check` and `kubecertd config show`

use super::context::Context;
use crate::config::show;
use crate::model::{Exit, Failure};

/// Its verbs.
#[derive(Debug, clap::Subcommand)]
pub enum Arguments {
    /// Exit with 78 and list every problem when the configuration is bad
    Check,
    /// Print the configuration in effect as TOML
    Show,
}

/// Checks or shows the configuration.
pub fn run(context: &Context, arguments: &Arguments) -> Result<Exit, Failure> {
    let settings = context.settings()?;
    match arguments {
        Arguments::Check => {}
        Arguments::Show => super::print(&show(&settings))?,
    }
    Ok(Exit::Done)
}
