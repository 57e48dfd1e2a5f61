//! The manual pages: the parts that people write agree with the program.

use std::path::Path;

fn read(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    std::fs::read_to_string(path).expect(name)
}

/// The lines of a section of kubecertd(8).
fn section(name: &str) -> Vec<String> {
    let page = read("packaging/man/kubecertd.8");
    let lines = page.lines().skip_while(|line| *line != format!(".SH {name}")).skip(1);
    let lines: Vec<_> = lines
        .take_while(|line| !line.starts_with(".SH"))
        .map(str::to_owned)
        .collect();
    assert!(!lines.is_empty(), "no section {name}");
    lines
}

#[test]
fn the_exit_codes_are_those_of_the_commands_page() {
    let page = section("EXIT STATUS");
    let codes: Vec<_> = page.iter().filter_map(|line| line.strip_prefix(".B ")).collect();
    let commands = read("docs/cli.md");
    let table = commands.split("| exit code |").nth(1).expect("a table of exit codes");
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    let listed: Vec<_> = rows.map(|row| row.split('|').nth(1).expect("a code").trim()).collect();
    assert_eq!(codes, listed);
}

#[test]
fn the_examples_are_command_lines_of_the_program() {
    let examples = section("EXAMPLES");
    let lines: Vec<_> = examples.iter().filter_map(|line| line.strip_prefix("    ")).collect();
    assert!(lines.len() >= 7, "{lines:?}");
    for line in lines {
        let parsed = kubecertd::cli::grammar().try_get_matches_from(line.split_whitespace());
        assert!(parsed.is_ok(), "{line}: {parsed:?}");
    }
}

/// Calls `each` with the path and the help of every command and option that a person sees.
fn each_help(command: &clap::Command, path: &str, each: &mut dyn FnMut(String, String)) {
    if command.get_name() == "help" {
        return;
    }
    let path = format!("{path} {}", command.get_name());
    each(path.clone(), command.get_about().expect("a help").to_string());
    for argument in command.get_arguments() {
        let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
        each(format!("{path} {}", argument.get_id()), help);
    }
    for command in command.get_subcommands() {
        each_help(command, &path, each);
    }
}

#[test]
fn every_line_of_help_is_short_and_flags_have_one_phrase() {
    let mut phrases = std::collections::BTreeMap::new();
    each_help(&kubecertd::cli::grammar(), "", &mut |path, help| {
        assert!((1..=60).contains(&help.len()), "{path}: {help:?}");
        assert!(
            !help.ends_with('.') && !help.starts_with(char::is_lowercase),
            "{path}: {help:?}"
        );
        for flag in ["output", "dry_run"] {
            if path.ends_with(&format!(" {flag}")) {
                let first = phrases.entry(flag).or_insert_with(|| help.clone());
                assert_eq!(*first, help, "{path}");
            }
        }
    });
    assert_eq!(phrases.len(), 2);
}
