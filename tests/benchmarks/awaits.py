"""What awaiting a Pit operation costs: ready, completed by another thread, cancelled."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from symphony import _host
from tests.benchmarks.measure import Figure, Timed, figure, pairs

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

READY = 20_000
SINGLE = 1_000
FLIGHT = 1_000
REPEATS = 9


async def coroutine(number: int) -> int:
    return number


def future_of(direct: Any) -> Callable[[int], Awaitable[int]]:
    """A future of asyncio's that a native thread completes by ``call_soon_threadsafe``."""

    def wait(number: int) -> Awaitable[int]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[int] = loop.create_future()
        direct.complete_future(loop, future.set_result, number)
        return future

    return wait


async def one_by_one(wait: Callable[[int], Awaitable[int]], count: int) -> int:
    total = 0
    for number in range(count):
        total += await wait(number)
    return total


async def together(wait: Callable[[int], Awaitable[int]], count: int) -> int:
    async def one(number: int) -> int:
        return await wait(number)

    return sum(await asyncio.gather(*[one(number) for number in range(count)]))


def compare(
    loop: asyncio.AbstractEventLoop,
    name: str,
    subject: tuple[str, Callable[[int], Awaitable[int]]],
    baseline: tuple[str, Callable[[int], Awaitable[int]]],
    how: Callable[[Callable[[int], Awaitable[int]], int], Any],
    count: int,
    target: str,
    note: str = "",
) -> Figure:
    def timed(wait: Callable[[int], Awaitable[int]]) -> Timed:
        def run() -> None:
            assert loop.run_until_complete(how(wait, count)) == sum(range(count))

        return run

    left, right = pairs(timed(subject[1]), timed(baseline[1]), REPEATS)
    each = [[value / count * 1e6 for value in values] for values in (left, right)]
    return figure(name, "µs", baseline[0], *each, target=target, note=note)


async def _cancelled(wait: Callable[[], Awaitable[object]], gone: Callable[[], bool]) -> float:
    """Seconds of ``task.cancel()``, of tasks that wait; what they wait for is gone before they go on."""
    seen: list[bool] = []

    async def waiting() -> None:
        try:
            await wait()
        except asyncio.CancelledError:
            seen.append(gone())
            raise

    tasks = [asyncio.ensure_future(waiting()) for _ in range(FLIGHT)]
    await asyncio.sleep(0)
    start = time.perf_counter()
    for task in tasks:
        task.cancel()
    taken = time.perf_counter() - start
    await asyncio.gather(*tasks, return_exceptions=True)
    assert seen == [True] * FLIGHT
    return taken


def cancel_figure(loop: asyncio.AbstractEventLoop, bench: Any) -> Figure:
    async def plain() -> None:
        await asyncio.get_running_loop().create_future()

    taken = [
        (
            loop.run_until_complete(_cancelled(bench.never, lambda: bench.pending() == 0)),
            loop.run_until_complete(_cancelled(plain, lambda: True)),
        )
        for _ in range(REPEATS)
    ]
    return figure(
        "task.cancel() to operation dropped",
        "µs",
        "task.cancel() of a task that awaits a Future",
        [pair[0] / FLIGHT * 1e6 for pair in taken],
        [pair[1] / FLIGHT * 1e6 for pair in taken],
        note="each of them was dropped before CancelledError reached its task",
    )


def await_figures(bench: Any, direct: Any) -> Iterator[Figure]:
    """Figures of awaits; ``bench`` is the component, ``direct`` the usual means in their place."""
    loop = asyncio.new_event_loop()
    ready = ("the Pit operation", bench.ready)
    yield compare(
        loop,
        "await of a ready Pit operation",
        ready,
        ("await of a coroutine", coroutine),
        one_by_one,
        READY,
        "≤ 3",
    )
    foreign = ("", direct.future_ready)
    yield compare(loop, "the same by future_into_py, alone", foreign, ready, one_by_one, SINGLE, "")
    yield compare(loop, "the same by future_into_py, gathered", foreign, ready, together, FLIGHT, "")
    completed, future = ("", bench.completed), ("call_soon_threadsafe + Future", future_of(direct))
    yield compare(
        loop,
        "operation completed by a thread, one at a time",
        completed,
        future,
        one_by_one,
        SINGLE,
        "≤ 1.15",
    )
    before = _host.async_counts()["signals"]
    assert loop.run_until_complete(together(bench.completed, FLIGHT)) == sum(range(FLIGHT))
    signals = _host.async_counts()["signals"] - before
    yield compare(
        loop,
        f"operation completed by a thread, {FLIGHT:,} in flight",
        completed,
        future,
        together,
        FLIGHT,
        "≤ 0.6",
        f"{signals} wake-ups of the loop in one round",
    )
    yield cancel_figure(loop, bench)
    loop.close()
