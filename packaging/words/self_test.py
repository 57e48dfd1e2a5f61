"""Shows for every figure that it finds a bad example and passes a good one."""

import words

LONG = "word " * 25

# A figure, bad trees and good trees.
EXAMPLES = [
    (words.doc_openers,
     [{"src/a.rs": "/// What is due.\nfn a() {}\n"},
      {"src/a.rs": "//! Its name.\n"},
      {"src/a.rs": "/// Fine.\n///\n/// Whether it is.\nfn a() {}\n"},
      {"src/a.rs": "/// Fine:\n/// - Who asks.\nfn a() {}\n"},
      {"src/a.rs": "enum A {\n    /// How it was.\n    B,\n}\n"}],
     [{"src/a.rs": "/// Returns what is due.\nfn a() {}\n"},
      {"src/a.rs": "// What is no doc comment does not count.\n"},
      {"src/a.rs": 'const A: &str = "/// What is a string";\n'},
      {"src/a.rs": "//// Its rule of slashes.\n"}]),
    (words.doc_sentences,
     [{"src/a.rs": "/// Returns it. Who asks\n/// gets it.\nfn a() {}\n"}],
     [{"src/a.rs": "/// Returns it: what it is.\nfn a() {}\n"}]),
    (words.long_lines,
     [{"src/a.rs": f"// {LONG}\n"},
      {"tests/a.rs": f"/* {LONG} */\n"},
      {"docs/a.md": f"{LONG}\n"},
      {"Makefile": f"# {LONG}\n"},
      {"run": f"#!/bin/bash\n# {LONG}\n"},
      {"a.toml": f"a = 1 # {LONG}\n"},
      {"a.service": f"Description={LONG}\n"},
      {"a.py": f'"""{LONG}"""\n'}],
     [{"src/a.rs": f'const A: &str = "{LONG}";\n'},
      {"docs/a.md": f"| {LONG} |\n"},
      {"docs/a.md": f"```\n{LONG}\n```\n"},
      {"docs/a.md": "[a](https://example.org/" + "a" * 100 + ")\n"},
      {"docs/a.zh-CN.md": f"{LONG}\n"},
      {"a.toml": f'a = "{LONG}"\n'}]),
    (words.long_code,
     [{"src/a.rs": f'const A: &str = "{LONG}";\n'}],
     [{"src/a.rs": f"// {LONG}\n"}, {"tests/a.rs": f'const A: &str = "{LONG}";\n'}]),
    (words.is_no,
     [{"src/a.rs": "// It is no unit.\n"},
      {"src/a.rs": 'const A: &str = "it is no directory";\n'},
      {"README.md": "There is no way.\n"}],
     [{"src/a.rs": "// It is not a unit, and is no longer here.\n"},
      {"README.md": "The text `is no unit` is quoted.\n"}]),
    (words.words_of("banned.txt"),
     [{"src/a.rs": "// Nobody asks.\n"},
      {"src/a.rs": 'const A: &str = "stands beside";\n'},
      {"README.md": "| whatever | it is |\n"},
      {"run": "#!/bin/sh\n# Done by hand.\n"},
      {"a.service": "Description=looks after it\n"}],
     [{"src/a.rs": "fn nobody() {}\n"},
      {"README.md": "The user `nobody` owns it.\n"},
      {"README.md": "It goes one by one.\n"},
      {"packaging/words/banned.txt": "# anew\n"}]),
    (words.words_of("british.txt"),
     [{"README.md": "The behaviour is British.\n"}, {"src/a.rs": "// An unauthorised one.\n"}],
     [{"README.md": "The behavior of a license, precise and advised.\n"}]),
    (words.participles,
     [{"src/a.rs": "struct Seen;\n"}, {"src/a.rs": "enum Renewed { A }\n"}, {"src/a.rs": "type Bringing = u8;\n"}],
     [{"src/a.rs": "struct SeenFile;\nstruct Finding;\n// struct Seen\n"}, {"tests/a.rs": "struct Seen;\n"}]),
    (words.many_parameters,
     [{"src/a.rs": "fn a(b: u8, c: u8, d: Map<u8, u8>, e: u8, f: u8, g: u8) {}\n"},
      {"src/a.rs": "impl A {\n    fn a<'a, F: Fn() -> u8>(&'a mut self, b: u8, c: u8, d: u8, e: u8, f: F, g: u8) {}\n}\n"}],
     [{"src/a.rs": "fn a(&self, b: u8, c: Map<u8, u8>, d: impl Fn(u8, u8) -> u8, e: (), f: u8,) {}\n"},
      {"src/a.rs": "fn a(\n    b: u8, // one, two, three\n    c: u8,\n) {}\n"}]),
    (words.tuple_parameters,
     [{"src/a.rs": "fn a((b, c): (u8, u8)) {}\n"},
      {"src/a.rs": "fn a(b: &(u8, u8)) {}\n"},
      {"src/a.rs": "fn a(b: &'a mut (u8, u8)) {}\n"}],
     [{"src/a.rs": "fn a(b: (), c: impl Fn((u8, u8)), d: &[(u8, u8)]) -> (u8, u8) {}\n"}]),
    (words.circles,
     [{"src/lib.rs": "", "src/a/mod.rs": "mod b;\nmod c;\n", "src/a/b.rs": "use super::c::C;\n", "src/a/c.rs": "use crate::a::b;\n"},
      {"src/a.rs": "use crate::{b::{self, B}, d};\n", "src/b.rs": "fn b() { crate::c::c() }\n", "src/c.rs": "use crate::a;\n"}],
     [{"src/a/mod.rs": "mod b;\nuse self::b::B;\n", "src/a/b.rs": "use super::A;\n"},
      {"src/a.rs": "use crate::b;\n", "src/b.rs": "fn b() {}\n\n#[cfg(test)]\nmod tests {\n    use crate::a;\n}\n"}]),
    (words.long_test_names,
     [{"tests/a.rs": f"#[test]\nfn {'a' * 61}() {{}}\n"}],
     [{"tests/a.rs": f"#[test]\nfn {'a' * 60}() {{}}\nfn {'b' * 70}() {{}}\n"}]),
    (words.test_binaries,
     [{"tests/a.rs": ""}, {"tests/a/main.rs": ""}],
     [{"tests/a/b.rs": ""}]),
]

