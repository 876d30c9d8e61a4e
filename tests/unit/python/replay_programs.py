"""Random workflows as data: a program is a list of operations, one workflow interprets it.

An ``Attempt`` is one life of such a run: its delays, its log, which steps ran and what the workflow saw.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

import symphony
from symphony.engine.dispatcher import Dispatcher
from symphony.engine.models import NoModels
from symphony.engine.run import Run
from tests.unit.python.virtual_world import EPOCH, MemoryLog, PickleCodec, VirtualLoop

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from symphony.engine.run_log import LogRecord
    from symphony.workflows import Step

Op = tuple[Any, ...]
Program = list[Op]


class TracedRun(Run):
    """Remembers how long the workflow's trace was before each record was applied."""

    def __init__(self, *args: Any, trace: list[str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.trace = trace
        self.marks: list[int] = []
        self.made: list[tuple[str, bytes]] = []

        call = self.calls.call_step

        def remember(*parts: Any) -> symphony.Handle[Any]:
            handle = call(*parts)
            self.made.append((handle.key, handle.fingerprint))
            return handle

        self.calls.call_step = remember  # type: ignore[method-assign, assignment]

    def _apply(self, record: LogRecord) -> None:
        self.marks.append(len(self.trace))
        super()._apply(record)


@dataclass
class Attempt:
    """One life of a run: what the outside world does in it, and what was seen."""

    delays: random.Random
    trace: list[str] = field(default_factory=list)
    log: MemoryLog = field(default_factory=MemoryLog)
    marks: list[int] = field(default_factory=list)
    calls: list[tuple[str, bytes]] = field(default_factory=list)
    outcome: tuple[Any, ...] = ()
    error: Exception | None = None

    @property
    def executed(self) -> set[str]:
        return {key for key, _ in self.log.started}

    def delay(self) -> float | None:
        return self.delays.choice([None, None, 0, 0, 1, 1, 2, 3, 5])


world = Attempt(random.Random(0))


def attempt(
    program: Program,
    records: Sequence[LogRecord],
    seed: int,
    cancel_at: float | None = None,
    meddling: bool = False,
) -> Attempt:
    """Run a program from these records on a fresh loop, with delays that depend on the seed only.

    A person answers what it asks; with ``meddling`` this person also pauses the run, retries and skips steps.
    """
    global world
    world = Attempt(random.Random(seed))
    world.log.records = list(records)
    loop = VirtualLoop()
    began = records[-1].time if records else EPOCH * 1_000_000
    world.log.clock = lambda: began + round(loop.time() * 1_000_000)
    try:
        loop.run_until_complete(
            _attempt(world, program, cancel_at, random.Random(seed) if meddling else None)
        )
    finally:
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()
    return world


async def _person(world: Attempt, run: Run, meddling: random.Random | None) -> None:
    """Once nothing is left to be replayed: answer every question, now and then give a command."""
    await run.caught_up
    while True:
        await asyncio.sleep(1)
        if run.done.done():
            return
        for key in list(world.log.asked):
            run.commands.provide(key, 0, value=sum(key.encode()))
        if run.commands.paused:
            run.commands.unpause(0)
        if meddling is None:
            continue
        command = meddling.choice(["none", "pause", "retry", "skip"])
        step = meddling.choice([*run.calls.by_key, *(handle.key for handle in run.calls.failed), "nothing#0"])
        with contextlib.suppress(symphony.SymphonyError):  # it may well not apply
            if command == "pause":
                await run.commands.pause(0)
            elif command == "retry":
                run.commands.retry(step, 0)
            elif command == "skip":
                run.commands.skip(step, 0)


async def _attempt(
    world: Attempt, program: Program, cancel_at: float | None, meddling: random.Random | None
) -> None:
    loop = asyncio.get_running_loop()

    def clock() -> float:
        return world.log.clock() / 1_000_000

    dispatcher = Dispatcher(PickleCodec(), NoModels(), report=lambda line: None, clock=clock)
    run = TracedRun(
        "run-7",
        interpret,
        {"program": program},
        name="programs.interpret",
        log=world.log,
        codec=PickleCodec(),
        launcher=dispatcher,
        started=EPOCH * 1_000_000,
        report=lambda line: None,
        clock=clock,
        trace=world.trace,
    )
    run.begin()
    if cancel_at is not None:
        loop.call_later(cancel_at, lambda: None if run.done.done() else run.cancel())
    world.marks, world.calls = run.marks, run.made
    person = loop.create_task(_person(world, run, meddling))
    try:
        result = await run.done
        world.outcome = (
            result.status,
            repr(result.value),
            type(result.error).__name__,
            str(result.error)[:80],
        )
    except symphony.WorkflowChanged as error:
        world.error = error
    with contextlib.suppress(asyncio.CancelledError):  # the run ended before it had caught up
        await person
    await dispatcher.close()


# The steps of the programs. Their names are what the operations' numbers choose from.


class Unknown(Exception):
    """An exception that cannot be rebuilt from its record."""


def _step(kind: str, number: int) -> Step[..., Any]:
    async def body(*args: Any) -> list[Any]:
        if kind == "mutate":
            args[-1].append(99)
        pause = world.delay()
        if pause is not None:
            await asyncio.sleep(pause)
        if kind == "fail":
            raise (ValueError if number % 2 else Unknown)(f"bad {args}")
        return [kind, sum(repr(args).encode()) % 97]

    body.__name__ = body.__qualname__ = f"{kind}{number}"
    return symphony.step(body)


STEPS = {(kind, number): _step(kind, number) for kind in ("step", "fail", "mutate") for number in range(4)}


# The workflow that interprets a program.


@dataclass
class Place:
    """Where in the program the interpreter is: handles made here, values shared by all branches."""

    name: str
    handles: list[symphony.Handle[Any]]
    shared: list[Any]
    lock: asyncio.Lock
    sharing: bool

    def branch(self, letter: str, index: int = 0) -> Place:
        return Place(f"{self.name}{letter}{index}", list(self.handles), self.shared, self.lock, self.sharing)

    def saw(self, *what: Any) -> None:
        world.trace.append(repr((self.name, *what)))

    def note(self, value: Any) -> None:
        if self.sharing:
            self.shared.append(value)


async def block(body: Program, at: Place) -> list[int]:
    for kind, *rest in body:
        await OPERATIONS[kind](at, *rest)
    return [len(at.handles), len(at.shared)]


async def _plain(at: Place, kind: str, number: int) -> None:
    found = await STEPS[kind, number](at.name, len(at.handles))
    at.saw(kind, found)
    at.note(found[1])


async def _tolerated(at: Place, number: int) -> None:
    try:
        await STEPS["fail", number](at.name, len(at.handles))
    except Exception as error:
        at.saw("tolerated", type(error).__name__, str(error))


async def _mutated(at: Place, number: int) -> None:
    given = [1, 2]
    at.saw("mutated", await STEPS["mutate", number](at.name, given), given)


async def _call(at: Place, number: int) -> None:
    at.handles.append(STEPS["step", number](at.name, "c"))


async def _call_failing(at: Place, number: int) -> None:
    at.handles.append(STEPS["fail", number](at.name, len(at.handles)))


async def _ask(at: Place, number: int) -> None:
    found = await symphony.ask(f"question{number}", int)
    at.saw("answer", found)
    at.note(found)


async def _edge(at: Place, number: int) -> None:
    upstream = at.handles[-1] if at.handles else 0
    at.handles.append(STEPS["step", number](at.name, [upstream] if number % 2 else upstream))


async def _await_last(at: Place) -> None:
    if at.handles:
        at.saw("awaited", await at.handles[-1])


async def _shared(at: Place, number: int) -> None:
    """The argument depends on what other branches have done so far."""
    found = await STEPS["step", number](at.name, list(at.shared))
    at.saw("shared", found)
    at.note(found[1])


async def _sleep(at: Place, seconds: float) -> None:
    await symphony.sleep(seconds)
    at.saw("slept")


async def _time_and_chance(at: Place) -> None:
    at.saw(symphony.now().isoformat(), symphony.random.random(), symphony.uuid().hex)


async def _gather(at: Place, bodies: list[Program], catch: bool) -> None:
    branches = [block(body, at.branch("g", index)) for index, body in enumerate(bodies)]
    at.saw("gathered", [_shown(found) for found in await symphony.gather(branches, return_exceptions=catch)])


async def _task_group(at: Place, bodies: list[Program]) -> None:
    async with asyncio.TaskGroup() as group:
        for index, body in enumerate(bodies):
            group.create_task(block(body, at.branch("t", index)))
    at.saw("group done")


async def _try(at: Place, body: Program, handler: Program) -> None:
    try:
        await block(body, at)
    except Exception as error:
        at.saw("caught", _shown(error))
        await block(handler, at)


async def _finally(at: Place, body: Program, last: Program) -> None:
    try:
        await block(body, at)
    finally:
        at.saw("finally")
        await block(last, at)


async def _generator(at: Place, body: Program) -> None:
    async def generate() -> Any:
        try:
            yield 1
            await block(body, at)
            yield 2
        finally:
            at.saw("generator closed")
            if len(body) % 2:
                await STEPS["step", 3](at.name, "closing")

    async for item in generate():
        at.saw("generated", item)
        if len(body) == 1 and item == 1:
            break


async def _queue(at: Place, bodies: list[Program]) -> None:
    queue: asyncio.Queue[int] = asyncio.Queue(1)

    async def fill(index: int, body: Program) -> None:
        try:
            await block(body, at.branch("q", index))
        finally:
            await queue.put(index)

    tasks = [asyncio.create_task(fill(index, body)) for index, body in enumerate(bodies)]
    for _ in tasks:
        at.saw("queued", await queue.get())
    at.saw("queue done", [_shown(found) for found in await asyncio.gather(*tasks, return_exceptions=True)])


async def _as_completed(at: Place, bodies: list[Program]) -> None:
    tasks = [asyncio.create_task(block(body, at.branch("x", index))) for index, body in enumerate(bodies)]
    for number, task in enumerate(asyncio.as_completed(tasks)):
        try:
            found: Any = await task
        except Exception as error:
            found = type(error).__name__
        at.saw("completed", found)
        at.shared.append(number)
        await STEPS["step", 0](at.name, "completed", found)


async def _first(at: Place, bodies: list[Program]) -> None:
    tasks = [asyncio.create_task(block(body, at.branch("w", index))) for index, body in enumerate(bodies)]
    done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    at.saw("first", [task in done for task in tasks])
    for task in done:  # in the set's own order
        if task.exception() is None:
            at.saw("won", tasks.index(task))
            await STEPS["step", 1](at.name, tasks.index(task))
    for task in pending:
        task.cancel()
    if pending:
        found = await asyncio.gather(*pending, return_exceptions=True)
        at.saw("lost", [type(error).__name__ for error in found])


async def _timeout(at: Place, seconds: float, body: Program) -> None:
    try:
        async with asyncio.timeout(seconds):
            await block(body, at)
    except TimeoutError:
        at.saw("timed out")


async def _wait_for(at: Place, seconds: float, body: Program) -> None:
    try:
        at.saw("in time", await asyncio.wait_for(block(body, at.branch("f")), seconds))
    except TimeoutError:
        at.saw("too late")


async def _shield(at: Place, seconds: float, body: Program) -> None:
    task = asyncio.create_task(block(body, at.branch("h")))
    try:
        async with asyncio.timeout(seconds):
            await asyncio.shield(task)
    except TimeoutError:
        at.saw("shielded")
        await asyncio.wait([task])
    except Exception as error:
        at.saw("shield broke", type(error).__name__)


async def _shielded_step(at: Place, seconds: float, number: int) -> None:
    handle = STEPS["step", number](at.name, "shielded")
    at.handles.append(handle)
    try:
        async with asyncio.timeout(seconds):
            at.saw("shielded step", await asyncio.shield(handle))
    except TimeoutError:
        at.saw("shielded step goes on", handle.done())


async def _cancel(at: Place, body: Program, meanwhile: Program) -> None:
    task = asyncio.create_task(block(body, at.branch("c")))
    try:
        await block(meanwhile, at)
    finally:
        task.cancel()
        try:
            await task
            at.saw("finished all the same")
        except asyncio.CancelledError:
            at.saw("cancelled")
        except Exception as error:
            at.saw("failed when cancelled", type(error).__name__)


async def _background(at: Place, body: Program) -> None:
    task = asyncio.create_task(block(body, at.branch("b")))
    task.add_done_callback(lambda done: done.cancelled() or done.exception())


async def _locked(at: Place, body: Program) -> None:
    async with at.lock:
        await block(body, at)


async def _if(at: Place, odd: Program, even: Program) -> None:
    await block(odd if len(at.shared) % 2 else even, at)


def _shown(found: Any) -> Any:
    return f"{type(found).__name__}: {found}" if isinstance(found, BaseException) else found


async def _pass_on(at: Place) -> None:
    await asyncio.sleep(0)


OPERATIONS: dict[str, Callable[..., Coroutine[Any, Any, None]]] = {
    "step": lambda at, number: _plain(at, "step", number),
    "fail": lambda at, number: _plain(at, "fail", number),
    "tolerated": _tolerated,
    "mutated": _mutated,
    "call": _call,
    "call failing": _call_failing,
    "ask": _ask,
    "edge": _edge,
    "await last": _await_last,
    "pass on": _pass_on,
    "shared": _shared,
    "sleep": _sleep,
    "time and chance": _time_and_chance,
    "gather": _gather,
    "task group": _task_group,
    "try": _try,
    "finally": _finally,
    "generator": _generator,
    "queue": _queue,
    "as completed": _as_completed,
    "first": _first,
    "timeout": _timeout,
    "wait for": _wait_for,
    "shield": _shield,
    "shielded step": _shielded_step,
    "cancel": _cancel,
    "background": _background,
    "locked": _locked,
    "if": _if,
}
# Operations whose effect depends on what comes first: another order of arrivals gives another result.
RACY = {
    "shared",
    "call failing",
    "sleep",
    "time and chance",
    "queue",
    "as completed",
    "first",
    "timeout",
    "wait for",
    "shield",
}
RACY |= {"shielded step", "cancel", "background", "locked", "if", "fail"}


@symphony.workflow
async def interpret(program: list[Any]) -> Any:
    sharing = any(kind in RACY for kind in kinds_of(program))
    at = Place("R", [], [], asyncio.Lock(), sharing)
    found = await block(program, at)
    results = []
    for handle in at.handles:
        try:
            results.append(await handle)
        except Exception as error:
            results.append([type(error).__name__, 0])
    at.saw("end", found, at.shared)
    return [found, results, at.shared]


def kinds_of(program: Any) -> set[str]:
    """The kinds of operation anywhere in a program."""
    found: set[str] = set()
    for item in program:
        if isinstance(item, str):
            found.add(item)
        elif isinstance(item, (list, tuple)):
            found |= kinds_of(item)
    return found


def programs(*, racy: bool, max_leaves: int = 30) -> st.SearchStrategy[Program]:
    """Random programs; without racy operations the order of arrivals cannot change the result."""
    number, seconds = st.integers(0, 3), st.integers(0, 8)
    leaves: dict[str, tuple[st.SearchStrategy[Any], ...]] = {
        "step": (number,),
        "tolerated": (number,),
        "mutated": (number,),
        "call": (number,),
        "call failing": (number,),
        "ask": (number,),
        "edge": (number,),
        "await last": (),
        "pass on": (),
        "fail": (number,),
        "shared": (number,),
        "sleep": (st.integers(0, 6),),
        "time and chance": (),
        "shielded step": (seconds, number),
    }

    def nested(inner: st.SearchStrategy[Op]) -> st.SearchStrategy[Op]:
        body = st.lists(inner, min_size=1, max_size=4)
        bodies = st.lists(body, min_size=1, max_size=4)
        branches: dict[str, tuple[st.SearchStrategy[Any], ...]] = {
            "gather": (bodies, st.booleans()),
            "task group": (bodies,),
            "try": (body, body),
            "finally": (body, body),
            "generator": (body,),
            "queue": (bodies,),
            "as completed": (bodies,),
            "first": (bodies,),
            "timeout": (seconds, body),
            "wait for": (seconds, body),
            "shield": (seconds, body),
            "cancel": (body, body),
            "background": (body,),
            "locked": (body,),
            "if": (body, body),
        }
        return _one_of(branches, racy)

    operations = st.recursive(_one_of(leaves, racy), nested, max_leaves=max_leaves)
    return st.lists(operations, min_size=1, max_size=4)


def _one_of(kinds: dict[str, tuple[st.SearchStrategy[Any], ...]], racy: bool) -> st.SearchStrategy[Op]:
    return st.one_of(
        *(st.tuples(st.just(kind), *parts) for kind, parts in kinds.items() if racy or kind not in RACY)
    )
