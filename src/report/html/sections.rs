//! The parts of the page below its verdict.

use maud::{Markup, html};
use strum::VariantArray as _;

use super::row::{Row, State};
use super::timeline::Axis;
use super::words::{away, instant, plain};
use super::{LINE, Page};
use crate::backup::stored::StoredBackup;
use crate::format::text;
use crate::model::Timestamp;
use crate::report::notices;

/// Number of the newest backups that are shown.
const SHOWN_BACKUPS: usize = 10;

impl Page<'_> {
    /// Returns the tiles with the most important facts.
    pub(super) fn tiles(&self, credentials: &[Row]) -> Markup {
        html! {
            section class="tiles" aria-label="At a glance" {
                (LINE)
                (self.first_end(credentials))
                (self.next_cycle())
                (self.last_cycle())
                (self.newest_backup())
            }
            (LINE)
        }
    }

    fn first_end(&self, credentials: &[Row]) -> Markup {
        let now = self.plan.at;
        let ending = credentials.iter().filter_map(|row| Some((row.expires?, row)));
        let Some((end, row)) = ending.min_by_key(|(end, _)| *end) else {
            return tile(
                "Ends first",
                "nothing",
                "missing",
                &html! { p { "no certificate could be read" } },
            );
        };
        let title = if end < now { "Expired" } else { "Ends first" };
        let handled = if row.is_handled { "handled" } else { "not handled" };
        let words = html! {
            p { b { (plain(&row.name)) } ", " (instant(end)) }
            p { b { (handled) } ": " (plain(&row.words)) }
        };
        tile(title, &away(end, now), <&str>::from(row.state), &words)
    }

    fn next_cycle(&self) -> Markup {
        match self.cycle() {
            Some(at) => tile(
                "Next cycle",
                &away(at, self.plan.at),
                "",
                &html! { p { (instant(at)) (self.opens()) } },
            ),
            None => tile(
                "Next cycle",
                "none",
                "missing",
                &html! { p { "the daemon does not run" } },
            ),
        }
    }

    fn last_cycle(&self) -> Markup {
        let last = self.status.and_then(|status| status.last_cycle.as_ref());
        match last.and_then(|cycle| Some((text::parse_rfc3339(&cycle.at)?, cycle))) {
            Some((at, cycle)) => {
                let class = if cycle.exit == 0 { "" } else { "blocked" };
                let words = html! { p { (instant(at)) br; (plain(&cycle.outcome)) } };
                tile("Last cycle", &away(at, self.plan.at), class, &words)
            }
            None => tile(
                "Last cycle",
                "none",
                "missing",
                &html! { p { "no cycle has ended yet" } },
            ),
        }
    }

    fn newest_backup(&self) -> Markup {
        let Some(backup) = self.backups.last() else {
            let words = html! { p { "one is taken before every renewal" } };
            return tile("Newest backup", "none", "missing", &words);
        };
        let (state, class) = if backup.is_good() {
            ("good", "")
        } else {
            ("bad", "blocked")
        };
        let when = created(backup).map_or_else(|| "undated".to_owned(), |at| away(at, self.plan.at));
        let words = html! { p { (plain(&backup.id)) br; (text::bytes(backup.size())) ", " (state) } };
        tile("Newest backup", &when, class, &words)
    }

    /// Returns the next window, after the next cycle.
    fn opens(&self) -> Markup {
        html! {
            @if let Some(at) = self.window() {
                br; "window opens " (instant(at))
            } @else if !self.settings.windows.is_empty() {
                br; "a maintenance window is open"
            }
        }
    }

    /// Returns everything that a person should know or do, each once.
    pub(super) fn problems(&self) -> Markup {
        let mut lines: Vec<String> = Vec::new();
        let mut notices = notices::of(self.inventory, self.plan, self.settings);
        notices.sort_by_key(|notice| notice.kind);
        lines.extend(notices.iter().map(ToString::to_string));
        let manifests = self.inventory.bad_manifests.iter();
        lines.extend(manifests.map(|bad| format!("manifests: {bad}")));
        lines.extend(self.warnings.iter().cloned());
        lines.extend(self.pending.iter().map(|pending| {
            let because = pending.step.holds.join(", ");
            format!(
                "{} still has to be restarted: it holds {because} in memory",
                pending.step.reader
            )
        }));
        let told = self.status.filter(|status| status.daemon.running);
        for problem in told.iter().flat_map(|status| &status.problems) {
            if !lines.contains(problem) {
                lines.push(problem.clone());
            }
        }
        if lines.is_empty() {
            return Markup::default();
        }
        let list = html! {
            ul {
                (LINE)
                @for line in &lines {
                    li { (plain(line)) }
                    (LINE)
                }
            }
            (LINE)
        };
        section("problems", "Problems", &list)
    }

    /// Returns all credentials and CAs on one axis.
    pub(super) fn timeline(&self, credentials: &[Row], authorities: &[Row]) -> Markup {
        let ends = credentials.iter().filter_map(|row| row.expires);
        let mut axis = Axis::new(self.plan.at, ends);
        axis.cycle = self.cycle();
        axis.window = self.window();
        let body = |title: &str, rows: &[Row]| {
            html! {
                tbody {
                    (LINE)
                    tr class="group" { th colspan="5" scope="rowgroup" { (title) } }
                    (LINE)
                    @for row in rows { (self.line(&axis, row)) }
                }
                (LINE)
            }
        };
        let table = html! {
            (axis.grid())
            (self.legend(credentials, authorities))
            div class="wide" {
                table class="timeline" {
                    (LINE)
                    thead {
                        tr {
                            th scope="col" { "Name" }
                            th scope="col" { "State" }
                            th scope="col" class="line" {
                                span class="unseen" { "From now to the end" }
                                (axis.head())
                            }
                            th scope="col" { "Ends" }
                            th scope="col" { "Next action" }
                        }
                    }
                    (LINE)
                    (body("Credentials", credentials))
                    (body("Certificate authorities", authorities))
                }
            }
            (LINE)
        };
        section("timeline", "Timeline", &table)
    }

    fn line(&self, axis: &Axis, row: &Row) -> Markup {
        let class = <&str>::from(row.state);
        html! {
            tr class=(class) {
                th scope="row" { (plain(&row.name)) }
                td { span class="badge" { (class) } }
                td class="line" { (axis.bar(row)) }
                td class="end" {
                    @if let Some(at) = row.expires {
                        (instant(at)) span class="quiet" { (away(at, self.plan.at)) }
                    } @else {
                        span class="quiet" { "not known" }
                    }
                }
                td class="words" { (plain(&row.words)) }
            }
            (LINE)
        }
    }

    /// Returns the number of rows in each state, and the meaning of the lines.
    fn legend(&self, credentials: &[Row], authorities: &[Row]) -> Markup {
        let number = |state: State| {
            let all = credentials.iter().chain(authorities);
            all.filter(|row| row.state == state).count()
        };
        let states = State::VARIANTS
            .iter()
            .map(|state| (<&str>::from(state), number(*state)));
        let marks = [
            ("now", "now", Some(self.plan.at)),
            ("cycle", "next cycle", self.cycle()),
            ("window", "window opens", self.window()),
        ];
        html! {
            ul class="legend" {
                @for (word, number) in states.filter(|(_, number)| *number > 0) {
                    li class=(word) { span class="badge" { (word) } " " (number) }
                }
                @for (class, words, at) in marks {
                    @if let Some(at) = at {
                        li {
                            svg width="12" height="14" aria-hidden="true" {
                                line class=(class) x1="6" x2="6" y1="0" y2="14" {}
                            }
                            " " (words) " " (instant(at))
                        }
                    }
                }
                li class="fine" {
                    svg width="26" height="10" aria-hidden="true" {
                        rect class="bar" width="26" height="10" {}
                        rect class="light" x="13" width="13" height="10" {}
                    }
                    " light: due for renewal"
                }
            }
            (LINE)
        }
    }

    /// Returns the cycles of the daemon, the last one first.
    pub(super) fn cycles(&self) -> Markup {
        let Some(status) = self.status.filter(|status| !status.cycles.is_empty()) else {
            return Markup::default();
        };
        let table = html! {
            div class="wide" {
                table {
                    (LINE)
                    thead {
                        tr { th scope="col" { "Ended" } th scope="col" { "Result" } th scope="col" { "Summary" } }
                    }
                    (LINE)
                    tbody {
                        (LINE)
                        @for cycle in &status.cycles {
                            tr class=(if cycle.exit == 0 { "fine" } else { "blocked" }) {
                                th scope="row" {
                                    @match text::parse_rfc3339(&cycle.at) {
                                        Some(at) => (instant(at)),
                                        None => (plain(&cycle.at)),
                                    }
                                }
                                td { span class="badge" { "exit " (cycle.exit) } }
                                td { (plain(&cycle.summary)) }
                            }
                            (LINE)
                        }
                    }
                }
            }
            (LINE)
        };
        section("cycles", "Last cycles", &table)
    }

    /// Returns the backups, the newest first.
    pub(super) fn backups(&self) -> Markup {
        if self.backups.is_empty() {
            return Markup::default();
        }
        let older = self.backups.len().saturating_sub(SHOWN_BACKUPS);
        let table = html! {
            div class="wide" {
                table {
                    (LINE)
                    thead {
                        tr {
                            @for title in ["Backup", "Age", "Size", "etcd", "State", "Reason"] {
                                th scope="col" { (title) }
                            }
                        }
                    }
                    (LINE)
                    tbody {
                        (LINE)
                        @for backup in self.backups.iter().rev().take(SHOWN_BACKUPS) {
                            (backup_row(backup, self.plan.at))
                        }
                    }
                }
            }
            (LINE)
            p class="note" {
                "good: no part of it is known to be damaged or missing; "
                code { "kubecertd backup verify" } " reads all of it."
                @if older > 0 { " " (older) " more are older." }
            }
            (LINE)
        };
        section("backups", "Backups", &table)
    }
}

