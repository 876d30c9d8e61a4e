"""Tells plugins that the interpreter begins and that it ends: within a limit, and never in its way."""

from __future__ import annotations

import asyncio
import inspect
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from symphony.pit_access import PitAccess

STARTED, STOPPING = "interpreter_started", "interpreter_stopping"
LIMITS: Final = {STARTED: 5.0, STOPPING: 1.0}
"""Seconds that all plugins have, at once."""


@dataclass(eq=False)
class PluginLife:
    """The hooks of one loaded plugin, each as often as it is implemented; ``told`` once it was started."""

    plugin: str
    hooks: Mapping[str, list[Callable[..., Any]]] = field(default_factory=dict)


class PluginLives:
    """Tells each plugin once that it was started, and those once that it stops.

    Parameters
    ----------
    home, pit:
        What the hooks are called with, by name, as far as they take it.
    report:
        Called with a line about each that raised or took too long.
    """

    def __init__(self, home: Path, pit: PitAccess, report: Callable[[str], None]) -> None:
        self._given = {"home": home, "pit": pit}
        self._report = report
        self._started: dict[PluginLife, None] = {}

    async def start(self, lives: Iterable[PluginLife]) -> None:
        """Tell those that were not told yet; return when they are through, or their time is over."""
        new = [life for life in lives if life not in self._started]
        self._started |= dict.fromkeys(new)
        await self._tell(STARTED, new)

    async def stop(self) -> None:
        """Tell all that were started, the last first."""
        started, self._started = list(reversed(self._started)), {}
        await self._tell(STOPPING, started)

    async def _tell(self, hook: str, lives: list[PluginLife]) -> None:
        loop = asyncio.get_running_loop()
        calls = {
            loop.create_task(self._call(implementation)): life.plugin
            for life in lives
            for implementation in life.hooks.get(hook, ())
        }
        if not calls:
            return
        limit = LIMITS[hook]
        await asyncio.wait(calls, timeout=limit)
        for call, plugin in calls.items():
            what = f"plugin {plugin}: {hook}"
            if not call.done():
                call.cancel()
                self._report(f"{what} took longer than {limit:g} s; it is not waited for")
            elif call.cancelled():
                self._report(f"{what} cancelled itself")
            elif (error := call.result()) is not None:
                self._report(f"{what} raised {type(error).__name__}: {error}")

    async def _call(self, implementation: Callable[..., Any]) -> BaseException | None:
        """What it raised. A SystemExit that a task raises would end the loop."""
        taken = inspect.signature(implementation).parameters
        given = {name: value for name, value in self._given.items() if name in taken}
        try:
            if inspect.iscoroutinefunction(implementation):
                await implementation(**given)
                return None
            return await _in_thread(lambda: implementation(**given))
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            return error


async def _in_thread(call: Callable[[], Any]) -> BaseException | None:
    """Call it in a thread that nobody waits for at the end, should it hang; what it raised."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[BaseException | None] = loop.create_future()

    def settle(error: BaseException | None) -> None:
        if not done.done():
            done.set_result(error)

    def run() -> None:
        error: BaseException | None = None
        try:
            call()
        except BaseException as raised:
            error = raised
        with suppress(RuntimeError):  # the loop has closed: nobody waits any more
            loop.call_soon_threadsafe(settle, error)

    threading.Thread(target=run, name="plugin-life", daemon=True).start()
    return await done
