"""Splits Rust sources into comments, strings and code, and finds functions and imports."""

import re


def split(text):
    """Returns (code, comments, strings) of one source.

    `code` has the length and the line breaks of `text`, with blanks in place of comments and of the
    contents of strings. `comments` and `strings` are lists of (line number, text); a comment that
    spans lines has one entry for each line.
    """
    code, comments, strings = [], [], []
    at, line = 0, 1

    def blank(piece):
        code.append(re.sub(r"[^\n]", " ", piece))

    def lines_of(piece):
        return [(line + number, part) for number, part in enumerate(piece.split("\n"))]

    while at < len(text):
        rest = text[at:at + 2]
        raw = re.compile(r'\bb?c?r(#*)"').match(text, at) if text[at] in "bcr" else None
        if raw and at and (text[at - 1].isalnum() or text[at - 1] == "_"):
            raw = None
        if rest == "//":
            end = text.find("\n", at)
            end = len(text) if end < 0 else end
            comments.append((line, text[at:end]))
            blank(text[at:end])
        elif rest == "/*":
            end = block_comment_end(text, at)
            comments.extend(lines_of(text[at:end]))
            blank(text[at:end])
        elif raw:
            close = text.find('"' + raw.group(1), raw.end())
            close = len(text) if close < 0 else close
            end = min(len(text), close + 1 + len(raw.group(1)))
            strings.append((line, text[raw.end():close]))
            blank(text[at:end])
        elif text[at] == '"':
            end = string_end(text, at)
            strings.append((line, text[at + 1:end - 1]))
            code.append('"')
            blank(text[at + 1:end - 1])
            code.append('"')
        elif text[at] == "'" and (char := re.compile(r"'(\\[^\n]+?|[^\\'\n])'").match(text, at)):
            end = char.end()
            blank(text[at:end])
        else:
            end = at + 1
            code.append(text[at])
        line += text.count("\n", at, end)
        at = end
    return "".join(code), comments, strings


def block_comment_end(text, at):
    """Returns the end of the block comment that begins at `at`; they nest."""
    depth = 0
    for token in re.compile(r"/\*|\*/").finditer(text, at):
        depth += 1 if token.group() == "/*" else -1
        if depth == 0:
            return token.end()
    return len(text)


def string_end(text, at):
    """Returns the end of the string that begins at `at`."""
    at += 1
    while at < len(text) and text[at] != '"':
        at += 2 if text[at] == "\\" else 1
    return min(len(text), at + 1)


def without_unit_tests(text):
    """Returns the source before its unit tests, which stand at the end of a file."""
    return text.split("\n#[cfg(test)]\nmod ")[0]


FUNCTION = re.compile(r"\bfn\s+(\w+)\s*")


def functions(code):
    """Yields (line, name, parameters) of every function; `self` is not among the parameters."""
    for match in FUNCTION.finditer(code):
        at = match.end()
        if code[at:at + 1] == "<":
            at = closing(code, at) + 1
        at += len(code[at:]) - len(code[at:].lstrip())
        if code[at:at + 1] != "(":
            continue
        inside = code[at + 1:closing(code, at)]
        parameters = [part for part in top_level(inside) if not is_receiver(part)]
        yield code.count("\n", 0, match.start()) + 1, match.group(1), parameters


def is_receiver(parameter):
    """Tells `self`, `&mut self` and the like from a parameter."""
    return bool(re.match(r"(&\s*('\w+\s+)?)?(mut\s+)?self\b", parameter))


def closing(code, at):
    """Returns the place of the bracket that closes the one at `at`."""
    depth = 0
    for place in range(at, len(code)):
        character = code[place]
        if character in "([{<":
            depth += 1
        elif character in ")]}" or (character == ">" and code[place - 1] not in "-="):
            depth -= 1
            if depth == 0:
                return place
    return len(code)


def top_level(inside):
    """Returns the parts of a list that commas outside of all brackets separate."""
    parts, depth, begin = [], 0, 0
    for place, character in enumerate(inside):
        if character in "([{<":
            depth += 1
        elif character in ")]}" or (character == ">" and inside[place - 1] not in "-="):
            depth -= 1
        elif character == "," and depth == 0:
            parts.append(inside[begin:place])
            begin = place + 1
    parts.append(inside[begin:])
    return [part for part in (without_attributes(part) for part in parts) if part]


def without_attributes(parameter):
    """Returns a parameter without its attributes and blanks."""
    return re.sub(r"^(\s*#\[[^\]]*\])+", "", parameter).strip()


def is_tuple(parameter):
    """Tells whether a parameter is a tuple: by its pattern, its type, or a reference to one."""
    pattern, _, kind = parameter.partition(":")
    by_pattern = re.match(r"\(\s*\S[^)]*,", pattern)
    return bool(by_pattern or re.match(r"\s*(&\s*('\w+\s+)?(mut\s+)?)*\(\s*[^)\s]", kind))


PATH = re.compile(r"\b(crate|super|self)((?:\s*::\s*\w+)*)\s*(::\s*\{)?")


def paths(code):
    """Yields every path that begins with crate, super or self, as a list of its names."""
    for match in PATH.finditer(code):
        names = [match.group(1)] + re.findall(r"\w+", match.group(2))
        if match.group(3):
            open_at = match.end() - 1
            for tail in group(code[open_at + 1:closing(code, open_at)]):
                yield names + tail
        elif len(names) > 1:
            yield names


def group(inside):
    """Yields the paths of one `{...}` group of an import."""
    for part in top_level(inside):
        head, brace, tail = part.partition("{")
        names = re.findall(r"\w+", head.split(" as ")[0])
        if brace:
            for more in group(tail[:tail.rfind("}")]):
                yield names + more
        else:
            yield names
