"""The progress of steps, told to the host: of each step the latest of a few milliseconds."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from symphony.engine.launching import StepCall

_DELAY: Final = 0.005


class ProgressReports:
    """Called with a step, what is done of it, the total and a message; by the threads of steps, too.

    Parameters
    ----------
    loop:
        The engine's.
    notify:
        Called there with ``progress`` and the report.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, notify: Callable[[str, dict[str, Any]], None]
    ) -> None:
        self._loop = loop
        self._notify = notify
        self._pending: dict[tuple[str, str], dict[str, Any]] = {}

    def __call__(self, call: StepCall, done: float, total: float, message: str) -> None:
        report = {
            "run": call.run,
            "key": call.key,
            "name": call.step.name,
            "done": done,
            "total": total,
            "message": message,
        }
        with suppress(RuntimeError):  # the loop has closed: the interpreter is going away
            self._loop.call_soon_threadsafe(self._keep, (call.run, call.key), report)

    def _keep(self, place: tuple[str, str], report: dict[str, Any]) -> None:
        if not self._pending:
            self._loop.call_later(_DELAY, self._send)
        self._pending[place] = report

    def _send(self) -> None:
        pending, self._pending = self._pending, {}
        for report in pending.values():
            self._notify("progress", report)
