//! Prometheus' text format, version 0.0.4: only gauges, since node_exporter gives other kinds of
//! OpenMetrics no type.

use std::fmt::Write as _;

use crate::format::text::printable;

/// Names and values of the labels of one series.
pub(super) type Labels<'a> = Vec<(&'static str, &'a str)>;

/// A document under construction.
#[derive(Default)]
pub(super) struct Document(pub(super) String);

impl Document {
    /// Adds a family with one series for each row. Without rows it adds nothing.
    pub(super) fn family<'a>(&mut self, name: &str, help: &str, rows: impl IntoIterator<Item = (Labels<'a>, i64)>) {
        let out = &mut self.0;
        for (at, (labels, value)) in rows.into_iter().enumerate() {
            if at == 0 {
                let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} gauge");
            }
            out.push_str(name);
            for (at, (label, value)) in labels.iter().enumerate() {
                let open = if at == 0 { '{' } else { ',' };
                let _ = write!(out, "{open}{label}=\"{}\"", escaped(value));
            }
            if !labels.is_empty() {
                out.push('}');
            }
            let _ = writeln!(out, " {value}");
        }
    }

    /// Adds a family with one series without labels. Without a value it adds nothing.
    pub(super) fn one(&mut self, name: &str, help: &str, value: Option<i64>) {
        self.family(name, help, value.map(|value| (Vec::new(), value)));
    }
}

/// Escapes backslash, quote and line feed as the format demands, and replaces other control
/// characters.
fn escaped(value: &str) -> String {
    printable(value).replace('\\', r"\\").replace('"', "\\\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped_and_a_family_without_rows_is_not_there() {
        let mut document = Document::default();
        document.family("a", "A.", [(vec![("l", "C:\\x \"y\"\nz"), ("m", "")], 3)]);
        document.one("b", "B.", None);
        document.one("c", "C.", Some(-1));
        let wanted = "# HELP a A.\n# TYPE a gauge\na{l=\"C:\\\\x \\\"y\\\"\u{fffd}z\",m=\"\"} 3\n\
                      # HELP c C.\n# TYPE c gauge\nc -1\n";
        assert_eq!(document.0, wanted);
    }
}
