"""Steps on the real loop and in threads: attempts, limits, the cache, leases, the order of starts."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from itertools import pairwise
from typing import TYPE_CHECKING, Any
from unittest.mock import Mock

import pytest

import symphony
from symphony.engine import care
from symphony.engine.models import ModelPool
from symphony.engine.run_log import CACHED, FAILED, Attempts
from symphony.errors import NotFound, StepFailed, WorkflowError
from tests.unit.python.virtual_world import EPOCH, MemoryLog, result_of, virtual_result_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from symphony.scheduling import ReadyStep, Resources

pytestmark = [pytest.mark.integration, pytest.mark.python, getattr(pytest.mark, "async")]


def one(step: Any, *args: Any) -> Any:
    """A workflow of one call."""

    @symphony.workflow
    async def single() -> Any:
        return await step(*args)

    return single


def test_steps_run_on_the_loop_and_in_threads() -> None:
    @symphony.step
    async def asynchronous() -> str:
        return threading.current_thread().name

    @symphony.step
    def threaded() -> str:
        return threading.current_thread().name

    assert result_of(one(asynchronous), {}, MemoryLog()).value == threading.main_thread().name
    assert result_of(one(threaded), {}, MemoryLog()).value.startswith("step")


def test_a_step_knows_itself() -> None:
    seen = []

    @symphony.step(retries=1, backoff=0)
    def look(_: int) -> str:
        context = symphony.current()
        seen.append((context.run, context.key, context.name, context.attempt))
        if context.attempt == 1:
            raise ValueError("again")
        return context.key

    assert result_of(one(look, 1), {}, MemoryLog()).value == "run-1/look#0"
    assert seen == [("run-1", "run-1/look#0", "look", 1), ("run-1", "run-1/look#0", "look", 2)]


def test_failed_attempts_are_repeated_with_growing_pauses() -> None:
    starts: list[float] = []

    @symphony.step(retries=3, backoff=2)
    async def flaky() -> str:
        starts.append(asyncio.get_running_loop().time())
        if len(starts) < 4:
            raise ConnectionError("no")
        return "yes"

    log = MemoryLog()
    assert virtual_result_of(one(flaky), {}, log).value == "yes"
    assert [round(after - before) for before, after in pairwise(starts)] == [2, 4, 8]
    assert log.started == [("flaky#0", attempt) for attempt in (1, 2, 3, 4)]


def test_the_last_failure_is_the_outcome() -> None:
    @symphony.step(retries=1, backoff=0)
    async def broken() -> None:
        raise KeyError("k")

    log = MemoryLog()
    error = virtual_result_of(one(broken), {}, log).error
    assert isinstance(error, KeyError)
    assert error.args == ("k",)
    assert [(record.key, record.state) for record in log.records] == [("broken#0", FAILED)]


def test_attempts_and_their_deadline_survive_a_death() -> None:
    attempts: list[tuple[int, float]] = []

    @symphony.step(retries=2, backoff=1)
    async def broken() -> None:
        attempts.append((symphony.current().attempt, asyncio.get_running_loop().time()))
        raise ValueError("no")

    log = MemoryLog(failed={"broken#0": Attempts(2, (EPOCH + 7) * 1_000_000)})
    assert virtual_result_of(one(broken), {}, log).status == "failed"
    assert [(number, round(at)) for number, at in attempts] == [(3, 7)]


def test_a_time_limit_holds_for_each_attempt() -> None:
    @symphony.step(timeout=1, retries=1, backoff=0)
    async def slow() -> None:
        await asyncio.sleep(100)

    @symphony.step(timeout=0.02)
    def stuck() -> None:
        time.sleep(0.1)

    log = MemoryLog()
    error = virtual_result_of(one(slow), {}, log).error
    assert isinstance(error, TimeoutError)
    assert str(error) == "step 'slow' took longer than 1 s"
    assert len(log.started) == 2
    assert str(result_of(one(stuck), {}, MemoryLog()).error) == "step 'stuck' took longer than 0.02 s"


def test_a_timeout_of_the_step_itself_is_its_own() -> None:
    @symphony.step(timeout=100)
    async def impatient() -> None:
        async with asyncio.timeout(1):
            await asyncio.sleep(50)

    assert str(virtual_result_of(one(impatient), {}, MemoryLog()).error) == ""


@pytest.mark.parametrize(
    "kind", [SystemExit, KeyboardInterrupt, GeneratorExit, StopIteration, asyncio.CancelledError]
)
@pytest.mark.parametrize("threaded", [False, True])
def test_whatever_a_step_raises_fails_only_the_step(kind: type[BaseException], threaded: bool) -> None:
    def body() -> None:
        raise kind("out")

    async def asynchronous() -> None:
        body()

    step = symphony.step(body if threaded else asynchronous)
    error = result_of(one(step), {}, MemoryLog()).error
    if kind is StopIteration and not threaded:
        assert isinstance(error, RuntimeError)  # what Python makes of it in a coroutine
        return
    assert isinstance(error, StepFailed)
    assert error.type == kind.__name__


def test_an_exception_that_cannot_be_rebuilt_keeps_type_message_and_traceback() -> None:
    class Strange(Exception):
        def __init__(self, code: int, text: str) -> None:
            super().__init__(f"{text} ({code})")

    @symphony.step
    async def odd() -> None:
        raise Strange(7, "odd")

    error = virtual_result_of(one(odd), {}, MemoryLog()).error
    assert isinstance(error, StepFailed)
    assert (error.type, str(error)) == ("Strange", "Strange: odd (7)")
    assert 'raise Strange(7, "odd")' in error.traceback
    assert "attempt.py" not in error.traceback


@pytest.mark.parametrize(
    "error",
    [
        ValueError("a", 1),
        FileNotFoundError(2, "not there", "/name"),
        UnicodeDecodeError("utf-8", b"x", 0, 1, "bad"),
        symphony.InvalidInput("wrong", hint="do this"),
    ],
)
def test_an_exception_that_can_be_rebuilt_is_raised_as_itself(error: Exception) -> None:
    @symphony.step
    async def failing() -> None:
        raise error

    @symphony.workflow
    async def catching() -> dict[str, Any]:
        try:
            await failing()
        except type(error) as caught:
            return {"args": caught.args, "text": str(caught), "hint": getattr(caught, "hint", None)}
        return {}

    found = virtual_result_of(catching, {}, MemoryLog()).value
    assert found == {"args": error.args, "text": str(error), "hint": getattr(error, "hint", None)}


def test_of_an_endless_message_the_beginning_is_kept_and_the_place_in_the_code() -> None:
    @symphony.step
    async def failing() -> None:
        raise ValueError("page " * 1_000_000)

    error = virtual_result_of(one(failing), {}, MemoryLog()).error
    assert isinstance(error, StepFailed)
    assert (error.type, len(str(error)) < 11_000) == ("ValueError", True)
    assert str(error).endswith("page … (5,000,000 characters)")
    assert 'raise ValueError("page " * 1_000_000)' in error.traceback


def test_a_cached_result_is_used_by_later_runs() -> None:
    executed: list[int] = []

    @symphony.step(cache=True)
    async def slow_double(value: int) -> int:
        executed.append(value)
        return 2 * value

    log = MemoryLog()
    assert virtual_result_of(one(slow_double, 2), {}, log).counts.executed == 1
    log.records.clear()
    again = virtual_result_of(one(slow_double, 2), {}, log)
    assert (again.value, again.counts.executed, again.counts.reused) == (4, 0, 1)
    assert log.records[0].state == CACHED
    log.records.clear()
    assert virtual_result_of(one(slow_double, 3), {}, log).value == 6
    assert executed == [2, 3]


def test_the_same_cached_call_is_made_once_at_a_time() -> None:
    executed: list[int] = []

    @symphony.step(cache=True)
    async def once(value: int) -> bytes:
        executed.append(value)
        await asyncio.sleep(5)
        if len(executed) == 1:
            raise ValueError("the first one fails")
        return b"x" * 10_000

    @symphony.workflow
    async def many() -> list[str]:
        found = await symphony.gather(once.map([1, 1, 1, 1]), return_exceptions=True)
        return [type(item).__name__ for item in found]

    log = MemoryLog()
    assert virtual_result_of(many, {}, log).value == ["ValueError", "bytes", "bytes", "bytes"]
    assert executed == [1, 1]
    assert len({record.payload for record in log.records if record.payload.startswith(b"@")}) == 1


def test_an_unknown_model_is_named() -> None:
    @symphony.step(model="smal")
    async def embed(*, model: str) -> str:
        return model

    models = ModelPool(Mock())
    models.register("small", object(), "plugin", 1, 1)
    error = virtual_result_of(one(embed), {}, MemoryLog(), models=models).error
    assert isinstance(error, NotFound)
    assert (str(error), error.hint) == ("no model 'smal'", "did you mean 'small'?")


def test_cancelling_stops_an_async_step_and_forgets_a_thread() -> None:
    seen: list[str] = []
    release = threading.Event()

    @symphony.step
    async def waiting() -> None:
        try:
            await asyncio.sleep(100)
        finally:
            seen.append("stopped")

    @symphony.step
    def lingering() -> str:
        release.wait(5)
        seen.append("returned")
        return "too late"

    @symphony.workflow
    async def impatient() -> str:
        handles: list[symphony.Handle[Any]] = [waiting(), lingering()]
        for handle in handles:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(handle, 0.01)
        release.set()
        await symphony.sleep(0.05)
        return "went on"

    log = MemoryLog()
    log.clock = lambda: time.time_ns() // 1000
    result = result_of(impatient, {}, log, clock=time.time)
    assert result.value == "went on"
    assert seen == ["stopped", "returned"]
    assert not [record for record in log.records if record.kind == 1]


def test_limits_hold() -> None:
    running: list[int] = []
    most = 0

    @symphony.step
    async def busy(number: int) -> int:
        nonlocal most
        running.append(number)
        most = max(most, len(running))
        await asyncio.sleep(1)
        running.remove(number)
        return number

    @symphony.workflow
    async def many() -> int:
        return len(await symphony.gather(busy.map(range(20))))

    assert virtual_result_of(many, {}, MemoryLog(), slots={"async": 3}).value == 20
    assert most == 3


class Backwards:
    """A policy that starts the newest first, and remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, bool]] = []

    def order(self, ready: Sequence[ReadyStep], free: Resources) -> Sequence[ReadyStep]:
        return list(reversed(ready))

    def observe(self, step: ReadyStep, seconds: float, ok: bool) -> None:
        self.told.append((step.key, ok))


