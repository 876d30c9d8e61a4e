"""Reads the log for all plugins that observe, on a thread of its own, as long as there are any."""

from __future__ import annotations

import threading
import time
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Final

from symphony import _host
from symphony.errors import SymphonyError
from symphony.observing.events import told
from symphony.observing.observer import Observer
from symphony.observing.place import Place

if TYPE_CHECKING:
    from collections.abc import Callable

    from symphony.home import Home
    from symphony.plugins import PluginHost
    from symphony.plugins.loaded import RegisteredObservers
    from symphony.values.codec import Codec

SOONEST: Final = 0.005
"""Seconds between two looks at a log that grows; each look that finds nothing doubles them."""
LATEST: Final = 0.25
AT_ONCE: Final = 500
"""Events of one look: making more of them would hold up the threads of steps."""


class Observers:
    """All plugins that observe.

    Parameters
    ----------
    home, pit:
        The home, and its open Pit.
    plugins:
        The plugins that were loaded; ``take_over`` looks which of them observe.
    codec:
        The bridge's codec, for failures.
    report:
        Is told what goes wrong.
    calling:
        Makes the context of each call of a hook, of which it gets plugin and hook.
    """

    def __init__(
        self,
        home: Home,
        pit: Any,
        plugins: PluginHost,
        codec: Codec,
        report: Callable[[str], None],
        calling: Callable[[str, str], AbstractContextManager[None]] = lambda plugin, hook: nullcontext(),
    ) -> None:
        self._home = home
        self._pit = pit
        self._plugins = plugins
        self._codec = codec
        self._report = report
        self._calling = calling
        self._lock = threading.Lock()
        self._observers: dict[str, Observer] = {}
        self._events: _host.RunEvents | None = None
        self._read = 0
        self._drained = True
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self._problem = ""

    def take_over(self) -> None:
        """Make the observers of the loaded plugins those that are told from now on."""
        with self._lock:
            observing = self._plugins.observers
            for plugin in self._observers.keys() - observing.keys():
                self._observers.pop(plugin).close(0.0)
            for plugin, offered in observing.items():
                if plugin in self._observers:
                    self._observers[plugin].hooks = offered.hooks
                else:
                    self._begin(plugin, offered)
            if self._observers and self._thread is None:
                self._thread = threading.Thread(target=self._follow, name="symphony-observers", daemon=True)
                self._thread.start()

    def _begin(self, plugin: str, offered: RegisteredObservers) -> None:
        try:
            place = Place(self._home, plugin, self._pit.log_end())
        except OSError as error:  # a full disk keeps no plugin's steps from their work
            self._report(f"plugin {plugin}: its observers are told nothing: {error}")
            return
        if place.skipped:
            self._report(f"plugin {plugin}: an event that ended the interpreter twice is not told it again")
        if self._events is None or place.next < self._read:
            start = min([place.next, *(observer.expects for observer in self._observers.values())])
            self._events = _host.RunEvents(str(self._home.path), start)
            self._read, self._drained = start, True
        self._observers[plugin] = Observer(
            plugin, offered.own, offered.hooks, place, self._report, self._calling
        )

    @property
    def needs(self) -> int | None:
        """The position from which on the log is needed; None: nobody observes."""
        return self._read if self._observers else None

    def close(self, limit: float) -> None:
        """Tell what is recorded so far, for up to ``limit`` seconds; the next interpreter tells the rest."""
        deadline = time.monotonic() + limit
        self._closing.set()
        if self._thread is not None:
            self._thread.join(limit)
        with self._lock:
            for plugin, observer in self._observers.items():
                if not observer.close(max(deadline - time.monotonic(), 0.0)):
                    self._report(f"plugin {plugin}: its observers are told the rest when they are back")
            self._observers = {}

    def _follow(self) -> None:
        pause = SOONEST
        while True:
            last = self._closing.is_set()
            found = self._look()
            if last and not found:
                return
            pause = SOONEST if found else min(pause * 2, LATEST)
            self._closing.wait(pause)

    def _look(self) -> bool:
        with self._lock:
            if self._events is None or not self._observers:
                return False
            try:
                end = self._pit.log_end()
                rows, lost = self._events.take(AT_ONCE)
            except (SymphonyError, OSError) as error:
                if str(error) != self._problem:  # it is tried again, and told once
                    self._report(f"the log cannot be read for observers: {error}")
                self._problem = str(error)
                return False
            observers = self._observers.values()
            wanted = {hook for observer in observers for hook in observer.hooks}
            happened = [told(row, self._codec.decode, self._load) for row in rows if row[0][0] in wanted]
            for observer in observers:
                observer.give(happened, lost)
            if self._drained:  # all was read up to here
                self._read = end
            self._drained = len(rows) < AT_ONCE
            return bool(rows)

    def _load(self, artifact: str) -> bytes:
        return bytes(self._pit.artifact_store.get(artifact))