/// Returns a tile. `words` are its paragraphs.
fn tile(title: &str, big: &str, class: &str, words: &Markup) -> Markup {
    html! {
        div class={ "tile " (class) } {
            h2 { (title) }
            p class="big" { (big) }
            (words)
        }
        (LINE)
    }
}

fn created(backup: &StoredBackup) -> Option<Timestamp> {
    text::parse_rfc3339(&backup.manifest.as_ref().ok()?.created)
}

fn backup_row(backup: &StoredBackup, now: Timestamp) -> Markup {
    let (class, state) = if backup.is_good() {
        ("fine", "good")
    } else {
        ("blocked", "bad")
    };
    let manifest = backup.manifest.as_ref();
    let wrong = manifest.err().or(backup.fault.as_ref());
    let reason = wrong.map_or_else(|| manifest.map_or("", |m| m.reason.as_str()), String::as_str);
    let etcd = manifest.ok().and_then(|m| Some(m.etcd.as_ref()?.kind.words()));
    html! {
        tr class=(class) {
            th scope="row" { (plain(&backup.id)) }
            td { @if let Some(at) = created(backup) { (away(at, now)) } }
            td class="number" { (text::bytes(backup.size())) }
            td { (etcd.unwrap_or("none")) }
            td { span class="badge" { (state) } }
            td { (plain(reason)) }
        }
        (LINE)
    }
}

fn section(id: &str, title: &str, content: &Markup) -> Markup {
    html! {
        section aria-labelledby=(id) {
            (LINE)
            h2 id=(id) { (title) }
            (LINE)
            (content)
        }
        (LINE)
    }
}
