#!/usr/bin/env python3
"""Measures the words and the shape of this repository, and fails above the limits.

words.py               prints every figure with its limit; exit code 1 when one is above it
words.py --list [PATH...]
                       prints every offending line, file by file, the worst file first
words.py --self-test   shows that every figure finds a bad example and passes a good one
"""

import collections
import pathlib
import re
import subprocess
import sys
import unicodedata

sys.dont_write_bytecode = True

import rust  # noqa: E402  (after the switch above)

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent

COLUMNS = 100
QUOTES = '"' * 3
OPENERS = re.compile(r"(What|Who|Whose|Where|Whether|How|Its|It|They|Them)\b")
# A Chinese text needs about 1.6 characters for an English word.
CHARACTERS_PER_WORD = 1.6

Offense = collections.namedtuple("Offense", "path line text")


# Files: which of them are prose, and which lines of the others are.

def tracked(root):
    """Returns {path: text} of the files that people write: no fixtures, no generated files."""
    command = ["git", "-C", str(root), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split("\0")
    skipped = re.compile(r"(tests/(corpus|fixtures)/(?!README\.md$)|.*\.(lock|json|svg|png)$|LICENSE$)")
    tree = {}
    for name in names:
        path = root / name
        if not name or skipped.match(name) or not path.is_file():
            continue
        try:
            tree[name] = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
    return tree


def is_rust(name):
    return name.endswith(".rs")


def is_source(name):
    return name.startswith("src/") and is_rust(name)


def is_markdown(name):
    return name.endswith(".md")


def is_english(name):
    return ".zh-CN." not in name


def is_all_prose(name):
    """The shipped configuration and the units are read by operators like a document."""
    return name.endswith((".catalog", ".service", ".timer")) or name == "config/kubecertd.toml"


def is_script(name, text):
    """Tells files whose comments begin with a hash."""
    return not is_rust(name) and not is_markdown(name) and (
        text.startswith("#!")
        or name.endswith((".toml", ".yaml", ".yml", ".sh", ".py", ".in", ".service", ".txt", ".catalog"))
        or pathlib.PurePath(name).name in ("Makefile", ".editorconfig", ".gitattributes", ".gitignore")
    )


def own_words(name):
    """The lists of words hold the words that they ban."""
    return name.startswith("packaging/words/")


def without_links(line):
    """Removes addresses and tags, which cannot be broken."""
    line = re.sub(r"\]\([^)]*\)", "]", line)
    return re.sub(r"<[^>]*>|https?://\S+", "", line)


def without_code(line):
    return re.sub(r"`[^`]*`", "`", line)


def columns(line):
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in line)


def markdown_prose(text):
    """Yields (line number, line) outside of fenced code and tables."""
    fence = None
    for number, line in enumerate(text.split("\n"), 1):
        mark = re.match(r"\s*(```+|~~~+)", line)
        if mark:
            fence = None if fence else mark.group(1)
        elif not fence and not line.lstrip().startswith("|"):
            yield number, line


def hash_comments(text):
    """Yields (line number, whole line, comment) of comments that begin with a hash."""
    for number, line in enumerate(text.split("\n"), 1):
        mark = re.match(r"\s*#(?!!)(.*)", line) or re.match(r".*\s#\s(.*)", line)
        if mark:
            yield number, line, mark.group(1)


def python_docs(text):
    """Yields (line number, line) inside of triple quotes."""
    inside = False
    for number, line in enumerate(text.split("\n"), 1):
        quotes = line.count(QUOTES)
        if inside or quotes:
            yield number, line
        inside ^= quotes % 2 == 1


