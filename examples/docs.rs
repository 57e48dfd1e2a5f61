//! `cargo run --example docs -- DIRECTORY`: writes the manual pages and the shell completions.
//!
//! The text of the pages is in `packaging/man`. Lines `.\" @NAME@` are placeholders for the parts
//! that describe an interface: options and commands come from the grammar of the command line, keys
//! from the comments of `config/kubecertd.toml`.

use std::fmt::Write as _;
use std::path::Path;
use std::{env, fs, io};

use clap_complete::Shell;
use clap_mangen::roff::{Inline, Roff, bold, italic, roman};

fn main() -> io::Result<()> {
    let directory = env::args_os()
        .nth(1)
        .ok_or_else(|| io::Error::other("usage: docs DIRECTORY"))?;
    let directory = Path::new(&directory);
    fs::create_dir_all(directory)?;
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut grammar = kubecertd::cli::grammar();
    grammar.build();
    let config = fs::read_to_string(repository.join("config/kubecertd.toml"))?;
    let parts = [
        ("OPTIONS", options(&grammar)),
        ("COMMANDS", commands(&grammar)),
        ("KEYS", keys(&config)),
    ];
    for name in ["kubecertd.8", "kubecertd.toml.5"] {
        let template = fs::read_to_string(repository.join("packaging/man").join(name))?;
        fs::write(directory.join(name), fill(&template, &parts)?)?;
    }
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        clap_complete::generate_to(shell, &mut grammar, "kubecertd", directory)?;
    }
    Ok(())
}

/// Replaces the placeholders of a page, and drops its comments.
fn fill(template: &str, parts: &[(&str, Roff)]) -> io::Result<String> {
    let mut page = String::new();
    for line in template.lines() {
        let placeholder = line.strip_prefix(".\\\" @").and_then(|rest| rest.strip_suffix('@'));
        match placeholder {
            Some(name) => {
                let part = parts.iter().find(|(other, _)| *other == name);
                let (_, part) = part.ok_or_else(|| io::Error::other(format!("unknown placeholder {name}")))?;
                page += &part.to_roff();
            }
            None if line.starts_with(".\\\"") => {}
            None => page = page + &line.replace("@VERSION@", env!("CARGO_PKG_VERSION")) + "\n",
        }
    }
    Ok(page)
}

/// Renders the options that are valid for every command.
fn options(grammar: &clap::Command) -> Roff {
    let mut roff = Roff::new();
    for argument in grammar.get_arguments() {
        describe(argument, &mut roff);
    }
    roff
}

/// Renders every command with its own options.
fn commands(grammar: &clap::Command) -> Roff {
    let mut roff = Roff::new();
    for command in grammar.get_subcommands() {
        describe_command(command, &mut roff);
    }
    roff
}

/// Renders a command, or each of its subcommands.
fn describe_command(command: &clap::Command, roff: &mut Roff) {
    if command.get_name() == "help" || command.is_hide_set() {
        return;
    }
    if command.has_subcommands() {
        for command in command.get_subcommands() {
            describe_command(command, roff);
        }
        return;
    }
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ").replace(" [OPTIONS]", "");
    let about = command.get_long_about().or(command.get_about());
    let about = about.map(ToString::to_string).unwrap_or_default();
    roff.control("SS", [usage.as_str()]);
    for (at, paragraph) in about.split("\n\n").enumerate() {
        if at > 0 {
            roff.control("PP", []);
        }
        roff.text([roman(sentence(paragraph))]);
    }
    let own = |argument: &&clap::Arg| !argument.is_global_set() && argument.get_id() != "help";
    for argument in command.get_arguments().filter(own) {
        describe(argument, roff);
    }
}

/// Renders an argument: `-o, --output FORMAT`, then its help.
fn describe(argument: &clap::Arg, roff: &mut Roff) {
    roff.control("TP", [])
        .text(heading(argument))
        .text([roman(help(argument))]);
}

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

fn help(argument: &clap::Arg) -> String {
    let text = argument.get_long_help().or(argument.get_help());
    let mut text = text.map(ToString::to_string).unwrap_or_default();
    if !argument.get_action().takes_values() {
        return sentence(&text);
    }
    let values: Vec<String> = argument
        .get_possible_values()
        .iter()
        .map(|value| value.get_name().to_owned())
        .collect();
    if !values.is_empty() {
        let _ = write!(text, ": {}", values.join(", "));
    }
    if let [default] = argument.get_default_values() {
        let _ = write!(text, " (default: {})", default.to_string_lossy());
    }
    sentence(&text)
}

/// Ends a text with a full stop.
fn sentence(text: &str) -> String {
    format!("{}.", text.trim_end_matches('.').replace('\n', " "))
}

/// Renders the keys: the comment before a line `#KEY = VALUE` describes the key, the line is its
/// default. The first line of the file is left out.
fn keys(toml: &str) -> Roff {
    let mut roff = Roff::new();
    let mut comment = Comment::default();
    let mut has_keys = false;
    for line in toml.lines().skip(1) {
        if let Some(example) = line.strip_prefix("##") {
            roff.extend([comment.paragraphs()]);
            roff.control("EX", [])
                .text([roman(format!("    {example}"))])
                .control("EE", []);
        } else if line.is_empty() || line == "#" {
            roff.extend([comment.paragraphs()]);
        } else if line.starts_with('[') {
            roff.control("SH", [line]);
        } else if let Some(prose) = line.strip_prefix("# ") {
            comment.push(prose);
        } else {
            if !has_keys {
                has_keys = true;
                roff.control("SH", ["KEYS OUTSIDE OF ANY TABLE"]);
            }
            let key = line.trim_start_matches('#');
            let (key, default) = key.split_once(" = ").unwrap_or((key, ""));
            roff.control("TP", []).text([bold(key), roman(format!(" = {default}"))]);
            roff.extend([comment.describe_key()]);
        }
    }
    roff.extend([comment.paragraphs()]);
    roff
}

/// The lines of a comment, joined to paragraphs and list items.
#[derive(Default)]
struct Comment {
    prose: String,
    items: Vec<String>,
}

impl Comment {
    fn push(&mut self, line: &str) {
        let line = line.trim();
        match (line.strip_prefix("- "), self.items.last_mut()) {
            (Some(item), _) => self.items.push(item.to_owned()),
            (None, Some(item)) => *item = format!("{item} {line}"),
            (None, None) if self.prose.is_empty() => line.clone_into(&mut self.prose),
            (None, None) => self.prose = format!("{} {line}", self.prose),
        }
    }

    /// Takes the comment as paragraphs of their own. A line without a full stop or colon at its end
    /// is a heading.
    fn paragraphs(&mut self) -> Roff {
        let mut roff = Roff::new();
        let comment = std::mem::take(self);
        if comment.prose.ends_with(['.', ':']) {
            roff.control("PP", []).text([roman(comment.prose)]);
        } else if !comment.prose.is_empty() {
            roff.control("SH", [comment.prose.to_uppercase().as_str()]);
        }
        for item in comment.items {
            roff.control("IP", ["\\(bu", "2"]).text([roman(item)]);
        }
        roff
    }

    /// Takes the comment as the description of the key before it.
    fn describe_key(&mut self) -> Roff {
        let mut roff = Roff::new();
        let comment = std::mem::take(self);
        if !comment.prose.is_empty() {
            roff.text([roman(comment.prose)]);
        }
        if !comment.items.is_empty() {
            roff.control("RS", []);
            for item in comment.items {
                roff.control("IP", ["\\(bu", "2"]).text([roman(item)]);
            }
            roff.control("RE", []);
        }
        roff
    }
}
