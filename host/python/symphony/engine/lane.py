"""One executor with its slots, the steps that wait for one, and what is done where it misbehaves."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from symphony.engine.launching import Outcome
from symphony.engine.run_log import FAILED, OK
from symphony.errors import PluginFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from symphony.engine.attempt import Attempt
    from symphony.engine.launching import StepCall
    from symphony.executors import Executor

CORE: Final = "symphony"
"""The plugin that the core's own executors are of."""
CLOSING: Final = 1.0
"""Seconds that an executor has to close."""


@dataclass(frozen=True)
class RegisteredExecutor:
    """An executor under its full name; ``slots`` is how many steps it runs at once."""

    name: str
    plugin: str
    executor: Executor
    slots: int


@dataclass(eq=False)
class Lane:
    """An executor at work. ``submit`` gives it a step, ``closing`` closes it when its last step has ended."""

    registered: RegisteredExecutor
    queue: deque[StepCall] = field(default_factory=deque)
    free: int = 0
    closing: Callable[[], None] | None = None
    submit: Callable[[Attempt], Coroutine[Any, Any, Outcome]] = field(init=False)

    def __post_init__(self) -> None:
        self.free = self.registered.slots
        trusted = self.registered.plugin == CORE
        self.submit = self.registered.executor.submit if trusted else self._watched

    @property
    def name(self) -> str:
        return self.registered.name

    def returned(self) -> None:
        """A slot is free again."""
        self.free += 1
        if self.closing is not None and self.free == self.registered.slots:
            self.closing()

    async def _watched(self, attempt: Attempt) -> Outcome:
        """An executor of a plugin may raise, give nonsense, or go on when it is to stop."""
        working = asyncio.ensure_future(self.registered.executor.submit(attempt))
        attempt.hold(working)
        try:
            await asyncio.wait((working,))
        except asyncio.CancelledError:
            working.cancel()
            raise
        what = f"executor {self.name} of plugin {self.registered.plugin}"
        if working.cancelled():
            raise PluginFailed(f"{what} gave up step {attempt.call.key}")
        error = working.exception()
        if error is not None:
            raise PluginFailed(f"{what} raised {type(error).__name__}: {error}") from error
        outcome: object = working.result()
        if not isinstance(outcome, Outcome) or outcome.state not in (OK, FAILED):
            raise PluginFailed(f"{what} gave a {type(outcome).__name__}, no outcome of the step")
        return outcome

    async def close(self, report: Callable[[str], None]) -> None:
        """Close the executor; one that does not is reported."""
        what = f"executor {self.name} of plugin {self.registered.plugin}"
        closing = asyncio.ensure_future(self.registered.executor.close())
        await asyncio.wait((closing,), timeout=CLOSING)
        if not closing.done():
            closing.cancel()
            report(f"{what} did not close within {CLOSING:g} s")
        elif not closing.cancelled() and (error := closing.exception()) is not None:
            report(f"{what} raised {type(error).__name__} when it was closed: {error}")
