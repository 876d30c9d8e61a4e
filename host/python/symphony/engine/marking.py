"""Tells the host which step a thread is in, whenever it is in one: a crash or a hang is then some step's.

Tasks and threads that a step starts by itself are not marked.
"""

from __future__ import annotations

import types
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator

    from symphony._host import Vitals
    from symphony.engine.launching import StepCall

T = TypeVar("T")


def _begin(vitals: Vitals, call: StepCall) -> int:
    limit = call.step.options.timeout or 0.0
    return vitals.begin(call.run, call.workflow, call.plugin, call.step.name, call.attempt, limit, call.key)


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
