//! `cargo run --example docs -- DIRECTORY`: writes what the packages hold besides the program: the manual pages kubecertd(8) and
//! kubecertd.toml(5), and the completions. Both pages are made from what they describe: the grammar of the command line, the README's
//! exit codes, config/kubecertd.toml.

use std::fmt::Write as _;
use std::path::Path;
use std::{env, fs, io};

use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Inline, Roff, bold, italic, roman};

fn main() -> io::Result<()> {
    let directory = env::args_os().nth(1).ok_or_else(|| io::Error::other("no directory"))?;
    let directory = Path::new(&directory);
    fs::create_dir_all(directory)?;
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut grammar = kubecertd::cli::grammar();
    grammar.build();
    let readme = fs::read_to_string(repository.join("docs/cli.md"))?;
    fs::write(directory.join("kubecertd.8"), program(&grammar, &readme)?)?;
    let config = fs::read_to_string(repository.join("config/kubecertd.toml"))?;
    fs::write(directory.join("kubecertd.toml.5"), configuration(&config))?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        clap_complete::generate_to(shell, &mut grammar, "kubecertd", directory)?;
    }
    Ok(())
}

/// kubecertd(8).
fn program(grammar: &clap::Command, readme: &str) -> io::Result<Vec<u8>> {
    let man = Man::new(grammar.clone())
        .section("8")
        .manual("System Manager's Manual")
        .date("");
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    let mut verbs = Roff::new();
    verbs.control("SH", ["DESCRIPTION"]).text([
        roman("The daemon, "),
        bold("kubecertd run"),
        roman(", is started by kubecertd.service. All other verbs are for people, and work beside it."),
    ]);
    verbs.to_writer(&mut page)?;
    man.render_options_section(&mut page)?;
    Roff::new().control("SH", ["VERBS"]).to_writer(&mut page)?;
    for verb in grammar.get_subcommands() {
        describe(verb, &mut page)?;
    }
    around(readme).to_writer(&mut page)?;
    Ok(page)
}

/// A verb, or each of the verbs in it.
fn describe(verb: &clap::Command, page: &mut Vec<u8>) -> io::Result<()> {
    if verb.get_name() == "help" || verb.is_hide_set() {
        return Ok(());
    }
    if verb.has_subcommands() {
        return verb.get_subcommands().try_for_each(|verb| describe(verb, page));
    }
    let usage = verb.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ").replace(" [OPTIONS]", "");
    let about = verb.get_about().map(ToString::to_string).unwrap_or_default();
    let mut roff = Roff::new();
    roff.control("SS", [usage.as_str()]).text([roman(format!("{about}."))]);
    for argument in verb
        .get_arguments()
        .filter(|a| !a.is_global_set() && a.get_id() != "help")
    {
        roff.control("TP", [])
            .text(heading(argument))
            .text([roman(says(argument))]);
    }
    roff.to_writer(page)
}

/// `-o, --output FORMAT`
fn heading(argument: &clap::Arg) -> Vec<Inline> {
    let short = argument.get_short().map(|short| format!("-{short}"));
    let long = argument.get_long().map(|long| format!("--{long}"));
    let flags: Vec<String> = short.into_iter().chain(long).collect();
    let mut line = vec![bold(flags.join(", "))];
    if argument.get_action().takes_values() {
        let names = argument.get_value_names().unwrap_or_default();
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        if !flags.is_empty() {
            line.push(roman(" "));
        }
        line.push(italic(names.join(" ")));
    }
    line
}

fn says(argument: &clap::Arg) -> String {
    let mut text = argument.get_help().map(ToString::to_string).unwrap_or_default();
    if !argument.get_action().takes_values() {
        return text;
    }
    let values: Vec<String> = argument
        .get_possible_values()
        .iter()
        .map(|v| v.get_name().to_owned())
        .collect();
    if !values.is_empty() {
        let _ = write!(text, ": {}", values.join(", "));
    }
    if let [default] = argument.get_default_values() {
        let _ = write!(text, " (default: {})", default.to_string_lossy());
    }
    text
}

/// What is not in the grammar: exit codes, from the README's table, and files.
fn around(readme: &str) -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", ["EXIT STATUS"]);
    let table = readme.split("| exit code | |").nth(1).unwrap_or_default();
    for row in table.lines().skip(2).take_while(|line| line.starts_with('|')) {
        if let [_, code, meaning, ..] = row.split('|').collect::<Vec<_>>()[..] {
            let meaning = meaning.trim().replace('`', "");
            roff.control("TP", []).text([bold(code.trim())]).text([roman(meaning)]);
        }
    }
    roff.control("SH", ["FILES"]);
    for (path, what) in [
        ("/etc/kubecertd/config.toml", "the configuration, see kubecertd.toml(5)"),
        ("/etc/kubecertd/config.d/*.toml", "drop-ins, read after it by name"),
        (
            "/var/lib/kubecertd/backups",
            "the backups, unless the configuration names another directory; they hold private keys",
        ),
        (
            "/var/lib/kubecertd",
            "what is remembered between runs, and the journal of an unfinished renewal",
        ),
        ("/run/kubecertd", "what any user may know"),
    ] {
        roff.control("TP", []).text([italic(path)]).text([roman(what)]);
    }
    roff.control("SH", ["SEE ALSO"]);
    roff.text([
        bold("kubecertd.toml"),
        roman("(5), "),
        bold("systemctl"),
        roman("(1), "),
        bold("journalctl"),
        roman("(1)"),
    ]);
    roff
}

/// kubecertd.toml(5): the comments before a key describe it, the line `#KEY = VALUE` is its default.
fn configuration(toml: &str) -> String {
    let mut roff = Roff::new();
    roff.control("TH", ["kubecertd.toml", "5"]);
    roff.control("SH", ["NAME"])
        .text([roman("kubecertd.toml - configuration of kubecertd")]);
    roff.control("SH", ["DESCRIPTION"]);
    let mut words: Vec<&str> = Vec::new();
    let mut keys = false;
    for line in toml.lines().skip(1) {
        match line {
            // An example, aligned by hand.
            _ if line.starts_with("##") => {
                roff.extend([paragraph(&mut words)]);
                roff.control("EX", [])
                    .text([roman(line.trim_start_matches('#'))])
                    .control("EE", []);
            }
            "" | "#" => roff.extend([paragraph(&mut words)]),
            _ if line.starts_with("# ") => words.push(line[2..].trim()),
            _ if line.starts_with('[') => {
                roff.control("SH", [line]);
            }
            _ => {
                if !keys {
                    keys = true;
                    roff.control("SH", ["KEYS OUTSIDE OF ANY TABLE"]);
                }
                let (key, default) = line[1..].split_once(" = ").unwrap_or((&line[1..], ""));
                let heading = vec![bold(key), roman(format!(" = {default}"))];
                roff.control("TP", []).text(heading);
                roff.text([roman(words.join(" "))]);
                words.clear();
            }
        }
    }
    roff.extend([paragraph(&mut words)]);
    roff.control("SH", ["SEE ALSO"]).text([bold("kubecertd"), roman("(8)")]);
    roff.to_roff()
}

fn paragraph(words: &mut Vec<&str>) -> Roff {
    let mut roff = Roff::new();
    if !words.is_empty() {
        roff.control("PP", []).text([roman(words.join(" "))]);
        words.clear();
    }
    roff
}
