"""Streams of a component are asynchronous iterators: items are made when they are asked for."""

from __future__ import annotations

import asyncio
import collections.abc
import contextlib
import itertools
import threading
from typing import Any

import pytest

from symphony import _host
from symphony.errors import PitConflict
from symphony.pit_stubs import stub
from tests.python.operations import alive, run

pytestmark = [pytest.mark.python, getattr(pytest.mark, "async")]


@pytest.mark.parametrize("method", ["numbers", "threaded_numbers"])
@pytest.mark.parametrize("room", [1, 7])
def test_all_items_come_in_order(operations: Any, kind: str, method: str, room: int) -> None:
    async def main() -> list[int]:
        return [number async for number in getattr(operations, method)(500, room)]

    assert run(kind, main()) == list(range(500))


def test_ready_items_do_not_starve_the_loop(operations: Any, kind: str) -> None:
    async def main() -> list[int]:
        turns, number = [0], 0
        loop = asyncio.get_running_loop()

        def turn() -> None:
            turns.append(number)
            loop.call_soon(turn)

        loop.call_soon(turn)
        async for number in operations.numbers(1_000, every=500):  # noqa: B007 - turn() sees it
            pass
        return [*turns, number]

    turns = run(kind, main())
    assert max(after - before for before, after in itertools.pairwise(turns)) <= 256 + 8


def test_none_is_made_before_it_is_asked_for(operations: Any) -> None:
    async def main() -> None:
        stream = operations.numbers(1_000, 4)
        await asyncio.sleep(0.01)
        assert operations.stats()["made"] == 0
        for taken in range(1, 50):
            await anext(stream)
            await asyncio.sleep(0)
            assert taken <= operations.stats()["made"] <= taken + 4
        await stream.aclose()

    asyncio.run(main())


def test_a_thread_waits_until_its_items_are_taken(operations: Any) -> None:
    async def main() -> None:
        stream = operations.threaded_numbers(1_000, 4)
        for taken in range(1, 50):
            assert await anext(stream) == taken - 1
            assert operations.stats()["made"] <= taken + 5  # one more may be on its way
        await stream.aclose()
        for _ in range(500):
            if alive(operations) == 0:
                return
            await asyncio.sleep(0.01)
        raise AssertionError("the thread still waits")

    asyncio.run(main())


def test_an_error_is_the_last_that_comes(operations: Any, kind: str) -> None:
    async def main() -> list[int]:
        seen: list[int] = []
        stream = operations.numbers(5, 2, fail=True)

        async def all_of_them() -> None:
            async for number in stream:
                seen.append(number)  # noqa: PERF401 - what came before the error counts

        with pytest.raises(PitConflict, match="the numbers are all"):
            await all_of_them()
        with pytest.raises(StopAsyncIteration):
            await anext(stream)
        return seen

    assert run(kind, main()) == [0, 1, 2, 3, 4]


def test_closed_it_is_dropped_at_once(operations: Any) -> None:
    async def main() -> None:
        async with contextlib.aclosing(operations.numbers(10)) as stream:
            async for number in stream:
                if number == 1:
                    break
            assert alive(operations) == 1
        assert alive(operations) == 0
        assert [number async for number in stream] == []
        with pytest.raises(StopAsyncIteration):
            await anext(stream)
        await stream.aclose()

    asyncio.run(main())


def test_left_it_is_dropped(operations: Any) -> None:
    async def main() -> None:
        async for number in operations.numbers(10):
            if number == 1:
                break
        assert alive(operations) == 0

    asyncio.run(main())


def test_it_is_iterated_by_one_at_a_time(operations: Any) -> None:
    async def main() -> None:
        stream = operations.threaded_numbers(3)
        assert issubclass(type(stream), collections.abc.AsyncIterator)
        assert repr(stream) == "<PitStream operations.threaded_numbers() idle>"
        with pytest.raises(RuntimeError, match="is iterated by `async for`"):
            await stream
        numbers = operations.numbers(10)
        for _ in range(3):
            await anext(numbers)
        first = asyncio.create_task(anext(numbers))  # waits for a thread
        await asyncio.sleep(0)
        if not first.done():
            with pytest.raises(RuntimeError, match="is being iterated already"):
                anext(numbers)
        assert await first == 3
        await numbers.aclose()
        assert [number async for number in stream] == [0, 1, 2]

    asyncio.run(main())


def test_an_item_may_be_a_task_with_a_timeout(operations: Any, kind: str) -> None:
    async def main() -> list[int]:
        stream = operations.numbers(3)
        seen = [await asyncio.wait_for(anext(stream), 60)]
        seen.append(await asyncio.create_task(anext(stream)))
        async with asyncio.timeout(60):
            seen.append(await anext(stream))
        return [*seen, await anext(stream, -1)]

    assert run(kind, main()) == [0, 1, 2, -1]


def test_it_wakes_the_loop_that_iterates_it_not_the_one_before(operations: Any) -> None:
    before = asyncio.new_event_loop()
    assert before.run_until_complete(operations.threaded(1)) == 1

    async def main() -> list[int]:  # many items before the first wait
        return [number async for number in operations.numbers(100, 4, every=20)]

    assert asyncio.run(asyncio.wait_for(main(), 30)) == list(range(100))
    before.close()


def test_streams_of_several_threads(operations: Any) -> None:
    sums: dict[int, int] = {}

    def serve(number: int) -> None:
        async def one() -> int:
            return sum([item async for item in operations.threaded_numbers(200, 3)])

        async def main() -> int:
            return sum(await asyncio.gather(*[one() for _ in range(5)]))

        sums[number] = asyncio.run(main())

    threads = [threading.Thread(target=serve, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sums == dict.fromkeys(range(4), 5 * sum(range(200)))


def test_a_stub_says_what_it_gives(operations_library: str) -> None:
    description = _host.describe(operations_library)
    flags = {method["name"]: method["flags"] for method in description["methods"]}
    assert flags["numbers"] == ["ASYNC", "STREAM"]
    text = stub(description)
    assert "from collections.abc import AsyncGenerator" in text
    line = "def threaded_numbers(self, end: int, room: int = 1) -> AsyncGenerator[int, None]:"
    assert line in text
