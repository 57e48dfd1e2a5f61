//! The configuration as written: a struct for each table, every key optional, every value with its
//! place in the file.
//!
//! Only names and types are checked here; [`super::settings`] checks the values.

use std::ops::Range;
use std::path::PathBuf;

use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue, Deserializer};

use super::Problem;
use crate::format::text::printable;

/// Maximum size of a configuration file, in bytes. Real ones have some kilobytes, and the parser's
/// time grows with the square of repeated tables.
const LONGEST: usize = 64 << 10;
/// Maximum number of problems that are listed for one file.
const MOST_PROBLEMS: usize = 50;

/// A text value and its place.
pub type Text = Option<Spanned<String>>;
/// A list of texts, and the place of the list and of each text.
pub type Texts = Option<Spanned<Vec<Spanned<String>>>>;
/// A whole number and its place.
pub type Number = Option<Spanned<i64>>;

/// A configuration file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[allow(missing_docs)]
pub struct File {
    pub schedule: Text,
    pub timezone: Text,
    pub spread: Text,
    pub first_look: Text,
    pub renew_before: Text,
    pub urgent_before: Text,
    pub validity: Text,
    pub clock_wait: Text,
    pub paths: Paths,
    pub backup: Backup,
    pub etcd: Etcd,
    pub restart: Restart,
    pub metrics: Metrics,
    pub hooks: Hooks,
    pub coordination: Coordination,
    pub ca: Vec<Ca>,
    pub certificate: Vec<Certificate>,
    pub kubeconfig: Vec<Kubeconfig>,
    pub kubeconfig_copy: Vec<KubeconfigCopy>,
    pub reader: Vec<Reader>,
    pub window: Vec<Window>,
}

/// `[paths]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[allow(missing_docs)]
pub struct Paths {
    pub kubernetes: Text,
    pub pki: Text,
    pub manifests: Text,
    pub etcd_data: Text,
    pub kubelet: Text,
}

/// `[backup]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[allow(missing_docs)]
pub struct Backup {
    pub directory: Text,
    pub keep: Number,
    pub keep_within: Text,
    pub max_size: Text,
    pub before_renewal: Text,
    pub schedule: Text,
    pub compress: Text,
    pub encrypt_with: Texts,
    pub decrypt_with: Texts,
}

/// `[etcd]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[allow(missing_docs)]
pub struct Etcd {
    pub endpoints: Texts,
    pub ca: Text,
    pub certificate: Text,
    pub key: Text,
}

/// `[restart]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[allow(missing_docs)]
pub struct Restart {
    pub scope: Text,
    pub method: Text,
    pub grace: Text,
    pub timeout: Text,
}

/// `[metrics]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[allow(missing_docs)]
pub struct Metrics {
    pub textfile_directory: Text,
}

/// `[hooks]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[allow(missing_docs)]
pub struct Hooks {
    pub on_expiring: Texts,
    pub on_renewed: Texts,
    pub on_failed: Texts,
    pub timeout: Text,
}

/// `[coordination]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[allow(missing_docs)]
pub struct Coordination {
    pub mode: Text,
    pub lease: Text,
    pub wait: Text,
}

/// `[[reader]]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[allow(missing_docs)]
pub struct Reader {
    pub name: Text,
    pub unit: Text,
    pub reload: Option<Spanned<bool>>,
    pub exec: Vec<Spanned<String>>,
    pub probe: Text,
}

/// `[[window]]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[allow(missing_docs)]
pub struct Window {
    pub days: Vec<Spanned<String>>,
    pub start: Text,
    pub length: Text,
    pub timezone: Text,
}

/// `[[ca]]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[allow(missing_docs)]
pub struct Ca {
    pub name: Text,
    pub path: Text,
    pub key: Text,
}

/// `[[certificate]]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[allow(missing_docs)]
pub struct Certificate {
    pub name: Text,
    pub path: Text,
    pub key: Text,
    pub ca: Text,
    pub readers: Vec<Spanned<String>>,
}

/// `[[kubeconfig]]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[allow(missing_docs)]
pub struct Kubeconfig {
    pub name: Text,
    pub path: Text,
    pub ca: Text,
    pub readers: Vec<Spanned<String>>,
}

/// `[[kubeconfig_copy]]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[allow(missing_docs)]
pub struct KubeconfigCopy {
    pub path: Text,
    pub of: Text,
}

