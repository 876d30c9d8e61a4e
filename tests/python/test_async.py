"""Operations awaited as coroutines are: ready ones, pending ones, failing ones, on every kind of loop."""

from __future__ import annotations

import asyncio
import collections.abc
import contextvars
import gc
import inspect
import sys
import threading
from typing import Any

import pytest

from symphony import _host
from symphony.errors import PitNotFound, PitPanic
from tests.python.operations import alive, run

pytestmark = [pytest.mark.python, getattr(pytest.mark, "async")]


def test_values_come_from_ready_and_from_pending_operations(operations: Any, kind: str) -> None:
    async def main() -> list[Any]:
        results = [await operations.ready([1, "text"]), await operations.later(0.001, b"later")]
        results += [await operations.threaded({"a": None}), await operations.gives_way(3)]
        return [*results, *await asyncio.gather(*[operations.threaded(number) for number in range(100)])]

    assert run(kind, main()) == [[1, "text"], b"later", {"a": None}, 4, *range(100)]


@pytest.mark.parametrize("value", [[], [1, [2]], None, True, "", 2**63, {"a": b"b"}])
def test_any_result_is_a_result(operations: Any, value: Any) -> None:
    async def main() -> Any:
        return await operations.ready(value)

    assert asyncio.run(main()) == value
    operation = operations.ready(value)

    async def by_hand() -> Any:
        with pytest.raises(StopIteration) as raised:
            operation.send(None)
        return raised.value.value

    assert asyncio.run(by_hand()) == value


def test_an_error_keeps_its_kind_and_context(operations: Any, kind: str) -> None:
    async def main(wait: bool) -> None:
        await operations.fails(wait)

    for wait in (False, True):
        with pytest.raises(PitNotFound, match="nothing here") as raised:
            run(kind, main(wait))
        assert raised.value.__notes__ == [f"waited: {str(wait).lower()}"]


def test_a_panic_is_an_error_wherever_it_happens(operations: Any) -> None:
    async def main() -> None:
        with pytest.raises(PitPanic, match="polled on purpose"):
            await operations.panics("poll")
        with pytest.raises(PitPanic, match="woken on purpose"):
            await operations.panics("later")
        task = asyncio.create_task(operations.panics("drop"))
        await asyncio.sleep(0)
        task.cancel()  # its destructor panics: that goes no further
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await operations.ready(1) == 1

    asyncio.run(main())


def test_an_operation_is_a_coroutine(operations: Any) -> None:
    operation: Any = operations.gate("never")
    assert issubclass(type(operation), collections.abc.Coroutine)
    assert inspect.isawaitable(operations.ready())
    assert not asyncio.isfuture(operation)
    assert operation.__name__ == "gate"
    assert operation.__qualname__ == "operations.gate"
    assert repr(operation) == "<PitOperation operations.gate() idle>"
    assert type(operation).__module__ == "symphony._host"
    operation.close()
    assert repr(operation) == "<PitOperation operations.gate() finished>"


def test_tasks_are_made_of_operations(operations: Any, kind: str) -> None:
    async def main() -> list[Any]:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(operations.threaded(number), name=str(number)) for number in range(5)]
        shielded = await asyncio.shield(operations.threaded("shielded"))
        waited = await asyncio.wait_for(operations.threaded("waited"), 10)
        ensured = await asyncio.ensure_future(operations.ready("ensured"))
        assert "operations.threaded" in repr(tasks[0])
        return [*[task.result() for task in tasks], shielded, waited, ensured]

    assert run(kind, main()) == [0, 1, 2, 3, 4, "shielded", "waited", "ensured"]


def test_awaiting_twice_is_an_error_as_of_a_coroutine(operations: Any) -> None:
    async def main() -> None:
        done = operations.ready(1)
        assert await done == 1
        with pytest.raises(RuntimeError, match=r"cannot reuse already awaited operations.ready\(\)"):
            await done
        pending = operations.gate("twice")
        first = asyncio.create_task(pending)
        await asyncio.sleep(0)

        async def again() -> None:
            await pending

        with pytest.raises(RuntimeError, match=r"operations.gate\(\) is being awaited already"):
            await asyncio.create_task(again())
        operations.open("twice")
        assert await first == "twice", "the one that came first is not disturbed"

    asyncio.run(main())


def test_an_operation_belongs_to_the_loop_that_waits_for_it(operations: Any) -> None:
    operation = operations.gate("two loops")
    first, second = asyncio.new_event_loop(), asyncio.new_event_loop()

    async def main() -> Any:
        return await operation

    waiting = first.create_task(main())
    first.call_soon(first.stop)
    first.run_forever()
    with pytest.raises(RuntimeError, match="is being awaited already"):
        second.run_until_complete(main())
    operations.keep("two loops")
    operations.wake_kept()
    woken: list[object] = []
    operation.add_done_callback(woken.append)
    # Woken, but not polled yet: another loop must not take it over.
    first._run_once()  # type: ignore[attr-defined] # the drain alone
    with pytest.raises(RuntimeError, match=r"different loop|awaited already"):
        second.run_until_complete(main())
    operations.open("two loops")
    assert first.run_until_complete(waiting) == "two loops"
    assert woken == [operation]
    first.close()
    second.close()


