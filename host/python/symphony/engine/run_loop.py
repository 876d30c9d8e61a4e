"""The event loop that workflow code sees: a queue of callbacks, no selector, no clock of its own (R1).

asyncio's tasks, gather, TaskGroup, timeout, Lock and the rest run on it unchanged. Time stands still
within a turn and is the time of the record that the driver applied last (R4). Everything that touches the
outside world is refused: only steps may do that.
"""

from __future__ import annotations

import asyncio
import asyncio.tasks
import heapq
import math
import random
import sys
import zlib
from collections import deque
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar, TypeVarTuple

from symphony.engine.effects import from_as_completed, refuse_effects
from symphony.errors import WorkflowEffect

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
    from contextvars import Context

    from symphony.engine.handles import Handle
    from symphony.engine.questions import Questions
    from symphony.workflows import Step

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
# A fan-out of 200,000 tasks is one long pass, a loop around ``sleep(0)`` is many short ones; both limits must
# be passed, which takes about a third of a second.
_SPIN_PASSES: Final = 10_000
_SPIN_CALLBACKS: Final = 100_000


class StepCaller(Protocol):
    """The run, as ``Step.__call__`` sees it."""

    def call_step(
        self, step: Step[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Handle[Any]: ...


def running_run_loop() -> RunLoop | None:
    """The run's loop when workflow code is running in this thread."""
    loop = asyncio._get_running_loop()
    return loop if isinstance(loop, RunLoop) else None


class Scope:
    """A place in the run: counts what is made in it, so that all has the same key on replay (R5)."""

    __slots__ = ("_counts", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self._counts: dict[str, int] = {}

    def ordinal(self, what: str) -> int:
        count = self._counts.get(what, 0)
        self._counts[what] = count + 1
        return count

    @property
    def prefix(self) -> str:
        """What the keys of its steps begin with; the main task's have nothing in front."""
        return f"{self.name}:" if self.name else ""

    def child(self) -> str:
        """The name of the next task made here."""
        number = self.ordinal("/")
        return f"{self.name}/{number}" if self.name else str(number)


class WorkflowTask(asyncio.Task[T]):
    """A task of workflow code; hashes by its scope, so that sets of tasks iterate alike on replay (R12)."""

    def __init__(
        self,
        coroutine: Coroutine[Any, Any, T],
        *,
        loop: RunLoop,
        scope: str,
        name: str | None,
        context: Context | None,
    ) -> None:
        self._hash = zlib.crc32(scope.encode())
        self.scope: Final = Scope(scope)
        # asyncio's own default name counts all tasks of the process.
        super().__init__(
            coroutine, loop=loop, name=name or (f"task {scope}" if scope else "main task"), context=context
        )

    def __hash__(self) -> int:
        return self._hash


class WorkflowFuture(asyncio.Future[T]):
    """A future of workflow code; hashes by where it was made (R12)."""

    def __init__(self, loop: RunLoop, seed: int) -> None:
        self._hash = seed
        super().__init__(loop=loop)

    def __hash__(self) -> int:
        return self._hash


class Timer(asyncio.TimerHandle):
    """A durable timer: ``key`` is its name in the log, ``due`` its time in microseconds since the epoch."""

    key: str
    due: int


class RunLoop(asyncio.AbstractEventLoop):
    """The deterministic loop of one run."""

    def __init__(self, run_id: str, started: int, calls: StepCaller, report: Callable[[str], None]) -> None:
        self.calls: Final = calls
        self.random: Final = random.Random(run_id)
        self.timers: Final[dict[str, Timer]] = {}
        self.tasks: Final[dict[WorkflowTask[Any], None]] = {}
        self.generators: list[AsyncGenerator[Any, Any]] = []
        self.questions: Questions | None = None
        self._report = report
        self._time = started
        self._ready: Final[deque[asyncio.Handle]] = deque()
        self._due: Final[list[tuple[int, int, Timer]]] = []
        self._timer_count = 0
        self._outside: Final = Scope("~")

    # What the driver uses.

    def advance(self, time: int) -> None:
        """The record that is being applied was written at this time (microseconds)."""
        self._time = max(self._time, time)

    @property
    def has_ready(self) -> bool:
        return bool(self._ready)

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Make this the running loop of the thread, and hold every async generator that is opened meanwhile.

        A generator that was left by ``break`` would otherwise be finalised whenever memory is collected,
        which may be in another run's turn.
        """
        outer = asyncio._get_running_loop()
        hooks = sys.get_asyncgen_hooks()
        sys.set_asyncgen_hooks(self._generator_opened, None)
        asyncio._set_running_loop(self)
        try:
            yield
        finally:
            asyncio._set_running_loop(outer)
            sys.set_asyncgen_hooks(*hooks)

    def run_ready(self) -> None:
        """Run callbacks until none is left.

        Raises
        ------
        WorkflowEffect
            Workflow code spins: it goes round without waiting for anything.
        """
        ready = self._ready
        passes = callbacks = 0
        while ready:
            passes += 1
            for _ in range(len(ready)):
                handle = ready.popleft()
                callbacks += 1
                if handle.cancelled():
                    continue
                # asyncio lets these two out of a loop. The task that raised one holds it; only its run fails.
                with suppress(SystemExit, KeyboardInterrupt):
                    handle._run()
            if passes > _SPIN_PASSES and callbacks > _SPIN_CALLBACKS:
                raise WorkflowEffect(
                    "workflow code spins: it goes round without waiting for anything",
                    hint="await a step, or symphony.sleep with a time above 0, in the loop",
                )

    def fire(self, timer: Timer) -> None:
        """The timer's record is being applied; one that was cancelled meanwhile does nothing."""
        if not timer.cancelled():
            self._ready.append(timer)

    def next_timer(self) -> Timer | None:
        """The earliest timer that is not cancelled; only asked for once nothing more is to be replayed."""
        while self._due:
            timer = self._due[0][2]
            if not timer.cancelled() and timer.key in self.timers:
                return timer  # otherwise it has fired in the replay
            heapq.heappop(self._due)
            self.timers.pop(timer.key, None)
        return None

    def take_timer(self, timer: Timer) -> None:
        """Its record is being written: it is not to be armed again."""
        assert self._due[0][2] is timer
        heapq.heappop(self._due)

    def clear(self) -> None:
        """Forget everything that has not run."""
        self._ready.clear()
        self._due.clear()
        self.timers.clear()
        self.tasks.clear()
        self.generators.clear()

    # What workflow code and asyncio use.

    def time(self) -> float:
        return self._time / 1_000_000

    def now(self) -> datetime:
        return _EPOCH + timedelta(microseconds=self._time)

    def call_soon(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    def call_later(
        self, delay: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> Timer:
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def call_at(
        self, when: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> Timer:
        scope = self._scope()
        timer = Timer(when, callback, args, self, context)
        timer.key = f"{scope.name}~{scope.ordinal('~')}"
        timer.due = _microseconds(when)
        self.timers[timer.key] = timer
        self._timer_count += 1
        heapq.heappush(self._due, (timer.due, self._timer_count, timer))
        return timer

    def create_future(self) -> WorkflowFuture[Any]:
        scope = self._scope()
        return WorkflowFuture(self, zlib.crc32(f"{scope.name}?{scope.ordinal('?')}".encode()))

    def create_task(
        self,
        coro: Coroutine[Any, Any, T] | Any,
        *,
        name: str | None = None,
        context: Context | None = None,
        **_ignored: Any,  # eager_start, of later Pythons
    ) -> WorkflowTask[T]:
        parent = asyncio.current_task(self)
        if not isinstance(parent, WorkflowTask):
            coro.close()
            raise WorkflowEffect("a task was made outside the workflow's own tasks, so it has no stable name")
        if from_as_completed(sys._getframe(1)):
            coro.close()
            raise WorkflowEffect(
                "asyncio.as_completed over coroutines starts them in an order that changes from run to run",
                hint="pass it tasks (asyncio.create_task) or handles",
            )
        return self.start_task(coro, parent.scope.child(), name, context)

    def start_task(
        self,
        coroutine: Coroutine[Any, Any, T],
        scope: str,
        name: str | None = None,
        context: Context | None = None,
    ) -> WorkflowTask[T]:
        """A task of this scope. The run holds it until it is done."""
        task = WorkflowTask(coroutine, loop=self, scope=scope, name=name, context=context)
        self.tasks[task] = None
        task.add_done_callback(self._task_done)
        return task

    def _task_done(self, task: asyncio.Task[Any]) -> None:
        self.tasks.pop(task, None)  # type: ignore[call-overload]  # only WorkflowTasks get this callback

    def _generator_opened(self, generator: AsyncGenerator[Any, Any]) -> None:
        if len(self.generators) % 64 == 63:
            # A finished one has no frame and nothing left to close.
            self.generators = [
                known for known in self.generators if getattr(known, "ag_frame", None) is not None
            ]
        self.generators.append(generator)

    def _scope(self) -> Scope:
        task = asyncio.current_task(self)
        return task.scope if isinstance(task, WorkflowTask) else self._outside

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Cancelled timers stay in the heap until they come up."""

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        error = context.get("exception")
        detail = f": {type(error).__name__}: {error}" if error is not None else ""
        self._report(f"{context.get('message', 'error in workflow code')}{detail}")

    default_exception_handler = call_exception_handler

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return False

    def get_task_factory(self) -> None:
        return None

    def get_exception_handler(self) -> None:
        return None


def _microseconds(when: float) -> int:
    """The first microsecond at which the loop's clock shows ``when`` or later."""
    due = math.ceil(when * 1_000_000)
    while due / 1_000_000 < when:
        due += 1
    return due


refuse_effects(RunLoop)  # type: ignore[type-abstract]  # that is what it is for
