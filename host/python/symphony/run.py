"""One run: its driver, which delivers records one per turn, live and in replay alike (R2).

A turn applies one record and runs workflow code until nothing is ready. What arrives is written to the log
first and delivered from there; while recovered records are left, no step starts. Steps themselves are
executed elsewhere, on the interpreter's own loop.

Seams left open: sub-workflows (R10) would add a kind of handle whose body is a task of its own scope; the
inline fast path (R13) would override ``Handle.__await__`` and call ``Run._deliver`` from there.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from contextvars import Context
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from symphony.alarm import Alarm
from symphony.errors import UpstreamFailed, WorkflowEffect, WorkflowError
from symphony.failures import decode_failure
from symphony.handles import Arguments, Handle
from symphony.launching import Launcher, Outcome, StepCall
from symphony.run_end import RunEnd, RunResult, StepCounts, settled
from symphony.run_log import CACHED, COMMAND, FAILED, OUTCOME, TIMER, Attempts, LogRecord, RunLog, unpack
from symphony.run_loop import RunLoop, Timer, WorkflowTask
from symphony.run_match import check_leftovers, matching_handle, unknown_outcome, unknown_timer

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from symphony.codec import Codec
    from symphony.workflows import Step, Workflow

# A replay gives way to the interpreter's loop after so many seconds, so that heartbeats and other runs go on.
_PUMP_SLICE: Final = 0.005


class Run:
    """The driver of one run.

    ``done`` is a future of the interpreter's loop: a ``RunResult``, or an exception when the run cannot go on
    now but is not over (code changed, the log cannot be written). Nothing more is written then.
    """

    def __init__(
        self,
        run_id: str,
        workflow: Workflow,
        inputs: dict[str, Any],
        *,
        name: str,
        log: RunLog,
        codec: Codec,
        launcher: Launcher,
        started: int,
        report: Callable[[str], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.id: Final = run_id
        self.name: Final = name
        self.workflow: Final = workflow
        self.counts: Final = StepCounts()
        self.done: Final[asyncio.Future[RunResult]] = asyncio.get_running_loop().create_future()
        self.loop: Final = RunLoop(run_id, started, self, report)  # type: ignore[abstract]  # the rest refuses, by name
        self._inputs = inputs
        self._log = log
        self._codec = codec
        self._launcher = launcher
        self._real = asyncio.get_running_loop()
        self._context = Context()
        self._recovered: deque[LogRecord] = deque()
        self._arrived: deque[LogRecord] = deque()
        self._attempts: dict[str, Attempts] = {}
        self._handles: dict[str, Handle[Any]] = {}
        self._calls: dict[Handle[Any], StepCall] = {}
        self._to_start: dict[Handle[Any], None] = {}
        self._open: dict[Handle[Any], None] = {}
        self._failed: dict[Handle[Any], str] = {}
        self._awaited_again: LogRecord | None = None
        self._cancelled = False
        self._end: RunEnd
        self._scheduled = False
        self._pumping = False
        self._alarm = Alarm(self.loop, clock, self._context, self._fire)

    # Commands from outside.

    def begin(self) -> None:
        """Take the run up, from its first record or from where the log ends."""
        self._recovered.extend(self._log.recovered())
        self._attempts = self._log.attempts()
        with self.loop.entered():
            main = self._context.run(self.loop.start_task, self._main(), "")
        self._end = RunEnd(self.loop, main)
        self._schedule()

    def cancel(self) -> None:
        """Record the command; CancelledError is raised in the workflow when it is delivered."""
        moment = self._log.command("cancel")
        if self._awaited_again is not None:
            # The workflow cannot be asked: its position in the log is not reached before that step is done.
            self._finish(RunResult("cancelled", counts=self.counts))
            return
        self._arrived.append(LogRecord(COMMAND, "cancel", b"", 0, b"", moment))
        self._schedule()

    def abandon(self) -> None:
        """Stop driving the run; it stays as the log has it."""
        if not self.done.done():
            self.done.cancel()
            self._dispose()

    def _main(self) -> Coroutine[Any, Any, Any]:
        async def main() -> Any:
            return await settled(await self.workflow.fn(**self._inputs))

        return main()

    # Calls of workflow code.

    def call_step(self, step: Step[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Handle[Any]:
        task = asyncio.current_task(self.loop)
        if not isinstance(task, WorkflowTask):
            raise WorkflowEffect(f"step {step.name!r} was called outside the workflow's own tasks")
        scope = task.scope
        arguments = Arguments(self._codec, step, args, kwargs)
        for edge in arguments.edges:
            if edge.handle.owner is not self:
                raise WorkflowEffect(f"step {step.name!r} was given a handle of another run")
        key = f"{scope.prefix}{step.name}#{scope.ordinal(step.name)}"
        handle: Handle[Any] = Handle(self.loop, self, key, step, arguments)
        self._handles[key] = handle
        self._open[handle] = None
        handle.waiting = len(handle.deps)
        if not handle.waiting:
            self._to_start[handle] = None
        for dep in handle.deps:
            dep.add_done_callback(lambda done, handle=handle: self._dep_done(handle, done))  # type: ignore[misc]
        return handle

    def _dep_done(self, handle: Handle[Any], dep: Handle[Any]) -> None:
        if handle.done():
            if not dep.cancelled():
                dep.exception()
            return
        if dep.cancelled():
            self._fail_upstream(handle, f"{dep.key} was cancelled", None)
            return
        cause = dep.exception()
        if cause is not None:
            text = str(cause) if isinstance(cause, WorkflowError) else f"{type(cause).__name__}: {cause}"
            self._fail_upstream(handle, f"{dep.key} failed: {text}", cause)
            return
        handle.waiting -= 1
        if not handle.waiting:
            self._to_start[handle] = None

    def _fail_upstream(self, handle: Handle[Any], reason: str, cause: BaseException | None) -> None:
        error = UpstreamFailed(f"step {handle.key} was not started: {reason}")
        error.__cause__ = cause
        self.counts.skipped += 1
        self._failed[handle] = ""
        self._open.pop(handle, None)
        handle.fail(error)

    def handle_cancelled(self, handle: Handle[Any]) -> None:
        """R9: the step stops, its outcome is not recorded."""
        handle.arguments = None
        self._open.pop(handle, None)
        self._to_start.pop(handle, None)
        call = self._calls.pop(handle, None)
        if call is not None:
            self._launcher.stop(call)

    # Outcomes of steps, from the executor.

    def _step_done(self, handle: Handle[Any], outcome: Outcome) -> None:
        self._calls.pop(handle, None)
        if handle.done() or self.done.done():
            return
        try:
            moment = self._log.finish_step(
                handle.key, handle.name, handle.fingerprint, outcome.state, outcome.payload
            )
        except Exception as error:
            self._block(error)
            return
        if outcome.state == CACHED:
            self.counts.reused += 1
        else:
            self.counts.executed += 1
        arrived = LogRecord(
            OUTCOME, handle.key, handle.fingerprint, outcome.state, b"=" + outcome.encoded, moment
        )
        if self._awaited_again is None:
            self._arrived.append(arrived)
        else:  # only that step runs during a replay
            self._recovered.appendleft(replace(arrived, time=self._awaited_again.time))
            self._awaited_again = None
        self._schedule()

    # The driver.

    def _schedule(self) -> None:
        if not self._scheduled and not self._pumping and not self.done.done():
            self._scheduled = True
            self._real.call_soon(self._pump, context=self._context)

    def _pump(self) -> None:
        self._scheduled = False
        if self.done.done():
            return
        self._pumping = True
        try:
            with self.loop.entered():
                more = self._turns()
        except WorkflowEffect as error:
            self._finish(RunResult("failed", error=error, counts=self.counts))
            return
        except Exception as error:
            self._block(error)
            return
        finally:
            self._pumping = False
        if more:
            self._schedule()
        elif not self.done.done() and self._live:
            self._alarm.set()

    def _turns(self) -> bool:
        """Turn after turn, until nothing is left to deliver (False) or the time slice is over (True)."""
        until = time.monotonic() + _PUMP_SLICE
        while True:
            self._run_code()
            if self._end.reached:
                check_leftovers(self._recovered, self._handles, self.loop.timers, self._codec)
                self._finish(self._end.result(self._failed, self.counts, commanded=self._cancelled))
                return False
            if self._live:
                self._start_steps()
            record = self._next_record()
            if record is None:
                self._check_progress()
                return False
            self._apply(record)
            if time.monotonic() > until:
                return True

    def _run_code(self) -> None:
        while True:
            self.loop.run_ready()
            self._end.advance(self._open)
            if not self.loop.has_ready:
                return

    @property
    def _live(self) -> bool:
        return not self._recovered and self._awaited_again is None

    def _next_record(self) -> LogRecord | None:
        if self._awaited_again is not None:
            return None
        if self._recovered:
            return self._recovered.popleft()
        return self._arrived.popleft() if self._arrived else None

    def _apply(self, record: LogRecord) -> None:
        if record.kind == COMMAND:
            self.loop.advance(record.time)
            self._cancelled = True
            self._end.main.cancel()
        elif record.kind == TIMER:
            timer = self.loop.timers.pop(record.key, None)
            if timer is None:
                raise unknown_timer(record)
            self.loop.advance(record.time)
            self.loop.fire(timer)
        else:
            self._apply_outcome(record)

    def _apply_outcome(self, record: LogRecord) -> None:
        handle = matching_handle(record, self._handles, self._codec)
        if handle.done():  # cancelled meanwhile, or a second record after a lost artifact
            self.loop.advance(record.time)
            return
        encoded = unpack(record.payload, self._log)
        if encoded is None:
            self._execute_again(handle, record)
            return
        if handle in self._to_start:  # it was never started here
            del self._to_start[handle]
            self.counts.reused += 1
        self.loop.advance(record.time)
        self._deliver(handle, record.state, encoded)

    def _deliver(self, handle: Handle[Any], state: int, encoded: bytes) -> None:
        self._open.pop(handle, None)
        if not self._recovered:
            self._handles.pop(handle.key, None)  # no record can name it any more
        if state == FAILED:
            error, report = decode_failure(self._codec, encoded)
            self.counts.failed += 1
            self._failed[handle] = report
            handle.fail(error)
            return
        try:
            value = handle.step.coerce_result(self._codec.decode(encoded))
        except WorkflowError:
            raise
        except Exception as error:  # not what the return hint says: a failure of the step, the same on replay
            self.counts.failed += 1
            self._failed[handle] = ""
            handle.fail(error)
            return
        handle.succeed(encoded, value)

    def _execute_again(self, handle: Handle[Any], record: LogRecord) -> None:
        """The result of a recorded step is lost: the record does not count, but its place in the order does.

        What follows in the log may be caused by this outcome, so nothing more can be replayed before it is
        known: the step is executed now, ahead of the recovered end, and its new outcome is delivered in this
        place. It is written at the end of the log; a later replay finds it there, and uses it here again.
        """
        for later in self._recovered:
            if later.kind == OUTCOME and later.key == record.key:
                encoded = unpack(later.payload, self._log)
                if encoded is not None:
                    self._recovered.appendleft(replace(record, state=later.state, payload=b"=" + encoded))
                    return
        if handle.waiting:
            raise unknown_outcome(record, self._handles, self._codec)
        self._awaited_again = record
        self._to_start.pop(handle, None)
        self._launcher.submit([self._call(handle)])

    def _start_steps(self) -> None:
        """R14: all steps that became ready in this turn, in one batch."""
        if not self._to_start:
            return
        batch = [self._call(handle) for handle in self._to_start]
        self._to_start.clear()
        self._launcher.submit(batch)

    def _call(self, handle: Handle[Any]) -> StepCall:
        arguments, step, codec = handle.arguments, handle.step, self._codec
        assert arguments is not None  # cleared only once the handle is done
        earlier = self._attempts.pop(handle.key, Attempts())
        call = StepCall(
            run=self.id,
            workflow=self.name,
            key=handle.key,
            step=step,
            deps=[dep.key for dep in handle.deps],
            arguments=lambda: arguments.decode(codec, step),
            log=self._log,
            on_done=lambda outcome: self._step_done(handle, outcome),
            on_broken=self._block,
            attempt=earlier.failed + 1,
            not_before=earlier.retry_at / 1_000_000,
        )
        self._calls[handle] = call
        return call

    def _fire(self, timer: Timer) -> None:
        """The alarm's call: the earliest timer is due."""
        if self._scheduled:  # what has arrived may cancel the timer, so it is delivered first
            return
        self.loop.take_timer(timer)
        try:
            moment = self._log.fire_timer(timer.key, timer.due)
        except Exception as error:
            self._block(error)
            return
        self._arrived.append(LogRecord(TIMER, timer.key, b"", 0, b"", moment))
        self._schedule()

    # Ends.

    def _check_progress(self) -> None:
        """With no step under way and no timer set, nothing can ever wake the workflow."""
        if self._live and not self._open and self.loop.next_timer() is None:
            waiting = ", ".join(task.get_name() for task in self.loop.tasks) or "its end"
            error = WorkflowError(
                f"the workflow waits for something that can never happen ({waiting})",
                hint="look for a lock taken twice, or an event or queue that nobody fills",
            )
            self._finish(RunResult("failed", error=error, counts=self.counts))

    def _finish(self, result: RunResult) -> None:
        self._dispose()
        if not self.done.done():
            self.done.set_result(result)

    def _block(self, error: Exception) -> None:
        self._dispose()
        if not self.done.done():
            self.done.set_exception(error)

    def _dispose(self) -> None:
        for call in list(self._calls.values()):
            self._launcher.stop(call)
        self._alarm.cancel()
        self._end.dispose()
        for queue in (self._calls, self._handles, self._to_start, self._open, self._failed):
            queue.clear()
        self._recovered.clear()
        self._arrived.clear()
