"""What plugins wrap around each attempt of a step: a chain that is built once, when they are loaded.

Without any of them the chain is the submission itself. It runs on the interpreter's loop, wherever the step
does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from symphony.engine.attempt import Attempt
from symphony.engine.failures import decode_failure
from symphony.engine.launching import Outcome
from symphony.engine.marking import marked
from symphony.engine.run_log import FAILED, OK
from symphony.errors import PluginFailed

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class StepInvocation:
    """A step that is about to run.

    ``key`` is the same in every attempt and after every death, ``attempt`` counts from 1, ``executor`` is
    where it runs. ``args`` and ``kwargs`` are copies of the arguments; ``next`` gets others by
    ``dataclasses.replace(call, args=...)``.
    """

    run: str
    workflow: str
    plugin: str
    key: str
    name: str
    attempt: int
    executor: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


Next = Callable[[StepInvocation], Awaitable[Any]]
Middleware = Callable[[StepInvocation, Next], Awaitable[Any]]
_Layer = Callable[["_Passing", StepInvocation], Awaitable[Any]]
Chain = Callable[[Attempt], Awaitable[Outcome]]


class _Passing:
    """One attempt on its way through the chain; ``failure`` is the step's own, with its record."""

    def __init__(self, attempt: Attempt) -> None:
        self.attempt = attempt
        self.failure: tuple[BaseException, Outcome] | None = None


def chain(layers: Sequence[tuple[str, Middleware]]) -> Chain:
    """The middleware of these plugins, the first outermost, as one function of an attempt."""
    if not layers:
        return Attempt.submitted
    outer: _Layer = _innermost
    for plugin, middleware in reversed(layers):
        outer = _layer(plugin, middleware, outer)

    async def through(attempt: Attempt) -> Outcome:
        vitals, passing = attempt.vitals, _Passing(attempt)
        body = _through(outer, passing)
        try:
            value = await (body if vitals is None else marked(vitals, attempt.begun(vitals), body))
        except BaseException as error:
            if passing.failure is not None and passing.failure[0] is error:
                return passing.failure[1]
            raise
        return Outcome(OK, attempt.recordable(value))

    return through


async def _through(outer: _Layer, passing: _Passing) -> Any:
    attempt = passing.attempt
    attempt.enter()
    args, kwargs = attempt.call.arguments()
    return await outer(
        passing,
        StepInvocation(
            attempt.run,
            attempt.workflow,
            attempt.plugin,
            attempt.key,
            attempt.name,
            attempt.attempt,
            attempt.lane.name,
            args,
            kwargs,
        ),
    )


async def _innermost(passing: _Passing, call: StepInvocation) -> Any:
    """The step itself, by value: neither side sees what the other does to its objects."""
    attempt = passing.attempt
    attempt.error, attempt.changed = None, attempt.codec.encode((call.args, call.kwargs))
    outcome = await attempt.submitted()
    if outcome.state == FAILED:
        error = attempt.error or decode_failure(attempt.codec, outcome.encoded)[0]
        passing.failure = (error, outcome)
        raise error
    return attempt.call.step.coerce_result(attempt.codec.decode(outcome.encoded))


def _layer(plugin: str, middleware: Middleware, inner: _Layer) -> _Layer:
    async def layer(passing: _Passing, call: StepInvocation) -> Any:
        raised: list[BaseException] = []

        async def proceed(call: StepInvocation) -> Any:
            try:
                return await inner(passing, call)
            except BaseException as error:
                raised.append(error)
                raise

        try:
            return await middleware(call, proceed)
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            if any(error is known for known in raised):
                raise
            what = f"middleware of plugin {plugin} raised {type(error).__name__}"
            raise PluginFailed(f"{what}: {error}" if str(error) else what) from error

    return layer
