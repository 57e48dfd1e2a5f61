//! `kubecertd recover`

use tracing::info;
use tracing::level_filters::LevelFilter;

use super::context::Context;
use crate::backup::retention;
use crate::cycle;
use crate::host::log;
use crate::model::{Exit, Failure};

/// Finishes or undoes what an ended process left. Does nothing while another process holds the lock: that one is not finished yet.
///
/// A bad configuration does not keep it from working: the journal has all paths.
pub fn run(context: &Context) -> Result<Exit, Failure> {
    log::start(LevelFilter::INFO);
    let Some(lock) = context.host.try_lock("recover")? else {
        info!(
            "nothing to recover: kubecertd is at work ({})",
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
