"""Thousands who wait: leases of one model, and arbitrated resources, against asyncio's own queueing."""

from __future__ import annotations

import asyncio
import statistics
from typing import TYPE_CHECKING, Any

from tests.benchmarks.measure import Figure, figure, seconds
from tests.benchmarks.memory import resident_bytes

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

QUEUED = 10_000
REPEATS = 5


async def _all(acquire: Callable[[int], Awaitable[Any]], release: Callable[[Any], object]) -> list[int]:
    """Everyone takes a turn; the order in which they got it."""
    turns: list[int] = []

    async def wait(number: int) -> None:
        lease = await acquire(number)
        turns.append(number)
        release(lease)

    await asyncio.gather(*[wait(number) for number in range(QUEUED)])
    return turns


def _semaphore() -> list[int]:
    async def main() -> list[int]:
        one = asyncio.Semaphore(1)
        return await _all(lambda number: one.acquire(), lambda lease: one.release())

    return asyncio.run(main())


def _compare(name: str, subject: Callable[[], list[int]], note: str) -> Figure:
    assert subject() == _semaphore() == list(range(QUEUED)), "everyone, once, in the order of their awaits"
    taken = [(seconds(subject), seconds(_semaphore)) for _ in range(REPEATS)]
    return figure(
        name,
        "µs",
        "asyncio.Semaphore, as many",
        [pair[0] / QUEUED * 1e6 for pair in taken],
        [pair[1] / QUEUED * 1e6 for pair in taken],
        note=note,
    )


def _memory(acquire: Callable[[], Awaitable[Any]]) -> float:
    """Bytes that one who waits takes, the asyncio task not counted."""

    async def waiting(wait: Callable[[], Awaitable[Any]]) -> int:
        before = resident_bytes()
        tasks = [asyncio.ensure_future(wait()) for _ in range(QUEUED)]
        await asyncio.sleep(0.05)
        taken = resident_bytes() - before
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return taken

    async def never() -> None:
        await asyncio.get_running_loop().create_future()

    asyncio.run(waiting(never))  # what the first round of tasks takes stays with Python
    taken = [asyncio.run(waiting(acquire)) - asyncio.run(waiting(never)) for _ in range(3)]
    return max(statistics.median(taken), 0) / QUEUED


def lease_figures(pit: Any) -> Iterator[Figure]:
    """Figures of queued leases and requests."""
    pool = pit.pool_manager
    pool.register("queued", "", 0, 1)
    pool.warm("queued")
    pool.warmed("queued", 0.0)
    held = pool.try_acquire("queued")
    note = f"{_memory(lambda: pool.acquire_async('queued')):.0f} bytes of memory one who waits"
    pool.release(held)

    def by_pool() -> list[int]:
        return asyncio.run(_all(lambda number: pool.acquire_async("queued"), pool.release))

    yield _compare(f"a lease, {QUEUED:,} queued for one model", by_pool, note)

    engine = pit.arbitration_engine
    engine.define("gpu", 1.0, "cpu")
    held = engine.request("gpu", "bench")["ticket"]
    note = f"{_memory(lambda: engine.acquire_async('gpu', 'bench')):.0f} bytes of memory one who waits"
    engine.release(held)

    def by_engine() -> list[int]:
        return asyncio.run(_all(lambda number: engine.acquire_async("gpu", "bench"), engine.release))

    yield _compare(f"an arbitrated resource, {QUEUED:,} queued", by_engine, note)
