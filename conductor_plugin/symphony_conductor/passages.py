"""Cuts a text into passages: the one entry for every kind of file.

A passage is a run of whole lines; together the passages hold every line that is not blank, once and in
order. This module chooses the cutter and caps the size; it reads no file and knows no vectors.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from itertools import pairwise
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MAX_LINES = 60
MAX_CHARS = 6_000
# Below this, a part left over by a cut would say too little on its own.
MIN_LINES = 15

# Raised when a change of cutting or embedding makes older passages incomparable: all files are embedded anew.
RECIPE = 1


@dataclass(frozen=True, slots=True)
class Passage:
    """Some lines of a file.

    Parameters
    ----------
    start, end:
        First and last line, counted from 1, both inside the passage.
    title:
        Name of the function, class or heading that the lines belong to, ``""`` where there is none.
    text:
        The lines, joined by ``\\n``, without a final one.
    """

    start: int
    end: int
    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Section:
    """Where a cutter wants a cut: before this line (counted from 0), under this title."""

    line: int
    title: str


def kind_of(path: str) -> str:
    """Tell which cutter a file gets: ``python``, ``markdown``, ``rst``, a key of ``languages``, or ``text``.

    Example
    -------
    >>> kind_of("src/lib.rs"), kind_of("README.md"), kind_of("LICENSE")
    ('rust', 'markdown', 'text')
    """
    suffix = PurePosixPath(path.lower()).suffix
    if suffix in {".py", ".pyi", ".pyw"}:
        return "python"
    if suffix in {".md", ".markdown", ".mdx"}:
        return "markdown"
    if suffix == ".rst":
        return "rst"
    from symphony_conductor.languages import LANGUAGE_OF_SUFFIX

    return LANGUAGE_OF_SUFFIX.get(suffix, "text")


def cut(text: str, path: str) -> list[Passage]:
    """Cut a file's text into passages at the boundaries its language knows.

    Parameters
    ----------
    text:
        The whole file.
    path:
        Its path; only the suffix counts.

    Example
    -------
    >>> [(p.start, p.end, p.title) for p in cut("import os\\n\\ndef up():\\n    return '..'\\n", "a.py")]
    [(1, 1, ''), (3, 4, 'up')]
    """
    lines = split_lines(text)
    return list(_passages(lines, _sections(lines, kind_of(path))))


def split_lines(text: str) -> list[str]:
    """Split at ``\\n``, ``\\r\\n`` and ``\\r`` only, as editors and Python's parser count lines."""
    return [line.rstrip("\r\n") for line in io.StringIO(text, newline="")]


def _sections(lines: list[str], kind: str) -> list[Section]:
    # Imported by need: a cutter costs an import only to those who have such files.
    if kind == "python":
        from symphony_conductor.python_code import sections as python_sections

        found = python_sections(lines)
        if found is not None:
            return found
        kind = (
            "python2"  # does not parse: old, broken or a template; the block cutter knows `def` and `class`
        )
    if kind in {"markdown", "rst"}:
        from symphony_conductor.prose import sections as prose_sections

        return prose_sections(lines, kind)
    if kind == "text":
        return []
    from symphony_conductor.blocks import sections as block_sections

    return block_sections(lines, kind)


def _passages(lines: list[str], sections: Iterable[Section]) -> Iterator[Passage]:
    cuts = [Section(0, ""), *sorted(sections, key=lambda section: section.line), Section(len(lines), "")]
    for this, following in pairwise(cuts):
        start, end = _trim(lines, this.line, following.line)
        while start < end:
            stop = _part_end(lines, start, end)
            yield from _whole(lines, *_trim(lines, start, stop), this.title)
            start, _ = _trim(lines, stop, end)


def _trim(lines: list[str], start: int, end: int) -> tuple[int, int]:
    while start < end and not lines[start].strip():
        start += 1
    while end > start and not lines[end - 1].strip():
        end -= 1
    return start, end


def _part_end(lines: list[str], start: int, end: int) -> int:
    """The line after the passage that begins at ``start``: all the lines, or as many as the cap allows."""
    size = 0
    limit = start
    while limit < end and limit - start < MAX_LINES:
        size += len(lines[limit]) + 1
        if size > MAX_CHARS and limit > start:
            break
        limit += 1
    if limit == end:
        return end
    # Too long for one: cut where the text itself pauses, before the least indented line after a blank one.
    best, best_rank = limit, (2, 1_000)
    for line in range(start + MIN_LINES, limit):
        if not lines[line].strip():
            continue
        indent = len(lines[line]) - len(lines[line].lstrip())
        rank = (0 if not lines[line - 1].strip() else 1, indent)
        if rank <= best_rank:
            best, best_rank = line, rank
    return best


def _whole(lines: list[str], start: int, end: int, title: str) -> Iterator[Passage]:
    text = "\n".join(lines[start:end])
    if len(text) <= MAX_CHARS or end - start > 1:
        yield Passage(start + 1, end, title, text)
        return
    # One endless line (minified code, a data URL): several passages of the same line.
    for offset in range(0, len(text), MAX_CHARS):
        yield Passage(start + 1, end, title, text[offset : offset + MAX_CHARS])
