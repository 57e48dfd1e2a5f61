//! The log: to journald if systemd started the process, otherwise to stderr.

use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::{FilterExt as _, Targets, filter_fn};
use tracing_subscriber::fmt::format::debug_fn;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Starts logging at this level and above. A second call does nothing.
///
/// systemd sets JOURNAL_STREAM for services whose output goes to the journal (systemd.exec(5)).
pub fn start(level: LevelFilter) {
    // Messages of libraries are of no use to an operator.
    let ours = Targets::new().with_target("kubecertd", level);
    let journal = match std::env::var_os("JOURNAL_STREAM") {
        Some(_) => tracing_journald::layer().ok(),
        None => None,
    };
    let journal = journal.map(|layer| {
        layer
            .with_field_prefix(None)
            .with_syslog_identifier("kubecertd".into())
            .with_priority_mappings(tracing_journald::PriorityMappings {
                info: tracing_journald::Priority::Informational,
                debug: tracing_journald::Priority::Debug,
                ..tracing_journald::PriorityMappings::new()
            })
            .with_filter(ours.clone())
    });
    let stderr = journal.is_none().then(|| {
        tracing_subscriber::fmt::layer()
            .with_writer(std::io::stderr)
            .with_target(false)
            .with_ansi(false)
            .without_time()
            .fmt_fields(debug_fn(|out, field, value| match field.name() {
                "message" => write!(out, "{value:?}"),
                // The message contains the reason.
                "message_id" | "reason" => Ok(()),
                name => write!(out, " {name}={value:?}"),
            }))
            // A log that cannot be written must not stop the program.
            .log_internal_errors(false)
            // The span of a cycle exists for its field in the journal.
            .with_filter(ours.and(filter_fn(|metadata| metadata.is_event())))
    });
    // Fails only if logging was started before, which is fine.
    let _ = tracing_subscriber::registry().with(journal).with(stderr).try_init();
}