class Tree:
    """The files, with the sources split once."""

    def __init__(self, files):
        self.files = files
        self.rust = {name: rust.split(text) for name, text in files.items() if is_rust(name)}

    def prose(self):
        """Yields (path, line number, text) of documents and comments in English."""
        for name, text in self.files.items():
            if own_words(name) or not is_english(name):
                continue
            if is_rust(name):
                for number, comment in self.rust[name][1]:
                    yield name, number, comment.lstrip("/!* ")
            elif is_markdown(name):
                for number, line in markdown_prose(text):
                    yield name, number, line
                for number, line in enumerate(text.split("\n"), 1):
                    if line.lstrip().startswith("|"):
                        yield name, number, line
            elif is_all_prose(name):
                for number, line in enumerate(text.split("\n"), 1):
                    yield name, number, line
            elif is_script(name, text):
                for number, _, comment in hash_comments(text):
                    yield name, number, comment
                if name.endswith(".py"):
                    yield from ((name, number, line) for number, line in python_docs(text))

    def messages(self):
        """Yields (path, line number, text) of the strings of the program, but for names in files:
        the words of an interface stay."""
        for name, (_, _, strings) in self.rust.items():
            if not is_source(name):
                continue
            lines = self.files[name].split("\n")
            for begin, string in strings:
                if lines[begin - 1].lstrip().startswith("#[serde("):
                    continue
                for number, line in enumerate(string.split("\n"), begin):
                    yield name, number, line

    def doc_paragraphs(self):
        """Yields (path, line number, text) of each paragraph of the doc comments of src."""
        for name, (_, comments, _) in self.rust.items():
            if not is_source(name):
                continue
            begin, words, last = 0, [], 0
            for number, comment in comments + [(0, "")]:
                mark = re.match(r"//[/!](?!/)\s?(.*)", comment)
                text = mark.group(1).strip() if mark else ""
                item = re.match(r"([-*]|\d+\.)\s+", text)
                if words and (not text or item or number != last + 1):
                    yield name, begin, " ".join(words)
                    words = []
                if text:
                    begin = begin if words else number
                    words.append(text[item.end():] if item else text)
                last = number


# Figures: each returns its offenses, openers also how many there are in all.

def doc_openers(tree):
    paragraphs = list(tree.doc_paragraphs())
    bad = [Offense(*paragraph) for paragraph in paragraphs if OPENERS.match(paragraph[2])]
    return bad, len(paragraphs)


def doc_sentences(tree):
    bad, total = [], 0
    for name, number, text in tree.doc_paragraphs():
        for sentence in re.split(r"(?<=[.!?])\s+", text):
            total += 1
            if OPENERS.match(sentence):
                bad.append(Offense(name, number, sentence))
    return bad, total


def long_lines(tree):
    for name, text in tree.files.items():
        lines = text.split("\n")
        if is_rust(name):
            numbers = sorted({number for number, _ in tree.rust[name][1]})
        elif is_markdown(name):
            # Chinese has no blanks to break at: a line break would show as one.
            numbers = [number for number, _ in markdown_prose(text)] if is_english(name) else []
        elif is_all_prose(name):
            numbers = range(1, len(lines) + 1)
        elif is_script(name, text):
            numbers = {number for number, _, _ in hash_comments(text)}
            if name.endswith(".py"):
                numbers.update(number for number, _ in python_docs(text))
            numbers = sorted(numbers)
        else:
            continue
        for number in numbers:
            if columns(without_links(lines[number - 1])) > COLUMNS:
                yield Offense(name, number, lines[number - 1].strip())


def long_code(tree):
    """Lines that rustfmt cannot break: strings, most of them."""
    for name, text in tree.files.items():
        if is_source(name):
            comments = {number for number, _ in tree.rust[name][1]}
            for number, line in enumerate(text.split("\n"), 1):
                if len(line) > 120 and number not in comments:
                    yield Offense(name, number, line.strip())


IS_NO = re.compile(r"\b(is|are|was|were|be|been) no (?!longer\b|more\b|less\b)[a-z]")


def is_no(tree):
    for name, number, line in [*tree.prose(), *tree.messages()]:
        for _ in IS_NO.finditer(without_code(line)):
            yield Offense(name, number, line.strip())


def listed(name):
    """Returns the (left, right) of the lines of a list beside this script."""
    lines = (HERE / name).read_text(encoding="utf-8").splitlines()
    kept = [line for line in lines if line.strip() and not line.startswith("#")]
    return [tuple(part.strip() for part in line.partition(" = ")[::2]) for line in kept]


