"""Tells one plugin's observers what happened, in the order of the log, on a thread of their own."""

from __future__ import annotations

import asyncio
import inspect
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from symphony.plugins.loading import own_frame

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from symphony.observing.events import Told
    from symphony.observing.place import Place

MOST: Final = 65_536
"""So many events wait for a plugin; what comes then is lost to it."""


class Observer:
    """The observers of one plugin. ``give`` takes what happened; it neither waits nor raises.

    Parameters
    ----------
    plugin, own:
        Its name, and where its own code lies.
    hooks:
        Its functions by hook. Those that are coroutines run on an event loop of this plugin's own.
    place:
        Where in the log it is.
    report:
        Is told what goes wrong: each problem once as long as it stays the same.
    calling:
        Makes the context of each call, of which it gets plugin and hook.
    """

    def __init__(
        self,
        plugin: str,
        own: Sequence[Path],
        hooks: Mapping[str, Sequence[Callable[[Any], Any]]],
        place: Place,
        report: Callable[[str], None],
        calling: Callable[[str, str], AbstractContextManager[None]],
        most: int = MOST,
    ) -> None:
        self.hooks = hooks
        self._plugin = plugin
        self._own = own
        self._place = place
        self._report = report
        self._calling = calling
        self._most = most
        self._expects = place.next
        self._problem = ""
        self._waiting: deque[Told] = deque()
        self._lost = 0
        self._changed = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._work, name=f"symphony-observer-{plugin}", daemon=True)
        self._thread.start()

    @property
    def expects(self) -> int:
        """The position from which on nothing was given to it."""
        return self._expects

    def give(self, events: Sequence[Told], lost: int) -> None:
        """Here is what happened next, and how much more that nobody could keep."""
        fresh = [told for told in events if told.event.position >= self._expects]
        if fresh:
            self._expects = fresh[-1].event.position + 1
        wanted = [told for told in fresh if told.hook in self.hooks]
        with self._changed:
            room = self._most - len(self._waiting)
            self._waiting.extend(wanted[:room])
            lost += max(len(wanted) - room, 0)
            if lost and not self._lost:
                self._report(f"plugin {self._plugin}: its observers are too slow, events are lost to it")
            self._lost += lost
            self._changed.notify()
        if lost:
            self._place.lose(lost)

    def close(self, limit: float) -> bool:
        """Tell what waits, for at most ``limit`` seconds; gives whether all was told."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(limit)
        if self._thread.is_alive():
            return False
        self._place.close()
        return True

    def _work(self) -> None:
        with asyncio.Runner() as runner:
            while batch := self._batch():
                for number, told in enumerate(batch):
                    self._place.telling(told.event.position)
                    for function in self.hooks.get(told.hook, ()):
                        self._call(runner, told, function)
                    last = number + 1 == len(batch) or batch[number + 1].event.position != told.event.position
                    self._place.told(told.event.position if last else None)

    def _batch(self) -> list[Told]:
        """What waits, once something does; nothing when all is told and no more will come."""
        with self._changed:
            if self._lost and not self._waiting:
                self._report(f"plugin {self._plugin}: {self._lost} events were lost to its observers")
                self._lost = 0
            while not self._waiting and not self._closing:
                self._changed.wait()
            batch = list(self._waiting)
            self._waiting.clear()
            return batch

    def _call(self, runner: asyncio.Runner, told: Told, function: Callable[[Any], Any]) -> None:
        try:
            with self._calling(self._plugin, told.hook):
                answer = function(told.event)
                if inspect.isawaitable(answer):
                    runner.run(_finished(answer))
        except BaseException as error:  # sys.exit() of an observer ends nothing, either
            at = own_frame(error.__traceback__, self._own)
            problem = f"{told.hook} raised {type(error).__name__}: {error}" + (f" (at {at})" if at else "")
            self._place.fail(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {problem}")
            if problem != self._problem:
                self._report(f"plugin {self._plugin}: {problem}")
            self._problem = problem


async def _finished(answer: Awaitable[Any]) -> None:
    await answer
