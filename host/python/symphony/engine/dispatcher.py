"""Dispatches steps to their executors: slots, order, attempts, backoff, outcomes.

Knows nothing of workflows, only of single steps; what an outcome means for a run is the run's business.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextvars import Context
from typing import TYPE_CHECKING, Final

from symphony.engine.attempt import Attempt
from symphony.engine.care import Care
from symphony.engine.core_executors import ASYNC, SLOTS, THREAD
from symphony.engine.failures import failure_summary
from symphony.engine.lanes import Lanes
from symphony.engine.launching import Outcome, StepCall
from symphony.engine.middleware import chain
from symphony.engine.run_log import FAILED, pack
from symphony.engine.step_cache import StepCache
from symphony.errors import SymphonyError
from symphony.scheduling import Policy, ReadyStep, Resources, decide

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from symphony._host import Vitals
    from symphony.engine.lane import Lane, RegisteredExecutor
    from symphony.engine.middleware import Chain, Middleware
    from symphony.engine.models import Models
    from symphony.plugins.namespace import Namespace
    from symphony.plugins.source import PluginSource
    from symphony.values.codec import Codec

# An encoded result of this size is written by a thread, so that the loop stays responsive.
_LARGE: Final = 256 * 1024

Progress = Callable[[StepCall, float, float, str], None]


class Dispatcher:
    """All steps of one interpreter.

    ``through`` is what an attempt goes through: the middleware of plugins, or nothing. ``sources`` are the
    plugins that are loaded.

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
    vitals:
        Where the host sees which steps are in flight; None: nobody watches.
    slots:
        Of the core's executors, by name, where it is not to be as they have it.
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
        slots: Mapping[str, int] = SLOTS,
        vitals: Vitals | None = None,
    ) -> None:
        self.policy = policy
        self.closing = False
        self.codec = codec
        self.models = models
        self.progress = progress
        self.vitals = vitals
        self._report = report
        self._clock = clock
        self.loop = asyncio.get_running_loop()
        self.through: Chain = chain([])
        self.sources: Mapping[str, PluginSource] = {}
        self.lanes = Lanes(slots, self.loop, report)
        self.care = Care(self.loop, self._dispatch, vitals)
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
        await self.lanes.close()

    def join(self, seconds: float) -> None:
        """After ``close``: wait for the threads of steps, but not longer than so many seconds."""
        self.lanes.join(seconds)

    # Slots and order.

    def _enqueue(self, call: StepCall) -> None:
        call.backoff = None
        self._queue(call)
        self._dispatch()

    def _queue(self, call: StepCall) -> None:
        if call.stopped:
            return
        try:
            lane = self.lanes.of(call)
        except SymphonyError as error:
            self.loop.call_soon(call.on_broken, error)
            return
        call.ready = ReadyStep(
            call.run,
            call.workflow,
            call.key,
            call.step.name,
            lane.name,
            call.step.options.model,
            call.attempt,
            self._clock(),
            tuple(call.deps),
        )
        lane.queue.append(call)
        self._unordered = True

    def take_over(
        self,
        executors: Iterable[RegisteredExecutor],
        names: Namespace,
        middleware: Sequence[tuple[str, Middleware]],
        sources: Mapping[str, PluginSource],
        policy: Policy | None,
    ) -> None:
        """Use what the loaded plugins give from now on. A step under way ends where it began."""
        self.policy, self.through, self.sources = policy, chain(middleware), sources
        for call in self.lanes.take_over(executors, names):
            self._queue(call)
        self._dispatch_soon()

    @property
    def held(self) -> str | None:
        """Why no step is started now, whatever is free."""
        if self._paused:
            return "the interpreter is being stopped"
        if self.care.holds:
            return "steps that were near to deaths of the interpreter are executed first, each alone"
        return None

    def _dispatch_soon(self) -> None:
        """A slot is free. Not at once: the run's turn comes first, and may make more steps ready."""
        if not self._dispatching:
            self._dispatching = True
            self.loop.call_soon(self._dispatch)

    def _dispatch(self) -> None:
        self._dispatching = False
        if self._paused or self.care.holds:
            return
        suspect = self.care.choose(self.lanes.waiting())
        if suspect is not None:
            lane = next(lane for lane in self.lanes if suspect in lane.queue)
            lane.queue.remove(suspect)
            self._start(suspect, lane)
            return
        if self.policy is not None and self._unordered and self.loop.time() >= self._next_decision:
            self._order(self.policy)
        for lane in self.lanes:
            queue = lane.queue
            while queue and lane.free > 0:
                call = queue.popleft()
                if not call.stopped:
                    self._start(call, lane)

    def _order(self, policy: Policy) -> None:
        waiting = [call for call in self.lanes.waiting() if not call.stopped]
        if len(waiting) < 2:
            return
        began = time.perf_counter()
        calls = {call.ready: call for call in waiting if call.ready is not None}
        lanes = {lane.name: lane for lane in self.lanes}
        free = {name: lane.free for name, lane in lanes.items()}
        resources = Resources(free.pop(ASYNC), free.pop(THREAD), free)
        ordered = decide(policy, list(calls), resources, self._report)
        for lane in self.lanes:
            lane.queue.clear()
        for step in ordered:
            lanes[step.kind].queue.append(calls[step])
        self._unordered = False
        # With thousands of ready steps a decision costs milliseconds: it may take a tenth of the loop's time.
        self._next_decision = self.loop.time() + 10 * (time.perf_counter() - began)

    def _start(self, call: StepCall, lane: Lane) -> None:
        lane.free -= 1
        attempt = Attempt(self, call, lane)
        # A context of its own: nothing of the workflow, of other steps or of the engine is visible in a step.
        task = call.task = self.loop.create_task(self._attempt(attempt), context=Context())
        self._running.add(task)

        def ended(task: asyncio.Task[None]) -> None:
            self._running.discard(task)
            attempt.release()  # one that was cancelled before it began has not done so itself

        task.add_done_callback(ended)

    def release(self, call: StepCall, lane: Lane) -> None:
        """The slot of a call is free again."""
        lane.returned()
        self.care.ended(call)
        if self.lanes.has_waiting:
            self._dispatch_soon()

    # Attempts.

    async def _attempt(self, attempt: Attempt) -> None:
        call = attempt.call
        began = time.perf_counter()
        try:
            call.log.start_step(call.key, call.step.name, call.attempt, call.deps)
            if call.step.options.cache:
                outcome = await self._cache.outcome(call, attempt.outcome)
            else:
                outcome = await attempt.outcome()
            if call.stopped or self.closing:
                return
            if outcome.state == FAILED and self._try_again(call, outcome.encoded):
                return
            outcome = await self._packed(call, outcome)
            self._observe(call, time.perf_counter() - began, outcome.state != FAILED)
            call.on_done(outcome)
        except asyncio.CancelledError:
            pass  # stopped, or the interpreter ends: there is no outcome
        except Exception as error:  # the log or the store refused; the step itself cannot raise here
            call.on_broken(error)
        finally:
            attempt.release()

    def _try_again(self, call: StepCall, failure: bytes) -> bool:
        """Whether there is another attempt; then it waits for its time."""
        options = call.step.options
        if not options.retries:
            return False
        kind, text = failure_summary(self.codec, failure)
        retry_at = call.log.decide_retry(call.key, call.attempt, kind, options.retry_policy, text[:500])
        if retry_at is None:
            return False
        call.not_before = retry_at / 1_000_000
        call.attempt += 1
        call.task = None
        if call.on_retry is None:
            self.submit([call])
        else:
            call.on_retry()
        return True

    async def _packed(self, call: StepCall, outcome: Outcome) -> Outcome:
        if outcome.payload:
            return outcome
        if len(outcome.encoded) < _LARGE:
            payload = pack(outcome.encoded, call.log, call.key)
        else:
            payload = await asyncio.to_thread(pack, outcome.encoded, call.log, call.key)
        return Outcome(outcome.state, outcome.encoded, payload)

    def _observe(self, call: StepCall, seconds: float, ok: bool) -> None:
        observe = getattr(self.policy, "observe", None)
        if observe is None:
            return
        try:
            observe(call.ready, seconds, ok)
        except Exception as error:  # a plugin's code: whatever it raises must not stop the runs
            self._report(f"scheduling policy raised {type(error).__name__} in observe: {error}")
