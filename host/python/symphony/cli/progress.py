"""What a waiting command shows on stderr: a live line on a terminal, now and then a plain one elsewhere.

rich is imported only for the live line.
"""

from __future__ import annotations

import sys
import time
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol, Self

from symphony.cli.output import counted, note, safe

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

QUIET_SECONDS = 5.0


class Progress(AbstractContextManager["Progress"], Protocol):
    """Takes the events of a run as they come."""

    def event(self, params: dict[str, Any]) -> None:
        """One event of the run."""

    def note(self, text: str) -> None:
        """One line that stays."""


def progress() -> Progress:
    """The progress display that fits stderr."""
    return LiveProgress() if sys.stderr.isatty() else PlainProgress()


class Counts:
    """How far the run is, counted from its events."""

    def __init__(self) -> None:
        self.done = 0
        self.running: dict[str, str] = {}

    def take(self, params: dict[str, Any]) -> str | None:
        """Count one event; returns the line that is worth a place of its own, if any."""
        kind, key = params.get("kind"), str(params.get("key") or "")
        name, message = str(params.get("name") or key), safe(str(params.get("message") or ""))
        if kind == "step_started":
            self.running[key] = name
        elif kind == "step_finished":
            self.running.pop(key, None)
            self.done += 1
            if params.get("state") == "failed":
                return f"step {name} failed" + (f": {message}" if message else "")
        elif kind == "attempt_failed":
            return f"step {name} failed, will be tried again" + (f": {message}" if message else "")
        elif kind == "waiting":
            return f"the run waits for a person: {message}"
        elif kind == "interpreter":
            return f"the managed interpreter {message}"
        return None

    def line(self) -> str:
        """The state of the run in a few words."""
        current = next(reversed(self.running.values()), "")
        return f"{counted(self.done, 'step')} done" + (f", in {current}" if current else "")


class PlainProgress:
    """For files and pipes: what failed, and every few seconds how far it is."""

    def __init__(self) -> None:
        self._counts = Counts()
        self._told = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        return None

    def event(self, params: dict[str, Any]) -> None:
        line = self._counts.take(params)
        if line:
            self.note(line)
        elif time.monotonic() - self._told > QUIET_SECONDS:
            self.note(self._counts.line() + _amount(params))

    def note(self, text: str) -> None:
        self._told = time.monotonic()
        note(text)


class LiveProgress:
    """For terminals: one line that is always up to date and gone at the end."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.markup import escape
        from rich.status import Status

        self._counts = Counts()
        self._escape: Callable[[str], str] = escape
        self._console = Console(stderr=True, highlight=False)
        self._status = Status("starting", console=self._console)
        self._amount = ""

    def __enter__(self) -> Self:
        self._status.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self._status.stop()

    def event(self, params: dict[str, Any]) -> None:
        line = self._counts.take(params)
        if line:
            self.note(line)
        self._amount = _amount(params) or ("" if params.get("kind") == "step_finished" else self._amount)
        self._status.update(self._escape(self._counts.line() + self._amount))

    def note(self, text: str) -> None:
        self._console.print(self._escape(text), soft_wrap=True)


def _amount(params: dict[str, Any]) -> str:
    if params.get("kind") != "progress" or params.get("done") is None:
        return ""
    total = params.get("total")
    message = safe(str(params.get("message") or ""))
    return f": {params['done']}" + (f"/{total}" if total else "") + (f" {message}" if message else "")
