//! Queue of the events for the operator's `[hooks]`. kubecertd reports the same failure once a day.

use std::collections::BTreeMap;

use tracing::{info, warn};

use crate::cli::hooks;
use crate::config::settings::Hooks;
use crate::events;
use crate::host::{Host, notify as systemd};
use crate::model::Failure;
use crate::report::cycle::Report;
use crate::report::hook::{Event, Occasion};
use crate::report::notices::{self, Notice};
use crate::report::status::Status;

/// Failures that hooks were told of: key and time (seconds since 1970), by the step that failed.
type ToldFailures = BTreeMap<String, (String, i64)>;

/// Events that no hook has been told of yet.
#[derive(Default)]
pub(super) struct HookQueue {
    events: Vec<Event>,
}

impl HookQueue {
    /// Adds the notices of an assessment.
    pub(super) fn add_notices(&mut self, notices: &[Notice], host: &Host) {
        let event = Event::of_notices(notices, &host.node_name(), host.now());
        self.events.extend(event);
    }

    /// Adds the results of a cycle.
    pub(super) fn add_cycle(&mut self, report: &Report, told: &mut ToldFailures, host: &Host) {
        let events = Event::of_cycle(report, &host.node_name(), host.now());
        if events.iter().all(|event| event.event != Occasion::Failed) {
            told.remove("cycle");
        }
        for event in events {
            self.add("cycle", event, told, host);
        }
    }

    /// Adds the failure of a step outside of a cycle. Success makes the next failure news.
    pub(super) fn add_step(
        &mut self,
        step: &'static str,
        failure: Option<&Failure>,
        told: &mut ToldFailures,
        host: &Host,
    ) {
        match failure {
            Some(failure) => {
                let event = Event::of_failure(failure, &host.node_name(), host.now());
                self.add(step, event, told, host);
            }
            None => drop(told.remove(step)),
        }
    }

    fn add(&mut self, step: &str, event: Event, told: &mut ToldFailures, host: &Host) {
        let now = host.now().unix_timestamp();
        if event.event != Occasion::Failed || notices::is_news(told, step, &event.failure_key(), now) {
            self.events.push(event);
        }
    }

    /// Calls the hook of every event. Each hook has its deadline.
    pub(super) fn call(&mut self, host: &Host, configured: &Hooks, status: &mut Status) {
        for event in std::mem::take(&mut self.events) {
            let hook = event.event.key();
            systemd::status(&format!("Telling [hooks] {hook}"));
            let Some(told) = hooks::call(host, configured, &event) else {
                continue;
            };
            status.step("hook", told.is_ok(), host.now());
            match told {
                Ok(()) => info!(
                    message_id = events::HOOK_TOLD,
                    hook, "told [hooks] {hook}: {}", event.text
                ),
                Err(failure) => warn!(message_id = events::HOOK_FAILED, hook, reason = %failure, "{failure}"),
            }
        }
    }
}
