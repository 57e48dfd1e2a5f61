//! Calls the hooks, which are commands of the operator (`[hooks]`). A hook that fails is reported,
//! and changes nothing else.

use crate::config::settings::Hooks;
use crate::host::Host;
use crate::model::Failure;
use crate::report::hook::{Event, Occasion};

/// Calls the hook for an event. Returns `None` if that hook is not configured.
pub fn call(host: &Host, hooks: &Hooks, event: &Event) -> Option<Result<(), Failure>> {
    let words = match event.event {
        Occasion::Expiring => &hooks.on_expiring,
        Occasion::Renewed => &hooks.on_renewed,
        Occasion::Failed => &hooks.on_failed,
    };
    if words.is_empty() {
        return None;
    }
    let key = event.event.key();
    let fail = |reason: String| Failure::new(format!("cannot call [hooks] {key}: {reason}"));
    let json = match serde_json::to_string(event) {
        Ok(json) => json + "\n",
        Err(e) => return Some(Err(fail(e.to_string()))),
    };
    Some(
        host.call(words, json.as_bytes(), hooks.timeout)
            .map_err(|failure| Failure {
                message: fail(failure.message.clone()).message,
                ..failure
            }),
    )
}
