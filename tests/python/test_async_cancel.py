"""A cancelled await drops its operation before the awaiting code goes on: a guard in each tells."""

from __future__ import annotations

import asyncio
import gc
from typing import TYPE_CHECKING, Any

import pytest

from symphony import _host
from tests.python.operations import alive, run

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

pytestmark = [pytest.mark.python, getattr(pytest.mark, "async")]


async def _plain(operations: Any) -> None:
    await operations.gate("never")


async def _deep(operations: Any) -> None:
    async def inner() -> None:
        async with asyncio.Lock():
            await operations.gate("never")

    await inner()


async def _after_a_wake(operations: Any) -> None:
    await operations.threaded()
    await operations.ready()
    await operations.gate("never")


async def _gathered(operations: Any) -> None:
    await asyncio.gather(*[operations.gate("never") for _ in range(3)])


async def _grouped(operations: Any) -> None:
    async with asyncio.TaskGroup() as group:
        for _ in range(3):
            group.create_task(operations.gate("never"))


async def _waited(operations: Any) -> None:
    await asyncio.wait_for(operations.gate("never"), 60)


async def _timed(operations: Any) -> None:
    async with asyncio.timeout(60):
        await operations.gate("never")


async def _streamed(operations: Any) -> None:
    async for _ in operations.numbers(10**9):
        pass


AWAITS = [_plain, _deep, _after_a_wake, _gathered, _grouped, _waited, _timed, _streamed]


@pytest.mark.parametrize("wait", AWAITS)
@pytest.mark.parametrize("turns", [0, 1, 2, 20])
def test_it_is_dropped_before_the_task_goes_on(
    operations: Any, kind: str, wait: Callable[[Any], Coroutine[Any, Any, None]], turns: int
) -> None:
    seen: list[int] = []
    messages: list[tuple[Any, ...]] = []

    async def watched() -> None:
        try:
            await wait(operations)
        except asyncio.CancelledError as error:
            seen.append(alive(operations))
            messages.append(error.args)
            raise

    async def main() -> None:
        task = asyncio.create_task(watched())
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel("enough")
        with pytest.raises(asyncio.CancelledError):
            await task
        assert task.cancelled()

    run(kind, main())
    assert seen == ([0] if turns else []), "a task that has not begun never sees it"
    assert messages == [("enough",)] * len(seen)


def test_it_is_dropped_at_once_not_by_the_next_turn(operations: Any, kind: str) -> None:
    async def main() -> None:
        task = asyncio.create_task(_plain(operations))
        await asyncio.sleep(0)
        assert alive(operations) == 1
        assert task.cancel() is True
        assert alive(operations) == 0
        await asyncio.wait([task])

    run(kind, main())


def test_one_that_was_woken_is_dropped_at_once_too(operations: Any, kind: str) -> None:
    async def main(turns: int) -> None:
        task = asyncio.create_task(operations.gate(f"open {turns}"))
        await asyncio.sleep(0)
        operations.open(f"open {turns}")  # it would be ready at the next poll
        for _ in range(turns):
            await asyncio.sleep(0)
        if not task.done():
            task.cancel()
            assert alive(operations) == 0
            with pytest.raises(asyncio.CancelledError):
                await task

    for turns in range(4):
        run(kind, main(turns))


def test_a_timeout_cancels_and_is_a_timeout(operations: Any, kind: str) -> None:
    async def main() -> None:
        left: list[int] = []

        async def limited() -> None:
            async with asyncio.timeout(0.01):
                try:
                    await operations.gate("never")
                finally:
                    left.append(alive(operations))

        with pytest.raises(TimeoutError):
            await limited()
        assert left == [0]
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(operations.gate("never"), 0.01)
        assert alive(operations) == 0
        async with asyncio.timeout(60):
            assert await operations.threaded(1) == 1

    run(kind, main())


def test_what_is_shielded_goes_on(operations: Any, kind: str) -> None:
    async def main() -> str:
        inner = asyncio.ensure_future(operations.gate("shielded"))
        outer = asyncio.create_task(asyncio.wait_for(asyncio.shield(inner), 60))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        outer.cancel()
        with pytest.raises(asyncio.CancelledError):
            await outer
        assert alive(operations) == 1
        operations.open("shielded")
        return str(await inner)

    assert run(kind, main()) == "shielded"


