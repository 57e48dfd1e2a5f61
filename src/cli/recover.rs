//! `kubecertd recover`

use tracing::info;
use tracing::level_filters::LevelFilter;

use super::context::Context;
use crate::backup::retention;
use crate::cycle;
use crate::host::log;
use crate::model::{Exit, Failure};

/// Completes or rolls back the work of an interrupted process. Does nothing while another process
/// holds the lock, because that one is still running.
///
/// Works with an invalid configuration, because the journal has all paths.
pub fn run(context: &Context) -> Result<Exit, Failure> {
    log::start(LevelFilter::INFO);
    let Some(lock) = context.host.try_lock("recover")? else {
        info!(
            "nothing to recover: another kubecertd is running ({})",
            context.host.lock_holder().unwrap_or_default()
        );
        return Ok(Exit::Done);
    };
    cycle::recover(&context.host, &lock)?;
    if let Ok(settings) = context.settings() {
        retention::remove_unfinished(&context.host, &settings.backup.directory)?;
        cycle::clear_marker(&context.host, &settings, &lock);
    }
    Ok(Exit::Done)
}
