"""The order of effects is the order of awaits, also where one gives way to the loop; nothing is lost then."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from symphony.errors import PitNotFound
from tests.python.operations import alive, run

pytestmark = [pytest.mark.python, getattr(pytest.mark, "async")]


@pytest.fixture
def pool(pit: Any) -> Any:
    """A pool with one model of a single slot, and one of a thousand."""
    for name, slots in (("one", 1), ("many", 1_000)):
        pit.pool_manager.register(name, "", 0, slots)
        pit.pool_manager.warm(name)
        pit.pool_manager.warmed(name, 0.0)
    return pit.pool_manager


async def greedy(pool: Any, leases: list[int]) -> None:
    """Awaits what is ready, until it is asked to end."""
    task = asyncio.current_task()
    assert task is not None
    while not task.cancelling():
        leases.append(await pool.acquire_async("many"))


def test_an_await_that_gives_way_is_not_passed(pool: Any, kind: str) -> None:
    async def main(ready: int) -> tuple[list[str], list[str]]:
        asked: list[str] = []
        served: list[str] = []

        async def wait(name: str, ready: int) -> None:
            for _ in range(ready):
                pool.release(await pool.acquire_async("many"))
            asked.append(name)
            lease = await pool.acquire_async("one")
            served.append(name)
            pool.release(lease)

        await asyncio.gather(wait("first", ready), wait("second", 0), wait("third", 0))
        return asked, served

    for ready in range(250, 264):  # the 257th gives way, where no earlier one took too long
        asked, served = run(kind, main(ready))
        assert served == asked, ready


def test_what_was_given_to_a_task_that_is_cancelled_is_not_lost(pool: Any, kind: str) -> None:
    async def main() -> list[int]:
        leases: list[int] = []

        async def for_ever() -> None:
            while True:
                leases.append(await pool.acquire_async("many"))

        task = asyncio.create_task(for_ever())
        await asyncio.sleep(0)
        before = len(leases)
        task.cancel("why")
        with pytest.raises(asyncio.CancelledError, match="why"):
            await task
        assert task.cancelling() == 1
        assert len(leases) == before + 1, "the await ended, and then the task"
        return leases

    leases = run(kind, main())
    assert len(leases) == pool.stats()["leases"]


def test_a_cancellation_that_is_taken_back_does_not_come_again(pool: Any, kind: str) -> None:
    async def main() -> str:
        leases: list[int] = []

        async def goes_on() -> str:
            await greedy(pool, leases)
            task = asyncio.current_task()
            assert task is not None
            task.uncancel()  # as `asyncio.timeout` does
            for _ in range(3):
                await asyncio.sleep(0)
            return "went on"

        task = asyncio.create_task(goes_on())
        await asyncio.sleep(0)
        task.cancel()
        return await task

    assert run(kind, main()) == "went on"


def test_what_a_coroutine_that_is_closed_was_given_is_dropped(operations: Any) -> None:
    async def ready(kept: list[Any]) -> None:
        while True:
            operation = operations.ready(["a"])
            kept[:] = [operation]
            await operation

    async def main() -> None:
        kept: list[Any] = []
        coroutine = ready(kept)
        assert coroutine.send(None) is None
        assert repr(kept[0]) == "<PitOperation operations.ready() kept>"
        assert kept[0].done()
        assert not kept[0].cancel()
        coroutine.close()
        assert repr(kept[0]) == "<PitOperation operations.ready() finished>"
        coroutine = ready(kept)
        coroutine.send(None)
        with pytest.raises(asyncio.CancelledError):
            coroutine.throw(asyncio.CancelledError())  # by hand, and not as a task is cancelled
        del coroutine

    asyncio.run(main())
    assert alive(operations) == 0


def test_errors_and_items_that_give_way_arrive(operations: Any, kind: str) -> None:
    async def main() -> list[int]:
        for _ in range(300):
            with pytest.raises(PitNotFound):
                await operations.fails(False)
        return [number async for number in operations.numbers(600, every=1_000)]

    assert run(kind, main()) == list(range(600))
