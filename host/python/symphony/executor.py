"""Executes steps on the interpreter's own loop and in threads: slots, attempts, timeouts, backoff.

Knows nothing of workflows, only of single steps; what an outcome means for a run is the run's business.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import time
from collections import deque
from collections.abc import Callable
from contextvars import Context
from typing import TYPE_CHECKING, Any, Final

from symphony.errors import ConversionError, StepFailed
from symphony.failures import encode_failure
from symphony.launching import Outcome, StepCall
from symphony.run_log import FAILED, OK, pack
from symphony.scheduling import Policy, ReadyStep, Resources, decide
from symphony.step_cache import StepCache
from symphony.step_context import StepContext, current_step

if TYPE_CHECKING:
    from symphony.codec import Codec
    from symphony.models import Models

ASYNC, THREAD = "async", "thread"
_LONGEST_BACKOFF: Final = 300.0
# An encoded result of this size is written by a thread, so that the loop stays responsive.
_LARGE: Final = 256 * 1024

Progress = Callable[[StepCall, float, float, str], None]


class Executor:
    """All steps of one interpreter.

    Parameters
    ----------
    models:
        Leases for steps with ``model=``.
    policy:
        Decides the order of ready steps; None means first come, first served.
    progress:
        Called, from any thread, with what a step reports.
    report:
        Called with lines for the log.
    clock:
        The wall clock in seconds, for backoff deadlines.
    """

    def __init__(
        self,
        codec: Codec,
        models: Models,
        *,
        policy: Policy | None = None,
        progress: Progress = lambda call, done, total, message: None,
        report: Callable[[str], None] = print,
        clock: Callable[[], float] = time.time,
        async_slots: int = 100,
        threads: int | None = None,
    ) -> None:
        self.policy = policy
        self.closing = False
        self._codec = codec
        self._models = models
        self._progress = progress
        self._report = report
        self._clock = clock
        self.loop = asyncio.get_running_loop()
        thread_slots = threads or min(32, (os.cpu_count() or 1) + 4)
        self._pool = concurrent.futures.ThreadPoolExecutor(thread_slots, thread_name_prefix="step")
        self._free = {ASYNC: async_slots, THREAD: thread_slots}
        self._queues: dict[str, deque[StepCall]] = {ASYNC: deque(), THREAD: deque()}
        self._cache = StepCache(codec)
        self._running: set[asyncio.Task[None]] = set()
        self._paused = False
        self._dispatching = False
        self._unordered = False
        self._next_decision = 0.0

    def submit(self, calls: list[StepCall]) -> None:
        """Start these steps as soon as there are slots, and not before their backoff is over."""
        for call in calls:
            wait = call.not_before - self._clock()
            if wait > 0:
                call.backoff = self.loop.call_later(wait, self._enqueue, call)
            else:
                self._queue(call)
        self._dispatch()

    def stop(self, call: StepCall) -> None:
        """Stop a step; its outcome is dropped. A thread goes on, and keeps its slot, until it returns."""
        call.stopped = True
        if call.backoff is not None:
            call.backoff.cancel()
        if call.task is not None:
            call.task.cancel()

    async def drain(self, seconds: float) -> None:
        """Start nothing more, and give running steps this long to finish."""
        self._paused = True
        if self._running:
            await asyncio.wait(self._running, timeout=seconds)

    async def close(self) -> None:
        """Cancel what still runs, without recording it, and wait a moment for async steps to clean up."""
        self._paused = self.closing = True
        for task in self._running:
            task.cancel()
        if self._running:
            await asyncio.wait(self._running, timeout=1.0)
        self._pool.shutdown(wait=False, cancel_futures=True)

    # Slots and order.

    def _enqueue(self, call: StepCall) -> None:
        call.backoff = None
        self._queue(call)
        self._dispatch()

    def _queue(self, call: StepCall) -> None:
        kind = ASYNC if call.step.is_async else THREAD
        call.ready = ReadyStep(
            call.run,
            call.workflow,
            call.key,
            call.step.name,
            kind,
            call.step.options.model,
            call.attempt,
            self._clock(),
            tuple(call.deps),
        )
        self._queues[kind].append(call)
        self._unordered = True

    def _dispatch_soon(self) -> None:
        """A slot is free. Not at once: the run's turn comes first, and may make more steps ready to choose from."""
        if not self._dispatching:
            self._dispatching = True
            self.loop.call_soon(self._dispatch)

    def _dispatch(self) -> None:
        self._dispatching = False
        if self._paused:
            return
        if self.policy is not None and self._unordered and self.loop.time() >= self._next_decision:
            self._order(self.policy)
        for kind, queue in self._queues.items():
            while queue and self._free[kind]:
                call = queue.popleft()
                if not call.stopped:
                    self._start(call, kind)

    def _order(self, policy: Policy) -> None:
        waiting = [call for queue in self._queues.values() for call in queue if not call.stopped]
        if len(waiting) < 2:
            return
        began = time.perf_counter()
        calls = {call.ready: call for call in waiting if call.ready is not None}
        ordered = decide(policy, list(calls), Resources(self._free[ASYNC], self._free[THREAD]), self._report)
        for queue in self._queues.values():
            queue.clear()
        for step in ordered:
            self._queues[step.kind].append(calls[step])
        self._unordered = False
        # With thousands of ready steps a decision costs milliseconds: it may take a tenth of the loop's time.
        self._next_decision = self.loop.time() + 10 * (time.perf_counter() - began)

    def _start(self, call: StepCall, kind: str) -> None:
        self._free[kind] -= 1
        # A context of its own: nothing of the workflow, of other steps or of the engine is visible in a step.
        call.task = self.loop.create_task(self._attempt(call, kind), context=Context())
        self._running.add(call.task)
        call.task.add_done_callback(self._running.discard)

    def _release(self, kind: str) -> None:
        self._free[kind] += 1
        if any(self._queues.values()):
            self._dispatch_soon()

    # Attempts.

    async def _attempt(self, call: StepCall, kind: str) -> None:
        attempt = _Attempt(self, call, kind)
        began = time.perf_counter()
        try:
            call.log.start_step(call.key, call.step.name, call.attempt, call.deps)
            if call.step.options.cache:
                outcome = await self._cache.outcome(call, attempt.run)
            else:
                outcome = await attempt.run()
            if not call.stopped and not self.closing:
                self._finished(call, outcome, attempt, time.perf_counter() - began)
        except asyncio.CancelledError:
            pass  # stopped, or the interpreter ends: there is no outcome
        except Exception as error:  # the log or the store refused; the step itself cannot raise here
            call.on_broken(error)
        finally:
            attempt.release()

    def _finished(self, call: StepCall, outcome: Outcome, attempt: _Attempt, seconds: float) -> None:
        if outcome.state == FAILED and attempt.may_retry and call.attempt <= call.step.options.retries:
            wait = min(call.step.options.backoff * 2 ** min(call.attempt - 1, 32), _LONGEST_BACKOFF)
            call.not_before = self._clock() + wait
            call.log.fail_attempt(call.key, call.attempt, attempt.failure, int(call.not_before * 1_000_000))
            call.attempt += 1
            call.task = None
            self.submit([call])
            return
        self._observe(call, seconds, outcome.state != FAILED)
        call.on_done(outcome)

    def _observe(self, call: StepCall, seconds: float, ok: bool) -> None:
        observe = getattr(self.policy, "observe", None)
        if observe is None:
            return
        try:
            observe(call.ready, seconds, ok)
        except Exception as error:  # a plugin's code: whatever it raises must not stop the runs
            self._report(f"scheduling policy raised {type(error).__name__} in observe: {error}")


