#!/usr/bin/env python3
"""terminal.py <RECORD >SVG: draws recorded terminal output as an animated SVG.

RECORD is plain text. A form feed clears the screen and begins the next scene, whose first line is
the command. The picture shows scene after scene and starts again at the end. It needs no script,
font or image from elsewhere. Readers that prefer no motion see the longest scene, complete.
"""
import sys
from html import escape

COLUMNS = 120
FONT, WIDE, HIGH = 13, 7.83, 18  # pixels: font size, width of a column, height of a line
MARGIN, TITLE = 16, 34
TYPING, LINE, PAUSE = 1.2, 0.12, 4.0  # seconds: a command, one line of output, the end of a scene


def rows_of(text):
    """Returns color and text of each row that a terminal of COLUMNS columns shows."""
    rows = []
    for line in text.rstrip("\n").split("\n"):
        line = line.rstrip()
        pieces = [line[at : at + COLUMNS] for at in range(0, max(len(line), 1), COLUMNS)]
        rows += [(color(line), piece) for piece in pieces]
    return rows


def color(line):
    if line.startswith("$ "):
        return "command"
    if line.startswith(" INFO"):
        return "quiet"
    if line.startswith((" WARN", " ERROR", "kubecertd: ")):
        return "warning"
    if line[:1].isupper() and line.split()[0].isupper():
        return "head"
    return "text"


def main():
    scenes = [rows_of(scene) for scene in sys.stdin.read().split("\f") if scene.strip()]
    length = [TYPING + LINE * len(scene) + PAUSE for scene in scenes]
    whole = sum(length)
    rows = max(len(scene) for scene in scenes)
    longest = max(range(len(scenes)), key=lambda n: (len(scenes[n]), n))
    width, height = round(COLUMNS * WIDE + 2 * MARGIN), TITLE + rows * HIGH + 2 * MARGIN
    share = lambda seconds: f"{100 * seconds / whole:.2f}%"

    frames, groups, begin = [], [], 0.0
    for number, scene in enumerate(scenes):
        end = begin + length[number]
        body = []
        for row, (name_of_color, line) in enumerate(scene):
            shown = begin + (0.3 if row == 0 else TYPING + LINE * row)
            name = f"r{number}-{row}"
            frames.append(
                f"@keyframes {name}{{0%,{share(shown)}{{opacity:0}}{share(shown + 0.01)},{share(end - 0.02)}"
                f"{{opacity:1}}{share(end - 0.01)},100%{{opacity:0}}}}#{name}{{animation-name:{name}}}"
            )
            y = TITLE + MARGIN + row * HIGH + FONT
            # A fixed length keeps the columns straight in every font.
            long = f'textLength="{len(line) * WIDE:.1f}" ' if line else ""
            body.append(
                f'<text id="{name}" class="{name_of_color}" {long}x="{MARGIN}" y="{y}">{escape(line)}</text>'
            )
        still = "" if number == longest else ' class="other"'
        groups.append(f"<g{still}>" + "\n".join(body) + "</g>")
        begin = end

    print(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'xml:space="preserve" role="img" aria-label="A recorded terminal session of kubecertd">\n<style>\n'
        f"text{{font:{FONT}px ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace;"
        f"white-space:pre;animation:{whole:.2f}s step-end infinite}}\n"
        ".text{fill:#d7dce2}.quiet{fill:#8b98a8}.head{fill:#7cc7e8}.command{fill:#fff;font-weight:bold}"
        ".warning{fill:#e8b765}\n" + "\n".join(frames) + "\n"
        "@media (prefers-reduced-motion:reduce){text{animation:none}.other{display:none}}\n</style>\n"
        f'<rect width="{width}" height="{height}" rx="8" fill="#10161d"/>\n'
        '<g fill="#46525f">' + "".join(f'<circle cx="{20 + 18 * n}" cy="18" r="5"/>' for n in range(3)) + "</g>\n"
        + "\n".join(groups) + "\n</svg>"
    )


main()
