//! README.md and README.zh-CN.md say the same: section by section the same level, commands, tables, lists, code and links.

use std::fs;
use std::path::Path;

const TWO: [&str; 2] = ["README.md", "README.zh-CN.md"];

/// What two sections have in common whatever language they are in.
#[derive(Debug, PartialEq, Eq)]
struct Section {
    level: usize,
    /// Lines of code, without the comments at their ends.
    code: Vec<String>,
    /// The code in each cell of each row.
    rows: Vec<Vec<Vec<String>>>,
    /// Cells that are a number (exit codes).
    numbers: Vec<String>,
    /// Items of lists: the number, or `-`.
    items: Vec<String>,
    /// Paragraphs, tables and lists apart.
    paragraphs: usize,
    /// Code in the text, sorted: languages have orders of their own.
    spans: Vec<String>,
    /// Where links lead to, but for the other of the two.
    links: Vec<String>,
}

fn read(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Heading and section, in order.
fn sections(text: &str) -> Vec<(String, Section)> {
    let mut parts: Vec<(String, Vec<&str>)> = Vec::new();
    for line in text.lines() {
        if line.starts_with('#') {
            parts.push((line.to_owned(), Vec::new()));
        } else {
            parts.last_mut().expect("a heading first").1.push(line);
        }
    }
    parts
        .into_iter()
        .map(|(heading, lines)| (heading.clone(), section(&heading, &lines)))
        .collect()
}

fn section(heading: &str, lines: &[&str]) -> Section {
    let is_code = |line: &&&str| line.starts_with("    ");
    let is_row = |line: &&&str| line.starts_with('|');
    let marker = |line: &&str| {
        let word = line.split(' ').next()?;
        let number = word.strip_suffix('.').is_some_and(|n| n.parse::<u32>().is_ok());
        (word == "-" || number).then(|| word.to_owned())
    };
    let code = |line: &&str| {
        line.split_once("  # ")
            .map_or(*line, |(code, _)| code)
            .trim_end()
            .to_owned()
    };
    let rows: Vec<Vec<&str>> = lines.iter().filter(is_row).map(|line| cells(line)).collect();
    let text: Vec<&str> = lines.iter().filter(|line| !is_code(line)).copied().collect();
    let mut spans = spans(&text.join("\n"));
    spans.sort();
    let is_text = |line: &str| !line.trim().is_empty() && !line.starts_with(['|', ' ']) && marker(&line).is_none();
    let begins = |n: &usize| is_text(lines[*n]) && (*n == 0 || lines[*n - 1].trim().is_empty());
    Section {
        level: heading.chars().take_while(|c| *c == '#').count(),
        code: lines.iter().filter(is_code).map(code).collect(),
        numbers: rows
            .iter()
            .flatten()
            .filter(|cell| cell.parse::<u32>().is_ok())
            .map(|cell| (*cell).to_owned())
            .collect(),
        rows: rows
            .iter()
            .map(|row| row.iter().map(|cell| self::spans(cell)).collect())
            .collect(),
        items: lines.iter().filter_map(marker).collect(),
        paragraphs: (0..lines.len()).filter(begins).count(),
        spans,
        links: links(&text.join("\n")),
    }
}

/// A bar after a backslash is text.
fn cells(row: &str) -> Vec<&str> {
    let mut cells = Vec::new();
    let (mut begin, mut before) = (0, ' ');
    for (at, c) in row.char_indices() {
        if c == '|' && before != '\\' {
            cells.push(row[begin..at].trim());
            begin = at + 1;
        }
        before = c;
    }
    cells
}

fn spans(text: &str) -> Vec<String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

fn links(text: &str) -> Vec<String> {
    let ends = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    ends.filter(|link| !TWO.contains(link)).map(str::to_owned).collect()
}

#[test]
fn both_say_the_same_section_by_section() {
    let [english, chinese] = TWO.map(|name| sections(&read(name)));
    for ((heading, one), (other, two)) in english.iter().zip(&chinese) {
        assert_eq!(one, two, "{heading:?} (left) and {other:?} (right) differ");
    }
    let headings = |all: &[(String, Section)]| all.iter().map(|(heading, _)| heading.clone()).collect::<Vec<_>>();
    assert_eq!(
        english.len(),
        chinese.len(),
        "{:?} and {:?}",
        headings(&english),
        headings(&chinese)
    );
    assert!(english.len() > 8 && english.iter().map(|(_, section)| section.rows.len()).sum::<usize>() > 40);
}

/// What a heading is called in a link: `## Metrics, alerts, a dashboard` is `metrics-alerts-a-dashboard`.
fn anchor(line: &str) -> String {
    let Some(heading) = line.strip_prefix('#') else {
        return String::new();
    };
    let letters = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = letters.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[test]
fn each_names_the_other_first_and_every_link_leads_to_a_file() {
    for (name, other) in [(TWO[0], TWO[1]), (TWO[1], TWO[0])] {
        let text = read(name);
        assert!(
            text.lines()
                .nth(2)
                .is_some_and(|line| line.contains(&format!("]({other})"))),
            "{name}"
        );
        for link in links(&text) {
            let (file, heading) = link.split_once('#').unwrap_or((&link, ""));
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
            let there = || fs::read_to_string(&path).is_ok_and(|text| text.lines().any(|line| anchor(line) == heading));
            assert!(
                path.exists() && (heading.is_empty() || there()),
                "{name} links to {link}"
            );
        }
    }
}

/// The columns of a row are those of its table's head.
#[test]
fn every_row_of_a_table_has_the_columns_of_its_head() {
    for name in TWO {
        let text = read(name);
        let mut columns = None;
        for line in text.lines() {
            match line.starts_with('|') {
                true => {
                    let number = cells(line).len();
                    assert_eq!(*columns.get_or_insert(number), number, "{name}: {line}");
                }
                false => columns = None,
            }
        }
    }
}
