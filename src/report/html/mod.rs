//! `report --html`: a self-contained page. It needs no script and loads nothing, escapes everything
//! that comes from a file, and shows no key, no serial number and no content of a file. Pure.

mod row;
mod sections;
mod timeline;
mod words;

use crate::backup::stored::StoredBackup;
use crate::config::Settings;
use crate::config::window;
use crate::format::text;
use crate::inventory::Inventory;
use crate::model::Timestamp;
use crate::plan::Plan;
use crate::report::status::Status;
use crate::restart::pending::PendingRestart;
use row::{Row, State};
use words::{Text, away, count, instant};

const STYLE: &str = include_str!("page.css");

/// The data of the page: an assessment taken now, and the daemon's status.
#[derive(Debug)]
pub struct Page<'a> {
    /// Name of the node.
    pub node: &'a str,
    /// Credentials, CAs and readers of the node.
    pub inventory: &'a Inventory,
    /// The plan, with the time of the assessment.
    pub plan: &'a Plan,
    /// Doubts about carrying the plan out now.
    pub warnings: &'a [String],
    /// Thresholds and windows.
    pub settings: &'a Settings,
    /// Status of the daemon. `None` if it never ran.
    pub status: Option<&'a Status>,
    /// Readers that still have to be restarted.
    pub pending: &'a [PendingRestart],
    /// Backups, oldest first.
    pub backups: &'a [StoredBackup],
}

impl Page<'_> {
    /// Returns the page, UTF-8.
    pub fn render(&self) -> String {
        let (credentials, authorities) = (row::credentials(self), row::authorities(self));
        let node = Text(self.node);
        format!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta name=\"color-scheme\" content=\"light dark\">\n<meta name=\"robots\" content=\"noindex\">\n\
             <title>{node}: certificates</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n\
             {header}<main>\n{tiles}{problems}{timeline}{cycles}{backups}</main>\n{footer}</body>\n</html>\n",
            header = self.header(&credentials, &authorities),
            tiles = self.tiles(&credentials),
            problems = self.problems(),
            timeline = self.timeline(&credentials, &authorities),
            cycles = self.cycles(),
            backups = self.backups(),
            footer = self.footer(),
        )
    }

    /// Returns true if the daemon runs.
    fn runs(&self) -> bool {
        self.status.is_some_and(|status| status.daemon.running)
    }

    /// Returns the time of the next cycle, at the earliest now. `None` if no daemon runs.
    fn cycle(&self) -> Option<Timestamp> {
        let status = self.status.filter(|status| status.daemon.running)?;
        let at = text::parse_rfc3339(status.next_cycle.as_deref()?)?;
        Some(at.max(self.plan.at))
    }

    /// Returns the time when the next maintenance window opens. `None` if none is configured, or
    /// one is open.
    fn window(&self) -> Option<Timestamp> {
        let windows = &self.settings.windows;
        let is_open = window::is_open(windows, self.plan.at);
        window::next(windows, self.plan.at).filter(|_| !is_open)
    }

    /// Returns the time at which due credentials that are not urgent are renewed: the next cycle,
    /// or the first window after it.
    fn acts(&self) -> Option<Timestamp> {
        let windows = &self.settings.windows;
        let cycle = self.cycle()?;
        if window::is_open(windows, cycle) {
            Some(cycle)
        } else {
            window::next(windows, cycle)
        }
    }

    fn header(&self, credentials: &[Row], authorities: &[Row]) -> String {
        let (state, verdict) = self.verdict(credentials, authorities);
        let daemon = match self.status {
            Some(status) if status.daemon.running => "",
            Some(_) => "<p class=\"verdict blocked\">The daemon does not run: nothing is renewed by itself.</p>\n",
            None => {
                "<p class=\"verdict blocked\">The daemon has not run on this node yet: nothing is renewed by itself.</p>\n"
            }
        };
        format!(
            "<header>\n<p class=\"over\">Kubernetes certificates</p>\n<h1>{}</h1>\n\
             <p class=\"verdict {state}\">{verdict}</p>\n{daemon}\
             <p class=\"made\">Looked at {}</p>\n</header>\n",
            Text(self.node),
            instant(self.plan.at),
        )
    }

    /// Returns the worst statement about the node, and its class.
    fn verdict(&self, credentials: &[Row], authorities: &[Row]) -> (&'static str, String) {
        let rows = || credentials.iter().chain(authorities);
        let number = |is: &dyn Fn(&Row) -> bool| rows().filter(|row| is(row)).count();
        let is_soon = |row: &Row| matches!(row.state, State::Urgent | State::Due);
        let expired = number(&|row| row.state == State::Expired);
        let stuck =
            number(&|row| matches!(row.state, State::Unreadable | State::Blocked) || is_soon(row) && !row.is_handled);
        let soon = number(&|row| is_soon(row) && row.is_handled);
        let verb = |number| if number == 1 { "has" } else { "have" };
        if expired > 0 {
            let others = match stuck {
                0 => String::new(),
                1 => ", 1 more requires operator action".into(),
                more => format!(", {more} more require operator action"),
            };
            let words = format!("{} {} expired{others}.", count(expired, "certificate"), verb(expired));
            return ("expired", words);
        }
        if stuck > 0 {
            let needs = if stuck == 1 { "needs" } else { "need" };
            return ("blocked", format!("{} {needs} a person.", count(stuck, "certificate")));
        }
        let next = rows()
            .filter(|row| row.state == State::Fine)
            .filter_map(|row| Some((row.due?, &row.name)));
        match (soon, next.min()) {
            (0, None) if credentials.is_empty() => ("missing", "This node has no certificates to renew.".into()),
            (0, None) => ("fine", "Nothing is due.".into()),
            (0, Some((due, name))) => (
                "fine",
                format!("Nothing is due; the first will be {} on {}.", Text(name), instant(due)),
            ),
            (soon, _) => {
                let is = if soon == 1 { "is" } else { "are" };
                let when = self.acts().map(|at| format!(", and renewed {}", instant(at)));
                (
                    "due",
                    format!("{} {is} due{}.", count(soon, "certificate"), when.unwrap_or_default()),
                )
            }
        }
    }

    fn footer(&self) -> String {
        let looked = self
            .status
            .and_then(|status| text::parse_rfc3339(status.last_look.as_deref()?));
        let looked = looked.map(|at| format!(" The daemon looked last {}.", away(at, self.plan.at)));
        format!(
            "<footer>\n<p>Made by kubecertd {} from the files of the node. Times are UTC.{}</p>\n</footer>\n",
            env!("CARGO_PKG_VERSION"),
            looked.unwrap_or_default()
        )
    }
}
