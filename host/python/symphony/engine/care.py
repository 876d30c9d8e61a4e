"""Steps that were in flight at several unexplained deaths are executed first, each with nothing beside it.

One that ends the interpreter is then known by dying alone. Nobody waits for ever: a suspect that lives long
is innocent enough for now, and the more deaths it has been near to, the longer it takes to be.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterable, Mapping

    from symphony._host import Vitals
    from symphony.engine.launching import StepCall

# Seconds that the first suspicion gives a step alone; each further death near to it doubles them, as often at
# most as is said below.
ALONE: Final = 5.0
_DOUBLINGS: Final = 4
_FIRST: Final = 2
# This part of that time passes before the first is chosen: all runs are to come as far as their suspects.
_SETTLE: Final = 0.1


class Care:
    """Decides which step is started with nothing beside it, and when all others may start.

    Parameters
    ----------
    go_on:
        Called when more may be started than a moment ago.
    vitals:
        Where the host sees that a step is alone; None: nobody watches.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, go_on: Callable[[], None], vitals: Vitals | None = None
    ) -> None:
        self._loop = loop
        self._go_on = go_on
        self._vitals = vitals
        self._suspects: dict[tuple[str, str], float] = {}
        self._settling = False
        self._alone: StepCall | None = None
        self._limit: asyncio.TimerHandle | None = None

    def suspect(self, deaths: Mapping[tuple[str, str], int]) -> None:
        """Begin, before any step has started, with these run ids and keys and the deaths near to them."""
        self._suspects = {
            place: ALONE * 2.0 ** min(count - _FIRST, _DOUBLINGS) for place, count in deaths.items()
        }
        if self._suspects:
            self._settling = True
            self._loop.call_later(_SETTLE * max(self._suspects.values()), self._settled)

    def _settled(self) -> None:
        self._settling = False
        self._go_on()

    @property
    def holds(self) -> bool:
        """Whether nothing may be started now."""
        return self._settling or self._alone is not None

    def choose(self, waiting: Iterable[StepCall]) -> StepCall | None:
        """The suspect to be started now. None: there is none, all may start."""
        if not self._suspects:
            return None
        ready = [call for call in waiting if (call.run, call.key) in self._suspects and not call.stopped]
        if not ready:
            self._suspects.clear()
            return None
        self._alone = random.choice(ready)  # a long one that always came first would hide the others
        seconds = self._suspects.pop((self._alone.run, self._alone.key))
        self._limit = self._loop.call_later(seconds, self._long_enough)
        self._tell(alone=True)
        return self._alone

    def ended(self, call: StepCall) -> None:
        """The slot of a step is free again."""
        if call is self._alone and self._limit is not None:
            self._limit.cancel()
            self._alone = self._limit = None
            self._tell(alone=False)

    def _long_enough(self) -> None:
        self._alone = self._limit = None
        self._tell(alone=False)
        self._suspects.clear()  # none of them could be alone any more
        self._go_on()

    def _tell(self, *, alone: bool) -> None:
        if self._vitals is not None:
            self._vitals.alone(alone)
