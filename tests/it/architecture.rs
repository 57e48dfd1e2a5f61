//! The architecture: which module may use which, how long a file may be, what pure modules avoid.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Every module and the modules that it uses, in the order of the data. A new arrow is a decision,
/// and is written here.
const MAY_USE: &str = "
model:
events:
parallel:
format: model
catalog:
config: catalog format model
host: format model
state: host model
scan: catalog config format host state model
inventory: catalog format model scan
plan: catalog config format inventory model scan
guard: config format inventory model plan scan
etcd: config format host inventory
backup: config etcd format guard host inventory model scan
coordinate: catalog config etcd format host inventory state model
renew: format guard inventory model parallel plan
verify: catalog format host inventory model
restart: catalog config events format host inventory model plan verify
transaction: backup coordinate format host state model renew restart
restore: backup config format host inventory model renew scan transaction
doctor: catalog config format guard inventory model plan scan
report: backup catalog config coordinate doctor format inventory model plan restart restore verify
schedule: config format model
cycle: backup catalog config coordinate etcd events format guard host inventory state model plan renew report restart restore scan transaction verify
cli: backup config coordinate cycle doctor etcd events format guard host inventory model plan report restart restore scan schedule state verify
lib:
main:
";

/// Modules without effects.
const PURE: [&str; 12] = [
    "model",
    "events",
    "format",
    "catalog",
    "config",
    "inventory",
    "plan",
    "guard",
    "renew",
    "doctor",
    "report",
    "schedule",
];

/// Names that a pure module must not use: files, processes, sockets, waiting threads, the clock.
const EFFECTS: [&str; 9] = [
    "std::fs",
    "std::process",
    "TcpStream",
    "UnixStream",
    "tokio",
    "now_utc",
    "SystemTime",
    "Instant::now",
    "crate::host",
];

/// Every Debian has them, or what packaging/setup.sh looks for brings them along.
const ON_EVERY_DEBIAN: [&str; 17] = [
    "cmp",
    "cp",
    "find",
    "getfacl",
    "getfattr",
    "journalctl",
    "mkfifo",
    "mknod",
    "nsenter",
    "prlimit",
    "script",
    "setpriv",
    "setsid",
    "sha256sum",
    "timeout",
    "umount",
    "unshare",
];

fn sources() -> Vec<(PathBuf, String)> {
    rust_files("src")
}

/// Files and their text before their unit tests.
fn rust_files(directory: &str) -> Vec<(PathBuf, String)> {
    let before_tests = |text: String| text.split("\n#[cfg(test)]").next().unwrap().to_owned();
    let files = whole_rust_files(directory).into_iter();
    files.map(|(path, text)| (path, before_tests(text))).collect()
}

fn whole_rust_files(directory: &str) -> Vec<(PathBuf, String)> {
    fn collect(directory: &Path, found: &mut Vec<(PathBuf, String)>) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(&path, found);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                found.push((path, text));
            }
        }
    }
    let mut found = Vec::new();
    collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join(directory), &mut found);
    found
}

fn module(path: &Path) -> String {
    let inside = path
        .strip_prefix(Path::new(env!("CARGO_MANIFEST_DIR")).join("src"))
        .unwrap();
    inside
        .components()
        .next()
        .unwrap()
        .as_os_str()
        .to_str()
        .unwrap()
        .trim_end_matches(".rs")
        .to_owned()
}

/// The modules named after `crate::`, also inside `use crate::{...}`.
fn used(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (at, _) in text.match_indices("crate::") {
        let rest = &text[at + "crate::".len()..];
        let names: Vec<&str> = match rest.strip_prefix('{') {
            Some(list) => list.split('}').next().unwrap().split(',').collect(),
            None => vec![rest],
        };
        for name in names {
            let name: String = name
                .trim()
                .chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_')
                .collect();
            found.insert(name);
        }
    }
    found
}

/// Modules and what each uses; the macro crate's own names (`yaml_edit::...`) do not start with
/// `crate::`.
fn arrows() -> BTreeMap<String, BTreeSet<String>> {
    let mut arrows: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (path, text) in sources() {
        let from = module(&path);
        let code: String = text
            .lines()
            .filter(|l| !l.trim_start().starts_with("//"))
            .collect::<Vec<_>>()
            .join("\n");
        let to = used(&code).into_iter().filter(|to| *to != from);
        arrows.entry(from.clone()).or_default().extend(to);
    }
    arrows
}

