//! Reports in several forms: text for people, kubeadm's document and JSON for scripts. Pure.

pub mod backups;
pub mod cycle;
pub mod doctor;
pub mod expiration;
pub mod hook;
pub mod html;
pub mod metrics;
pub mod notices;
pub mod plan;
pub mod restore;
pub mod status;

use serde::Serialize;

use crate::format::text;
use crate::model::Failure;

/// Output format of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Text for people
    Text,
    /// Text with path, serial number, key, components and purpose
    Wide,
    /// JSON for scripts
    Json,
    /// YAML for scripts
    Yaml,
}

/// Returns JSON indented by four blanks, as kubeadm prints it.
pub fn json(value: &impl Serialize) -> Result<String, Failure> {
    let mut out = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let written = value.serialize(&mut serde_json::Serializer::with_formatter(&mut out, formatter));
    let text = written
        .map_err(|e| e.to_string())
        .and_then(|()| String::from_utf8(out).map_err(|e| e.to_string()));
    text.map(|text| text + "\n")
        .map_err(|e| Failure::new(format!("cannot print the report: {e}")))
}

/// Returns YAML with sorted keys, as kubeadm prints it.
pub fn yaml(value: &impl Serialize) -> Result<String, Failure> {
    let sorted = serde_json::to_value(value).map_err(|e| Failure::new(format!("cannot print the report: {e}")))?;
    let text = yaml_serde::to_string(&sorted).map_err(|e| Failure::new(format!("cannot print the report: {e}")))?;
    // YAML 1.1 readers take a plain timestamp for a date, so times are quoted.
    let quoted = text.lines().map(|line| match line.split_once(": ") {
        Some((key, instant)) if text::parse_rfc3339(instant).is_some() => format!("{key}: \"{instant}\"\n"),
        _ => format!("{line}\n"),
    });
    Ok(quoted.collect())
}
