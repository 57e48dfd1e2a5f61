//! The `[metrics]` and `[hooks]` tables.

use super::check::Checker;
use super::settings::{Hooks, Metrics};
use super::values::{path, seconds};

impl Checker<'_> {
    pub(super) fn metrics(&mut self) -> Metrics {
        Metrics {
            textfile_directory: self.text(
                "metrics.textfile_directory",
                |f| &f.metrics.textfile_directory,
                "none",
                |s| match s {
                    "none" => Ok(None),
                    _ => path(s).map(Some).map_err(|e| format!("{e}, nor `none`")),
                },
            ),
        }
    }

    pub(super) fn hooks(&mut self) -> Hooks {
        Hooks {
            on_expiring: self.command("hooks.on_expiring", |f| &f.hooks.on_expiring),
            on_renewed: self.command("hooks.on_renewed", |f| &f.hooks.on_renewed),
            on_failed: self.command("hooks.on_failed", |f| &f.hooks.on_failed),
            timeout: self.text("hooks.timeout", |f| &f.hooks.timeout, "30s", |s| seconds(s, 1, 120)),
        }
    }
}
