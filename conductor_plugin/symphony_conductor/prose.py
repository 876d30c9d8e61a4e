"""Finds the headings of Markdown and reStructuredText. Only lines and titles: no cutting here."""

from __future__ import annotations

import re

from symphony_conductor.passages import Section

_ATX = re.compile(r" {0,3}(#{1,6})(?:\s+(.*?))?(?:\s+#+)?\s*$")
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_SETEXT = {
    "markdown": re.compile(r" {0,3}(=+|-+)\s*$"),
    "rst": re.compile(r"([=\-~^\"'`#*+.:_<>])\1{2,}\s*$"),
}
_NO_HEADING = re.compile(r"\s|[-*+>|]\s|\d+[.)]\s|\||\.\. |$")


def sections(lines: list[str], kind: str) -> list[Section]:
    """One section per heading; its title is the trail of headings that leads to it.

    Example
    -------
    >>> sections(["# Guide", "", "## Install", "pip"], "markdown")
    [Section(line=0, title='Guide'), Section(line=2, title='Guide > Install')]
    """
    found: list[Section] = []
    trail: list[tuple[int, str]] = []
    order: list[str] = []  # rst: a heading's depth is the order in which its underline first appeared
    fence = ""
    for number, line in enumerate(lines):
        if kind == "markdown":
            if fence:
                if line.strip().startswith(fence) and not line.strip().strip(fence[0]):
                    fence = ""
                continue
            if opened := _FENCE.match(line):
                fence = opened.group(1)
                continue
        heading = _heading(lines, number, kind, order)
        if heading is not None:
            start, depth, title = heading
            trail = [(above, name) for above, name in trail if above < depth] + [(depth, title)]
            found.append(Section(start, " > ".join(name for _, name in trail)))
    return found


def _heading(lines: list[str], number: int, kind: str, order: list[str]) -> tuple[int, int, str] | None:
    line = lines[number]
    if kind == "markdown" and (atx := _ATX.match(line)):
        return number, len(atx.group(1)), (atx.group(2) or "").strip()
    underline = _SETEXT[kind].match(line)
    above = lines[number - 1] if number else ""
    if underline is None or not above.strip() or _NO_HEADING.match(above):
        return None
    mark = line.strip()[0]
    start = number - 1
    if kind == "markdown":
        # A table's rule or the end of front matter is no underline; a paragraph's last line alone is taken.
        if number >= 2 and lines[number - 2].strip():
            return None
        return start, 1 if mark == "=" else 2, above.strip()
    if len(line.rstrip()) < len(above.rstrip()) or _SETEXT[kind].match(above):
        return None
    if number >= 2 and lines[number - 2].strip() == line.strip():
        start, mark = number - 2, mark * 2  # overlined: a depth of its own
    elif number >= 2 and lines[number - 2].strip():
        return None
    if mark not in order:
        order.append(mark)
    return start, order.index(mark), above.strip()
