//! Record of the trials of a test and of their violations, for the lines that it prints in the end.

use std::collections::BTreeMap;

/// As many violations as help; more of them mostly repeat one cause.
const SHOWN: usize = 30;

/// Number of reasons of one violation that are shown, and of letters of each.
const REASONS: usize = 3;
const LETTERS: usize = 400;

/// Counts by name, and violations.
#[derive(Debug, Default)]
pub struct Record {
    counts: BTreeMap<String, usize>,
    violations: Vec<String>,
}

impl Record {
    /// One more of these.
    pub fn count(&mut self, what: &str) {
        self.add(what, 1);
    }

    pub fn add(&mut self, what: &str, number: usize) {
        *self.counts.entry(what.to_owned()).or_default() += number;
    }

    pub fn of(&self, what: &str) -> usize {
        self.counts.get(what).copied().unwrap_or_default()
    }

    /// Records all reasons of one place as one violation.
    pub fn wrong(&mut self, place: &str, reasons: impl IntoIterator<Item = String>) {
        let short = |reason: String| reason.chars().take(LETTERS).collect::<String>();
        let reasons: Vec<_> = reasons.into_iter().map(short).collect();
        let more = match reasons.len().saturating_sub(REASONS) {
            0 => String::new(),
            more => format!("; and {more} more"),
        };
        if !reasons.is_empty() {
            self.violations.push(format!(
                "{place}: {}{more}",
                reasons[..reasons.len().min(REASONS)].join("; ")
            ));
        }
    }

    pub fn merge(&mut self, others: impl IntoIterator<Item = Record>) {
        for other in others {
            for (what, number) in other.counts {
                self.add(&what, number);
            }
            self.violations.extend(other.violations);
        }
    }

    /// Prints `TITLE: COUNTS, violations: N` and the violations; fails the test when there is one.
    #[track_caller]
    pub fn finish(self, title: &str) {
        for violation in self.violations.iter().take(SHOWN) {
            println!("violation: {violation}");
        }
        let counts: Vec<_> = self
            .counts
            .iter()
            .map(|(what, number)| format!("{what}: {number}"))
            .collect();
        println!("{title}: {}, violations: {}", counts.join(", "), self.violations.len());
        let first = self.violations.first().map(String::as_str).unwrap_or_default();
        assert!(
            self.violations.is_empty(),
            "{title}: {} violations, the first: {first}",
            self.violations.len()
        );
    }
}
