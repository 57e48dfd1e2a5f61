//! The front door: README.md, docs/cli.md and the Chinese pages. Both languages have the same
//! structure, the output in them is the program's, and every command and option is described.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::support::clock::FRESH;
use crate::support::daemon::Daemon;
use crate::support::{ECDSA, Node, credential};

const TWO: [&str; 2] = ["README.md", "README.zh-CN.md"];

/// The pages that exist in English and in Chinese.
const PAGES: [[&str; 2]; 2] = [TWO, ["docs/operations.md", "docs/operations.zh-CN.md"]];

/// The longest README, in words as `wc -w` counts them.
const WORDS: usize = 700;

/// The largest picture, in bytes.
const PICTURE: u64 = 200_000;

/// The structure that two sections share in every language.
#[derive(Debug, PartialEq, Eq)]
struct Section {
    level: usize,
    /// Lines of code blocks, fences included: without the comments at their ends and without the
    /// labels of diagrams.
    code: Vec<String>,
    /// The code in each cell of each row, sorted.
    rows: Vec<Vec<Vec<String>>>,
    /// Items of lists: the number, or `-`.
    items: Vec<String>,
    /// Paragraphs, apart from tables and lists.
    paragraphs: usize,
    /// Code in the text, sorted: languages have orders of their own.
    spans: Vec<String>,
    /// Targets of links to other pages and of pictures, sorted; the languages of a page are one.
    links: Vec<String>,
}

fn read(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Splits a document into heading and lines.
fn parts(text: &str) -> Vec<(String, Vec<&str>)> {
    let mut parts: Vec<(String, Vec<&str>)> = Vec::new();
    let mut fenced = false;
    for line in text.lines() {
        fenced ^= line.starts_with("```");
        if line.starts_with('#') && !fenced {
            parts.push((line.to_owned(), Vec::new()));
        } else {
            parts.last_mut().expect("a heading first").1.push(line);
        }
    }
    parts
}

/// Separates the lines of code blocks, fences included, from the text.
fn code_and_text<'a>(lines: &[&'a str]) -> (Vec<&'a str>, Vec<&'a str>) {
    let mut fenced = false;
    lines.iter().partition(|line| {
        let fence = line.starts_with("```");
        fenced ^= fence;
        fenced || fence
    })
}

fn section(heading: &str, lines: &[&str]) -> Section {
    let (code, text) = code_and_text(lines);
    let marker = |line: &&str| {
        let word = line.split(' ').next()?;
        let number = word.strip_suffix('.').is_some_and(|n| n.parse::<u32>().is_ok());
        (word == "-" || number).then(|| word.to_owned())
    };
    let is_text = |line: &str| !line.trim().is_empty() && !line.starts_with(['|', ' ']) && marker(&line).is_none();
    let begins = |n: &usize| is_text(text[*n]) && (*n == 0 || text[*n - 1].trim().is_empty());
    let mut links = links(&text.join(" "));
    links.retain(|link| !link.starts_with('#'));
    links
        .iter_mut()
        .for_each(|link| *link = link.replace(".zh-CN.md", ".md"));
    Section {
        level: heading.chars().take_while(|c| *c == '#').count(),
        code: code.iter().map(|line| bare(line)).collect(),
        rows: text
            .iter()
            .filter(|line| line.starts_with('|'))
            .map(|row| cells(row).iter().map(|cell| sorted(self::spans(cell))).collect())
            .collect(),
        items: text.iter().filter_map(marker).collect(),
        paragraphs: (0..text.len()).filter(begins).count(),
        // A span may be wrapped.
        spans: sorted(spans(&text.join(" "))),
        links: sorted(links),
    }
}

/// Removes the translated parts of a line of code: the comment, and the labels of a diagram
/// (`["..."]` and `|"..."|`).
fn bare(line: &str) -> String {
    let code = line.split_once("  # ").map_or(line, |(code, _)| code).trim_end();
    let mut kept = String::new();
    for (n, piece) in code.split('"').enumerate() {
        let label = n % 2 == 1 && kept.ends_with(['[', '|']);
        kept.push_str(if label { "" } else { piece });
    }
    kept
}

/// Splits a row of a table. A bar after a backslash is text.
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

fn sorted(mut words: Vec<String>) -> Vec<String> {
    words.sort();
    words
}

fn links(text: &str) -> Vec<String> {
    let ends = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    ends.map(str::to_owned).collect()
}

