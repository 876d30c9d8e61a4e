"""What plugins wrap around steps: it sees, changes, repeats, replaces; where it fails it is named."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import TYPE_CHECKING, Any

import pytest

import symphony
from symphony.engine.attempt import Attempt
from symphony.engine.middleware import chain
from symphony.errors import PluginFailed, StepFailed
from symphony.plugins.namespace import Namespace
from tests.unit.python.virtual_world import MemoryLog, result_of, virtual_result_of

if TYPE_CHECKING:
    from symphony.engine.middleware import Middleware, Next, StepInvocation

pytestmark = [pytest.mark.integration, pytest.mark.python, getattr(pytest.mark, "async")]


def through(*layers: Middleware) -> Any:
    named = [(f"symphony-{layer.__name__}", layer) for layer in layers]
    return lambda run: run._launcher.take_over([], Namespace([]), named, {}, None)


@symphony.step
async def add(one: int, *, two: int) -> int:
    return one + two


@symphony.step
def blocking(items: list[Any]) -> list[Any]:
    items.append(5)
    return items


@symphony.step
async def failing() -> None:
    raise KeyError("k")


@symphony.workflow
async def sums() -> list[Any]:
    return [await add(1, two=2), await blocking([3])]


def test_without_middleware_nothing_is_in_between() -> None:
    assert chain([]) is Attempt.submitted
    ways: list[Any] = []

    def look(run: Any) -> None:
        ways.append(run._launcher.through)

    virtual_result_of(sums, {}, MemoryLog(), look)
    assert ways == [Attempt.submitted]


@pytest.mark.hook("step_middleware")
def test_it_sees_the_step_and_the_first_plugin_is_outermost() -> None:
    seen: list[Any] = []

    async def outer(call: StepInvocation, next: Next) -> Any:
        seen.append((call.run, call.workflow, call.key, call.name, call.attempt, call.executor))
        seen.append((call.args, call.kwargs, symphony.current().key))
        result = await next(call)
        seen.append(("outer", result))
        return result

    async def inner(call: StepInvocation, next: Next) -> Any:
        result = await next(call)
        seen.append(("inner", result))
        return result

    assert result_of(sums, {}, MemoryLog(), through(outer, inner)).value == [3, [3, 5]]
    assert seen == [
        ("run-1", "test.sums", "run-1/add#0", "add", 1, "async"),
        ((1,), {"two": 2}, "run-1/add#0"),
        ("inner", 3),
        ("outer", 3),
        ("run-1", "test.sums", "run-1/blocking#0", "blocking", 1, "thread"),
        (([3],), {}, "run-1/blocking#0"),
        ("inner", [3, 5]),
        ("outer", [3, 5]),
    ]


def test_it_may_change_arguments_and_result_and_what_it_gives_is_recorded() -> None:
    async def changing(call: StepInvocation, next: Next) -> Any:
        if call.name == "add":
            return 10 * await next(dataclasses.replace(call, args=(4,)))
        result = await next(call)
        result.append("more")
        return result

    log = MemoryLog()
    assert result_of(sums, {}, log, through(changing)).value == [60, [3, 5, "more"]]
    again: list[str] = []

    async def noting(call: StepInvocation, next: Next) -> Any:
        again.append(call.name)
        return await next(call)

    assert result_of(sums, {}, log, through(noting)).value == [60, [3, 5, "more"]]
    assert again == []


def test_it_may_repeat_a_step_which_gets_the_same_arguments_or_do_without_it() -> None:
    async def twice(call: StepInvocation, next: Next) -> Any:
        if call.name == "add":
            return -1
        first = await next(call)
        return [first, await next(call)]

    assert result_of(sums, {}, MemoryLog(), through(twice)).value == [-1, [[3, 5], [3, 5]]]


def failure_of(workflow: Any, *layers: Middleware) -> tuple[Any, MemoryLog]:
    log = MemoryLog()
    return virtual_result_of(workflow, {}, log, through(*layers)).error, log


@symphony.workflow
async def fails() -> None:
    await failing()


def test_a_steps_own_exception_passes_and_may_be_answered() -> None:
    seen: list[str] = []

    async def noting(call: StepInvocation, next: Next) -> Any:
        try:
            return await next(call)
        except KeyError as error:
            seen.append(repr(error))
            raise

    async def answering(call: StepInvocation, next: Next) -> Any:
        try:
            return await next(call)
        except KeyError:
            return None

    error, log = failure_of(fails, noting, noting)
    assert isinstance(error, KeyError)
    assert seen == ["KeyError('k')"] * 2
    plain = MemoryLog()
    virtual_result_of(fails, {}, plain)
    assert log.records[0].payload == plain.records[0].payload
    assert failure_of(fails, noting, answering)[0] is None


@pytest.mark.parametrize("kind", [ValueError, SystemExit, KeyboardInterrupt])
def test_what_it_raises_itself_fails_the_attempt_and_names_the_plugin(kind: type[BaseException]) -> None:
    tries: list[int] = []

    async def outer(call: StepInvocation, next: Next) -> Any:
        return await next(call)

    async def broken(call: StepInvocation, next: Next) -> Any:
        tries.append(call.attempt)
        await next(call)
        raise kind("bug")

    @symphony.step(retries=1, backoff=0)
    async def fine() -> None: ...

    @symphony.workflow
    async def main() -> None:
        await fine()

    error, _ = failure_of(main, outer, broken)
    assert isinstance(error, PluginFailed)
    assert str(error) == f"middleware of plugin symphony-broken raised {kind.__name__}: bug"
    assert tries == [1, 2]


def test_it_is_within_the_time_limit_and_ends_with_the_step() -> None:
    ended: list[str] = []

    async def slow(call: StepInvocation, next: Next) -> Any:
        try:
            await asyncio.sleep(60)
        finally:
            ended.append(call.name)
        return await next(call)

    @symphony.step(timeout=1)
    async def limited() -> None: ...

    @symphony.step
    async def stopped() -> None: ...

    @symphony.workflow
    async def main() -> str:
        handle = stopped()
        await symphony.sleep(0.5)
        handle.cancel()
        try:
            await limited()
        except TimeoutError as error:
            return str(error)
        return "in time"

    log = MemoryLog()
    assert virtual_result_of(main, {}, log, through(slow)).value == "step 'limited' took longer than 1 s"
    assert ended == ["stopped", "limited"]


def test_its_result_is_recorded_by_value_like_a_steps() -> None:
    async def unfit(call: StepInvocation, next: Next) -> Any:
        return "text" if call.name == "add" else await next(call)

    error, _ = failure_of(sums, unfit)
    assert str(error) == "result of add: expected int, got str ('text')"
    assert not isinstance(error, StepFailed)


def test_a_watched_step_is_in_flight_once_and_its_thread_and_its_middleware_are_marked() -> None:
    seen: list[str] = []

    class Marks:
        def begin(self, run: str, workflow: str, plugin: str, name: str, *more: Any) -> int:
            seen.append(f"begin {name}")
            return 7

        def enter(self, step: int) -> None:
            seen.append(f"enter {step}")

        def leave(self) -> None:
            seen.append("leave")

        def end(self, step: int) -> None:
            seen.append(f"end {step}")

    async def noting(call: StepInvocation, next: Next) -> Any:
        seen.append("before")
        return await next(call)

    @symphony.step
    def threaded() -> None:
        seen.append("in thread")

    @symphony.workflow
    async def main() -> None:
        await threaded()

    result_of(main, {}, MemoryLog(), through(noting), vitals=Marks())
    assert seen[:3] == ["begin threaded", "enter 7", "before"]
    assert seen.count("begin threaded") == seen.count("end 7") == 1
    assert seen[-1] == "end 7"
    assert seen.count("enter 7") == seen.count("leave") == 3
