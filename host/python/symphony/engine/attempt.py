"""One attempt of one step: its lease, its context, its time limit, what it returned or raised."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from contextvars import Context
from typing import TYPE_CHECKING, Any

from symphony.engine.failures import encode_failure
from symphony.engine.launching import Outcome
from symphony.engine.marking import marked, marked_call
from symphony.engine.run_log import FAILED, OK
from symphony.engine.step_context import StepContext, current_step
from symphony.errors import StepFailed
from symphony.values.secret import redact, refuse_values

if TYPE_CHECKING:
    import concurrent.futures

    from symphony.engine.executor import Executor
    from symphony.engine.launching import StepCall

ASYNC, THREAD = "async", "thread"


class Attempt:
    """One attempt. ``error`` is what a failed one raised."""

    def __init__(self, executor: Executor, call: StepCall, kind: str) -> None:
        self.error: BaseException | None = None
        self._executor = executor
        self._call = call
        self._kind = kind
        self._lease: int | None = None
        self._thread: concurrent.futures.Future[bytes | BaseException] | None = None

    async def run(self) -> Outcome:
        """The outcome; CancelledError when the step was stopped from outside."""
        error: BaseException
        try:
            answer = await self._result()
            if isinstance(answer, bytes):
                return Outcome(OK, answer)
            error = answer
        except asyncio.CancelledError:
            if self._call.stopped or self._executor.closing:
                raise
            error = StepFailed("the step cancelled itself", type="CancelledError")
        except BaseException as raised:  # SystemExit and KeyboardInterrupt, too, fail only the step
            error = raised
        self.error = error
        return Outcome(FAILED, encode_failure(self._executor.codec, error))

    def release(self) -> None:
        """Give slot and lease back, once the thread that uses them has returned."""
        if self._thread is None or self._thread.done():
            self._give_back()
            return

        def returned(_thread: object) -> None:
            with suppress(RuntimeError):  # the loop has closed: the interpreter is going away
                self._executor.loop.call_soon_threadsafe(self._give_back)

        self._thread.add_done_callback(returned)

    def _give_back(self) -> None:
        if self._lease is not None:
            self._executor.models.release(self._lease)
            self._lease = None
        self._executor.release(self._call, self._kind)

    async def _result(self) -> bytes | BaseException:
        options = self._call.step.options
        extra: dict[str, Any] = {}
        if options.model is not None:
            self._lease, extra["model"] = await self._executor.models.acquire(
                options.model, self._call.plugin
            )
        limit = asyncio.timeout(options.timeout)
        try:
            async with limit:
                if self._kind == THREAD:
                    return await self._in_thread(extra)
                return await self._in_loop(extra)
        except TimeoutError:
            if limit.expired():
                reason = f"step {self._call.step.name!r} took longer than {options.timeout:g} s"
                raise TimeoutError(reason) from None
            raise

    async def _in_loop(self, extra: dict[str, Any]) -> bytes:
        vitals, body = self._executor.vitals, self._loop_body(extra)
        return await (body if vitals is None else marked(vitals, self._call, body))

    async def _loop_body(self, extra: dict[str, Any]) -> bytes:
        self._enter()
        args, kwargs = self._call.arguments()
        return self._recordable(await self._call.step.fn(*args, **kwargs, **extra))

    async def _in_thread(self, extra: dict[str, Any]) -> bytes | BaseException:
        self._thread = self._executor.pool.submit(Context().run, self._in_this_thread, extra)
        return await asyncio.wrap_future(self._thread)

    def _in_this_thread(self, extra: dict[str, Any]) -> bytes | BaseException:
        vitals = self._executor.vitals
        if vitals is None:
            return self._thread_body(extra)
        return marked_call(vitals, self._call, lambda: self._thread_body(extra))

    def _thread_body(self, extra: dict[str, Any]) -> bytes | BaseException:
        """Never raises: futures and coroutines give StopIteration and others a meaning of their own."""
        try:
            self._enter()
            args, kwargs = self._call.arguments()
            return self._recordable(self._call.step.fn(*args, **kwargs, **extra))
        except BaseException as error:
            return error

    def _recordable(self, result: Any) -> bytes:
        return refuse_values(self._executor.codec.encode(result), f"step {self._call.step.name!r}")

    def _enter(self) -> None:
        call, progress = self._call, self._executor.progress

        def report(done: float, total: float, message: str) -> None:
            if not call.stopped:
                progress(call, done, total, redact(message))

        key = f"{call.run}/{call.key}"
        context = StepContext(call.run, key, call.step.name, call.attempt, call.cwd, report)
        current_step.set(context)
