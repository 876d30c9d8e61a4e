"""How the managed interpreter is, for its host to see: beats, Python stacks on demand, crashes.

The host reads it all from outside, also while the interpreter hangs and after its death; nothing here decides
anything.
"""

from __future__ import annotations

import faulthandler
import resource
import signal
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from symphony import _host

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterator

BEAT: Final = 0.25
# Real-time signals are free for programs; the first ones belong to the C library.
DUMP_SIGNAL: Final = signal.SIGRTMIN + 11
LOCK_SIGNAL: Final = signal.SIGRTMIN + 12


class WatchedInterpreter:
    """The vital signs of this process, in the descriptors that the host gave it.

    Parameters
    ----------
    pulse:
        The shared memory.
    stacks:
        The file for Python stacks; open beforehand, since a crash is no time to open one.
    """

    def __init__(self, pulse: int, stacks: int) -> None:
        self._stacks = stacks
        self.vitals = _host.Vitals(pulse)
        self.catch_crashes()
        faulthandler.register(DUMP_SIGNAL, file=stacks, all_threads=True)
        self.vitals.dumps_on(DUMP_SIGNAL)
        self.vitals.answers_on(LOCK_SIGNAL)
        threading.Thread(target=self._beat_lock, name="symphony-lock", daemon=True).start()

    @contextmanager
    def importing(self, plugin: str) -> Iterator[None]:
        """Whatever happens to the process meanwhile is this plugin's doing."""
        try:
            with self.calling(plugin, ""):
                yield
        finally:
            self.catch_crashes()

    @contextmanager
    def calling(self, plugin: str, hook: str) -> Iterator[None]:
        """Whatever this thread does meanwhile, in a hook of a plugin, is the plugin's doing."""
        number = self.vitals.begin("", "", plugin, hook, 0, 0.0, "")
        self.vitals.enter(number)
        try:
            yield
        finally:
            self.vitals.leave()
            self.vitals.end(number)

    def catch_crashes(self) -> None:
        """Be the one who handles deadly signals, whatever a plugin's native code has put in place."""
        faulthandler.disable()  # enabling what is enabled does nothing
        faulthandler.enable(self._stacks, all_threads=True)
        self.vitals.catch_crashes()

    def beat_on(self, loop: asyncio.AbstractEventLoop) -> None:
        """Beat as long as this loop goes round."""
        self.vitals.beat()
        loop.call_later(BEAT, self.beat_on, loop)

    def _beat_lock(self) -> None:
        while True:
            self.vitals.beat_lock()
            time.sleep(BEAT)


def allow_core_dumps() -> None:
    """Let a crash leave a core file, where the system allows one."""
    _, most = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (most, most))
