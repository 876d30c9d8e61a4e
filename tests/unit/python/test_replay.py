"""What a run promises across a death: each rule of replay by an example."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import gc
from typing import TYPE_CHECKING, Any

import pytest

import symphony
from symphony.engine.run_log import FAILED, OUTCOME
from symphony.errors import (
    RunCancelled,
    StepFailed,
    UpstreamFailed,
    WorkflowChanged,
    WorkflowEffect,
    WorkflowError,
)
from tests.unit.python.virtual_world import EPOCH, MemoryLog, virtual_result_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from symphony.engine.run import Run

pytestmark = [pytest.mark.unit, pytest.mark.python, getattr(pytest.mark, "async")]

executed: list[str] = []


@pytest.fixture(autouse=True)
def _nothing_executed() -> Iterator[None]:
    executed.clear()
    yield
    gc.collect()  # what is finalised late must not be heard of


@symphony.step
async def say(what: Any, seconds: float = 0) -> Any:
    executed.append(str(what))
    await asyncio.sleep(seconds)
    return what


@symphony.step
async def fail(what: str) -> None:
    executed.append(what)
    raise ValueError(what)


@symphony.workflow
async def chain(count: int) -> list[str]:
    return [await say(f"part {number}") for number in range(count)]


def test_recorded_steps_are_not_executed_again() -> None:
    log = MemoryLog()
    assert virtual_result_of(chain, {"count": 3}, log).counts.executed == 3
    for cut in range(4):
        executed.clear()
        again = virtual_result_of(chain, {"count": 3}, MemoryLog(records=log.records[:cut]))
        assert again.value == ["part 0", "part 1", "part 2"]
        assert executed == [f"part {number}" for number in range(cut, 3)]
        assert (again.counts.reused, again.counts.executed) == (cut, 3 - cut)


@dataclasses.dataclass
class Page:
    url: str
    size: int


@symphony.step
async def fetch(url: str) -> Page:
    executed.append(url)
    return Page(url, len(url))


@symphony.step
async def total(pages: list[Page], *, scale: int = 1) -> int:
    return scale * sum(page.size for page in pages)


def test_handles_as_arguments_are_edges_and_results_have_their_types() -> None:
    @symphony.workflow
    async def count(urls: list[str]) -> int:
        pages = fetch.map(urls)
        assert isinstance((await pages[0]), Page)
        return await total([*pages, Page("extra", 5)], scale=10)

    log = MemoryLog()
    assert virtual_result_of(count, {"urls": ["a", "bb"]}, log).value == 80
    assert [record.key for record in log.records] == ["fetch#0", "fetch#1", "total#0"]
    assert virtual_result_of(count, {"urls": ["a", "bb"]}, MemoryLog(records=log.records[:2])).value == 80


def test_every_consumer_gets_a_result_of_its_own() -> None:
    @symphony.step
    async def spoil(items: list[int]) -> list[int]:
        items.append(99)
        return items

    @symphony.workflow
    async def spoiling() -> list[Any]:
        source = say([1])
        mine = await source
        mine.append(2)
        return [mine, await source, await spoil(source), await spoil(mine), mine]

    assert virtual_result_of(spoiling, {}, MemoryLog()).value == [[1, 2], [1, 2], [1, 99], [1, 2, 99], [1, 2]]


def test_a_failed_upstream_step_fails_what_depends_on_it_without_a_record() -> None:
    @symphony.workflow
    async def depending() -> Any:
        try:
            await say(say(fail("bad")))
        except UpstreamFailed as error:
            return f"{error} / {type(error.__cause__).__name__}"
        return ""

    log = MemoryLog()
    result = virtual_result_of(depending, {}, log)
    reason = "step say#0 was not started: fail#0 failed: ValueError: bad"
    assert result.value == f"step say#1 was not started: say#0 failed: {reason} / UpstreamFailed"
    assert result.counts.skipped == 2
    assert [(record.key, record.state) for record in log.records] == [("fail#0", FAILED)]


def test_a_failed_step_that_nobody_awaited_fails_the_run_at_its_end() -> None:
    @symphony.workflow
    async def careless() -> Any:
        fail("unseen")
        return await say("done")

    result = virtual_result_of(careless, {}, MemoryLog())
    assert (result.status, str(result.error), result.step) == ("failed", "unseen", "fail#0")
    assert "raise ValueError(what)" in (result.report or "")

    @symphony.workflow
    async def careful() -> Any:
        with contextlib.suppress(ValueError):
            await fail("seen")
        return await say("done")

    assert virtual_result_of(careful, {}, MemoryLog()).status == "completed"


def test_returned_handles_are_awaited() -> None:
    @symphony.workflow
    async def returning() -> Any:
        return {"one": say(1), "more": [say(2), 3]}

    assert virtual_result_of(returning, {}, MemoryLog()).value == {"one": 1, "more": [2, 3]}


def test_background_tasks_are_cancelled_and_open_steps_finished_at_the_end() -> None:
    seen: list[str] = []

    async def background() -> None:
        try:
            await say("cancelled", 100)
        finally:
            seen.append(await say("cleaned up"))

    @symphony.workflow
    async def leaving() -> Any:
        task = asyncio.create_task(background())
        assert not task.done()
        say("open", 3)
        await symphony.sleep(1)
        return "left"

    log = MemoryLog()
    assert virtual_result_of(leaving, {}, log).value == "left"
    assert seen == ["cleaned up"]
    assert {record.key for record in log.records if record.kind == OUTCOME} == {"0:say#1", "say#0"}


def test_a_failed_workflow_does_not_wait_for_open_steps() -> None:
    @symphony.workflow
    async def failing() -> None:
        say("open", 10_000)
        await fail("now")

    log = MemoryLog()
    assert str(virtual_result_of(failing, {}, log).error) == "now"
    assert log.clock() < (EPOCH + 5) * 1_000_000


def test_sleep_and_time_are_durable() -> None:
    @symphony.workflow
    async def waiting() -> list[Any]:
        began = symphony.now()
        await symphony.sleep(3600)
        middle = symphony.now()
        await asyncio.sleep(3600)
        return [(middle - began).total_seconds(), (symphony.now() - began).total_seconds(), str(began.tzinfo)]

    log = MemoryLog()
    assert virtual_result_of(waiting, {}, log).value == [3600.0, 7200.0, "UTC"]
    # Half an hour into the second hour the interpreter died; the deadline stays.
    again = MemoryLog(records=log.records[:1])
    assert virtual_result_of(waiting, {}, again, later=1800).value == [3600.0, 7200.0, "UTC"]
    assert again.records[1].time == log.records[1].time


def test_chance_comes_from_the_run() -> None:
    @symphony.workflow
    async def gambling() -> list[Any]:
        await say("a")
        return [symphony.random.random(), symphony.random.randint(1, 1000), str(symphony.uuid())]

    log = MemoryLog()
    first = virtual_result_of(gambling, {}, log).value
    assert virtual_result_of(gambling, {}, log).value == first
    assert first[2][14] == "4"


def test_cancelling_the_awaiter_stops_the_step_and_leaves_no_outcome() -> None:
    @symphony.workflow
    async def impatient() -> Any:
        try:
            async with asyncio.timeout(1):
                await say("slow", 10)
        except TimeoutError:
            return await say("after")
        return "?"

    log = MemoryLog()
    assert virtual_result_of(impatient, {}, log).value == "after"
    assert [(record.kind, record.key) for record in log.records] == [(2, "~0"), (1, "say#1")]
    executed.clear()
    assert virtual_result_of(impatient, {}, log).value == "after"
    assert executed == []


def test_a_cancelled_run_gets_cancelled_error_and_may_clean_up() -> None:
    @symphony.workflow
    async def long() -> None:
        try:
            await say("slow", 1000)
        finally:
            await say("clean up")

    def cancel_soon(run: Run) -> None:
        asyncio.get_running_loop().call_later(5, run.cancel)

    log = MemoryLog()
    result = virtual_result_of(long, {}, log, cancel_soon)
    assert result.status == "cancelled"
    assert isinstance(result.error, RunCancelled)
    assert [(record.kind, record.key) for record in log.records] == [(3, "cancel"), (1, "say#1")]
    executed.clear()
    assert virtual_result_of(long, {}, MemoryLog(records=log.records[:1])).status == "cancelled"
    assert executed == ["clean up"]


def test_a_workflow_may_refuse_to_be_cancelled() -> None:
    @symphony.workflow
    async def stubborn() -> Any:
        with contextlib.suppress(asyncio.CancelledError):
            await say("slow", 1000)
        return "still here"

    log = MemoryLog()
    result = virtual_result_of(stubborn, {}, log, lambda run: run.cancel())
    assert (result.status, result.value) == ("completed", "still here")


def test_a_changed_call_is_shown_beside_the_recorded_one() -> None:
    log = MemoryLog()
    virtual_result_of(chain, {"count": 2}, log)

    @symphony.workflow
    async def other_argument(count: int) -> Any:
        return await say("part zero")

    @symphony.workflow
    async def other_step(count: int) -> Any:
        return await fetch("x")

    @symphony.workflow
    async def shorter(count: int) -> Any:
        return await say("part 0")

    before = list(log.records)
    with pytest.raises(WorkflowChanged) as caught:
        virtual_result_of(other_argument, {"count": 2}, log)
    assert str(caught.value) == "say#0 is not the recorded call: recorded say('part 0'), now say('part zero')"
    assert "not deterministic" in caught.value.hint
    with pytest.raises(
        WorkflowChanged, match=r"recorded say#0 = say\('part 0'\), now fetch#0 = fetch\('x'\)"
    ):
        virtual_result_of(other_step, {"count": 2}, log)
    with pytest.raises(WorkflowChanged, match="recorded say#1"):
        virtual_result_of(shorter, {"count": 2}, log)
    assert log.records == before


def test_large_arguments_and_edges_are_shown_briefly() -> None:
    @symphony.workflow
    async def first() -> Any:
        return await say([await say("x" * 5000), say("edge")])

    @symphony.workflow
    async def second() -> Any:
        return await say([await say("x" * 5000), say("edge"), 3])

    log = MemoryLog()
    virtual_result_of(first, {}, log)
    with pytest.raises(WorkflowChanged) as caught:
        virtual_result_of(second, {}, log)
    assert "say(arguments of 5," in str(caught.value)


@symphony.step
async def large(number: int) -> bytes:
    executed.append(f"large {number}")
    return bytes([number]) * 10_000


@symphony.workflow
async def with_large() -> list[Any]:
    found = await large(1)
    return [len(found), found[0], await say("after"), await large(2)]


def test_large_results_lie_in_the_artifact_store() -> None:
    log = MemoryLog()
    result = virtual_result_of(with_large, {}, log).value
    assert [record.payload[:1] for record in log.records] == [b"@", b"=", b"@"]
    executed.clear()
    assert virtual_result_of(with_large, {}, log).value == result
    assert executed == []


def test_a_lost_result_is_made_again_in_its_place() -> None:
    log = MemoryLog()
    result = virtual_result_of(with_large, {}, log).value
    lost = log.records[0].payload[1:].decode()
    del log.artifacts[lost]
    executed.clear()
    assert virtual_result_of(with_large, {}, log).value == result
    assert executed == ["large 1"]
    assert [record.key for record in log.records] == ["large#0", "say#0", "large#1", "large#0"]
    executed.clear()
    assert virtual_result_of(with_large, {}, log).value == result
    assert executed == []


def test_a_lost_result_that_cannot_be_made_alike_is_remembered_at_the_end_of_the_log() -> None:
    versions = iter([b"a", b"b"])

    @symphony.step
    async def changing() -> bytes:
        executed.append("changing")
        return next(versions) * 10_000

    @symphony.workflow
    async def two() -> list[Any]:
        return [(await changing())[:1], await say("after")]

    log = MemoryLog()
    assert virtual_result_of(two, {}, log).value == [b"a", "after"]
    log.artifacts.clear()
    assert virtual_result_of(two, {}, log).value == [b"b", "after"]
    executed.clear()
    assert virtual_result_of(two, {}, log).value == [b"b", "after"]
    assert executed == []


def test_a_run_that_makes_a_lost_result_again_can_be_cancelled() -> None:
    @symphony.step
    async def slow() -> bytes:
        await asyncio.sleep(10_000)
        return b"x" * 10_000

    @symphony.workflow
    async def one() -> int:
        return len(await slow())

    log = MemoryLog()
    virtual_result_of(one, {}, log)
    log.artifacts.clear()
    result = virtual_result_of(
        one, {}, log, lambda run: void(asyncio.get_running_loop().call_later(5, run.cancel))
    )
    assert result.status == "cancelled"


def void(_: object) -> None:
    """For callbacks that must return nothing."""


def test_a_deadlock_is_an_error_and_not_silence() -> None:
    @symphony.workflow
    async def stuck() -> None:
        await say("a")
        await asyncio.Event().wait()

    result = virtual_result_of(stuck, {}, MemoryLog())
    assert result.status == "failed"
    assert isinstance(result.error, WorkflowError)
    assert "can never happen (main task)" in str(result.error)


def test_spinning_fails_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("symphony.engine.run_loop._SPIN_PASSES", 100)
    monkeypatch.setattr("symphony.engine.run_loop._SPIN_CALLBACKS", 1000)

    @symphony.workflow
    async def spinning() -> None:
        handle = say("slow", 1)
        while not handle.done():
            await asyncio.sleep(0)

    result = virtual_result_of(spinning, {}, MemoryLog())
    assert result.status == "failed"
    assert isinstance(result.error, WorkflowEffect)


def test_an_effect_in_workflow_code_is_an_error_where_it_happens() -> None:
    @symphony.workflow
    async def effect() -> str:
        try:
            await asyncio.to_thread(print)
        except WorkflowEffect as error:
            return error.hint
        return ""

    assert virtual_result_of(effect, {}, MemoryLog()).value == "move it into a function marked @symphony.step"


def test_an_exit_in_workflow_code_fails_only_its_run() -> None:
    @symphony.workflow
    async def leaving() -> None:
        await say("a")
        raise SystemExit(3)

    result = virtual_result_of(leaving, {}, MemoryLog())
    assert result.status == "failed"
    assert isinstance(result.error, SystemExit)


def test_the_failing_step_of_a_group_is_named() -> None:
    @symphony.workflow
    async def grouped() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(awaiting(say("slow", 100)))
            group.create_task(awaiting(fail("in the group")))

    async def awaiting(handle: symphony.Handle[Any]) -> Any:
        return await handle

    result = virtual_result_of(grouped, {}, MemoryLog())
    assert isinstance(result.error, ExceptionGroup)
    assert result.step == "fail#0"


def test_a_handle_used_as_a_value_is_refused() -> None:
    @symphony.workflow
    async def forgetting() -> list[str]:
        found = []
        for use in (bool, list):
            with pytest.raises(WorkflowError, match=r"truth value|iterated") as caught:
                use(say("a"))
            found.append(str(caught.value))
        return found

    assert virtual_result_of(forgetting, {}, MemoryLog()).value == [
        "handle of step 'say' has no truth value",
        "handle of step 'say' cannot be iterated",
    ]


def test_unrebuildable_failures_look_the_same_on_replay() -> None:
    class Odd(Exception):
        pass

    @symphony.step
    async def odd() -> None:
        raise Odd("strange")

    @symphony.workflow
    async def catching() -> list[str]:
        try:
            await odd()
        except StepFailed as error:
            return [error.type, str(error), error.traceback]
        return []

    log = MemoryLog()
    live = virtual_result_of(catching, {}, log).value
    assert live[:2] == ["Odd", "Odd: strange"]
    assert virtual_result_of(catching, {}, log).value == live


def test_a_long_fan_out_replays_quickly() -> None:
    @symphony.workflow
    async def wide() -> int:
        return len(await symphony.gather(say.map(range(500))))

    log = MemoryLog()
    assert virtual_result_of(wide, {}, log).value == 500
    executed.clear()
    assert virtual_result_of(wide, {}, log).value == 500
    assert executed == []
