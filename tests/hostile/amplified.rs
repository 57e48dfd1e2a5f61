//! 1 MiB of whatever costs a parser most: depth, width, aliases, blank lines, problems. Each function ends in time.

use kubecertd::config::Settings;
use kubecertd::config::file::Source;
use kubecertd::format::manifest::{Manifest, RESTARTED_AT};
use kubecertd::format::{kubeconfig, manifest, pem, x509};

use crate::bounded::in_time;

/// The largest file that is read.
pub const LARGEST: usize = 1 << 20;

/// A text that is made large by repeating its middle; every `%` in it is a number that counts up.
pub struct Growth {
    head: &'static str,
    unit: &'static str,
    tail: &'static str,
}

const fn grow(head: &'static str, unit: &'static str, tail: &'static str) -> Growth {
    Growth { head, unit, tail }
}

/// A kubeconfig and a manifest in one, both complete.
const WHOLE: &str = "apiVersion: v1\ncurrent-context: x\ncontexts:\n- name: x\n  context: {user: u}\nusers:\n- name: u\n  user:\n    \
    client-certificate-data: QUJD\n    client-key-data: REVG\nmetadata:\n  name: x\nspec:\n  containers:\n  - name: x\n";

pub const YAML: [Growth; 34] = [
    grow("", "[", ""),
    grow("", "{a: ", ""),
    grow("", "{", ""),
    grow("", "- ", ""),
    grow("", "? ", ""),
    grow("a: [", "~,", "]"),
    grow("a: [", "[],", "]"),
    grow("a: [", "'',", "]"),
    grow("a: {", "%,", "}"),
    grow("", "- a\n", ""),
    grow("", "k%: v\n", ""),
    grow("a: |\n", " x\n", ""),
    grow("a: >\n", " x\n\n", ""),
    grow("a: \"", "\\n\n ", "\""),
    grow("a: '", "\n ", "'"),
    grow("", "#\n", ""),
    grow("", " ", ""),
    grow("", "\t", ""),
    grow("", "\n", ""),
    grow("", "\r", ""),
    grow("", "--- \n", ""),
    grow("a: ", "!", ""),
    grow("a: ", "&", ""),
    grow("", "%TAG !% tag:x,2000:\n", ""),
    grow("a: &a x\nb: [", "*a,", "]"),
    grow(
        "a: &a {",
        "%,",
        "}\nb: [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]",
    ),
    grow("a: [", "&a x,", "]"),
    grow("a: [", "!x y,", "]"),
    grow("a: &a {b: c}\n", "k%: {<<: *a}\n", ""),
    grow(WHOLE, "# QUJD\n", ""),
    grow("# QUJD\n", "# QUJD\n", WHOLE),
    grow(WHOLE, "\n", ""),
    grow(WHOLE, "x%: y\n", ""),
    grow(WHOLE, "x x ", ""),
];

pub const TOML: [Growth; 18] = [
    grow("a = ", "[", ""),
    grow("a = ", "{a=", ""),
    grow("", "[a]\n", ""),
    grow("", "[[a]]\n", ""),
    grow("", "[[certificate]]\n", ""),
    grow("", "[[certificate]]\nx = 1\n", ""),
    grow("", "[[certificate]]\nname = \"%\"\npath = \"/%\"\nca = \"none\"\n", ""),
    grow(
        "",
        "[[ca]]\nname = \"%\"\npath = \"/%\"\nkey = \"/%\"\n[[certificate]]\nname = \"%\"\npath = \"/%\"\nca = \"x%\"\n",
        "",
    ),
    grow(
        "",
        "[[certificate]]\nname = \"%\"\npath = \"/etc/%\"\nca = \"ca\"\n",
        "",
    ),
    grow("", "a%=1\n", ""),
    grow("", "a=1\n", ""),
    grow("", "a.", "b=1"),
    grow("", "=\n", ""),
    grow("", "\"", ""),
    grow("", "\n", ""),
    grow("", "#", ""),
    grow("schedule = \"", "1,", "1 * * * * *\""),
    grow("validity = \"", "1d ", "\""),
];

