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