class _Attempt:
    """One attempt of one step: its lease, its time limit, its outcome."""

    def __init__(self, executor: Executor, call: StepCall, kind: str) -> None:
        self.may_retry = True
        self.failure = ""
        self._executor = executor
        self._call = call
        self._kind = kind
        self._lease: int | None = None
        self._thread: concurrent.futures.Future[bytes | BaseException] | None = None

    async def run(self) -> Outcome:
        """The outcome; CancelledError when the step was stopped from outside."""
        try:
            encoded = await self._result()
            return Outcome(OK, encoded, await self._packed(encoded))
        except asyncio.CancelledError as error:
            if self._call.stopped or self._executor.closing:
                raise
            return self._failed(StepFailed("the step cancelled itself", type=type(error).__name__))
        except (
            BaseException
        ) as error:  # a step may raise SystemExit or KeyboardInterrupt: only the step fails
            self.may_retry = not isinstance(error, ConversionError)
            return self._failed(error)

    def _failed(self, error: BaseException) -> Outcome:
        self.failure = f"{type(error).__name__}: {error}"[:500]
        encoded = encode_failure(self._executor._codec, error)
        return Outcome(FAILED, encoded, pack(encoded, self._call.log, self._call.key))

    async def _packed(self, encoded: bytes) -> bytes:
        if len(encoded) < _LARGE:
            return pack(encoded, self._call.log, self._call.key)
        return await asyncio.to_thread(pack, encoded, self._call.log, self._call.key)

    async def _result(self) -> bytes:
        call, options = self._call, self._call.step.options
        extra: dict[str, Any] = {}
        if options.model is not None:
            self._lease, extra["model"] = await self._executor._models.acquire(options.model)
        limit = asyncio.timeout(options.timeout)
        try:
            async with limit:
                if self._kind == THREAD:
                    return await self._in_thread(extra)
                self._enter()
                args, kwargs = call.arguments()
                return self._executor._codec.encode(await call.step.fn(*args, **kwargs, **extra))
        except TimeoutError:
            if limit.expired():
                raise TimeoutError(
                    f"step {call.step.name!r} took longer than {options.timeout:g} s"
                ) from None
            raise

    async def _in_thread(self, extra: dict[str, Any]) -> bytes:
        self._thread = self._executor._pool.submit(Context().run, self._thread_body, extra)
        answer = await asyncio.wrap_future(self._thread)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def _thread_body(self, extra: dict[str, Any]) -> bytes | BaseException:
        """Never raises: futures give some exceptions, StopIteration for one, a meaning of their own."""
        self._enter()
        try:
            args, kwargs = self._call.arguments()
            return self._executor._codec.encode(self._call.step.fn(*args, **kwargs, **extra))
        except BaseException as error:
            return error

    def _enter(self) -> None:
        call = self._call

        def report(done: float, total: float, message: str) -> None:
            if not call.stopped:
                self._executor._progress(call, done, total, message)

        current_step.set(
            StepContext(call.run, f"{call.run}/{call.key}", call.step.name, call.attempt, report)
        )

    def release(self) -> None:
        """Give slot and lease back, once the thread that uses them has returned."""
        if self._thread is None or self._thread.done():
            self._give_back()
            return

        def later(_thread: object) -> None:
            try:
                self._executor.loop.call_soon_threadsafe(self._give_back)
            except RuntimeError:
                pass  # the loop has closed: the interpreter is going away

        self._thread.add_done_callback(later)

    def _give_back(self) -> None:
        if self._lease is not None:
            self._executor._models.release(self._lease)
            self._lease = None
        self._executor._release(self._kind)
