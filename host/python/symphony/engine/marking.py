"""Tells the host which step a thread is in, whenever it is in one: a crash or a hang is then some step's.

What a step gives to ``asyncio.to_thread`` is marked, tasks and threads that it starts otherwise are not. The
code of a workflow itself is marked by its run.
"""

from __future__ import annotations

import concurrent.futures
import types
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator

    from symphony._host import Vitals
    from symphony.engine.launching import StepCall

T = TypeVar("T")
P = ParamSpec("P")

_step: Final[ContextVar[int]] = ContextVar("symphony_step_number", default=0)


def _begin(vitals: Vitals, call: StepCall) -> int:
    limit = call.step.options.timeout or 0.0
    step = vitals.begin(call.run, call.workflow, call.plugin, call.step.name, call.attempt, limit, call.key)
    _step.set(step)
    return step


@types.coroutine
def marked(vitals: Vitals, call: StepCall, body: Coroutine[Any, Any, T]) -> Generator[Any, Any, T]:
    """Await ``body``; the thread is marked each time it is resumed, and only until it waits."""
    step = _begin(vitals, call)
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
        vitals.end(step)


def marked_call(vitals: Vitals, call: StepCall, body: Callable[[], T]) -> T:
    """Call ``body`` in this thread, marked."""
    step = _begin(vitals, call)
    vitals.enter(step)
    try:
        return body()
    finally:
        vitals.leave()
        vitals.end(step)


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