#[test]
fn both_languages_have_the_same_structure() {
    for names in PAGES {
        let [english, chinese] = names.map(read);
        let [english, chinese] = [parts(&english), parts(&chinese)];
        for ((heading, one), (other, two)) in english.iter().zip(&chinese) {
            assert_eq!(
                section(heading, one),
                section(other, two),
                "{names:?}: {heading:?} (left) and {other:?} (right) differ"
            );
        }
        let headings = [&english, &chinese].map(|all| all.iter().map(|(heading, _)| heading).collect::<Vec<_>>());
        assert_eq!(english.len(), chinese.len(), "{headings:?}");
        assert!(english.len() > 8, "{headings:?}");
    }
}

#[test]
fn each_is_short() {
    for name in TWO {
        let words = read(name).split_whitespace().count();
        assert!(words <= WORDS, "{name} has {words} words, {WORDS} are allowed");
    }
}

/// Returns the anchor of a heading: `## Metrics, alerts` is `metrics-alerts`.
fn anchor(line: &str) -> String {
    let Some(heading) = line.strip_prefix('#') else {
        return String::new();
    };
    let letters = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = letters.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

/// Requires that every link of a document leads to a file, and to a heading if it names one.
fn assert_links_lead_somewhere(name: &str) {
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    let text = read(name);
    for link in links(&text).iter().filter(|link| !link.starts_with("https://")) {
        let (file, heading) = link.split_once('#').unwrap_or((link, ""));
        let path = match file {
            "" => document.clone(),
            _ => document.with_file_name("").join(file),
        };
        let there = || fs::read_to_string(&path).is_ok_and(|text| text.lines().any(|line| anchor(line) == heading));
        assert!(
            path.exists() && (heading.is_empty() || there()),
            "{name} links to {link}"
        );
    }
}

#[test]
fn every_link_leads_to_a_file() {
    for [english, chinese] in PAGES {
        for (name, other) in [(english, chinese), (chinese, english)] {
            let text = read(name);
            let third = text.lines().nth(2).unwrap_or_default();
            let other = other.rsplit('/').next().unwrap_or_default();
            assert!(
                third.contains(&format!("]({other})")),
                "{name} names the other one first"
            );
        }
    }
    let documents = [
        "docs/install.md",
        "docs/how-it-works.md",
        "docs/comparison.md",
        "docs/cli.md",
    ];
    for name in PAGES.as_flattened().iter().chain(&documents) {
        assert_links_lead_somewhere(name);
    }
}

#[test]
fn every_row_of_a_table_has_the_columns_of_its_head() {
    for name in TWO
        .iter()
        .chain(&["docs/install.md", "docs/comparison.md", "docs/cli.md"])
    {
        let text = read(name);
        let mut columns = None;
        for line in text.lines() {
            if line.starts_with('|') {
                let number = cells(line).len();
                assert_eq!(*columns.get_or_insert(number), number, "{name}: {line}");
            } else {
                columns = None;
            }
        }
    }
}

#[test]
fn the_pictures_are_small_and_need_nothing_from_elsewhere() {
    let images = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/images");
    for name in ["report.png", "demo.svg"] {
        let size = fs::metadata(images.join(name)).expect(name).len();
        assert!(size <= PICTURE, "{name} has {size} bytes");
    }
    let terminal = fs::read_to_string(images.join("demo.svg")).expect("text");
    let namespace = "xmlns=\"http://www.w3.org/2000/svg\"";
    assert!(terminal.contains(namespace), "it is not an SVG");
    for foreign in ["http", "url(", "<script", "<image", "href"] {
        assert!(!terminal.replace(namespace, "").contains(foreign), "it holds {foreign}");
    }
}

#[test]
fn the_badges_say_what_the_manifest_says() {
    let manifest: toml::Table = read("Cargo.toml").parse().expect("TOML");
    let package = |key: &str| manifest["package"][key].as_str().expect(key).to_owned();
    for name in TWO {
        let text = read(name);
        for badge in [
            format!("/rustc-{}+-", package("rust-version")),
            format!("/license-{}-", package("license").replace('-', "--")),
            package("repository"),
        ] {
            assert!(text.contains(&badge), "{name} has no {badge}");
        }
    }
}

/// The keys of the README have the defaults of the shipped file, which has them all.
#[test]
fn the_keys_have_their_defaults() {
    let shipped = read("config/kubecertd.toml");
    let text = read(TWO[0]);
    let rows = text.lines().filter(|line| line.starts_with("| `"));
    let mut found = 0;
    for row in rows {
        let [_, key, default, ..] = cells(row)[..] else {
            panic!("{row}")
        };
        let key = key.trim_matches('`').rsplit(' ').next().expect("a key");
        let line = match key.starts_with("[[") {
            true => format!("##{key}"),
            false => format!("#{key} = {}", default.trim_matches('`')),
        };
        assert!(
            shipped.lines().any(|other| other == line),
            "{line} is not in the shipped file"
        );
        found += 1;
    }
    assert_eq!(found, 5);
}

/// A node with two credentials that are due, and its daemon. The clock and the schedule make the
/// output the same every time.
fn quick_start() -> (Node, Daemon) {
    let node = Node::of(ECDSA);
    credential::named("etcd-server").make_due(&node);
    credential::named("scheduler.conf").make_due(&node);
    node.configure("spread = \"0s\"\nclock_wait = \"0s\"\n");
    let mut daemon = Daemon::start(&node, FRESH, &[]);
    daemon.says("STATUS=Waiting");
    (node, daemon)
}

/// Requires that `shown` is the output, of which `...` leaves out lines, and the process id is any.
#[track_caller]
fn assert_shown(shown: &[&str], output: &str, command: &str) {
    let whole: Vec<String> = output.lines().map(|line| any_process(line.trim_end())).collect();
    let mut rest = &whole[..];
    for line in shown.iter().filter(|line| **line != "...") {
        let wanted = any_process(line);
        let at = rest.iter().position(|line| *line == wanted);
        let at = at.unwrap_or_else(|| panic!("`{command}` does not print {line:?}, but\n{output}"));
        rest = &rest[at + 1..];
    }
}

fn any_process(line: &str) -> String {
    match line.split_once("(pid ") {
        Some((before, _)) => format!("{before}(pid)"),
        None => line.to_owned(),
    }
}

#[test]
fn the_output_of_the_quick_start_is_the_programs() {
    let text = read(TWO[0]);
    let parts = parts(&text);
    let (_, lines) = parts
        .iter()
        .find(|(heading, _)| heading == "## Quick start")
        .expect("the section");
    let (code, _) = code_and_text(lines);
    let mut shown: Vec<(&str, Vec<&str>)> = Vec::new();
    for line in code.iter().filter(|line| !line.starts_with("```") && !line.is_empty()) {
        match line.strip_prefix("$ kubecertd ") {
            Some(command) => shown.push((command, Vec::new())),
            None => shown.last_mut().expect("a command first").1.push(line),
        }
    }
    assert_eq!(shown.len(), 3, "{shown:?}");
    let (node, _daemon) = quick_start();
    for (command, lines) in shown {
        let page = node.scratch("report.html");
        let page = page.to_str().expect("UTF-8");
        let words: Vec<&str> = command
            .split(' ')
            .map(|word| if word == "report.html" { page } else { word })
            .collect();
        let ran = node.run(FRESH, &words).exits(0);
        assert_shown(&lines, &ran.stdout, command);
    }
}

/// Calls `each` with every command that has no commands of its own, such as `backup create`.
fn each_command(command: &clap::Command, path: &str, each: &mut impl FnMut(&str, &clap::Command)) {
    for inner in command
        .get_subcommands()
        .filter(|c| c.get_name() != "help" && !c.is_hide_set())
    {
        let path = format!("{path} {}", inner.get_name()).trim().to_owned();
        if inner.has_subcommands() {
            each_command(inner, &path, each);
        } else {
            each(&path, inner);
        }
    }
}

/// The words of a text that begin with two dashes.
fn options(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_lowercase() || c == '-'));
    words
        .filter(|word| word.starts_with("--") && word.len() > 2)
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_command_and_option_is_described_and_no_other() {
    let text = read("docs/cli.md");
    let parts = parts(&text);
    let mut grammar = kubecertd::cli::grammar();
    grammar.build();
    let mut commands = Vec::new();
    each_command(&grammar, "", &mut |path, command| {
        let heading = format!("### {path}");
        let part = parts.iter().find(|(other, _)| *other == heading);
        let (_, lines) = part.unwrap_or_else(|| panic!("docs/cli.md has no {heading:?}"));
        let own = command
            .get_arguments()
            .filter(|a| !a.is_global_set() && a.get_id() != "help");
        let wanted: BTreeSet<String> = own.filter_map(|a| Some(format!("--{}", a.get_long()?))).collect();
        let usage: String = code_and_text(lines).0.join("\n");
        assert_eq!(
            options(&usage),
            wanted,
            "options of `{path}`: docs/cli.md, and the program"
        );
        commands.push(heading);
    });
    let described = parts
        .iter()
        .map(|(heading, _)| heading)
        .filter(|heading| heading.starts_with("### "));
    let unknown: Vec<_> = described.filter(|heading| !commands.contains(heading)).collect();
    assert!(unknown.is_empty(), "not commands: {unknown:?}");
}
