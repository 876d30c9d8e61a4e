"""The end of a run (R11): tasks cancelled, handles terminal, async generators closed, then the result."""

from __future__ import annotations

import asyncio
import sys
import warnings
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from symphony.engine.handles import Handle
from symphony.errors import RunCancelled, WorkflowError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from symphony.engine.run_loop import RunLoop, WorkflowTask


@dataclass(slots=True)
class StepCounts:
    """Outcomes of a run in this interpreter: reused ones come from the log or the cache."""

    executed: int = 0
    reused: int = 0
    failed: int = 0
    skipped: int = 0


@dataclass(frozen=True, slots=True)
class RunResult:
    """How a run ended. ``step`` and ``report`` tell where an error came from, when a step raised it."""

    status: str
    value: Any = None
    error: BaseException | None = None
    step: str | None = None
    report: str | None = None
    counts: StepCounts = field(default_factory=StepCounts)


_CLOSE_TRIES: Final = 100


async def settled(value: Any) -> Any:
    """The workflow's result with the handles in it awaited."""
    if isinstance(value, Handle):
        return await value
    if type(value) in (list, tuple):
        return type(value)([await settled(item) for item in value])
    if type(value) is dict:
        return {key: await settled(item) for key, item in value.items()}
    return value


class RunEnd:
    """Brings a run to its end once the main task is done."""

    def __init__(self, loop: RunLoop, main: WorkflowTask[Any]) -> None:
        self.main: Final = main
        self.reached = False
        self._loop = loop
        self._closing = False
        self._closers = 0

    def advance(self, open_handles: Mapping[Handle[Any], None]) -> None:
        """Take the next step towards the end; called when no callback is ready."""
        if self.reached or not self.main.done():
            return
        if not self._closing:
            self._closing = True
            for task in list(self._loop.tasks):
                task.cancel()
            if self.main.cancelled() or self.main.exception() is not None:
                # Nobody will look at these results, and a cancelled run must not wait for them.
                for handle in list(open_handles):
                    handle.cancel()
        if self._loop.has_ready or self._loop.tasks or open_handles:
            return
        if self._loop.generators:
            self._loop.start_task(_close_generators(self._loop), f"^{self._closers}")
            self._closers += 1
            return
        self.reached = True

    def result(self, failed: Mapping[Handle[Any], str], counts: StepCounts, *, commanded: bool) -> RunResult:
        """The result, once ``reached``; a failed step that nobody looked at is the run's failure."""
        if self.main.cancelled():
            if commanded:
                return RunResult("cancelled", error=RunCancelled("the run was cancelled"), counts=counts)
            return RunResult(
                "failed", error=WorkflowError("the workflow's main task was cancelled"), counts=counts
            )
        error = self.main.exception()
        unseen = [failure for failure in (handle.unseen_failure for handle in failed) if failure is not None]
        if error is None and unseen:
            error = unseen[0]
        if error is None:
            return RunResult("completed", value=self.main.result(), counts=counts)
        origins = {id(handle.exception()): handle for handle in failed}
        for cause in _chain(error):
            origin = origins.get(id(cause))
            if origin is not None and failed[origin]:
                return RunResult("failed", error=error, step=origin.key, report=failed[origin], counts=counts)
        return RunResult("failed", error=error, counts=counts)

    def dispose(self) -> None:
        """Let go of what has not finished, with no loop running, and not in another run's turn."""
        if not self._loop.tasks and not self._loop.generators:
            self._loop.clear()
            return
        outer, hooks = asyncio._get_running_loop(), sys.get_asyncgen_hooks()
        asyncio._set_running_loop(None)
        sys.set_asyncgen_hooks(self._loop.generators.append, None)
        try:
            # Their finally blocks fail on the way, and leave coroutines that nobody can await.
            with warnings.catch_warnings(action="ignore"):
                self._close_all()
        finally:
            asyncio._set_running_loop(outer)
            sys.set_asyncgen_hooks(*hooks)

    def _close_all(self) -> None:
        for task in list(self._loop.tasks):
            task._log_destroy_pending = False  # type: ignore[attr-defined]  # of both implementations
            _force_close(task.get_coro().close)
        while self._loop.generators:
            generator = self._loop.generators.pop()
            _force_close(lambda generator=generator: generator.aclose().send(None))  # type: ignore[misc]
        self._loop.clear()


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error and what caused it, nearest first."""
    pending, seen = [error], set[int]()
    while pending:
        current = pending.pop(0)
        if id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        if isinstance(current, BaseExceptionGroup):
            pending.extend(current.exceptions)
        pending.extend(cause for cause in (current.__cause__, current.__context__) if cause is not None)


async def _close_generators(loop: RunLoop) -> None:
    """Last opened first; closing one may open more."""
    while loop.generators:
        generator = loop.generators.pop()
        # What a finally block raises comes too late: the result is already fixed.
        with suppress(Exception, asyncio.CancelledError):
            await generator.aclose()


def _force_close(close: Callable[[], object]) -> None:
    """Close what may wait again in its ``finally`` blocks, each of which takes another try."""
    for _ in range(_CLOSE_TRIES):
        try:
            close()
        except (StopIteration, StopAsyncIteration):
            return
        except BaseException:  # what a finally block of the workflow raises; nobody is left to tell
            continue
        return
