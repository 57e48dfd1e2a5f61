//! The most of everything that costs a parser most: depth, width, aliases, blank lines, problems.
//! Each function ends in time.

use kubecertd::config::Settings;
use kubecertd::config::file::Source;
use kubecertd::format::manifest::{Manifest, RESTARTED_AT};
use kubecertd::format::{kubeconfig, manifest, pem, x509};

use crate::bounded::in_time;

/// The largest file that is read.
pub const LARGEST: usize = 1 << 20;

/// Parsers may refuse what is large, and then what is just small enough costs most.
pub const SIZES: [usize; 5] = [
    LARGEST,
    (LARGEST >> 2) - 64,
    (LARGEST >> 3) - 64,
    (LARGEST >> 4) - 64,
    (LARGEST >> 8) - 200,
];

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

    pub fn text_of(&self, size: usize) -> String {
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
fn try_it(name: &str, growth: &Growth, function: fn(&str)) {
    for size in SIZES {
        let text = growth.text_of(size);
        let what = format!("{name} of {} bytes, {}", text.len(), growth.name());
        in_time(&what, move || function(&text));
    }
}

#[test]
fn much_yaml_is_read_or_refused_in_time() {
    for growth in &YAML {
        try_it("reading a kubeconfig", growth, |text| drop(kubeconfig::parse(text)));
        try_it("reading a manifest", growth, |text| drop(Manifest::parse(text)));
    }
}

#[test]
fn much_yaml_is_edited_or_refused_in_time() {
    for growth in &YAML {
        try_it("editing a kubeconfig", growth, |text| {
            drop(kubeconfig::replace_credential(text, "c", "k"));
        });
        try_it("editing a manifest", growth, |text| {
            drop(manifest::annotate(text, RESTARTED_AT, "x"));
        });
    }
}

#[test]
fn much_toml_is_read_or_refused_in_time() {
    for growth in &TOML {
        try_it("checking a configuration", growth, |text| {
            let mut problems = Vec::new();
            let source = Source::parse("config.toml".into(), text.to_owned(), &mut problems);
            Settings::check(&[source], &mut problems);
        });
    }
}

#[test]
fn much_pem_is_read_or_refused_in_time() {
    for growth in &PEM {
        try_it("reading PEM", growth, |text| drop(pem::blocks(text)));
        try_it("reading certificates", growth, |text| drop(x509::parse_pem(text)));
    }
}

#[test]
fn yaml_that_grows_by_aliases_is_read_or_refused_in_time() {
    for text in bombs() {
        in_time("reading aliases of lists", move || drop(kubeconfig::parse(&text)));
    }
}

/// Texts that stand for many times their size: as many aliases as items; lists of lists, in many
/// levels and in few; and few aliases of one large list.
pub fn bombs() -> [String; 4] {
    let wide = format!("a: &a [{}]\nb: [{}]\n", "~,".repeat(3000), "*a,".repeat(3000));
    let large = format!("a: &a [{}]\nb: [{}]\n", "~,".repeat(120_000), "*a,".repeat(90));
    [wide, levels(10, 9), levels(1000, 4), large]
}

/// Each list is ten times the one before it.
fn levels(items: usize, levels: usize) -> String {
    let mut text = format!("a: &a [{}]\n", "x,".repeat(items));
    for (inner, outer) in ('a'..).zip('b'..).take(levels) {
        text += &format!("{outer}: &{outer} [{}]\n", format!("*{inner},").repeat(10));
    }
    text
}
