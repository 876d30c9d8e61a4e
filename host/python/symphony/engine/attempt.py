"""One attempt of one step: its lease, its context, its time limit, what it returned or raised.

It is the task that an executor is given (``symphony.executors.StepTask``).
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from symphony.engine.failures import encode_failure
from symphony.engine.launching import Outcome
from symphony.engine.marking import begin, is_marked, marked, marked_call
from symphony.engine.packed_step import pack_step
from symphony.engine.run_log import FAILED, OK
from symphony.engine.step_context import StepContext, current_step
from symphony.errors import InvalidInput, StepFailed
from symphony.values.secret import redact, refuse_values

if TYPE_CHECKING:
    import concurrent.futures
    from collections.abc import Awaitable, Coroutine

    from symphony._host import Vitals
    from symphony.engine.dispatcher import Dispatcher
    from symphony.engine.lane import Lane
    from symphony.engine.launching import DecodedArguments, StepCall


class Attempt:
    """One attempt. ``error`` is what the step raised, if it ran in this process.

    ``changed`` takes the place of the call's arguments, encoded.
    """

    def __init__(self, dispatcher: Dispatcher, call: StepCall, lane: Lane) -> None:
        self.error: BaseException | None = None
        self.changed: bytes | None = None
        self.call: Final = call
        self.lane: Final = lane
        self.codec: Final = dispatcher.codec
        self._dispatcher = dispatcher
        self._lease: int | None = None
        self._model: dict[str, Any] = {}
        self._held: list[concurrent.futures.Future[Any] | asyncio.Future[Any]] = []
        self._number: int | None = None
        self._released = False

    @property
    def vitals(self) -> Vitals | None:
        return self._dispatcher.vitals

    @property
    def run(self) -> str:
        return self.call.run

    @property
    def workflow(self) -> str:
        return self.call.workflow

    @property
    def plugin(self) -> str:
        return self.call.plugin

    @property
    def key(self) -> str:
        return f"{self.call.run}/{self.call.key}"

    @property
    def name(self) -> str:
        return self.call.step.name

    @property
    def attempt(self) -> int:
        return self.call.attempt

    @property
    def timeout(self) -> float | None:
        return self.call.step.options.timeout

    @property
    def is_async(self) -> bool:
        return self.call.step.is_async

    # For the dispatcher.

    async def outcome(self) -> Outcome:
        """How it ended; CancelledError when the step was stopped from outside."""
        try:
            return await self._in_time()
        except asyncio.CancelledError:
            if self.call.stopped or self._dispatcher.closing:
                raise
            return self.failed(StepFailed("the step cancelled itself", type="CancelledError"))
        except BaseException as raised:  # SystemExit and KeyboardInterrupt, too, fail only the step
            return self.failed(raised)

    def release(self) -> None:
        """Give slot and lease back, once what uses them has ended. Calling it again has no effect."""
        if not self._released:
            self._released = True
            self._give_back()

    def _give_back(self) -> None:
        for held in self._held:
            if not held.done():
                held.add_done_callback(self._held_ended)
                return
        if self._number is not None and self.vitals is not None:
            self.vitals.end(self._number)
        if self._lease is not None:
            self._dispatcher.models.release(self._lease)
            self._lease = None
        self._dispatcher.release(self.call, self.lane)

    def _held_ended(self, _held: object) -> None:
        with suppress(RuntimeError):  # the loop has closed: the interpreter is going away
            self._dispatcher.loop.call_soon_threadsafe(self._give_back)

    def begun(self, vitals: Vitals) -> int:
        """The step's number, which is in flight from now on until its slot is free."""
        if self._number is None:
            self._number = begin(vitals, self.call)
        return self._number

    async def _in_time(self) -> Outcome:
        options = self.call.step.options
        if options.model is not None:
            self.call.leasing = options.model
            try:
                self._lease, self._model["model"] = await self._dispatcher.models.acquire(
                    options.model, self.plugin
                )
            finally:
                self.call.leasing = None
        limit = asyncio.timeout(options.timeout)
        try:
            async with limit:
                return await self._dispatcher.through(self)
        except TimeoutError:
            if limit.expired():
                reason = f"step {self.name!r} took longer than {options.timeout:g} s"
                raise TimeoutError(reason) from None
            raise

    def submitted(self) -> Coroutine[Any, Any, Outcome]:
        """To be awaited: what the executor makes of it."""
        return self.lane.submit(self)

    def failed(self, error: BaseException) -> Outcome:
        self.error = error
        return Outcome(FAILED, encode_failure(self.codec, error))

    # For executors.

    def run_here(self) -> Awaitable[Outcome]:
        if not self.is_async:
            raise InvalidInput(
                f"step {self.name!r} is not async: it would hold up the event loop",
                hint='@symphony.step(executor="thread")',
            )
        vitals = self.vitals
        if vitals is None or is_marked():
            return self._body()
        return marked(vitals, self.begun(vitals), self._body())

    def run_blocking(self) -> Outcome:
        vitals = self.vitals
        if vitals is None:
            return self._blocking_body()
        return marked_call(vitals, self.begun(vitals), self._blocking_body)

    def pack(self) -> bytes:
        if self._model:
            raise InvalidInput(
                f"step {self.name!r} leases a model, which cannot leave this process",
                hint='@symphony.step(executor="thread")',
            )
        args, kwargs = self._arguments()
        if self.vitals is not None:
            self.begun(self.vitals)
        return pack_step(self.codec, self.call, (args, kwargs), self._dispatcher.sources)

    def report(self, done: float, total: float, message: str) -> None:
        if not self.call.stopped:
            self._dispatcher.progress(self.call, done, total, redact(message))

    def hold(self, until: concurrent.futures.Future[Any] | asyncio.Future[Any]) -> None:
        self._held.append(until)

    async def _body(self) -> Outcome:
        try:
            self.enter()
            args, kwargs = self._arguments()
            return Outcome(OK, self.recordable(await self.call.step.fn(*args, **kwargs, **self._model)))
        except asyncio.CancelledError:
            raise  # whether it is the step's own is known outside
        except BaseException as error:
            return self.failed(error)

    def _blocking_body(self) -> Outcome:
        """Never raises: futures and coroutines give StopIteration and others a meaning of their own."""
        try:
            self.enter()
            args, kwargs = self._arguments()
            result = self.call.step.fn(*args, **kwargs, **self._model)
            return Outcome(OK, self.recordable(asyncio.run(result) if self.is_async else result))
        except BaseException as error:
            return self.failed(error)

    def _arguments(self) -> DecodedArguments:
        if self.changed is None:
            return self.call.arguments()
        changed: Any = self.codec.decode(self.changed)
        return self.call.step.coerce_arguments(*changed)

    def recordable(self, result: Any) -> bytes:
        return refuse_values(self.codec.encode(result), f"step {self.name!r}")

    def enter(self) -> None:
        call = self.call
        context = StepContext(call.run, self.key, self.name, call.attempt, call.cwd, self.report)
        current_step.set(context)
