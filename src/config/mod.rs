//! Configuration: files as written ([`mod@file`]) become checked [`settings`]. All problems are
//! listed at once, with file, line and key.

mod backup;
mod check;
mod copies;
pub mod file;
pub mod settings;
mod show;
mod tables;
mod tell;
mod values;
pub mod window;

use std::fmt;
use std::path::PathBuf;

pub use settings::Settings;
pub use show::show;

use crate::model::{Exit, Failure};

/// A problem in the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Path of the file.
    pub file: PathBuf,
    /// Line and column, from 1.
    pub at: Option<(usize, usize)>,
    /// The key with its table, for example `backup.keep`.
    pub key: String,
    /// The problem, and the allowed values.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some((line, column)) = self.at {
            write!(f, ":{line}:{column}")?;
        }
        if !self.key.is_empty() {
            write!(f, ": {}", self.key)?;
        }
        write!(f, ": {}", self.message)
    }
}

/// Returns all problems as one failure with exit code 78.
pub fn failure(problems: &[Problem]) -> Failure {
    let lines: Vec<_> = problems.iter().map(Problem::to_string).collect();
    Failure::new(lines.join("\n")).exit(Exit::Config)
}
