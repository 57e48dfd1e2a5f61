//! The parts of the page below its verdict.

use std::fmt::Write as _;

use strum::VariantArray as _;

use super::Page;
use super::row::{Row, State};
use super::timeline::Axis;
use super::words::{Text, away, instant};
use crate::backup::stored::StoredBackup;
use crate::format::text;
use crate::model::Timestamp;
use crate::report::notices;

/// Number of the newest backups that are shown.
const SETS: usize = 10;

impl Page<'_> {
    /// Returns the tiles with the most important facts.
    pub(super) fn tiles(&self, credentials: &[Row]) -> String {
        let now = self.plan.at;
        let mut out = String::from("<section class=\"tiles\" aria-label=\"At a glance\">\n");
        let mut tile = |title: &str, big: &str, words: &str, class: &str| {
            let _ = writeln!(
                out,
                "<div class=\"tile {class}\"><h2>{title}</h2><p class=\"big\">{big}</p><p>{words}</p></div>"
            );
        };
        let ending = credentials.iter().filter_map(|row| Some((row.expires?, row)));
        match ending.min_by_key(|(end, _)| *end) {
            Some((end, row)) => tile(
                if end < now { "Expired" } else { "Ends first" },
                &away(end, now),
                &format!("<b>{}</b>, {}</p><p>{}", Text(&row.name), instant(end), handled(row)),
                <&str>::from(row.state),
            ),
            None => tile("Ends first", "nothing", "no certificate could be read", "missing"),
        }
        match self.cycle() {
            Some(at) => tile(
                "Next cycle",
                &away(at, now),
                &format!("{}{}", instant(at), self.opens()),
                "",
            ),
            None => tile("Next cycle", "none", "the daemon does not run", "missing"),
        }
        let last = self.status.and_then(|status| status.last_cycle.as_ref());
        match last.and_then(|cycle| Some((text::parse_rfc3339(&cycle.at)?, cycle))) {
            Some((at, cycle)) => {
                let class = if cycle.exit == 0 { "" } else { "blocked" };
                let words = format!("{}<br>{}", instant(at), Text(&cycle.outcome));
                tile("Last cycle", &away(at, now), &words, class);
            }
            None => tile("Last cycle", "none", "no cycle has ended yet", "missing"),
        }
        match self.backups.last() {
            Some(backup) => {
                let (state, class) = if backup.is_good() {
                    ("good", "")
                } else {
                    ("bad", "blocked")
                };
                let when = taken(backup).map_or_else(|| "undated".to_owned(), |at| away(at, now));
                let size = text::bytes(backup.size());
                tile(
                    "Newest backup",
                    &when,
                    &format!("{}<br>{size}, {state}", Text(&backup.id)),
                    class,
                );
            }
            None => tile("Newest backup", "none", "one is taken before every renewal", "missing"),
        }
        out.push_str("</section>\n");
        out
    }

    /// Returns the next window, after the next cycle.
    fn opens(&self) -> String {
        match self.window() {
            Some(at) => format!("<br>window opens {}", instant(at)),
            None if !self.settings.windows.is_empty() => "<br>a maintenance window is open".into(),
            None => String::new(),
        }
    }

    /// Returns everything that a person should know or do, each once.
    pub(super) fn problems(&self) -> String {
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
            return String::new();
        }
        let items: String = lines.iter().map(|line| format!("<li>{}</li>\n", Text(line))).collect();
        section("problems", "Problems", &format!("<ul>\n{items}</ul>\n"))
    }

    /// Returns all credentials and CAs on one axis.
    pub(super) fn timeline(&self, credentials: &[Row], authorities: &[Row]) -> String {
        let ends = credentials.iter().filter_map(|row| row.expires);
        let mut axis = Axis::new(self.plan.at, ends);
        axis.cycle = self.cycle();
        axis.window = self.window();
        let body = |title: &str, rows: &[Row]| {
            let lines: String = rows.iter().map(|row| self.line(&axis, row)).collect();
            format!(
                "<tbody>\n<tr class=\"group\"><th colspan=\"5\" scope=\"rowgroup\">{title}</th></tr>\n{lines}</tbody>\n"
            )
        };
        let table = format!(
            "{grid}{legend}<div class=\"wide\"><table class=\"timeline\">\n<thead><tr><th scope=\"col\">Name</th>\
             <th scope=\"col\">State</th><th scope=\"col\" class=\"line\"><span class=\"unseen\">From now to the end</span>{head}</th>\
             <th scope=\"col\">Ends</th><th scope=\"col\">What becomes of it</th></tr></thead>\n{leaves}{cas}</table></div>\n",
            grid = axis.grid(),
            legend = self.legend(credentials, authorities),
            head = axis.head(),
            leaves = body("Credentials", credentials),
            cas = body("Certificate authorities", authorities),
        );
        section("timeline", "Timeline", &table)
    }

    fn line(&self, axis: &Axis, row: &Row) -> String {
        let end = row.expires.map_or_else(
            || "<span class=\"quiet\">not known</span>".to_owned(),
            |at| format!("{}<span class=\"quiet\">{}</span>", instant(at), away(at, self.plan.at)),
        );
        format!(
            "<tr class=\"{class}\"><th scope=\"row\">{name}</th><td><span class=\"badge\">{class}</span></td>\
             <td class=\"line\">{bar}</td><td class=\"end\">{end}</td><td class=\"words\">{words}</td></tr>\n",
            class = <&str>::from(row.state),
            name = Text(&row.name),
            bar = axis.bar(row),
            words = Text(&row.words),
        )
    }

    /// Returns the number of rows in each state, and the meaning of the lines.
    fn legend(&self, credentials: &[Row], authorities: &[Row]) -> String {
        let all = || credentials.iter().chain(authorities);
        let states = State::VARIANTS.iter().filter_map(|state| {
            let number = all().filter(|row| row.state == *state).count();
            let word = <&str>::from(state);
            (number > 0).then(|| format!("<li class=\"{word}\"><span class=\"badge\">{word}</span> {number}</li>"))
        });
        let mark = |class: &str, words: &str, at: Option<Timestamp>| {
            let key = "<svg width=\"12\" height=\"14\" aria-hidden=\"true\">";
            let line = format!("<line class=\"{class}\" x1=\"6\" x2=\"6\" y1=\"0\" y2=\"14\"/>");
            at.map(|at| format!("<li>{key}{line}</svg> {words} {}</li>", instant(at)))
        };
        let marks = [
            mark("now", "now", Some(self.plan.at)),
            mark("cycle", "next cycle", self.cycle()),
            mark("window", "window opens", self.window()),
        ];
        let light = "<li class=\"fine\"><svg width=\"26\" height=\"10\" aria-hidden=\"true\"><rect class=\"bar\" width=\"26\" height=\"10\"/>\
                     <rect class=\"light\" x=\"13\" width=\"13\" height=\"10\"/></svg> light: due for renewal</li>";
        let all: String = states
            .chain(marks.into_iter().flatten())
            .chain([light.to_owned()])
            .collect();
        format!("<ul class=\"legend\">{all}</ul>\n")
    }

    /// Returns the cycles of the daemon, the last one first.
    pub(super) fn cycles(&self) -> String {
        let Some(status) = self.status else {
            return String::new();
        };
        let rows: String = status
            .cycles
            .iter()
            .map(|cycle| {
                let at = text::parse_rfc3339(&cycle.at);
                let when = at.map_or_else(|| Text(&cycle.at).to_string(), instant);
                let class = if cycle.exit == 0 { "fine" } else { "blocked" };
                format!(
                    "<tr class=\"{class}\"><th scope=\"row\">{when}</th><td><span class=\"badge\">exit {}</span></td><td>{}</td></tr>\n",
                    cycle.exit,
                    Text(&cycle.summary)
                )
            })
            .collect();
        if rows.is_empty() {
            return String::new();
        }
        let head = "<thead><tr><th scope=\"col\">Ended</th><th scope=\"col\">Result</th><th scope=\"col\">What it did</th></tr></thead>";
        let table = format!("<div class=\"wide\"><table>\n{head}\n<tbody>\n{rows}</tbody></table></div>\n");
        section("cycles", "Last cycles", &table)
    }

    /// Returns the backups, the newest first.
    pub(super) fn backups(&self) -> String {
        if self.backups.is_empty() {
            return String::new();
        }
        let shown = self.backups.iter().rev().take(SETS);
        let rows: String = shown.map(|backup| backup_row(backup, self.plan.at)).collect();
        let head = "<thead><tr><th scope=\"col\">Backup</th><th scope=\"col\">Age</th><th scope=\"col\">Size</th><th scope=\"col\">etcd</th>\
                    <th scope=\"col\">State</th><th scope=\"col\">Reason</th></tr></thead>";
        let more = match self.backups.len().saturating_sub(SETS) {
            0 => String::new(),
            more => format!(" {more} more are older."),
        };
        let note = format!(
            "<p class=\"note\">good: nothing in it is known to be damaged or missing; <code>kubecertd backup verify</code> reads all of it.{more}</p>\n"
        );
        let table = format!("<div class=\"wide\"><table>\n{head}\n<tbody>\n{rows}</tbody></table></div>\n{note}");
        section("backups", "Backups", &table)
    }
}

