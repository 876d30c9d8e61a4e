"""Many operations, completed by eight threads: what was created is dropped, and nothing stays behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from typing import TYPE_CHECKING, Any

import pytest

from symphony import _host
from tests.python.operations import alive, run
from tests.python.test_memory import leaks

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

pytestmark = [pytest.mark.python, pytest.mark.memory, getattr(pytest.mark, "async")]

MANY = int(os.environ.get("SYMPHONY_MANY_OPERATIONS", "20000"))


def test_created_is_dropped(operations: Any) -> None:
    before = _host.async_counts()
    share = MANY // 4
    totals: list[int] = []

    def serve(kind: str) -> None:
        async def one(turns: int) -> int:
            done = 0
            for turn in range(turns):
                if turn % 10 == 9:
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(0):
                            await operations.threaded()
                else:
                    await operations.threaded()
                done += 1
            return done

        async def main() -> int:
            return sum(await asyncio.gather(*[one(share // 100) for _ in range(100)]))

        totals.append(run(kind, main()))

    threads = [threading.Thread(target=serve, args=(kind,)) for kind in ("asyncio", "uvloop") * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(totals) == share // 100 * 400
    stats, after = operations.stats(), _host.async_counts()
    assert stats["created"] == stats["dropped"] == sum(totals)
    assert after["created"] - before["created"] == after["dropped"] - before["dropped"] == sum(totals)
    assert alive(operations) == 0


def test_no_way_to_await_keeps_anything(operations: Any) -> None:
    loop = asyncio.new_event_loop()

    async def ready() -> None:
        await operations.ready(["a"])

    async def pending() -> None:
        await operations.threaded("a")

    async def failing() -> None:
        with contextlib.suppress(LookupError):
            await operations.fails(True)

    async def cancelled() -> None:
        task = asyncio.ensure_future(operations.later(3600.0))
        await asyncio.sleep(0)
        task.cancel("why")
        with contextlib.suppress(asyncio.CancelledError):
            await task

    async def timed_out() -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0):
                await operations.later(3600.0)

    async def never_awaited() -> None:
        operations.later(3600.0)

    async def streamed() -> None:
        async for number in operations.numbers(5):
            if number == 3:
                break

    ways: list[Callable[[], Coroutine[Any, Any, None]]] = [
        ready, pending, failing, cancelled, timed_out, never_awaited, streamed,
    ]  # fmt: skip
    for way in ways:
        assert not leaks(lambda way=way: loop.run_until_complete(way())), way.__name__  # type: ignore[misc]
    loop.close()