def started_with(policy: Any) -> tuple[list[str], list[str]]:
    @symphony.step
    async def work(number: int) -> int:
        await asyncio.sleep(1)
        return number

    @symphony.workflow
    async def three() -> int:
        return sum(await symphony.gather(work.map(range(3))))

    log, lines = MemoryLog(), list[str]()
    assert (
        virtual_result_of(three, {}, log, policy=policy, slots={"async": 1}, report=lines.append).value == 3
    )
    return [key for key, _ in log.started], lines


def test_the_policy_decides_the_order() -> None:
    policy = Backwards()
    assert started_with(None)[0] == ["work#0", "work#1", "work#2"]
    assert started_with(policy)[0] == ["work#2", "work#1", "work#0"]
    assert policy.told == [("work#2", True), ("work#1", True), ("work#0", True)]


class Raising(Backwards):
    def order(self, ready: Sequence[ReadyStep], free: Resources) -> Sequence[ReadyStep]:
        raise ZeroDivisionError("oh")


class Slow(Backwards):
    def order(self, ready: Sequence[ReadyStep], free: Resources) -> Sequence[ReadyStep]:
        time.sleep(0.06)
        return super().order(ready, free)


class Inventing(Backwards):
    def order(self, ready: Sequence[ReadyStep], free: Resources) -> Sequence[ReadyStep]:
        return [*ready, ready[0]]