def words_of(list_name):
    entries = [(re.compile(rf"\b(?:{pattern})\b", re.IGNORECASE), better) for pattern, better in listed(list_name)]

    def figure(tree):
        for name, number, line in [*tree.prose(), *tree.messages()]:
            plain = without_code(without_links(line))
            for pattern, better in entries:
                for match in pattern.finditer(plain):
                    yield Offense(name, number, f"{match.group()} -> {better}: {line.strip()}")
    return figure


TYPE = re.compile(r"\b(?:struct|enum|trait|union|type)\s+([A-Z]\w*)")


def participles(tree):
    entries = listed("participles.txt")
    irregular = {name for name, reason in entries if not reason}
    exceptions = {name for name, reason in entries if reason}
    for name, (code, _, _) in tree.rust.items():
        if not is_source(name):
            continue
        for match in TYPE.finditer(code):
            kind = match.group(1)
            if kind not in exceptions and (kind in irregular or re.search(r"(ed|ing)$", kind)):
                yield Offense(name, code.count("\n", 0, match.start()) + 1, kind)


def many_parameters(tree):
    for name, (code, _, _) in tree.rust.items():
        for line, function, parameters in rust.functions(code):
            if len(parameters) > 5:
                yield Offense(name, line, f"{function} has {len(parameters)} parameters")


def tuple_parameters(tree):
    for name, (code, _, _) in tree.rust.items():
        for line, function, parameters in rust.functions(code):
            for parameter in filter(rust.is_tuple, parameters):
                yield Offense(name, line, f"{function}: {' '.join(parameter.split())}")


def module_of(name):
    """Returns the names of the module that a file of src is: backup/mod.rs is [backup]."""
    names = name.removeprefix("src/").removesuffix(".rs").split("/")
    return [] if names in (["lib"], ["main"]) else names[:-1] if names[-1] == "mod" else names


def imports(tree):
    """Returns {file: files that it names}; what a module names of its parents is left out.

    A parent declares its children and shares its types with them, so that arrow is part of the tree
    of modules. Arrows between siblings and between branches are what a circle is made of.
    """
    files = {tuple(module_of(name)): name for name in tree.rust if is_source(name)}
    arrows = collections.defaultdict(set)
    for name in files.values():
        here = module_of(name)
        code = rust.split(rust.without_unit_tests(tree.files[name]))[0]
        for path in rust.paths(code):
            target = list(here)
            for step, word in enumerate(path):
                if word == "crate":
                    target = []
                elif word == "super":
                    target = target[:-1]
                elif word != "self":
                    target += path[step:]
                    break
            while target and tuple(target) not in files:
                target.pop()
            to = files.get(tuple(target))
            if to and to != name and target != here[:len(target)]:
                arrows[name].add(to)
    return arrows


def circles(tree):
    arrows = imports(tree)
    between = collections.defaultdict(set)
    for name, targets in arrows.items():
        top = module_of(name)[:1]
        between[top[0] if top else name].update(module_of(to)[0] for to in targets if module_of(to)[:1] != top)
    for graph in (arrows, between):
        for group in components(graph):
            if len(group) > 1:
                names = sorted(group)
                where = names[0] if names[0].endswith(".rs") else f"src/{names[0]}"
                yield Offense(where, 1, "circle: " + " <-> ".join(names))


def components(graph):
    """Returns the strongly connected components of {node: nodes}."""
    def reached(start, edges):
        seen, left = {start}, [start]
        while left:
            for to in edges.get(left.pop(), ()):
                if to not in seen:
                    seen.add(to)
                    left.append(to)
        return seen

    back = collections.defaultdict(set)
    for node, targets in graph.items():
        for to in targets:
            back[to].add(node)
    found, done = [], set()
    for node in list(graph):
        if node not in done:
            group = reached(node, graph) & reached(node, back)
            done |= group
            found.append(group)
    return found


