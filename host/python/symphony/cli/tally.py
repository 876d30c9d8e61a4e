"""How far a command is that works through many things: a live line on a terminal, else now and then a line.

rich is imported only for the live line.
"""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from symphony.cli.output import note, size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

QUIET_SECONDS = 5.0


class Tally(Protocol):
    """Is told how far the work is."""

    def count(self, done: int, total: int | None = None) -> None:
        """So many are done, of so many where that is known."""


class _Tally:
    def __init__(self, what: str, unit: str, show: Callable[[str], None]) -> None:
        self._what, self._unit, self._show = what, unit, show

    def count(self, done: int, total: int | None = None) -> None:
        amount = size if self._unit == "bytes" else str
        self._show(f"{amount(done)}{f' of {amount(total)}' if total else ''} {self._what}")


@contextmanager
def tally(what: str, unit: str = "") -> Iterator[Tally]:
    """Shows ``what`` happened to how many of something (``unit`` "bytes" is shown as a size)."""
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.markup import escape
        from rich.status import Status

        with Status(what, console=Console(stderr=True, highlight=False)) as status:
            yield _Tally(what, unit, lambda text: status.update(escape(text)))
        return
    told = time.monotonic()

    def plain(text: str) -> None:
        nonlocal told
        if time.monotonic() - told > QUIET_SECONDS:
            told = time.monotonic()
            note(text)

    yield _Tally(what, unit, plain)