@pytest.mark.parametrize(
    ("policy", "reason"), [(Raising, "raised"), (Slow, "took"), (Inventing, "not ready")]
)
def test_a_policy_that_misbehaves_is_bypassed_and_reported(policy: type[Backwards], reason: str) -> None:
    order, lines = started_with(policy())
    assert order == ["work#0", "work#1", "work#2"]
    assert reason in lines[0]
    assert "bypassed for this decision" in lines[0]


def test_a_log_that_cannot_be_written_blocks_the_run_and_fails_no_step() -> None:
    class Full(MemoryLog):
        def finish_step(self, *record: Any) -> int:
            raise OSError(28, "no space left")

    @symphony.step
    async def fine() -> int:
        return 1

    with pytest.raises(OSError, match="no space left"):
        virtual_result_of(one(fine), {}, Full())


def test_progress_is_told_with_its_step() -> None:
    told: list[tuple[str, float, float, str]] = []

    @symphony.step
    def reading() -> None:
        symphony.progress(1, 2, "half")

    result_of(
        one(reading),
        {},
        MemoryLog(),
        progress=lambda call, done, total, message: told.append((call.key, done, total, message)),
    )
    assert told == [("reading#0", 1, 2, "half")]


def test_a_result_that_does_not_fit_its_hint_fails_the_step() -> None:
    @symphony.step
    async def lying() -> list[int]:
        return [1, "2"]  # type: ignore[list-item]

    error = virtual_result_of(one(lying), {}, MemoryLog()).error
    assert str(error) == "result of lying[1]: expected int, got str ('2')"
    assert not isinstance(error, WorkflowError)


