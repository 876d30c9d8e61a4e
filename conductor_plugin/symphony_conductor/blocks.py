"""Finds where functions and types begin in languages other than Python, by line patterns and indentation.

No parser: code is nearly always indented as its blocks nest, so a definition ends with the first line that
is indented no deeper (and includes it when it closes the block).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from symphony_conductor.languages import LANGUAGES, Language
from symphony_conductor.passages import Section

if TYPE_CHECKING:
    from collections.abc import Iterator

_COMMENTED = re.compile(r"\s*(//|/\*|\*(\s|/|$))")
_HAS_KEYWORD = re.compile(r"\b(fun|func|function|def|fn|class|interface|struct|enum|object|record)\s")
# Enough for any definition's head, and a bound to backtracking on endless lines.
_HEAD = 300
_LABEL = re.compile(r"\w+( \w+)*:$")
_CLOSES = re.compile(r"[}\])]|end\b|fi\b|done\b|esac\b")
_CONTINUES = re.compile(
    r"[{)]|where\b|throws\b|:|->|=>|else\b|elif\b|elsif\b|except\b|rescue\b|ensure\b|finally\b"
)


def sections(lines: list[str], language: str) -> list[Section]:
    """Sections of one file of a language named in ``LANGUAGES``.

    Example
    -------
    >>> [(s.line, s.title) for s in sections(["impl A {", "    fn f() {", "    }", "}", "use b;"], "rust")]
    [(0, 'A'), (1, 'A.f'), (3, 'A'), (4, '')]
    """
    return list(_inside(lines, 0, len(lines), "", LANGUAGES[language], language))


def _inside(
    lines: list[str], line: int, end: int, title: str, rules: Language, language: str
) -> Iterator[Section]:
    begin = line
    while line < end:
        text = lines[line][:_HEAD]
        container = rules.container.match(text)
        match = container or rules.function.match(text)
        if match is None or _COMMENTED.match(text) or (language == "braces" and _is_call(lines, line, end)):
            line += 1
            continue
        own = next(name for name in match.groupdict().values() if name)
        name = f"{title}.{own}" if title else own
        stop = _block_end(lines, line, end, language)
        yield Section(_first_line(lines, line, begin, rules), name)
        if container:
            yield from _inside(lines, line + 1, stop, name, rules, language)
        yield Section(stop, title)
        line = begin = stop


def _is_call(lines: list[str], line: int, end: int) -> bool:
    """C and its kin have no keyword for functions: a definition's block follows before any ``;``."""
    if _HAS_KEYWORD.search(lines[line]):
        return False
    for following in lines[line : min(end, line + 8)]:
        stripped = re.sub(r"//.*|\"[^\"]*\"", "", following)
        opened, ended = stripped.find("{"), stripped.find(";")
        if opened >= 0 and (ended < 0 or opened < ended):
            return False
        if ended >= 0:
            return True
    return True


def _block_end(lines: list[str], line: int, end: int, language: str) -> int:
    """The line after the block that the definition at ``line`` opens."""
    indent = _indent(lines[line])
    if language == "config":
        following = line + 1
        while following < end and not lines[following].startswith("["):
            following += 1
        return following
    complete = lines[line].count("{") == lines[line].count("}") and lines[line].rstrip().endswith(("}", ";"))
    following = line + 1
    while following < end and not complete:
        text = lines[following].strip()
        # Labels and preprocessor lines stand at the margin without ending anything.
        if text and _indent(lines[following]) <= indent and not text.startswith("#"):
            if (_CONTINUES.match(text) and not _CLOSES.match(text)) or (
                language == "braces" and _LABEL.match(text)
            ):
                following += 1
                continue
            if _CLOSES.match(text) and _indent(lines[following]) == indent:
                if text.endswith("{") or text.startswith(")"):  # `} else {`, `) -> Result {`
                    following += 1
                    continue
                following += 1
            break
        following += 1
    # Blank lines go to what follows; the cutter trims them.
    return min(following, end)


def _first_line(lines: list[str], line: int, begin: int, rules: Language) -> int:
    """Comments, attributes and annotations right above belong to the definition."""
    while line > begin and rules.comment.match(lines[line - 1]):
        line -= 1
    return line


def _indent(text: str) -> int:
    expanded = text.expandtabs(4)
    return len(expanded) - len(expanded.lstrip())