pub const PEM: [Growth; 11] = [
    grow("", "-----BEGIN ", ""),
    grow("-----BEGIN ", "A", ""),
    grow("-----BEGIN ", "A", "-----\nAAEC\n-----END A-----\n"),
    grow("", "-----BEGIN A-----\n", ""),
    grow("", "-----BEGIN A-----\n-----END A-----\n", ""),
    grow("", "-----BEGIN A-----\nAAEC\n-----END A-----\n", ""),
    grow("", "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n", ""),
    grow("-----BEGIN CERTIFICATE-----\n", "A", "\n-----END CERTIFICATE-----\n"),
    grow("-----BEGIN CERTIFICATE-----\n", "MIAw", "\n-----END CERTIFICATE-----\n"),
    grow(
        "-----BEGIN EC PRIVATE KEY-----\n",
        "x: y\n",
        "\n-----END EC PRIVATE KEY-----\n",
    ),
    grow("", "\0", ""),
];

impl Growth {
    /// As large as a file may be.
    pub fn text(&self) -> String {
        self.text_of(LARGEST)
    }

    fn text_of(&self, size: usize) -> String {
        let numbers = self.unit.matches('%').count();
        let room = size - self.head.len() - self.tail.len();
        let times = room / (self.unit.len() + 5 * numbers);
        let middle = match numbers {
            0 => self.unit.repeat(times),
            _ => (1..=times)
                .map(|count| self.unit.replace('%', &count.to_string()))
                .collect(),
        };
        [self.head, &middle, self.tail].concat()
    }

    fn name(&self) -> String {
        let head: String = self.head.chars().take(20).collect();
        format!("{head:?} and then only {:?}", self.unit)
    }
}

/// One function and one text.
#[track_caller]
fn try_it(name: &str, growth: &Growth, text: &str, function: fn(&str)) {
    let text = text.to_owned();
    in_time(&format!("{name} of {}", growth.name()), move || function(&text));
}

#[test]
fn a_mebibyte_of_yaml_is_read_or_refused_in_time() {
    for growth in &YAML {
        let text = growth.text();
        try_it("reading a kubeconfig", growth, &text, |text| {
            drop(kubeconfig::parse(text))
        });
        try_it("reading a manifest", growth, &text, |text| drop(Manifest::parse(text)));
    }
}

#[test]
fn a_mebibyte_of_yaml_is_edited_or_refused_in_time() {
    for growth in &YAML {
        // Edits may refuse what is large, so they are tried with something smaller too.
        for text in [growth.text(), growth.text_of(LARGEST / 9)] {
            try_it("editing a kubeconfig", growth, &text, |text| {
                drop(kubeconfig::replace_credential(text, "c", "k"))
            });
            try_it("editing a manifest", growth, &text, |text| {
                drop(manifest::annotate(text, RESTARTED_AT, "x"))
            });
        }
    }
}

#[test]
fn a_mebibyte_of_toml_is_read_or_refused_in_time() {
    for growth in &TOML {
        try_it("checking a configuration", growth, &growth.text(), |text| {
            let mut problems = Vec::new();
            let source = Source::parse("config.toml".into(), text.to_owned(), &mut problems);
            Settings::check(&[source], &mut problems);
        });
    }
}

#[test]
fn a_mebibyte_of_pem_is_read_or_refused_in_time() {
    for growth in &PEM {
        let text = growth.text();
        try_it("reading PEM", growth, &text, |text| drop(pem::blocks(text)));
        try_it("reading certificates", growth, &text, |text| {
            drop(x509::parse_pem(text))
        });
    }
}

/// 1 MiB would be any size: a few KiB of aliases already stand for gigabytes.
#[test]
fn small_files_that_grow_by_aliases_are_refused_in_time() {
    for text in bombs() {
        in_time("reading aliases of lists", move || {
            kubeconfig::parse(&text).expect_err("too many values");
        });
    }
}

/// Wide: one list and as many aliases of it. Deep: every list ten times the one before it.
pub fn bombs() -> [String; 2] {
    let wide = format!("a: &a [{}]\nb: [{}]\n", "~,".repeat(3000), "*a,".repeat(3000));
    let mut deep = format!("a: &a [{}]\n", "x,".repeat(10));
    for (inner, outer) in ('a'..'j').zip('b'..) {
        deep += &format!("{outer}: &{outer} [{}]\n", format!("*{inner},").repeat(10));
    }
    [wide, deep]
}
