"""The loop that workflow code sees: its order, its clock, its names, and what it refuses."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import pytest

import symphony
from symphony.engine.run_loop import RunLoop, WorkflowTask
from symphony.errors import WorkflowEffect
from tests.unit.python.virtual_world import EPOCH, MemoryLog, virtual_result_of

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = [pytest.mark.unit, pytest.mark.python, getattr(pytest.mark, "async")]


class NoCalls:
    def call_step(self, *call: Any) -> Any:
        raise AssertionError("no step is called here")


def a_loop() -> RunLoop:
    return RunLoop("run", EPOCH * 1_000_000, NoCalls(), lambda line: None)  # type: ignore[abstract]


def finished(coroutine: Any) -> WorkflowTask[Any]:
    """Run a coroutine until nothing is ready any more."""
    loop = a_loop()
    with loop.entered():
        task = loop.start_task(coroutine, "")
        loop.run_ready()
    return task


def test_callbacks_run_in_the_order_they_were_made() -> None:
    seen: list[int] = []

    async def main() -> None:
        async def say(number: int) -> None:
            seen.append(number)
            await asyncio.sleep(0)
            seen.append(number + 10)

        await asyncio.gather(*(say(number) for number in range(3)))

    assert finished(main()).done()
    assert seen == [0, 1, 2, 10, 11, 12]


def test_time_stands_still_in_a_turn_and_moves_with_records() -> None:
    loop = a_loop()
    assert loop.time() == EPOCH
    loop.advance(EPOCH * 1_000_000 + 1_500_000)
    assert loop.time() == EPOCH + 1.5
    loop.advance(0)
    assert loop.time() == EPOCH + 1.5
    assert loop.now().isoformat() == "2023-11-14T22:13:21.500000+00:00"


def test_a_timer_is_due_when_the_clock_shows_its_time() -> None:
    loop = a_loop()
    for delay in (0.1, 1 / 3, 1e-7, 86_400.000001):
        timer = loop.call_at(loop.time() + delay, print)
        loop.advance(timer.due)
        assert loop.time() >= timer.when()


def test_tasks_and_timers_are_named_by_place() -> None:
    names: list[str] = []

    async def main() -> None:
        async def inner() -> None:
            task = asyncio.current_task()
            assert isinstance(task, WorkflowTask)
            names.append(task.scope.name)
            asyncio.get_running_loop().call_later(1, print)

        await asyncio.create_task(inner())
        async with asyncio.TaskGroup() as group:
            group.create_task(inner())
            group.create_task(asyncio.wait_for(inner(), 5))

    loop = a_loop()
    with loop.entered():
        assert loop.start_task(main(), "").get_name() == "main task"
        loop.run_ready()
    assert names[:2] == ["0", "1"]
    assert {"0~0", "1~0"} <= set(loop.timers)


def test_random_numbers_and_task_names_depend_on_the_run_only() -> None:
    assert a_loop().random.random() == a_loop().random.random()

    async def main() -> Any:
        return asyncio.create_task(asyncio.sleep(0)).get_name()

    assert finished(main()).result() == finished(main()).result() == "task 0"


def test_sets_of_tasks_iterate_alike() -> None:
    async def main() -> list[str]:
        tasks = {asyncio.create_task(asyncio.sleep(0), name=str(number)) for number in range(50)}
        done, _ = await asyncio.wait(tasks)
        return [task.get_name() for task in done]

    assert finished(main()).result() == finished(main()).result()


FORBIDDEN: dict[str, Callable[[Any], Any]] = {
    "run_in_executor": lambda loop: asyncio.to_thread(print),
    "create_connection": lambda loop: asyncio.open_connection("localhost", 1),
    "subprocess_exec": lambda loop: asyncio.create_subprocess_exec("true"),
    "getaddrinfo": lambda loop: loop.getaddrinfo("localhost", 1),
    "add_reader": lambda loop: loop.add_reader(0, print),
    "add_signal_handler": lambda loop: loop.add_signal_handler(2, print),
    "call_soon_threadsafe": lambda loop: loop.call_soon_threadsafe(print),
    "run_until_complete": lambda loop: loop.run_until_complete(None),
    "set_task_factory": lambda loop: loop.set_task_factory(None),
    "stop": lambda loop: loop.stop(),
    "set_debug": lambda loop: loop.set_debug(True),
}


@pytest.mark.parametrize("name", FORBIDDEN)
def test_what_touches_the_outside_world_is_refused_by_name(name: str) -> None:
    async def main() -> None:
        answer: Any = FORBIDDEN[name](asyncio.get_running_loop())
        await answer

    error = finished(main()).exception()
    assert isinstance(error, WorkflowEffect)
    assert f"{name}()" in str(error)
    assert error.hint == "move it into a function marked @symphony.step"


def test_as_completed_needs_tasks() -> None:
    async def main(make: Any) -> list[int]:
        async def value(number: int) -> int:
            return number

        coroutines = [value(number) for number in range(3)]
        try:
            return [await found for found in asyncio.as_completed([make(item) for item in coroutines])]
        finally:
            for item in coroutines:
                item.close()

    assert finished(main(asyncio.create_task)).result() == [0, 1, 2]
    error = finished(main(lambda coroutine: coroutine)).exception()
    assert isinstance(error, WorkflowEffect)
    assert "as_completed" in str(error)


def test_spinning_is_found_and_a_large_fan_out_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("symphony.engine.run_loop._SPIN_PASSES", 100)
    monkeypatch.setattr("symphony.engine.run_loop._SPIN_CALLBACKS", 1000)

    async def spin() -> None:
        while True:
            await asyncio.sleep(0)

    with pytest.raises(WorkflowEffect, match="spins"):
        finished(spin())

    async def wide() -> int:
        return len(await asyncio.gather(*(asyncio.sleep(0, number) for number in range(2000))))

    assert finished(wide()).result() == 2000


def test_an_exit_in_workflow_code_stays_in_its_task() -> None:
    async def main() -> None:
        raise SystemExit(3)

    error = finished(main()).exception()
    assert isinstance(error, SystemExit)


def test_generators_are_held_until_the_end_of_the_run() -> None:
    closed: list[str] = []

    @symphony.step
    async def note(name: str) -> str:
        return name

    async def numbers(name: str) -> Any:
        try:
            while True:
                yield 1
        finally:
            closed.append(await note(name))

    @symphony.workflow
    async def leaving() -> str:
        for name in ("first", "second"):
            async for _ in numbers(name):
                break
        return f"before: {closed}"

    assert virtual_result_of(leaving, {}, MemoryLog()).value == "before: []"
    assert closed == ["second", "first"]


def test_asyncio_queue_event_and_lock_work_unchanged() -> None:
    @symphony.step
    async def square(number: int) -> int:
        await asyncio.sleep(10 - number)
        return number * number

    @symphony.workflow
    async def pipeline() -> list[int]:
        queue: asyncio.Queue[int] = asyncio.Queue(maxsize=2)
        ready, lock = asyncio.Event(), asyncio.Lock()
        found: list[int] = []

        async def produce() -> None:
            await ready.wait()
            for number in range(4):
                await queue.put(await square(number))

        async def consume() -> None:
            while True:
                value = await queue.get()
                async with lock:
                    found.append(value)
                queue.task_done()

        async with asyncio.TaskGroup() as group:
            group.create_task(produce())
            consumer = group.create_task(consume())
            ready.set()
            while len(found) < 4:
                await symphony.sleep(1)
            consumer.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await consumer
        return found

    assert virtual_result_of(pipeline, {}, MemoryLog()).value == [0, 1, 4, 9]
