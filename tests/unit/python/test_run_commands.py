"""Commands to a run and answers of people: what they do, and that a replay from any place does the same."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

import symphony
from symphony.engine.run_log import FAILED, SKIPPED
from symphony.errors import Conflict, ConversionError, InvalidInput, NotFound, WorkflowChanged, WorkflowError
from tests.unit.python.virtual_world import MemoryLog, virtual_result_of

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from symphony.engine.run import Run
    from symphony.engine.run_end import RunResult
    from symphony.workflows import Workflow

pytestmark = [pytest.mark.unit, pytest.mark.python, getattr(pytest.mark, "async")]

executed: list[str] = []


@pytest.fixture(autouse=True)
def _nothing_executed() -> None:
    executed.clear()


@symphony.step
async def say(what: Any, seconds: float = 0) -> Any:
    executed.append(str(what))
    await asyncio.sleep(seconds)
    return what


@symphony.step
async def fail_once(what: str) -> str:
    executed.append(what)
    if executed.count(what) == 1:
        raise ValueError(what)
    return what


@symphony.step(retries=3, backoff=100)
async def flaky(what: str) -> str:
    executed.append(what)
    if executed.count(what) < 3:
        raise ValueError(what)
    return what


@symphony.step(idempotent=False)
async def deploy(what: str) -> str:
    executed.append(what)
    await asyncio.sleep(1)
    return f"deployed {what}"


def meanwhile(act: Callable[[Run], Coroutine[Any, Any, None]]) -> Callable[[Run], None]:
    """A person, who does something while the run goes on; what goes wrong with that fails the test."""

    def during(run: Run) -> None:
        async def acting() -> None:
            try:
                await asyncio.wait_for(act(run), 10**6)
            except BaseException as error:
                if not run.done.done():
                    run.done.set_exception(error)
                raise

        person = asyncio.get_running_loop().create_task(acting())
        run.done.add_done_callback(lambda _done: person.cancel())

    return during


def same_from_every_place(
    workflow: Workflow, inputs: dict[str, Any], log: MemoryLog, whole: RunResult, **kept: Any
) -> None:
    """Replay the whole log, which executes nothing, and every beginning of it that holds all commands."""
    commands = [
        number for number, record in enumerate(log.records) if record.kind > 2 or record.state == SKIPPED
    ]
    for cut in range(max(commands, default=-1) + 1, len(log.records) + 1):
        again = virtual_result_of(workflow, inputs, MemoryLog(records=log.records[:cut], **kept))
        assert (again.status, again.value, str(again.error)) == (
            whole.status,
            whole.value,
            str(whole.error),
        ), cut
        if cut == len(log.records):
            assert again.counts.executed == 0


# Pause


@symphony.workflow
async def three() -> list[str]:
    first = say("one", 5)
    await symphony.sleep(2)
    return [await first, await say("two"), await say("three")]


def test_a_paused_run_finishes_what_runs_and_starts_nothing() -> None:
    async def act(run: Run) -> None:
        await asyncio.sleep(1)
        await run.commands.pause(11)
        await asyncio.sleep(1000)
        assert executed == ["one"]
        assert [record.key for record in log.records] == ["~0", "say#0"], "its timer, its running step"
        with pytest.raises(Conflict):
            await run.commands.pause(0)
        await run.commands.pause(11)  # given again after a death
        run.commands.unpause(12)

    log = MemoryLog()
    result = virtual_result_of(three, {}, log, meanwhile(act))
    assert (result.value, executed) == (["one", "two", "three"], ["one", "two", "three"])
    same_from_every_place(three, {}, log, result)


def test_a_run_that_was_paused_is_paused_when_it_is_taken_up() -> None:
    async def act(run: Run) -> None:
        await asyncio.sleep(100)
        assert executed == []
        run.commands.unpause(0)

    log = MemoryLog(is_paused=True)
    assert virtual_result_of(three, {}, log, meanwhile(act)).value == ["one", "two", "three"]


def test_a_pause_reaches_steps_that_wait_for_a_slot_or_for_their_next_attempt() -> None:
    @symphony.workflow
    async def many() -> Any:
        return await symphony.gather([flaky("f"), *(say(number, 10) for number in range(3))])

    async def act(run: Run) -> None:
        await asyncio.sleep(5)
        assert executed == ["f", "0"]
        await run.commands.pause(0)
        await asyncio.sleep(1000)
        assert executed == ["f", "0"]
        run.commands.unpause(0)

    log = MemoryLog()
    result = virtual_result_of(many, {}, log, meanwhile(act), slots={"async": 1})
    assert result.value == ["f", 0, 1, 2]
    assert log.started.count(("flaky#0", 2)) == 1, "its attempts are counted on"


# Skip


def test_a_skipped_step_gives_none_and_what_needs_it_goes_on() -> None:
    @symphony.step
    async def number() -> int:
        executed.append("number")
        await asyncio.sleep(10**6)
        return 1

    @symphony.workflow
    async def skipping() -> Any:
        return [await number(), await say(number())]

    async def act(run: Run) -> None:
        await asyncio.sleep(1)
        run.commands.skip("number#0", 5)
        await asyncio.sleep(1)
        run.commands.skip("number#1", 6)
        with pytest.raises(Conflict, match="step number#0 is completed already"):
            run.commands.skip("number#0", 7)
        with pytest.raises(NotFound, match="has no step 'numbr#0'") as refused:
            run.commands.skip("numbr#0", 8)
        assert "number#0" in refused.value.hint

    log = MemoryLog()
    result = virtual_result_of(skipping, {}, log, meanwhile(act))
    assert (result.value, result.counts.skipped) == ([None, None], 2)
    assert executed == ["number", "number", "None"]
    assert [record.state for record in log.records] == [SKIPPED, SKIPPED, 0]
    same_from_every_place(skipping, {}, log, result)


def test_a_step_that_was_skipped_before_its_time_is_not_executed() -> None:
    @symphony.workflow
    async def waiting() -> Any:
        return await say(say("first", 10))

    async def act(run: Run) -> None:
        await asyncio.sleep(1)
        run.commands.skip("say#1", 0)

    log = MemoryLog()
    result = virtual_result_of(waiting, {}, log, meanwhile(act))
    assert (result.value, executed) == (None, ["first"])
    same_from_every_place(waiting, {}, log, result)


# Retry


def test_a_step_that_waits_for_its_next_attempt_is_executed_at_once_and_its_attempts_begin_anew() -> None:
    @symphony.workflow
    async def trying() -> Any:
        return await flaky("f"), symphony.now()

    async def act(run: Run) -> None:
        await asyncio.sleep(1)
        run.commands.retry("flaky#0", 5)
        await asyncio.sleep(1)
        assert executed == ["f", "f"]
        run.commands.retry("flaky#0", 6)

    log = MemoryLog()
    result = virtual_result_of(trying, {}, log, meanwhile(act))
    assert result.value[0] == "f"
    assert [attempt for _, attempt in log.started] == [1, 1, 1]
    assert [record.key for record in log.records] == ["retry", "retry", "flaky#0"]
    same_from_every_place(trying, {}, log, result)


def test_a_failure_that_nobody_has_seen_can_be_taken_back() -> None:
    @symphony.workflow
    async def later() -> Any:
        failing = fail_once("f")
        return [await say("long", 10), await failing]

    async def act(run: Run) -> None:
        await asyncio.sleep(5)
        assert [record.state for record in log.records] == [FAILED]
        run.commands.retry("fail_once#0", 5)

    log = MemoryLog()
    result = virtual_result_of(later, {}, log, meanwhile(act))
    assert (result.status, result.value, result.counts.failed) == ("completed", ["long", "f"], 0)
    assert [record.key for record in log.records] == ["fail_once#0", "retry", "fail_once#0", "say#0"]
    same_from_every_place(later, {}, log, result)


@pytest.mark.parametrize("heeded", ["awaited", "an argument"])
def test_a_failure_that_the_workflow_knows_is_not_taken_back(heeded: str) -> None:
    @symphony.workflow
    async def knowing() -> Any:
        failing = fail_once("f")
        handle = asyncio.gather(failing, return_exceptions=True) if heeded == "awaited" else say(failing)
        await say("long", 10)
        try:
            return await handle
        except symphony.UpstreamFailed:
            return "known"

    async def act(run: Run) -> None:
        await asyncio.sleep(5)
        with pytest.raises(Conflict, match="step fail_once#0 has failed, and the workflow has gone on"):
            run.commands.retry("fail_once#0", 5)
        with pytest.raises(Conflict, match=r"step say#\d is running: it cannot be retried"):
            run.commands.retry("say#0" if heeded == "awaited" else "say#1", 6)

    class Log(MemoryLog):
        def states(self) -> dict[str, str]:
            return super().states() | {"fail_once#0": "failed"}

    assert virtual_result_of(knowing, {}, Log(), meanwhile(act)).status == "completed"


# Steps that must not be executed twice


@symphony.workflow
async def release() -> Any:
    other = say("beside")
    return [await deploy("a"), await other]


@pytest.mark.parametrize("command", ["retry", "skip"])
def test_a_step_that_is_not_idempotent_waits_for_a_person_after_a_death(command: str) -> None:
    async def act(run: Run) -> None:
        await asyncio.sleep(1000)
        assert executed == ["beside"]
        assert log.asked == {"deploy#0": "step deploy#0 was interrupted and may have had its effect"}
        with pytest.raises(Conflict, match="waits for a retry or a skip, not for an input"):
            run.commands.provide("deploy#0", 3, text="yes")
        getattr(run.commands, command)("deploy#0", 4)
        assert log.asked == {}

    log = MemoryLog(started=[("deploy#0", 1)])
    result = virtual_result_of(release, {}, log, meanwhile(act))
    expected = "deployed a" if command == "retry" else None
    assert (result.value, executed.count("a")) == ([expected, "beside"], int(command == "retry"))
    same_from_every_place(release, {}, log, result)


def test_a_step_that_waits_for_a_person_waits_again_after_another_death_and_may_be_cancelled() -> None:
    async def act(run: Run) -> None:
        await asyncio.sleep(5)
        run.cancel(4)

    log = MemoryLog(started=[("deploy#0", 1)], asked={"deploy#0": "asked by an earlier interpreter"})
    assert virtual_result_of(release, {}, log, meanwhile(act)).status == "cancelled"
    assert executed == ["beside"]


def test_a_lost_result_of_such_a_step_is_not_made_again() -> None:
    log = MemoryLog()
    virtual_result_of(release, {}, log)
    lost = next(record for record in log.records if record.key == "deploy#0")
    log.records = [lost.__class__(lost.kind, lost.key, lost.fingerprint, lost.state, b"@gone", lost.time)]
    with pytest.raises(WorkflowError, match="the result of step deploy#0 is lost"):
        virtual_result_of(release, {}, log)
    assert executed.count("a") == 1


# Ask


@symphony.workflow
async def asking() -> Any:
    approved = await symphony.ask("approve", bool, prompt="Deploy?")
    how_many = await symphony.ask("count", int)
    return [approved, how_many, await say("done")]


def test_an_answer_is_given_by_name_once_and_has_the_type_that_is_asked_for() -> None:
    async def act(run: Run) -> None:
        await asyncio.sleep(1)
        assert log.asked == {"approve?0": "Deploy?"}
        with pytest.raises(NotFound, match="does not ask for 'aprove'") as refused:
            run.commands.provide("aprove", 3, text="true")
        assert "approve" in refused.value.hint
        with pytest.raises(ConversionError, match="approve: expected bool"):
            run.commands.provide("approve", 3, text="maybe")
        run.commands.provide("approve", 3, text="true")
        with pytest.raises(NotFound):
            run.commands.provide("approve", 4, text="false")
        await asyncio.sleep(1)
        assert log.asked == {"count?0": "count"}
        run.commands.provide("count?0", 5, value=7)

    log = MemoryLog()
    result = virtual_result_of(asking, {}, log, meanwhile(act))
    assert (result.value, log.asked) == ([True, 7, "done"], {})
    same_from_every_place(asking, {}, log, result)
    with pytest.raises(WorkflowChanged, match=r"does not ask the recorded question approve\?0"):
        virtual_result_of(three, {}, MemoryLog(records=log.records))


def test_a_question_that_was_open_is_open_again_and_not_asked_twice() -> None:
    async def act(run: Run) -> None:
        await asyncio.sleep(1)
        for name, answer in (("approve", True), ("count", 3)):
            run.commands.provide(name, 0, value=answer)
            await asyncio.sleep(1)

    log = MemoryLog(asked={"approve?0": "Deploy?"})
    assert virtual_result_of(asking, {}, log, meanwhile(act)).value == [True, 3, "done"]


def test_a_question_that_nobody_waits_for_any_more_is_withdrawn() -> None:
    @symphony.workflow
    async def impatient() -> Any:
        try:
            async with asyncio.timeout(10):
                return await symphony.ask("approve")
        except TimeoutError:
            return await say("too late", 5)

    async def act(run: Run) -> None:
        await asyncio.sleep(12)
        assert log.asked == {}
        with pytest.raises(NotFound, match="does not ask for 'approve'"):
            run.commands.provide("approve", 3, text="true")

    log = MemoryLog()
    result = virtual_result_of(impatient, {}, log, meanwhile(act))
    assert result.value == "too late"
    same_from_every_place(impatient, {}, log, result)
    # Taken up by an interpreter that died before it could withdraw it.
    later = MemoryLog(records=log.records[:1], asked={"approve?0": "approve"})
    assert virtual_result_of(impatient, {}, later).value == "too late"
    assert later.asked == {}


def test_an_answer_that_arrives_just_before_the_question_is_given_up_is_left() -> None:
    @symphony.workflow
    async def racing() -> Any:
        question = symphony.ask("approve")
        await say("first", 5)
        question.cancel()  # type: ignore[attr-defined]
        return await say("last", 5)

    async def act(run: Run) -> None:
        await asyncio.sleep(7)
        run.commands.provide("approve", 3, text="true")

    # While the disk is waited for, the workflow goes on.
    class SlowLog(MemoryLog):
        def when_lasting(self, go_on: Callable[[], None], failed: Callable[[Exception], None]) -> None:
            asyncio.get_running_loop().call_later(4, go_on)

    log = SlowLog()
    result = virtual_result_of(racing, {}, log, meanwhile(act))
    assert result.value == "last"
    assert [record.key for record in log.records] == ["say#0", "approve?0", "say#1"]
    same_from_every_place(racing, {}, log, result)


def test_what_cannot_be_asked_is_said_at_once() -> None:
    @symphony.workflow
    async def wrong(name: str) -> None:
        await symphony.ask(name)

    result = virtual_result_of(wrong, {"name": "two words"}, MemoryLog())
    assert isinstance(result.error, InvalidInput)
    with pytest.raises(WorkflowError, match="outside workflow code"):
        symphony.ask("approve")


def test_a_cancelled_run_asks_nothing_and_a_command_given_twice_acts_once() -> None:
    async def act(run: Run) -> None:
        await asyncio.sleep(1)
        run.cancel(9)
        run.cancel(9)

    log = MemoryLog()
    result = virtual_result_of(asking, {}, log, meanwhile(act))
    assert (result.status, [record.key for record in log.records]) == ("cancelled", ["cancel"])
    same_from_every_place(asking, {}, log, result)
