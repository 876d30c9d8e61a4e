"""The event loop that the engine and all async steps share: no step may end it, or change it for others."""

from __future__ import annotations

import asyncio
import selectors
from typing import TYPE_CHECKING, Any

from symphony import _host
from symphony.engine.marking import is_marked
from symphony.log_line import log_line

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor


class _OwnSelector(selectors.DefaultSelector):
    """Of this process alone: a child that a step forked off must take no event of its parent's loop."""

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        _host.end_forked_child()
        return super().select(timeout)


class SharedLoop(asyncio.SelectorEventLoop):
    """A loop that refuses, with ``RuntimeError``, what a step would do to all others.

    Example
    -------
    >>> @symphony.step
    ... async def leave() -> None:
    ...     asyncio.get_running_loop().stop()
    RuntimeError: a step called stop() of the event loop, which is not its own: other steps run on it
    """

    def __init__(self) -> None:
        super().__init__(_OwnSelector())

    def stop(self) -> None:
        _refuse("stop")
        super().stop()

    def close(self) -> None:
        _refuse("close")
        super().close()

    def set_task_factory(self, factory: Any) -> None:
        _refuse("set_task_factory")
        super().set_task_factory(factory)

    def set_default_executor(self, executor: ThreadPoolExecutor) -> None:  # type: ignore[override]
        _refuse("set_default_executor")
        super().set_default_executor(executor)

    async def shutdown_default_executor(self, *timeout: Any) -> None:
        _refuse("shutdown_default_executor")
        await super().shutdown_default_executor(*timeout)


def _refuse(method: str) -> None:
    if is_marked():
        raise RuntimeError(
            f"a step called {method}() of the event loop, which is not its own: other steps run on it"
        )


def run_through(loop: asyncio.AbstractEventLoop, task: asyncio.Task[None]) -> None:
    """Run the loop until the task is done, whatever steps do on it."""
    task.add_done_callback(lambda _done: loop.stop())
    while not task.done():
        try:
            loop.run_forever()
        except (SystemExit, KeyboardInterrupt) as error:
            # From a task that a step made: asyncio lets these out of the loop, and the interpreter goes on.
            log_line(f"a step's task raised {type(error).__name__}; only the step fails")
    task.result()