/// A parsed configuration file, with its text for line numbers.
#[derive(Debug)]
pub struct Source {
    /// Path of the file.
    pub path: PathBuf,
    /// Text of the file.
    pub text: String,
    /// Content of the file.
    pub file: File,
}

impl Source {
    /// Parses a file. All syntax errors, unknown keys and wrong types are added to `problems`. The
    /// rest of the file is still used, so that one run shows everything.
    pub fn parse(path: PathBuf, text: String, problems: &mut Vec<Problem>) -> Self {
        if text.len() > LONGEST {
            problems.push(Problem {
                file: path.clone(),
                at: None,
                key: String::new(),
                message: format!("is longer than {} KiB", LONGEST >> 10),
            });
            return Self {
                path,
                text,
                file: File::default(),
            };
        }
        let (mut table, errors) = DeTable::parse_recoverable(&text);
        for error in errors.into_iter().take(MOST_PROBLEMS) {
            problems.push(Problem {
                file: path.clone(),
                at: error.span().map(|span| position(&text, span.start)),
                key: String::new(),
                message: printable(error.message()),
            });
        }
        let mut left = MOST_PROBLEMS;
        let file = loop {
            left -= 1;
            match File::deserialize(Deserializer::from(table.clone())) {
                Ok(file) => break file,
                Err(error) => {
                    let span = error.span().unwrap_or(0..0);
                    let key = take_out(table.get_mut(), &span);
                    problems.push(Problem {
                        file: path.clone(),
                        at: Some(position(&text, span.start)),
                        key: printable(&key.clone().unwrap_or_default()),
                        message: printable(&error.message().replace('`', "").replace('\n', " ")),
                    });
                    if key.is_none() || left == 0 {
                        break File::default();
                    }
                }
            }
        };
        Self { path, text, file }
    }

    /// Returns a problem with the value at `span`.
    pub fn problem(&self, span: Range<usize>, key: &str, message: impl Into<String>) -> Problem {
        Problem {
            file: self.path.clone(),
            at: Some(position(&self.text, span.start)),
            key: key.to_owned(),
            message: printable(&message.into()),
        }
    }
}

/// Returns line and column of a byte offset, both from 1.
fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    (
        before.matches('\n').count() + 1,
        before[line_start..].chars().count() + 1,
    )
}

/// Removes the innermost entry around `span`, so that the next attempt finds the next problem.
/// Returns its full key.
fn take_out(table: &mut DeTable<'_>, span: &Range<usize>) -> Option<String> {
    let holds = |outer: Range<usize>| outer.start <= span.start && span.end <= outer.end;
    for (key, value) in table.iter_mut() {
        let inner = match value.get_mut() {
            DeValue::Table(inner) => take_out(inner, span),
            DeValue::Array(list) => list.iter_mut().find_map(|item| match item.get_mut() {
                DeValue::Table(inner) => take_out(inner, span),
                _ => None,
            }),
            _ => None,
        };
        if let Some(inner) = inner {
            return Some(format!("{}.{inner}", key.get_ref()));
        }
    }
    let name = table
        .iter()
        .find(|(key, value)| holds(key.span()) || holds(value.span()))
        .map(|(key, _)| key.get_ref().to_string())?;
    table.remove(name.as_str());
    Some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_problem_of_a_file_is_found_in_one_run() {
        let text = "schedul = \"x\"\nvalidity = 3\n[backup]\nkeeep = 1\nkeep = \"five\"\n\
                    [[certificate]]\nname = \"a\"\nwhere = 1\n[[certificate]]\npath = 1\n";
        let mut problems = Vec::new();
        Source::parse("f".into(), text.into(), &mut problems);
        let mut found: Vec<_> = problems.iter().map(|p| (p.at.unwrap().0, p.key.as_str())).collect();
        found.sort_unstable();
        assert_eq!(
            found,
            [
                (1, "schedul"),
                (2, "validity"),
                (4, "backup.keeep"),
                (5, "backup.keep"),
                (8, "certificate.where"),
                (10, "certificate.path")
            ]
        );
        let unknown = problems.iter().find(|p| p.key == "backup.keeep").unwrap();
        assert!(
            unknown.message.contains("before_renewal"),
            "names what is allowed: {}",
            unknown.message
        );
    }

    #[test]
    fn syntax_errors_carry_their_line() {
        let mut problems = Vec::new();
        Source::parse("f".into(), "a = \n[backup]\nkeep = 1\n".into(), &mut problems);
        assert_eq!(problems[0].at.map(|at| at.0), Some(1));
    }
}
