"""Finds where functions and classes of Python source begin, by the syntax tree.

A method is a section of its own, a function inside a function is not. Only lines and names: no cutting here.
"""

from __future__ import annotations

import ast
import threading
import warnings
from typing import TYPE_CHECKING

from symphony_conductor.passages import Section

if TYPE_CHECKING:
    from collections.abc import Iterator

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
# catch_warnings swaps a global; two threads inside it at once could leave the filters changed.
_parsing = threading.Lock()


def sections(lines: list[str]) -> list[Section] | None:
    """Sections of a module, or None when it does not parse.

    Example
    -------
    >>> found = sections(["class A:", "    def f(self): ...", "    x = 1", "y = 2"])
    >>> [(section.line, section.title) for section in found]
    [(0, 'A'), (1, 'A.f'), (2, 'A'), (3, '')]
    """
    try:
        with _parsing, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse("\n".join(lines))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    return list(_inside(tree.body, lines, 0, ""))


def _inside(body: list[ast.stmt], lines: list[str], begin: int, title: str) -> Iterator[Section]:
    """Sections among the statements of one block; ``begin`` is the first line that a definition may claim."""
    for node in body:
        if isinstance(node, (*_FUNCTIONS, ast.ClassDef)):
            name = f"{title}.{node.name}" if title else node.name
            yield Section(_first_line(node, lines, begin), name)
            if isinstance(node, ast.ClassDef):
                yield from _inside(node.body, lines, node.lineno, name)
            end = node.end_lineno or node.lineno
            # What follows belongs to the enclosing block again; an empty section vanishes in the cutting.
            yield Section(end, title)
        else:
            for block in _blocks(node):
                yield from _inside(block, lines, node.lineno, title)
            end = node.end_lineno or node.lineno
        begin = end


def _blocks(node: ast.stmt) -> Iterator[list[ast.stmt]]:
    """The blocks of if, try, with, for, while, match: definitions may stand in them."""
    for field in ("body", "orelse", "finalbody"):
        yield getattr(node, field, [])
    for holder in (*getattr(node, "handlers", ()), *getattr(node, "cases", ())):
        yield holder.body


def _first_line(
    node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef, lines: list[str], begin: int
) -> int:
    """Decorators and the comment right above belong to the definition."""
    line = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)]) - 1
    while line > begin and lines[line - 1].lstrip().startswith("#"):
        line -= 1
    return line
