"""Waiting for the disk: never in the mode "process"; in "machine" in order, and many share one flush."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest

from symphony.engine.durability import Durability

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = [pytest.mark.unit, pytest.mark.python]


class Disk:
    """A Pit whose flush waits until it is let go."""

    def __init__(self, durability: str) -> None:
        self.durability = durability
        self.flushes = 0
        self.free = threading.Event()
        self.error: OSError | None = None

    def flush(self) -> None:
        self.flushes += 1
        assert self.free.wait(10)
        if self.error is not None:
            raise self.error


def unexpected(error: Exception) -> None:
    raise AssertionError(error)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0)


def test_in_the_mode_process_nothing_is_waited_for() -> None:
    async def main() -> None:
        disk, seen = Disk("process"), []
        durability = Durability(disk)
        durability.then(lambda: seen.append(1), unexpected)
        await durability.settled()
        assert (seen, disk.flushes) == ([1], 0)

    asyncio.run(main())


def test_those_who_wait_share_a_flush_and_go_on_in_order() -> None:
    async def main() -> None:
        disk, seen = Disk("machine"), list[int]()
        durability = Durability(disk)
        durability.then(lambda: seen.append(0), unexpected)
        await until(lambda: disk.flushes == 1)
        for number in range(1, 50):
            durability.then(lambda number=number: seen.append(number), unexpected)  # type: ignore[misc]
        assert seen == []
        disk.free.set()
        await until(lambda: len(seen) == 50)
        assert (seen, disk.flushes) == (list(range(50)), 2)

    asyncio.run(main())


def test_what_the_disk_says_reaches_everyone_who_waits_and_the_next_flush_is_tried() -> None:
    async def main() -> None:
        disk, errors = Disk("machine"), list[Any]()
        durability = Durability(disk)
        disk.free.set()
        disk.error = OSError("no space")
        for _ in range(2):
            durability.then(lambda: errors.append("went on"), errors.append)
        await until(lambda: len(errors) == 2)
        assert errors == [disk.error] * 2
        with pytest.raises(OSError, match="no space"):
            await durability.settled()
        disk.error = None
        await durability.settled()

    asyncio.run(main())


def test_a_waiter_that_was_cancelled_hinders_no_one() -> None:
    async def main() -> None:
        disk = Disk("machine")
        durability = Durability(disk)
        waiting = [asyncio.ensure_future(durability.settled()) for _ in range(2)]
        await until(lambda: disk.flushes == 1)
        waiting[0].cancel()
        await asyncio.sleep(0)
        disk.free.set()
        await waiting[1]
        assert waiting[0].cancelled()

    asyncio.run(main())