def executed_beside(
    monkeypatch: pytest.MonkeyPatch, seconds: list[float], suspects: list[int], alone: float
) -> tuple[dict[int, set[int]], set[int]]:
    """Which steps were seen beside each, where some are suspects, and which began as ones that are alone."""
    monkeypatch.setattr(care, "ALONE", alone)
    running: set[int] = set()
    beside: dict[int, set[int]] = {number: set() for number in range(len(seconds))}
    alone_now: list[bool] = []
    began_alone: set[int] = set()
    vitals = Mock()
    vitals.begin.return_value = 7
    vitals.alone.side_effect = alone_now.append

    @symphony.step
    async def work(number: int) -> None:
        if alone_now[-1]:
            began_alone.add(number)
        for one in running:
            beside[one].add(number)
        beside[number] |= running
        running.add(number)
        await asyncio.sleep(seconds[number])
        running.discard(number)

    @symphony.workflow
    async def several() -> None:
        await symphony.gather(*[work(number) for number in range(len(seconds))])

    def begin(run: Any) -> None:
        known = {("run-1", f"work#{number}"): 2 for number in suspects}
        run._launcher.care.suspect(known | {("gone", "work#0"): 2})

    assert result_of(several, {}, MemoryLog(), begin, vitals=vitals).status == "completed"
    assert alone_now[-1] is False
    return beside, began_alone


def test_suspects_run_with_nothing_beside_them(monkeypatch: pytest.MonkeyPatch) -> None:
    beside, alone = executed_beside(monkeypatch, [0.01] * 6, [2, 4], 2.0)
    assert (beside[2], beside[4], alone) == (set(), set(), {2, 4})
    assert beside[0] == {1, 3, 5}


def test_a_suspect_that_lives_long_holds_nobody_up_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    beside, alone = executed_beside(monkeypatch, [0.01, 0.5, 0.01], [1], 0.1)
    assert (beside[1], alone) == ({0, 2}, {1})


@pytest.mark.parametrize(("deaths", "seconds"), [(2, 0.5), (3, 1.0), (60, 8.0), (5000, 8.0)])
def test_however_many_deaths_were_near_all_goes_on_soon(deaths: int, seconds: float) -> None:
    loop = Mock()
    careful = care.Care(loop, lambda: None)
    careful.suspect({("run-1", "work#0"): deaths})
    assert (careful.holds, loop.call_later.call_args.args[0]) == (True, seconds)
    settled = loop.call_later.call_args.args[1]
    settled()
    assert not careful.holds


def test_a_watched_step_is_in_flight_until_it_ends_and_marked_only_while_it_executes() -> None:
    class Marks:
        """Writes down what the shared memory would show."""

        def __init__(self) -> None:
            self.seen: list[str] = []

        def begin(self, run: str, workflow: str, plugin: str, name: str, *more: Any) -> int:
            self.seen.append(f"begin {name} {more[-1]}")
            return 7

        def enter(self, step: int) -> None:
            self.seen.append(f"enter {step}")

        def leave(self) -> None:
            self.seen.append("leave")

        def end(self, step: int) -> None:
            self.seen.append(f"end {step}")

    @symphony.step
    async def waits() -> str:
        await asyncio.sleep(0)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0):
                await asyncio.sleep(60)
        return "timed out"

    @symphony.step
    def threaded() -> None:
        raise ValueError("no")

    marks = Marks()
    assert result_of(one(waits), {}, MemoryLog(), vitals=marks).value == "timed out"
    turns = ["enter 7", "leave"] * 3
    assert marks.seen == ["begin waits waits#0", *turns, "end 7"]
    marks.seen.clear()
    assert isinstance(result_of(one(threaded), {}, MemoryLog(), vitals=marks).error, ValueError)
    assert marks.seen == ["begin threaded threaded#0", "enter 7", "leave", "end 7"]