#[test]
fn modules_use_exactly_what_the_table_allows() {
    let line = |line: &str| {
        let (from, to) = line.split_once(':').unwrap();
        (
            from.to_owned(),
            to.split_whitespace().map(str::to_owned).collect::<BTreeSet<_>>(),
        )
    };
    let table: BTreeMap<_, _> = MAY_USE.trim().lines().map(line).collect();
    let arrows = arrows();
    for (from, to) in &arrows {
        assert_eq!(
            Some(to),
            table.get(from),
            "what `{from}` uses (left) and may use (right)"
        );
    }
    assert_eq!(arrows.keys().collect::<Vec<_>>(), table.keys().collect::<Vec<_>>());
}

#[test]
fn no_two_modules_use_each_other() {
    let arrows = arrows();
    for (from, to) in &arrows {
        for other in to {
            let back = arrows.get(other).is_some_and(|back| back.contains(from));
            assert!(!back, "{from} and {other} use each other");
        }
    }
}

#[test]
fn pure_modules_name_no_effect() {
    for (path, text) in sources()
        .into_iter()
        .filter(|(path, _)| PURE.contains(&module(path).as_str()))
    {
        for effect in EFFECTS {
            assert!(!text.contains(effect), "{} names {effect}", path.display());
        }
    }
}

#[test]
fn rcgen_lives_in_one_file_and_the_clock_in_another() {
    let naming = |what: &str| -> Vec<String> {
        let all = sources().into_iter().filter(|(_, text)| text.contains(what));
        all.map(|(path, _)| path.file_name().unwrap().to_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(naming("use rcgen"), ["issue.rs"]);
    assert_eq!(naming("now_utc()"), ["clock.rs"]);
}

#[test]
fn system_calls_are_made_below_host() {
    let outside = sources().into_iter().filter(|(path, _)| module(path) != "host");
    for (path, text) in outside {
        for name in ["nix::", "rustix::", "xattr::"] {
            let calls = |line: &str| line.split([' ', '(', '&', '<']).any(|word| word.starts_with(name));
            assert!(!text.lines().any(calls), "{} names {name}", path.display());
        }
    }
}

#[test]
fn files_stay_small() {
    for (path, text) in sources() {
        let lines = text.lines().count();
        assert!(lines <= 400, "{} has {lines} lines", path.display());
        let is_entry = ["main.rs", "lib.rs"].iter().any(|name| path.ends_with(name));
        assert!(!is_entry || lines <= 40, "{} has {lines} lines", path.display());
    }
}

/// The functions marked as tests in the module `name` of this binary, or in the binary `name`.
fn tests_of(name: &str) -> Vec<String> {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let directories = [tests.join("it").join(name), tests.join(name)];
    let files: Vec<PathBuf> = match directories.iter().find_map(|path| fs::read_dir(path).ok()) {
        Some(entries) => entries.map(|entry| entry.unwrap().path()).collect(),
        None => vec![tests.join("it").join(name).with_extension("rs")],
    };
    let texts = files.iter().filter_map(|path| fs::read_to_string(path).ok());
    let text: String = texts.collect();
    test_names(&text).map(str::to_owned).collect()
}

/// The names of the functions that are marked as tests in `text`.
fn test_names(text: &str) -> impl Iterator<Item = &str> {
    let marked = text.split("test]\n").skip(1);
    marked.filter_map(|rest| Some(rest.split_once("fn ")?.1.split_once('(')?.0))
}

/// Tells if `name` is `pattern`, in which each `…` or `*` stands for any text.
fn fits(pattern: &str, name: &str) -> bool {
    let mut pieces = pattern.split(['…', '*']);
    let Some(mut rest) = name.strip_prefix(pieces.next().unwrap()) else {
        return false;
    };
    let mut last = None;
    for piece in pieces {
        let Some(at) = rest.find(piece) else { return false };
        rest = &rest[at + piece.len()..];
        last = Some(piece);
    }
    last.map_or(rest.is_empty(), |last| rest.is_empty() || last.is_empty())
}

#[test]
fn every_invariant_names_tests_that_exist() {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/architecture.md")).unwrap();
    let section = text.split("## What must hold").nth(1).unwrap();
    let section = section.split("\n## ").next().unwrap();
    for number in 1..=14 {
        let begin = section.find(&format!("\n{number}. **"));
        let paragraph = &section[begin.unwrap_or_else(|| panic!("no paragraph for invariant {number}"))..];
        let end = paragraph.find(&format!("\n{}. **", number + 1));
        let named: Vec<_> = paragraph[..end.unwrap_or(paragraph.len())]
            .split('`')
            .filter_map(|quoted| quoted.split_once("::"))
            .collect();
        assert!(!named.is_empty(), "invariant {number} names no test");
        for (file, pattern) in named {
            let exists = tests_of(file).iter().any(|name| fits(pattern, name));
            assert!(exists, "invariant {number}: there is no test {file}::{pattern}");
        }
    }
}

#[test]
fn test_names_have_at_most_60_characters() {
    let files = ["src", "tests"].into_iter().flat_map(whole_rust_files);
    let mut count = 0;
    for (path, text) in files {
        for name in test_names(&text) {
            count += 1;
            assert!(name.len() <= 60, "{}: {name}", path.display());
        }
    }
    assert!(count > 500, "only {count} tests are found");
}

/// Invariant 12: the program only makes connections, and accepts none.
#[test]
fn nothing_listens() {
    for (path, text) in sources() {
        for listener in ["Listener", ".listen(", "axum", "hyper::server"] {
            assert!(!text.contains(listener), "{} names {listener}", path.display());
        }
    }
}

/// The tests have to pass on a machine that has only what the scripts install.
#[test]
fn every_command_that_a_test_calls_is_installed_by_a_script() {
    let read = |path| fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap();
    let (setup, makefile) = (read("packaging/setup.sh"), read("Makefile"));
    let asked = makefile
        .lines()
        .filter_map(|line| line.split_once("packaging/setup.sh").map(|(_, asked)| asked));
    let mut installed: BTreeSet<&str> = asked.flat_map(str::split_whitespace).collect();
    let looked_for = setup.lines().filter(|line| line.starts_with("need "));
    installed.extend(looked_for.filter_map(|line| line.rsplit([' ', '/']).next()));
    installed.extend(ON_EVERY_DEBIAN);
    for (path, text) in rust_files("tests") {
        let called = text
            .split("Command::new(\"")
            .skip(1)
            .filter_map(|rest| rest.split('"').next());
        for command in called.filter_map(|command| command.rsplit('/').next()) {
            assert!(
                installed.contains(command),
                "{} calls {command}, which no script installs",
                path.display()
            );
        }
    }
}

/// Quoted words of a document outside of its code blocks.
fn quoted(text: &str) -> Vec<&str> {
    let outside = text.split("\n```").step_by(2);
    outside.flat_map(|part| part.split('`').skip(1).step_by(2)).collect()
}

/// Returns the documents: the path and the text of each.
fn documents() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    for directory in [root.to_owned(), root.join("docs"), root.join("docs/decisions")] {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|ending| ending == "md") {
                let text = fs::read_to_string(&path).unwrap();
                found.push((path, text));
            }
        }
    }
    found
}

