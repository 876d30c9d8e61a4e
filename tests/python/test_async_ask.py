"""A component awaits a coroutine of Python's: answers, exceptions, and cancellation in both directions."""

from __future__ import annotations

import asyncio
import traceback
from typing import TYPE_CHECKING, Any

import pytest

from symphony import _host
from symphony.errors import (
    ConversionError,
    PitCancelled,
    PitIO,
    PitNotFound,
    PitWouldBlock,
)
from tests.python.operations import alive

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator
    from pathlib import Path

pytestmark = [pytest.mark.python, getattr(pytest.mark, "async")]


class Engine:
    """Answers by coroutines, and notes how they ended."""

    def __init__(self) -> None:
        self.ended: list[str] = []
        self.raised: list[Exception] = []
        self.tasks: list[asyncio.Task[Any] | None] = []

    def answer(self, component: str, name: str, args: list[Any]) -> object:
        assert component == "test.operations"
        match name:
            case "double":
                return self.double(*args)
            case "at once":
                return ["at once", *args]
            case "fail":
                return self.fail(*args)
            case "fail at once":
                self.raised.append(KeyError("at once"))
                raise self.raised[-1]
            case "fail with cause":
                return self.fail_with_cause()
            case "object":
                return object()
            case "wait":
                return self.wait()
        return NotImplemented

    async def double(self, number: int) -> int:
        await asyncio.sleep(0.001)
        return 2 * number

    async def fail(self, kind: str) -> None:
        await asyncio.sleep(0)
        kinds = {"value": ValueError, "time": TimeoutError, "os": OSError, "zero": ZeroDivisionError}
        self.raised.append(kinds[kind](kind))
        raise self.raised[-1]

    async def fail_with_cause(self) -> None:
        await asyncio.sleep(0.01)
        error = PitNotFound("no model")
        error.add_note("while loading")
        self.raised.append(error)
        raise error from OSError("no file")

    async def wait(self) -> None:
        self.tasks.append(asyncio.current_task())
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            self.ended.append("cancelled")
            raise


@pytest.fixture
def pit(tmp_path: Path, operations_library: str) -> Iterator[Any]:
    opened = _host.open_pit(str(tmp_path), [operations_library])
    yield opened
    assert alive(opened.operations) == 0
    opened.close()


def serve(pit: Any, main: Callable[[Engine], Coroutine[Any, Any, Any]]) -> Any:
    engine = Engine()

    async def served() -> Any:
        pit.serve_callouts(asyncio.get_running_loop(), engine.answer)
        return await main(engine)

    return asyncio.run(served())


def test_it_gets_what_the_coroutine_returns(pit: Any) -> None:
    async def main(_: Engine) -> list[Any]:
        many = await asyncio.gather(*[pit.operations.asks("double", number) for number in range(50)])
        return [many, await pit.operations.asks("at once", "value")]

    assert serve(pit, main) == [[2 * number for number in range(50)], ["at once", "value"]]


def test_a_thread_that_blocks_gets_it_too(pit: Any) -> None:
    async def main(_: Engine) -> list[int]:
        asked = [asyncio.to_thread(pit.operations.asks_blocking, "double", number) for number in range(10)]
        return list(await asyncio.gather(*asked))

    assert serve(pit, main) == [2 * number for number in range(10)]


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("fail", "value", ValueError),
        ("fail", "time", TimeoutError),
        ("fail", "os", OSError),
        ("fail", "zero", ZeroDivisionError),
        ("fail at once", None, KeyError),
    ],
)
def test_what_it_raises_comes_through_the_component_as_it_was(
    pit: Any, name: str, value: Any, error: type[Exception]
) -> None:
    async def main(engine: Engine) -> None:
        with pytest.raises(error) as raised:
            await pit.operations.asks(name, value)
        assert raised.value is engine.raised[-1]
        frames = [frame.name for frame in traceback.extract_tb(raised.value.__traceback__)]
        assert (frames[0], frames[-1]) == ("main", "fail" if name == "fail" else "answer")

    serve(pit, main)


def test_its_notes_and_causes_come_through_too(pit: Any) -> None:
    async def main(engine: Engine) -> None:
        with pytest.raises(PitNotFound) as raised:
            await pit.operations.asks("fail with cause")
        assert raised.value is engine.raised[-1]
        assert raised.value.__notes__ == ["while loading"]
        assert isinstance(raised.value.__cause__, OSError)

    serve(pit, main)


def test_only_the_last_exceptions_wait_for_their_errors(pit: Any) -> None:
    async def main(engine: Engine) -> None:
        asked = [pit.operations.asks("fail with cause") for _ in range(100)]
        found = await asyncio.gather(*asked, return_exceptions=True)
        same = [any(error is raised for raised in engine.raised) for error in found]
        assert 36 <= sum(same) <= 100
        for error in found:
            assert type(error) is PitNotFound
            assert str(error) == "no model"
            assert type(error.__cause__) is OSError or isinstance(error.__cause__, PitIO)

    serve(pit, main)


def test_what_cannot_be_answered_is_an_error(pit: Any) -> None:
    async def main(_: Engine) -> None:
        with pytest.raises(PitNotFound, match='does not know "nothing"'):
            await pit.operations.asks("nothing")
        with pytest.raises(ConversionError, match="the answer: a value of type object cannot cross"):
            await pit.operations.asks("object")

    serve(pit, main)


def test_given_up_it_cancels_the_coroutine(pit: Any) -> None:
    async def main(engine: Engine) -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await pit.operations.asks("wait")
        while not engine.ended:
            await asyncio.sleep(0)
        assert engine.ended == ["cancelled"]
        never = asyncio.create_task(pit.operations.asks("wait"))
        await asyncio.sleep(0)
        never.cancel()  # before the engine has seen the question
        with pytest.raises(asyncio.CancelledError):
            await never
        await asyncio.sleep(0.01)
        assert len(engine.tasks) in {1, 2}
        assert all(task is not None and task.done() for task in engine.tasks)

    serve(pit, main)


def test_a_cancelled_coroutine_is_told_to_who_waits(pit: Any) -> None:
    async def main(engine: Engine) -> None:
        asking = asyncio.create_task(pit.operations.asks("wait"))
        while not engine.tasks:
            await asyncio.sleep(0)
        task = engine.tasks[0]
        assert task is not None
        task.cancel()
        with pytest.raises(PitCancelled):
            await asking

    serve(pit, main)


def test_without_an_engine_nobody_waits(pit: Any) -> None:
    with pytest.raises(PitWouldBlock, match="no engine listens"):
        pit.operations.asks_blocking("double", 1)

    async def main(engine: Engine) -> None:
        asked = asyncio.ensure_future(asyncio.to_thread(pit.operations.asks_blocking, "wait"))
        while not engine.tasks:
            await asyncio.sleep(0)
        pit.serve_callouts(
            asyncio.get_running_loop(), lambda *_: NotImplemented
        )  # another is asked from now on
        engine.tasks[0].cancel()  # type: ignore[union-attr]
        with pytest.raises(PitCancelled):
            await asked

    serve(pit, main)
    with pytest.raises(PitWouldBlock, match="no engine listens"):
        pit.operations.asks_blocking("double", 1)  # its loop is closed