/// Returns whether the first credential to end will be renewed without a person.
fn handled(row: &Row) -> String {
    let word = if row.is_handled { "handled" } else { "not handled" };
    format!("<b>{word}</b>: {}", Text(&row.words))
}

fn taken(backup: &StoredBackup) -> Option<Timestamp> {
    text::parse_rfc3339(&backup.manifest.as_ref().ok()?.created)
}

fn backup_row(backup: &StoredBackup, now: Timestamp) -> String {
    let (class, state) = if backup.is_good() {
        ("fine", "good")
    } else {
        ("blocked", "bad")
    };
    let manifest = backup.manifest.as_ref();
    let wrong = manifest.err().or(backup.fault.as_ref());
    let reason = wrong.map_or_else(|| manifest.map_or("", |m| m.reason.as_str()), String::as_str);
    let etcd = manifest.ok().and_then(|m| Some(m.etcd.as_ref()?.kind.words()));
    let age = taken(backup).map_or_else(String::new, |at| away(at, now));
    format!(
        "<tr class=\"{class}\"><th scope=\"row\">{}</th><td>{age}</td><td class=\"number\">{}</td><td>{}</td>\
         <td><span class=\"badge\">{state}</span></td><td>{}</td></tr>\n",
        Text(&backup.id),
        text::bytes(backup.size()),
        etcd.unwrap_or("none"),
        Text(reason)
    )
}

fn section(id: &str, title: &str, content: &str) -> String {
    format!("<section aria-labelledby=\"{id}\">\n<h2 id=\"{id}\">{title}</h2>\n{content}</section>\n")
}