#[test]
fn links_between_the_documents_lead_somewhere() {
    for (path, text) in documents() {
        let outside: String = text.split("\n```").step_by(2).collect();
        let links = outside.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for link in links.filter(|link| !link.contains("://")) {
            let file = link.split('#').next().unwrap();
            let there = file.is_empty() || path.parent().unwrap().join(file).exists();
            assert!(there, "{}: {link} leads nowhere", path.display());
        }
    }
}

/// The page stays true when a module or a type gets another name.
#[test]
fn modules_and_types_of_the_glossary_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join("docs/glossary.md")).unwrap();
    let code: String = sources().into_iter().map(|(_, text)| text).collect();
    let is_module = |word: &str| {
        word.contains('/')
            && word
                .chars()
                .all(|c| c.is_ascii_lowercase() || "/_0123456789".contains(c))
    };
    let is_type = |word: &str| {
        let mut characters = word.chars();
        characters.next().is_some_and(|c| c.is_ascii_uppercase())
            && word.chars().all(char::is_alphanumeric)
            && characters.any(|c| c.is_ascii_lowercase())
    };
    for word in quoted(&text) {
        if is_module(word) && !word.starts_with('/') {
            let path = root.join("src").join(word.trim_start_matches("src/"));
            assert!(
                path.is_dir() || path.with_extension("rs").exists(),
                "there is no module {word}"
            );
        } else if is_type(word) {
            let exists = ["struct", "enum"]
                .iter()
                .any(|kind| code.contains(&format!("{kind} {word}")));
            assert!(exists, "there is no type {word}");
        }
    }
}

#[test]
fn files_that_the_architecture_names_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join("docs/architecture.md")).unwrap();
    let files = quoted(&text)
        .into_iter()
        .filter(|word| word.contains('/') && word.ends_with(".rs"));
    for file in files {
        let there = ["", "src", "tests"]
            .iter()
            .any(|below| root.join(below).join(file).exists());
        assert!(there, "there is no file {file}");
    }
}
