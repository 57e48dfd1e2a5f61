//! `doctor`: the findings, the worst first.

use super::{Format, json, yaml};
use crate::doctor::{Diagnosis, Severity};
use crate::model::Failure;

/// Renders a diagnosis. The document is a stable interface: keys and names of checks may be added,
/// but never change their meaning.
pub fn render(diagnosis: &Diagnosis, format: Format) -> Result<String, Failure> {
    match format {
        Format::Json => json(diagnosis),
        Format::Yaml => yaml(diagnosis),
        Format::Text | Format::Wide => Ok(text(diagnosis)),
    }
}

fn text(diagnosis: &Diagnosis) -> String {
    let mut out = String::new();
    for finding in &diagnosis.findings {
        let word = <&str>::from(finding.severity);
        out.push_str(&format!("{word:<8} {}: {}\n", finding.about, finding.message));
        if let Some(hint) = &finding.hint {
            out.push_str(&format!("{:<8} hint: {hint}\n", ""));
        }
    }
    let checks = diagnosis.checks.len();
    if diagnosis.findings.is_empty() {
        out.push_str(&format!("nothing is wrong ({checks} checks)\n"));
        return out;
    }
    let of = |severity| {
        let found = diagnosis
            .findings
            .iter()
            .filter(|finding| finding.severity == severity)
            .count();
        let plural = if found == 1 { "" } else { "s" };
        format!("{found} {}{plural}", <&str>::from(severity))
    };
    let [faults, warnings, notes] = [Severity::Fault, Severity::Warning, Severity::Note].map(of);
    out.push_str(&format!("\n{faults}, {warnings}, {notes} ({checks} checks)\n"));
    out
}