def readme_words(name):
    def figure(tree):
        text = tree.files.get(name, "")
        lines = [without_links(line) for _, line in markdown_prose(text)]
        lines += [line for line in text.split("\n") if line.lstrip().startswith("|")]
        prose = re.sub(r"[|#*`>-]", " ", "\n".join(lines))
        chinese = re.findall(r"[\u4e00-\u9fff]", prose)
        latin = re.sub(r"[\u3000-\u9fff\uff00-\uffef]", " ", prose).split()
        return round(len(chinese) / CHARACTERS_PER_WORD) + len(latin)
    return figure


def long_test_names(tree):
    for name, (code, _, _) in tree.rust.items():
        for match in re.finditer(r"#\[(?:tokio::)?test\]\s*(?:#\[[^\]]*\]\s*)*(?:async\s+)?fn\s+(\w+)", code):
            if len(match.group(1)) > 60:
                yield Offense(name, code.count("\n", 0, match.start(1)) + 1, match.group(1))


def test_binaries(tree):
    for name in tree.files:
        if re.fullmatch(r"tests/(\w+\.rs|\w+/main\.rs)", name):
            yield Offense(name, 1, "a test binary")


def largest_source(tree):
    return max((text.count("\n") for name, text in tree.files.items() if is_source(name)), default=0)


# A figure that returns a number has no list; (offenses, total) is a percentage.
FIGURES = [
    ("doc paragraphs that begin with What/Who/Where/Whether/How/Its/It/They, %", doc_openers, 3),
    ("sentences in doc comments that begin so, %", doc_sentences, 3),
    ("lines over 100 columns in comments and prose", long_lines, 0),
    ("lines of code of src over 120 columns", long_code, 0),
    ('"is no X"', is_no, 0),
    ("banned words", words_of("banned.txt"), 0),
    ("British spellings", words_of("british.txt"), 0),
    ("types named by a participle", participles, 0),
    ("functions with more than 5 parameters", many_parameters, 0),
    ("tuple parameters", tuple_parameters, 0),
    ("import circles", circles, 0),
    ("words of README.md", readme_words("README.md"), 700),
    ("words of README.zh-CN.md", readme_words("README.zh-CN.md"), 700),
    ("test names over 60 characters", long_test_names, 0),
    ("test binaries", test_binaries, 8),
    ("lines of the largest source file", largest_source, 420),
]


def measure(tree, figure):
    """Returns (value, offenses) of one figure."""
    result = figure(tree)
    if isinstance(result, int):
        return result, []
    if isinstance(result, tuple):
        offenses, total = result
        return round(100 * len(offenses) / max(1, total), 1), offenses
    offenses = list(result)
    return len(offenses), offenses


def print_list(measured, below):
    files = collections.defaultdict(list)
    for name, _, _, offenses in measured:
        for offense in offenses:
            if not below or offense.path.startswith(tuple(below)):
                files[offense.path].append((name, offense))
    for path, entries in sorted(files.items(), key=lambda entry: -len(entry[1])):
        print(f"{path}: {len(entries)}")
        for name, offense in sorted(entries, key=lambda entry: entry[1].line):
            text = offense.text if len(offense.text) <= 160 else offense.text[:160] + "..."
            print(f"  {path}:{offense.line}: {name}: {text}")


def main(arguments):
    if arguments == ["--self-test"]:
        import self_test
        return self_test.run()
    if arguments and arguments[0] != "--list":
        print(__doc__, file=sys.stderr)
        return 2
    tree = Tree(tracked(ROOT))
    measured = [(name, limit, *measure(tree, figure)) for name, figure, limit in FIGURES]
    if arguments:
        try:
            print_list(measured, [path.removeprefix("./") for path in arguments[1:]])
        except BrokenPipeError:
            sys.stderr.close()
        return 0
    for name, limit, value, _ in measured:
        print(f"{'ok   ' if value <= limit else 'ABOVE'} {name}: {value} (at most {limit})")
    within = sum(value <= limit for _, limit, value, _ in measured)
    print(f"{within} of {len(measured)} figures within their limits")
    return int(within < len(measured))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