def test_without_a_loop_there_is_an_error(operations: Any) -> None:
    errors: list[str] = []

    def await_it() -> None:
        operation = operations.ready()
        try:
            operation.send(None)
        except RuntimeError as error:
            errors.append(str(error))

    thread = threading.Thread(target=await_it)  # one that has never seen a loop
    thread.start()
    thread.join()
    assert errors == ["no running event loop: a Pit operation is awaited in a task"]


def test_callbacks_run_in_the_context_of_the_awaiting_task(operations: Any, kind: str) -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")

    async def wait(number: int) -> list[str]:
        variable.set(str(number))
        await operations.threaded()
        seen = [variable.get()]
        await operations.gives_way(2)
        return [*seen, variable.get()]

    async def main() -> list[list[str]]:
        return await asyncio.gather(*[wait(number) for number in range(20)])

    assert run(kind, main()) == [[str(number)] * 2 for number in range(20)]


def test_a_ready_await_takes_no_turn_of_the_loop(operations: Any, kind: str) -> None:
    async def main() -> list[str]:
        order: list[str] = []
        asyncio.get_running_loop().call_soon(order.append, "turn")
        await operations.ready()
        order.append("done")
        await asyncio.sleep(0)
        return order

    assert run(kind, main()) == ["done", "turn"]


@pytest.mark.parametrize(("count", "microseconds"), [(600, 0), (12, 1_000)])
def test_ready_awaits_do_not_starve_the_loop(
    operations: Any, kind: str, count: int, microseconds: int
) -> None:
    async def main() -> list[int]:
        turns, at = [], 0
        loop = asyncio.get_running_loop()

        def turn() -> None:
            turns.append(at)
            loop.call_soon(turn)

        loop.call_soon(turn)
        for at in range(count):  # noqa: B007 - turn() sees it
            await operations.busy(microseconds)
        return turns

    turns = run(kind, main())
    assert turns, "the loop never turned"
    gaps = [after - before for before, after in zip([0, *turns], [*turns, count], strict=False)]
    assert max(gaps) <= (256 + 8 if microseconds == 0 else 4)


def test_a_wake_while_it_is_polled_is_not_lost(operations: Any, kind: str) -> None:
    async def main() -> list[int]:
        return list(await asyncio.gather(*[operations.gives_way(number % 7) for number in range(50)]))

    assert run(kind, main()) == [number % 7 + 1 for number in range(50)]


def test_wakers_take_no_lock_of_python_and_signal_once_a_batch(operations: Any, kind: str) -> None:
    async def main() -> tuple[int, int, list[str]]:
        tasks = [asyncio.ensure_future(operations.gate("batch")) for _ in range(1_000)]
        await asyncio.sleep(0)
        before = _host.async_counts()["signals"]
        woken = operations.open("batch", 4)  # four threads are waited for while this one holds Python's lock
        signals = _host.async_counts()["signals"] - before
        return woken, signals, await asyncio.gather(*tasks)

    assert run(kind, main()) == (1_000, 1, ["batch"] * 1_000)


def test_a_task_that_nobody_refers_to_stays_while_it_waits(operations: Any, kind: str) -> None:
    async def main() -> list[str]:
        done: list[str] = []

        async def wait() -> None:
            done.append(await operations.gate("alone"))

        asyncio.create_task(wait())  # noqa: RUF006 - that is the point
        await asyncio.sleep(0)
        gc.collect()
        operations.open("alone")
        while not done:
            await asyncio.sleep(0)
        return done

    assert run(kind, main()) == ["alone"]


def test_wakes_that_nobody_needs_do_no_harm(operations: Any) -> None:
    async def main() -> None:
        operations.storm("storm", 0.05)
        waiting = [asyncio.ensure_future(operations.gate("storm")) for _ in range(20)]
        await asyncio.sleep(0.02)
        kept = asyncio.ensure_future(operations.gate("kept"))
        await asyncio.sleep(0)
        assert operations.keep("kept") == 1
        kept.cancel()
        with pytest.raises(asyncio.CancelledError):
            await kept
        assert operations.wake_kept() == 1
        await asyncio.sleep(0.05)
        operations.open("storm")
        assert await asyncio.gather(*waiting) == ["storm"] * 20

    asyncio.run(main())


if sys.version_info >= (3, 12):

    @pytest.mark.parametrize("kind", ["asyncio", "proactor"])  # uvloop calls the factory of Python 3.14
    def test_eager_tasks(operations: Any, kind: str) -> None:
        async def main() -> list[Any]:
            loop = asyncio.get_running_loop()
            loop.set_task_factory(asyncio.eager_task_factory)
            ready = asyncio.create_task(operations.ready("at once"))
            done = ready.done()
            pending = asyncio.create_task(operations.threaded("later"))
            given_up = asyncio.create_task(operations.gate("never"))
            given_up.cancel()
            results = [done, await ready, await pending]
            with pytest.raises(asyncio.CancelledError):
                await given_up
            return results

        assert run(kind, main()) == [True, "at once", "later"]


def test_several_loops_in_several_threads(operations: Any) -> None:
    results: dict[int, list[Any]] = {}

    def serve(number: int) -> None:
        async def main() -> list[Any]:
            return await asyncio.gather(*[operations.threaded([number, at]) for at in range(200)])

        for _ in range(3):  # a loop after another, on the same thread
            results[number] = run(("asyncio", "uvloop", "proactor")[number % 3], main())

    threads = [threading.Thread(target=serve, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert results == {number: [[number, at] for at in range(200)] for number in range(6)}
    assert alive(operations) == 0
