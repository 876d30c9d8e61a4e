"""Waiting until what was recorded is lasting: never in the mode "process", for the disk in "machine".

Many who wait share one flush (group commit), and go on in the order in which they came.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


class Durability:
    """How long the engine waits before it acts upon a record.

    Parameters
    ----------
    native:
        The open Pit. With its ``durability`` ``"process"`` nothing is ever waited for.
    """

    def __init__(self, native: Any) -> None:
        self._native = native
        self._machine = native.durability == "machine"
        self._waiting: list[tuple[Callable[[], None], Callable[[Exception], None]]] = []
        self._flushing: asyncio.Task[None] | None = None

    def then(self, go_on: Callable[[], None], failed: Callable[[Exception], None]) -> None:
        """Call ``go_on`` once all that is recorded is lasting, or ``failed`` with what the disk said."""
        if not self._machine:
            go_on()
            return
        self._waiting.append((go_on, failed))
        if self._flushing is None:
            self._flushing = asyncio.get_running_loop().create_task(self._flush())

    async def settled(self) -> None:
        """Return once everything recorded so far is lasting. Raises what the disk said."""
        if self._machine:
            done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self.then(lambda: _settle(done, None), lambda error: _settle(done, error))
            await done

    async def _flush(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting, []
                try:
                    await asyncio.to_thread(self._native.flush)
                except Exception as error:  # each of those who wait says what it means for them
                    for _, failed in batch:
                        failed(error)
                else:
                    for go_on, _ in batch:
                        go_on()
        finally:
            self._flushing = None


def _settle(done: asyncio.Future[None], error: Exception | None) -> None:
    if done.done():  # whoever waited was cancelled
        return
    if error is None:
        done.set_result(None)
    else:
        done.set_exception(error)
