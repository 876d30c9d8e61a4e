"""Executors of plugins: found by name, with slots of their own, and harmless where they misbehave."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

import symphony
from symphony.engine.lane import RegisteredExecutor
from symphony.errors import InvalidInput, NotFound, PluginFailed
from symphony.executors import Outcome
from symphony.plugins.namespace import Namespace, Offer
from symphony.plugins.registry import ExecutorRegistry
from tests.unit.python.virtual_world import MemoryLog, result_of, virtual_result_of

if TYPE_CHECKING:
    from symphony.executors import StepTask

pytestmark = [pytest.mark.integration, pytest.mark.python, getattr(pytest.mark, "async")]


class Inline:
    """Runs steps where it stands."""

    slots = 2

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.most = self.now = 0
        self.closed = False

    async def submit(self, task: StepTask) -> Outcome:
        self.ran.append(f"{task.name} {task.attempt}")
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            return await task.run_here() if task.is_async else task.run_blocking()
        finally:
            self.now -= 1

    async def close(self) -> None:
        self.closed = True


class Raising(Inline):
    async def submit(self, task: StepTask) -> Outcome:
        raise ConnectionError("no cluster")


class Lying(Inline):
    async def submit(self, task: StepTask) -> Any:
        return 5


class GivingUp(Inline):
    async def submit(self, task: StepTask) -> Outcome:
        raise asyncio.CancelledError


class Deaf(Inline):
    """Goes on for a minute, whoever cancels it."""

    slots = 1
    told = 0

    async def submit(self, task: StepTask) -> Outcome:
        if task.name == "deaf":
            end = asyncio.get_running_loop().time() + 60
            while (left := end - asyncio.get_running_loop().time()) > 0:
                try:
                    await asyncio.sleep(left)
                except asyncio.CancelledError:
                    self.told += 1
        return await super().submit(task)


def given(**executors: Any) -> Any:
    """What takes these executors over as those of a plugin ``symphony-toolbox``, once a run has begun."""
    return taken_over(
        [
            RegisteredExecutor(f"toolbox.{name}", "symphony-toolbox", executor, executor.slots)
            for name, executor in executors.items()
        ]
    )


def taken_over(registered: list[RegisteredExecutor]) -> Any:
    offers = [
        Offer("executor", each.plugin, each.name.partition(".")[2], f"{each.plugin}:{each.name}")
        for each in registered
    ]
    return lambda run: run._launcher.take_over(registered, Namespace(offers), [], {}, None)


@pytest.mark.parametrize("name", ["inline", "toolbox.inline"])
def test_a_step_runs_where_it_says(name: str) -> None:
    @symphony.step(executor=name, retries=1, backoff=0)
    async def there() -> int:
        if symphony.current().attempt == 1:
            raise ValueError("again")
        return 5

    @symphony.step(executor=name)
    def blocking() -> str:
        return symphony.current().key

    @symphony.workflow
    async def both() -> list[Any]:
        return [await there(), await blocking()]

    inline = Inline()
    result = virtual_result_of(both, {}, MemoryLog(), given(inline=inline))
    assert result.value == [5, "run-1/blocking#0"]
    assert inline.ran == ["there 1", "there 2", "blocking 1"]
    assert inline.closed


def test_the_cores_names_are_its_own_and_the_first_plugin_has_a_short_one() -> None:
    @symphony.step(executor="async")
    async def core() -> None: ...

    @symphony.step(executor="toolbox.async")
    async def theirs() -> None: ...

    @symphony.step(executor="inline")
    async def first() -> None: ...

    @symphony.workflow
    async def three() -> None:
        await symphony.gather(core(), theirs(), first())

    own, first_inline, second = Inline(), Inline(), Inline()
    registered = [
        RegisteredExecutor("toolbox.async", "toolbox", own, 1),
        RegisteredExecutor("toolbox.inline", "toolbox", first_inline, 1),
        RegisteredExecutor("other.inline", "other", second, 1),
    ]
    virtual_result_of(three, {}, MemoryLog(), taken_over(registered))
    assert (own.ran, first_inline.ran, second.ran) == (["theirs 1"], ["first 1"], [])


def test_no_more_steps_run_at_once_than_there_are_slots() -> None:
    @symphony.step(executor="inline")
    async def work(number: int) -> None:
        await asyncio.sleep(1)

    @symphony.workflow
    async def many() -> None:
        await symphony.gather(work.map(range(7)))

    inline = Inline()
    virtual_result_of(many, {}, MemoryLog(), given(inline=inline))
    assert (len(inline.ran), inline.most) == (7, 2)


@pytest.mark.hook("register_executors")
@pytest.mark.parametrize(
    ("executor", "reason"),
    [
        (Raising, "raised ConnectionError: no cluster"),
        (Lying, "gave a int, no outcome of the step"),
        (GivingUp, "gave up step there#0"),
    ],
)
def test_an_executor_that_misbehaves_fails_the_step_in_its_own_name(
    executor: type[Inline], reason: str
) -> None:
    @symphony.step(executor="bad", retries=1, backoff=0)
    async def there() -> None: ...

    @symphony.step
    async def elsewhere() -> int:
        return 5

    @symphony.workflow
    async def main() -> list[Any]:
        try:
            await there()
        except PluginFailed as error:
            return [str(error), await elsewhere()]
        raise AssertionError

    log = MemoryLog()
    result = virtual_result_of(main, {}, log, given(bad=executor()))
    assert result.value == [f"executor toolbox.bad of plugin symphony-toolbox {reason}", 5]
    assert log.started[:2] == [("there#0", 1), ("there#0", 2)]


def test_an_executor_that_is_deaf_to_cancellation_holds_up_its_slot_and_nobody_else() -> None:
    times: dict[str, float] = {}

    @symphony.step(executor="deaf", timeout=1)
    async def deaf() -> None: ...

    @symphony.step(executor="deaf")
    async def waiting() -> None:
        times["waiting"] = asyncio.get_running_loop().time()

    @symphony.step
    async def elsewhere() -> None:
        times["elsewhere"] = asyncio.get_running_loop().time()

    @symphony.workflow
    async def main() -> str:
        handle = deaf()
        other = waiting()
        try:
            await handle
        except TimeoutError as error:
            await elsewhere()
            await other
            return str(error)
        return "heard"

    executor = Deaf()
    result = virtual_result_of(main, {}, MemoryLog(), given(deaf=executor))
    assert result.value == "step 'deaf' took longer than 1 s"
    assert executor.told == 1
    assert (round(times["elsewhere"]), round(times["waiting"])) == (1, 60)


def test_an_executor_that_nothing_gives_leaves_the_run_as_it_is_and_says_what_to_do() -> None:
    @symphony.step(executor="toolbox.inlin")
    async def there() -> None: ...

    @symphony.workflow
    async def main() -> None:
        await there()

    log = MemoryLog()
    with pytest.raises(NotFound, match=r"step there#0 is to run on the executor 'toolbox.inlin'") as unknown:
        virtual_result_of(main, {}, log, given(inline=Inline()))
    assert unknown.value.hint == "did you mean toolbox.inline?"
    assert log.records == []

    def once(run: Any) -> None:
        run._givers = {"toolbox.inlin": "symphony-toolbox"}

    with pytest.raises(NotFound, match="of plugin symphony-toolbox, which is not loaded") as gone:
        virtual_result_of(main, {}, log, once)
    assert gone.value.hint.startswith("symphony plugins install symphony-toolbox")


def test_the_executor_of_a_run_is_for_steps_that_name_none_and_lease_nothing() -> None:
    @symphony.step
    async def plain() -> None: ...

    @symphony.step(executor="async")
    async def named() -> None: ...

    @symphony.step(model="m")
    async def leasing(*, model: Any) -> None: ...

    @symphony.workflow
    async def main() -> None:
        await symphony.gather(plain(), named(), leasing())

    class Leases:
        async def acquire(self, name: str, plugin: str) -> tuple[int, object]:
            return 1, name

        def release(self, lease: int) -> None: ...

    inline = Inline()

    def during(run: Any) -> None:
        run.executor = "inline"
        given(inline=inline)(run)

    assert virtual_result_of(main, {}, MemoryLog(), during, models=Leases()).status == "completed"
    assert inline.ran == ["plain 1"]


def test_an_executor_that_goes_away_ends_its_steps_and_is_closed_then() -> None:
    seen: list[Any] = []
    old, new = Inline(), Inline()

    @symphony.step(executor="inline")
    async def work(number: int) -> None:
        if number == 0:
            given(inline=new)(runs[0])
            await asyncio.sleep(1)
            seen.append(old.closed)

    @symphony.workflow
    async def many() -> None:
        await symphony.gather(work.map(range(4)))

    runs: list[Any] = []

    def during(run: Any) -> None:
        runs.append(run)
        given(inline=old)(run)

    virtual_result_of(many, {}, MemoryLog(), during)
    assert seen == [False]
    assert (old.ran, len(new.ran), old.closed) == (["work 1", "work 1"], 2, True)


def test_a_step_that_is_stopped_before_it_begins_keeps_no_slot() -> None:
    @symphony.step
    async def work(number: int) -> int:
        return number

    @symphony.workflow
    async def many() -> Any:
        return await symphony.gather(work.map(range(3)))

    def during(run: Any) -> None:
        dispatcher = run._launcher
        start = dispatcher._start

        def start_and_stop(call: Any, lane: Any) -> None:
            start(call, lane)
            if call.key == "work#0" and not call.stopped:
                call.task.cancel()
                call.on_done(Outcome(0, dispatcher.codec.encode(7)))

        dispatcher._start = start_and_stop

    assert virtual_result_of(many, {}, MemoryLog(), during, slots={"async": 1}).value == [7, 1, 2]


def test_threads_and_processes_are_executors_by_the_same_hook() -> None:
    from symphony.engine import core_executors

    registry = ExecutorRegistry()
    core_executors.register_executors(registry)
    assert list(registry.items) == ["async", "thread", "process"]

    @symphony.step(executor="thread")
    async def threaded() -> str:
        import threading

        return threading.current_thread().name

    @symphony.workflow
    async def main() -> str:
        return await threaded()

    assert result_of(main, {}, MemoryLog()).value.startswith("step")


class Slotless:
    async def submit(self, task: StepTask) -> Outcome:
        raise NotImplementedError

    async def close(self) -> None: ...


class Endless(Slotless):
    slots = 1
    close = None  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("name", "executor", "reason"),
    [
        ("a.b", Inline(), "'a.b' cannot be an executor's name"),
        ("inline", object(), "has no async method 'submit'"),
        ("inline", Endless(), "has no async method 'close'"),
        ("inline", Slotless(), "slots of executor 'inline': expected a number of at least 1, got None"),
    ],
)
def test_what_is_no_executor_is_refused(name: str, executor: Any, reason: str) -> None:
    registry = ExecutorRegistry()
    registry.add("known", Inline())
    with pytest.raises(InvalidInput, match="'known' was added twice"):
        registry.add("known", Inline())
    with pytest.raises(InvalidInput, match=reason):
        registry.add(name, executor)
    assert list(registry.items) == ["known"]


def test_a_step_that_cannot_run_where_it_says_is_refused() -> None:
    with pytest.raises(InvalidInput, match="not async"):

        @symphony.step(executor="async")
        def blocking() -> None: ...

    with pytest.raises(InvalidInput, match="cannot leave the interpreter"):

        @symphony.step(executor="process", model="m")
        def leasing(*, model: Any) -> None: ...

    @symphony.step(executor="process")
    def local() -> None: ...

    @symphony.workflow
    async def main() -> None:
        await local()

    error = virtual_result_of(main, {}, MemoryLog()).error
    assert isinstance(error, InvalidInput)
    assert error.hint == "put it at the top level of a module"


def test_a_new_run_is_given_no_executor_of_a_file_that_it_does_not_name() -> None:
    @symphony.workflow
    async def nothing() -> None: ...

    def during(run: Any) -> None:
        given(inline=Inline())(run)
        lanes = run._launcher.lanes
        assert [lanes.of_run(name, set()).name for name in ("inline", "process")] == [
            "toolbox.inline",
            "process",
        ]
        with pytest.raises(NotFound, match="there is no executor 'inline'"):
            lanes.of_run("inline", {"symphony-toolbox"})

    virtual_result_of(nothing, {}, MemoryLog(), during)
