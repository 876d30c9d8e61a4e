"""Tells the host which step a thread is in, whenever it is in one: a crash or a hang is then some step's.

Tasks that a step makes, and what it gives to ``asyncio.to_thread``, are the step's, too. Of a thread that it
starts otherwise only that is told: a pool's thread may soon work for other steps. The code of a workflow
itself is marked by its run.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
import types
from collections.abc import Coroutine
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from symphony._host import Vitals
    from symphony.engine.launching import StepCall

T = TypeVar("T")
P = ParamSpec("P")

_step: Final[ContextVar[int]] = ContextVar("symphony_step_number", default=0)


def begin(vitals: Vitals, call: StepCall) -> int:
    """From now on the step is in flight; gives its number."""
    limit = call.step.options.timeout or 0.0
    return vitals.begin(call.run, call.workflow, call.plugin, call.step.name, call.attempt, limit, call.key)


def is_marked() -> bool:
    """Whether this task is a step's, so that the thread is marked whenever it is resumed."""
    return _step.get() != 0


@types.coroutine
def marked(vitals: Vitals, step: int, body: Coroutine[Any, Any, T]) -> Generator[Any, Any, T]:
    """Await ``body``; the thread is marked each time it is resumed, and only until it waits."""
    _step.set(step)
    resume: Callable[[Any], Any] = body.send
    value: Any = None
    try:
        while True:
            vitals.enter(step)
            try:
                waited = resume(value)
            except StopIteration as done:
                result: T = done.value
                return result
            finally:
                vitals.leave()
            try:
                value = yield waited
                resume = body.send
            except GeneratorExit:
                body.close()
                raise
            except BaseException as error:
                resume, value = body.throw, error
    finally:
        value = None  # an error's traceback holds this frame
        _step.set(0)


def marked_call(vitals: Vitals, step: int, body: Callable[[], T]) -> T:
    """Call ``body`` in this thread, marked."""
    _step.set(step)
    vitals.enter(step)
    try:
        return body()
    finally:
        vitals.leave()


class HelperThreads(concurrent.futures.ThreadPoolExecutor):
    """The threads of ``asyncio.to_thread``: what a step does there is the step's, too."""

    def __init__(self, vitals: Vitals) -> None:
        super().__init__(thread_name_prefix="asyncio")
        self._vitals = vitals

    def submit(
        self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> concurrent.futures.Future[T]:
        step = _step.get()
        if not step:
            return super().submit(fn, *args, **kwargs)

        def marked_helper() -> T:
            self._vitals.enter(step)
            try:
                return fn(*args, **kwargs)
            finally:
                self._vitals.leave()

        return super().submit(marked_helper)


class _StepTask(Coroutine[Any, Any, T]):
    """The coroutine of a task that a step made; the thread is marked while it is resumed."""

    __slots__ = ("_body", "_step", "_vitals")

    def __init__(self, vitals: Vitals, step: int, body: Coroutine[Any, Any, T]) -> None:
        self._vitals = vitals
        self._step = step
        self._body = body

    def __getattr__(self, name: str) -> Any:
        return getattr(self._body, name)  # ``cr_frame`` and the like, for stacks and names

    def send(self, value: Any) -> Any:
        self._vitals.enter(self._step)
        try:
            return self._body.send(value)
        finally:
            self._vitals.leave()

    def throw(self, *error: Any) -> Any:
        self._vitals.enter(self._step)
        try:
            return self._body.throw(*error)
        finally:
            self._vitals.leave()

    def close(self) -> None:
        self._body.close()

    def __await__(self) -> Generator[Any, Any, T]:
        return self._body.__await__()


def mark_tasks(vitals: Vitals, loop: asyncio.AbstractEventLoop) -> None:
    """From now on, tasks of this loop that a step makes are marked as the step's.

    ``asyncio.all_tasks`` gives no others: who cancels all tasks, as at the end of a program, is not to end
    the interpreter.
    """

    def make(loop: asyncio.AbstractEventLoop, body: Any, **options: Any) -> asyncio.Task[Any]:
        context = options.get("context")
        step = _step.get() if context is None else context.get(_step, 0)
        if step and asyncio.iscoroutine(body):
            body = _StepTask(vitals, step, body)
        task = asyncio.Task(body, loop=loop, **options)
        if not step:
            asyncio._unregister_task(task)
        return task

    loop.set_task_factory(make)


def mark_threads(vitals: Vitals) -> None:
    """From now on, threads that a step starts are marked as started by it."""
    start = threading.Thread.start

    def marked_start(self: threading.Thread) -> None:
        step, run = _step.get(), self.run
        if step:

            def marked_run() -> None:
                _step.set(step)
                vitals.enter_thread(step)
                try:
                    run()
                finally:
                    vitals.leave_thread()

            self.run = marked_run  # type: ignore[method-assign]
        start(self)

    threading.Thread.start = marked_start  # type: ignore[method-assign]
