//! The host and the configuration, with which every command starts.

use std::path::{Path, PathBuf};

use crate::config::file::Source;
use crate::config::{self, Problem, Settings};
use crate::host::Host;
use crate::host::files::distrust;
use crate::host::stop::Stop;
use crate::host::write::parent;
use crate::model::{Exit, Failure, ReadError};

/// Default path of the configuration.
pub const CONFIG: &str = "/etc/kubecertd/config.toml";

/// The host, and the path of its configuration.
#[derive(Debug, Clone)]
pub struct Context {
    /// The node: files, processes, clock.
    pub host: Host,
    config: PathBuf,
}

impl Context {
    /// Opens the node below `root`. SIGHUP stops a command that runs `on_terminal`.
    ///
    /// # Errors
    ///
    /// Fails if signals cannot be caught, or if `root` is not a directory ([`Exit::Usage`]).
    pub fn new(root: &Path, config: &Path, on_terminal: bool) -> Result<Self, Failure> {
        let root = root.canonicalize().ok().filter(|root| root.is_dir()).ok_or_else(|| {
            Failure::new(format!("cannot use --root {}: not a directory", root.display())).exit(Exit::Usage)
        })?;
        let stop = Stop::on_signals(on_terminal).map_err(|e| Failure::new(format!("cannot catch signals: {e}")))?;
        Ok(Self {
            host: Host::new(root, stop),
            config: config.to_owned(),
        })
    }

    /// Returns the checked configuration: the file, then `config.d/*.toml` next to it in the order
    /// of their names. Without any file, returns the defaults.
    ///
    /// # Errors
    ///
    /// Fails with [`Exit::Config`] and all problems.
    pub fn settings(&self) -> Result<Settings, Failure> {
        let (settings, problems) = self.settings_and_problems();
        if problems.is_empty() {
            Ok(settings)
        } else {
            Err(config::failure(&problems))
        }
    }

    /// Returns the configuration with defaults in place of invalid values, and all problems.
    pub fn settings_and_problems(&self) -> (Settings, Vec<Problem>) {
        let mut problems = Vec::new();
        let mut sources = Vec::new();
        self.source(
            &self.config,
            self.config != Path::new(CONFIG),
            &mut sources,
            &mut problems,
        );
        let directory = parent(&self.config).join("config.d");
        match self.host.names(&directory) {
            Ok(names) => {
                for name in names
                    .iter()
                    .filter(|n| n.to_str().is_some_and(|n| n.ends_with(".toml") && !n.starts_with('.')))
                {
                    self.source(&directory.join(name), true, &mut sources, &mut problems);
                }
            }
            Err(ReadError::Missing) => {}
            Err(ReadError::Because(reason)) => problems.push(problem(&directory, reason)),
        }
        let settings = Settings::check(&sources, &mut problems);
        problems.sort_by(|a, b| (&a.file, a.at).cmp(&(&b.file, b.at)));
        (settings, problems)
    }

    fn source(&self, path: &Path, must_exist: bool, sources: &mut Vec<Source>, problems: &mut Vec<Problem>) {
        let file = match self.host.read(path) {
            Ok(file) => file,
            Err(ReadError::Missing) if !must_exist => return,
            Err(ReadError::Missing) => return problems.push(problem(path, "is missing")),
            Err(ReadError::Because(reason)) => return problems.push(problem(path, reason)),
        };
        let identity = &file.identity;
        if let Some(reason) = file
            .unsafe_way
            .or_else(|| distrust(path, identity.uid, identity.gid, identity.mode))
        {
            problems.push(problem(path, format!("is rejected: {reason}")));
        }
        match file.bytes.text() {
            Ok(text) => sources.push(Source::parse(path.to_owned(), text.to_owned(), problems)),
            Err(reason) => problems.push(problem(path, reason)),
        }
    }
}

fn problem(path: &Path, message: impl Into<String>) -> Problem {
    Problem {
        file: path.to_owned(),
        at: None,
        key: String::new(),
        message: message.into(),
    }
}