def test_one_failure_cancels_the_rest_of_a_group(operations: Any, kind: str) -> None:
    async def main() -> None:
        async def grouped() -> None:
            async with asyncio.TaskGroup() as group:
                for _ in range(10):
                    group.create_task(operations.gate("never"))
                group.create_task(operations.fails(True))

        with pytest.raises(ExceptionGroup) as raised:
            await grouped()
        assert len(raised.value.exceptions) == 1
        assert alive(operations) == 0

    run(kind, main())


def test_a_cancellation_may_be_survived(operations: Any, kind: str) -> None:
    async def stubborn() -> str:
        try:
            await operations.gate("never")
        except asyncio.CancelledError:
            return str(await operations.threaded("still here"))
        return "never"

    async def main() -> str:
        task = asyncio.create_task(stubborn())
        await asyncio.sleep(0)
        task.cancel()
        return await task

    assert run(kind, main()) == "still here"


def test_what_is_never_awaited_is_dropped(operations: Any) -> None:
    before = _host.async_counts()
    for _ in range(10):
        operations.gate("never")
        operations.numbers(3)
    operation = operations.gate("closed")
    operation.close()
    operation.close()
    assert alive(operations) == 0
    after = _host.async_counts()
    assert after["created"] - before["created"] == after["dropped"] - before["dropped"] == 21


def test_cancelled_before_it_is_awaited_it_says_so(operations: Any) -> None:
    async def main() -> None:
        operation = operations.gate("never")
        assert operation.cancel(msg="no") is True
        assert (operation.cancelled(), operation.done(), operation.cancel()) == (True, True, False)
        with pytest.raises(asyncio.CancelledError, match="no"):
            await operation
        with pytest.raises(RuntimeError, match="cannot reuse"):
            await operation

    asyncio.run(main())


def test_the_protocol_of_futures(operations: Any) -> None:
    """What a task does with an operation that waits, done by hand."""
    loop = asyncio.new_event_loop()
    called: list[object] = []

    async def main() -> None:
        operation: Any = operations.gate("by hand")
        with pytest.raises(asyncio.InvalidStateError):
            operation.add_done_callback(called.append)
        assert operation.send(None) is operation
        assert operation._asyncio_future_blocking is True
        is_future: bool = asyncio.isfuture(operation)
        assert is_future
        operation._asyncio_future_blocking = False
        assert operation.get_loop() is loop
        assert (operation.done(), operation.cancelled()) == (False, False)
        with pytest.raises(asyncio.InvalidStateError):
            operation.result()
        other: list[object] = []
        for _ in range(2):
            operation.add_done_callback(other.append)
        assert operation.remove_done_callback(other.append) == 2
        operation.add_done_callback(called.append)
        operations.open("by hand")
        while not called:
            await asyncio.sleep(0)
        assert called == [operation]
        assert other == []
        assert operation.done()
        assert operation.result() is None
        assert operation.exception() is None
        with pytest.raises(StopIteration, match="by hand"):
            operation.send(None)
        operation.add_done_callback(called.append)
        with pytest.raises(TypeError, match="expected no keyword but context"):
            operation.add_done_callback(called.append, contexts=None)
        with pytest.raises(TypeError, match="takes one function"):
            operation.add_done_callback()

    loop.run_until_complete(main())
    loop.close()


@pytest.mark.parametrize("thrown", [KeyError("k"), KeyError, ValueError])
def test_throw_drops_it_and_raises(operations: Any, thrown: Any) -> None:
    async def main() -> None:
        operation = operations.gate("never")
        operation.send(None)
        assert alive(operations) == 1
        with pytest.raises((KeyError, ValueError)):
            operation.throw(thrown)
        assert alive(operations) == 0
        other = operations.gate("never")
        with pytest.raises(KeyError, match="with a value"):
            other.throw(KeyError, "with a value", None)

    asyncio.run(main())


def test_a_task_that_nobody_refers_to_is_collected_with_its_operation(operations: Any) -> None:
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(
        lambda *_: None
    )  # it would say that the task was destroyed while it was pending
    task = loop.create_task(_plain(operations))
    loop.call_soon(loop.stop)
    loop.run_forever()
    assert alive(operations) == 1
    loop.close()
    task._log_destroy_pending = False  # type: ignore[attr-defined]
    del task
    gc.collect()
    assert alive(operations) == 0
