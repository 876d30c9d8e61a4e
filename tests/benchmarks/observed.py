"""Durable steps while a plugin writes down each event, against the same steps that nobody observes."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from symphony.home import Home
from symphony.observing.events import OBSERVING
from symphony.observing.observers import Observers
from symphony.plugins import PluginHost
from symphony.plugins.loaded import RegisteredObservers
from symphony.values.codec import native_codec
from tests.benchmarks import steps
from tests.benchmarks.measure import Figure, figure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

PATIENCE = 60.0


class Switched:
    """Observers that write a line for each event, once they are switched on."""

    def __init__(self, pit: Any, home: Path) -> None:
        self.told = 0
        self._file = (home / "events").open("w")
        self._plugins = PluginHost(home)
        self._observers = Observers(Home(home), pit, self._plugins, native_codec(), print)

    def _write(self, event: object) -> None:
        self._file.write(f"{event}\n")
        self.told += 1

    def switch(self, *, on: bool) -> None:
        hooks: dict[str, list[Callable[[Any], Any]]] = {hook: [self._write] for hook in OBSERVING}
        self._plugins.observers = {"writer": RegisteredObservers(hooks, [])} if on else {}
        self._observers.take_over()

    def caught_up(self, events: int) -> None:
        deadline = time.monotonic() + PATIENCE
        while self.told < events:
            assert time.monotonic() < deadline, f"{self.told} of {events} events were told"
            time.sleep(0.01)

    def close(self) -> None:
        self._observers.close(PATIENCE)
        self._file.close()


def observed_figure(pit: Any, home: Path) -> Iterator[Figure]:
    """What the observers of a plugin cost a step, where ``home`` is that of the open ``pit``."""
    loop = asyncio.new_event_loop()
    durable = loop.run_until_complete(steps.made(pit, home))
    loop.run_until_complete(durable(steps.CHAIN))
    switched = Switched(pit, home)
    taken = []
    events = 0
    for _ in range(steps.REPEATS):
        times = []
        for on in (True, False):
            switched.switch(on=True)
            switched.caught_up(events)  # it is told what it missed, too, but not while the clock runs
            switched.switch(on=on)
            times.append(steps.timed(loop, lambda: durable(steps.CHAIN)))
            events += 2 * steps.CHAIN + 2
        taken.append(times)
    switched.switch(on=True)
    switched.caught_up(events)
    switched.close()
    loop.run_until_complete(durable.close())
    loop.close()
    yield figure(
        "durable step, chain of 100, each event written by a plugin",
        "µs",
        "the same, not observed",
        [row[0] / steps.CHAIN * 1e6 for row in taken],
        [row[1] / steps.CHAIN * 1e6 for row in taken],
        target="≤ 1.1",
    )
