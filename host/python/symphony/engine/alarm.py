"""Wakes a run when its earliest timer is due, by the clock of the wall."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextvars import Context

    from symphony.engine.run_loop import RunLoop, Timer

# The longest wait without a look at the clock of the wall, which goes on while the machine is suspended.
_SLICE: Final = 60.0


class Alarm:
    """Calls ``fire`` with the run's earliest timer once it is due. It must be set again after each change."""

    def __init__(
        self, loop: RunLoop, clock: Callable[[], float], context: Context, fire: Callable[[Timer], None]
    ) -> None:
        self._loop = loop
        self._clock = clock
        self._context = context
        self._fire = fire
        self._real = asyncio.get_running_loop()
        self._armed: tuple[Timer, asyncio.TimerHandle] | None = None

    def set(self) -> None:
        """Wait for the earliest timer, whichever that is now."""
        timer = self._loop.next_timer()
        if self._armed is not None:
            if self._armed[0] is timer:
                return
            self.cancel()
        if timer is not None:
            wait = min(max(0.0, timer.due / 1_000_000 - self._clock()), _SLICE)
            self._armed = (timer, self._real.call_later(wait, self._due, context=self._context))

    def cancel(self) -> None:
        if self._armed is not None:
            self._armed[1].cancel()
            self._armed = None

    def _due(self) -> None:
        self._armed = None
        timer = self._loop.next_timer()
        if timer is not None and timer.due / 1_000_000 <= self._clock():
            self._fire(timer)
        else:
            self.set()