# A figure that is a number, a tree, and the number.
NUMBERS = [
    (words.readme_words("README.md"), {"README.md": "# One two\n\n| three | four |\n\n```\nfive\n```\n[six](seven)\n"}, 5),
    (words.readme_words("README.zh-CN.md"), {"README.zh-CN.md": "\u8bc1\u4e66\u7eed\u671f\u5de5\u5177\u662f\u597d kubecertd\n"}, 6),
    (words.largest_source, {"src/a.rs": "\n\n\n", "src/b.rs": "\n"}, 3),
]


def run():
    """Returns the exit code, and prints what is wrong."""
    wrong = []
    for figure, bad, good in EXAMPLES:
        for tree in bad:
            _, offenses = words.measure(words.Tree(tree), figure)
            if not offenses:
                wrong.append(f"found {offenses} in a bad example: {tree}")
        for tree in good:
            _, offenses = words.measure(words.Tree(tree), figure)
            if offenses:
                wrong.append(f"found {offenses} in a good example: {tree}")
    for figure, tree, expected in NUMBERS:
        value, _ = words.measure(words.Tree(tree), figure)
        if value != expected:
            wrong.append(f"found {value} in place of {expected}: {tree}")
    tried = {figure.__code__ for figure, *_ in EXAMPLES + NUMBERS}
    wrong += [f"no example: {name}" for name, figure, _ in words.FIGURES if figure.__code__ not in tried]
    print("\n".join(wrong) if wrong else f"{len(words.FIGURES)} figures find their bad examples and pass the good ones")
    return int(bool(wrong))
