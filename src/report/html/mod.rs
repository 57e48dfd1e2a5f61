//! `report --html`: a self-contained page. It needs no script and loads nothing, escapes everything
//! that comes from a file, and shows no key, no serial number and no content of a file. Pure.

mod row;
mod sections;
mod timeline;
mod words;

use maud::{DOCTYPE, Markup, PreEscaped, html};

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
use words::{away, count, instant, plain};

const STYLE: &str = include_str!("page.css");

/// A line end, so that the source of the page has a line for each row.
const LINE: PreEscaped<&str> = PreEscaped("\n");

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
        let policy = "default-src 'none'; style-src 'unsafe-inline'";
        let page = html! {
            (DOCTYPE) (LINE)
            html lang="en" {
                (LINE)
                head {
                    (LINE)
                    meta charset="utf-8"; (LINE)
                    meta http-equiv="Content-Security-Policy" content=(policy); (LINE)
                    meta name="viewport" content="width=device-width, initial-scale=1"; (LINE)
                    meta name="color-scheme" content="light dark"; (LINE)
                    meta name="robots" content="noindex"; (LINE)
                    title { (plain(self.node)) ": certificates" } (LINE)
                    style { (LINE) (PreEscaped(STYLE)) } (LINE)
                }
                (LINE)
                body {
                    (LINE)
                    (self.header(&credentials, &authorities))
                    main {
                        (LINE)
                        (self.tiles(&credentials))
                        (self.problems())
                        (self.timeline(&credentials, &authorities))
                        (self.cycles())
                        (self.backups())
                    }
                    (LINE)
                    (self.footer())
                }
                (LINE)
            }
            (LINE)
        };
        page.into_string()
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

    fn header(&self, credentials: &[Row], authorities: &[Row]) -> Markup {
        let (state, verdict) = self.verdict(credentials, authorities);
        let daemon = match self.status {
            Some(status) if status.daemon.running => None,
            Some(_) => Some("The daemon does not run: nothing is renewed by itself."),
            None => Some("The daemon has not run on this node yet: nothing is renewed by itself."),
        };
        html! {
            header {
                (LINE)
                p class="over" { "Kubernetes certificates" } (LINE)
                h1 { (plain(self.node)) } (LINE)
                p class={ "verdict " (state) } { (verdict) } (LINE)
                @if let Some(daemon) = daemon { p class="verdict blocked" { (daemon) } (LINE) }
                p class="made" { "Assessed at " (instant(self.plan.at)) } (LINE)
            }
            (LINE)
        }
    }

    /// Returns the worst statement about the node, and its class.
    fn verdict(&self, credentials: &[Row], authorities: &[Row]) -> (&'static str, Markup) {
        let rows = || credentials.iter().chain(authorities);
        let number = |is: &dyn Fn(&Row) -> bool| rows().filter(|row| is(row)).count();
        let is_soon = |row: &Row| matches!(row.state, State::Urgent | State::Due);
        let expired = number(&|row| row.state == State::Expired);
        let stuck =
            number(&|row| matches!(row.state, State::Unreadable | State::Blocked) || is_soon(row) && !row.is_handled);
        let soon = number(&|row| is_soon(row) && row.is_handled);
        let plural = |number: usize, one: &'static str, more: &'static str| if number == 1 { one } else { more };
        let requires = plural(stuck, "requires", "require");
        if expired > 0 {
            let has = plural(expired, "has", "have");
            let words = html! {
                (count(expired, "certificate")) " " (has) " expired"
                @if stuck > 0 { ", " (stuck) " more " (requires) " operator action" }
                "."
            };
            return ("expired", words);
        }
        if stuck > 0 {
            let words = html! { (count(stuck, "certificate")) " " (requires) " operator action." };
            return ("blocked", words);
        }
        if soon > 0 {
            let words = html! {
                (count(soon, "certificate")) " " (plural(soon, "is", "are")) " due"
                @if let Some(at) = self.acts() { ", and renewed " (instant(at)) }
                "."
            };
            return ("due", words);
        }
        let next = rows()
            .filter(|row| row.state == State::Fine)
            .filter_map(|row| Some((row.due?, &row.name)));
        match next.min() {
            None if credentials.is_empty() => ("missing", html! { "This node has no certificates to renew." }),
            None => ("fine", html! { "Nothing is due." }),
            Some((due, name)) => (
                "fine",
                html! { "Nothing is due; the first will be " (plain(name)) " on " (instant(due)) "." },
            ),
        }
    }

    fn footer(&self) -> Markup {
        let last = self
            .status
            .and_then(|status| text::parse_rfc3339(status.last_look.as_deref()?));
        html! {
            footer {
                (LINE)
                p {
                    "Made by kubecertd " (env!("CARGO_PKG_VERSION")) " from the files of the node. Times are UTC."
                    @if let Some(at) = last { " The daemon's last assessment was " (away(at, self.plan.at)) "." }
                }
                (LINE)
            }
            (LINE)
        }
    }
}
