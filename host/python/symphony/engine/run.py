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
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from symphony.engine.alarm import Alarm
from symphony.engine.launching import Launcher, Outcome, StepCall
from symphony.engine.questions import Questions
from symphony.engine.run_calls import RunCalls
from symphony.engine.run_commands import RETRY, RunCommands
from symphony.engine.run_end import RunEnd, RunResult, StepCounts, settled
from symphony.engine.run_log import (
    ANSWER,
    CACHED,
    COMMAND,
    OUTCOME,
    SKIPPED,
    TIMER,
    Attempts,
    LogRecord,
    RunLog,
    unpack,
)
from symphony.engine.run_loop import RunLoop, Timer
from symphony.engine.run_match import check_leftovers, matching_handle, unknown_outcome, unknown_timer
from symphony.errors import WorkflowEffect, WorkflowError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

    from symphony._host import Vitals
    from symphony.engine.handles import Handle
    from symphony.values.codec import Codec
    from symphony.workflows import Workflow

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
        cwd: str = "/",
        plugin: str = "",
        executor: str | None = None,
        givers: Mapping[str, str] = MappingProxyType({}),
        vitals: Vitals | None = None,
        report: Callable[[str], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.id: Final = run_id
        self.name: Final = name
        self.cwd: Final = cwd
        self.plugin: Final = plugin
        self.executor: Final = executor
        self._givers = givers
        self.workflow: Final = workflow
        self.counts: Final = StepCounts()
        self.done: Final[asyncio.Future[RunResult]] = asyncio.get_running_loop().create_future()
        self.calls: Final = RunCalls(codec, self.counts, self._stop_step)
        self.loop: Final = RunLoop(run_id, started, self.calls, report)  # type: ignore[abstract]  # the rest refuses, by name
        self._vitals = vitals
        self._own_code = 0
        self._inputs = inputs
        self._log = log
        self._codec = codec
        self._launcher = launcher
        self._real = asyncio.get_running_loop()
        self._context = Context()
        self._recovered: deque[LogRecord] = deque()
        self._arrived: deque[LogRecord] = deque()
        self._attempts: dict[str, Attempts] = {}
        self._unsettled = 0
        self._under_way: dict[Handle[Any], StepCall] = {}
        self._awaited_again: LogRecord | None = None
        self._cancelled = False
        self._replaying = True
        self.caught_up: Final[asyncio.Future[None]] = self._real.create_future()
        self.loop.questions = self._questions = Questions(codec, log)
        self.commands: Final = RunCommands(
            run_id,
            cwd,
            log,
            codec,
            self.calls,
            self._questions,
            launcher,
            self._under_way,
            self._attempts,
            self._arrive,
            self._schedule,
        )
        self._end: RunEnd
        self._scheduled = False
        self._pumping = False
        self._alarm = Alarm(self.loop, clock, self._context, self._fire)

    # Commands from outside.

    def begin(self) -> None:
        """Take the run up, from its first record or from where the log ends."""
        self._recovered.extend(self._log.recovered())
        self._attempts.update(self._log.attempts())
        self._questions.begin(self._log.questions())
        self.commands.begin()
        if self._vitals is not None:
            self._own_code = self._vitals.begin(self.id, self.name, self.plugin, "", 0, 0.0, "")
        with self.loop.entered():
            main = self._context.run(self.loop.start_task, self._main(), "")
        self._end = RunEnd(self.loop, main)
        self._schedule()

    def cancel(self, position: int = 0) -> None:
        """Record the command; CancelledError is raised in the workflow when it is delivered."""
        moment = self._log.obey(position, "cancel")
        if moment is None:  # it is in the log already, and so in its place among the records
            return
        if self._awaited_again is not None:
            # The workflow cannot be asked: its position in the log is not reached before that step is done.
            self._finish(RunResult("cancelled", counts=self.counts))
            return
        self._arrive(LogRecord(COMMAND, "cancel", b"", 0, b"", moment))

    def abandon(self) -> None:
        """Stop driving the run; it stays as the log has it."""
        if not self.done.done():
            self.done.cancel()
            self._dispose()

    def open_steps(self) -> list[tuple[Handle[Any], StepCall | None]]:
        """The steps without a result, and what of them was handed to the launcher."""
        return [(handle, self._under_way.get(handle)) for handle in self.calls.open]

    def _main(self) -> Coroutine[Any, Any, Any]:
        async def main() -> Any:
            return await settled(await self.workflow.fn(**self._inputs))

        return main()

    # Steps on their way to the executor, and outcomes on their way back.

    def _start_steps(self) -> None:
        """R14: all steps that became ready in this turn, in one batch."""
        if self.calls.to_start:
            batch = [self._step_call(handle) for handle in self.commands.admitted()]
            if batch:
                self._launcher.submit(batch)

    def _step_call(self, handle: Handle[Any]) -> StepCall:
        arguments, step, codec = handle.arguments, handle.step, self._codec
        assert arguments is not None  # cleared only once the handle is done
        earlier = self._attempts.pop(handle.key, Attempts())
        call = StepCall(
            run=self.id,
            workflow=self.name,
            cwd=self.cwd,
            key=handle.key,
            step=step,
            deps=[dep.key for dep in handle.deps],
            arguments=lambda: arguments.decode(codec, step),
            log=self._log,
            on_done=lambda outcome: self._step_done(handle, outcome),
            on_broken=self._block,
            attempt=earlier.failed + 1,
            not_before=earlier.retry_at / 1_000_000,
            plugin=self.plugin,
            executor=self.executor,
            givers=self._givers,
        )
        self._under_way[handle] = call
        return call

    def _stop_step(self, handle: Handle[Any]) -> None:
        self.commands.forget(handle)
        call = self._under_way.pop(handle, None)
        if call is not None:
            self._launcher.stop(call)

    def _step_done(self, handle: Handle[Any], outcome: Outcome) -> None:
        self._under_way.pop(handle, None)
        if handle.done() or self.done.done():
            return
        try:
            moment = self._log.finish_step(
                handle.key, handle.name, handle.fingerprint, outcome.state, outcome.payload
            )
        except Exception as error:
            self._block(error)
            return
        self.commands.ended(handle.key)
        if outcome.state == CACHED:
            self.counts.reused += 1
        else:
            self.counts.executed += 1
        arrived = LogRecord(
            OUTCOME, handle.key, handle.fingerprint, outcome.state, b"=" + outcome.encoded, moment
        )
        if self._awaited_again is None:
            self._arrive(arrived)
        else:  # only that step runs during a replay
            self._recovered.appendleft(replace(arrived, time=self._awaited_again.time))
            self._awaited_again = None
            self._schedule()

    def _arrive(self, record: LogRecord) -> None:
        """Deliver a record that was just written, once it is lasting."""

        def deliver() -> None:
            self._unsettled -= 1
            self._arrived.append(record)
            self._schedule()

        self._unsettled += 1
        self._log.when_lasting(deliver, self._block)

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
                check_leftovers(self._recovered, self.calls.by_key, self.loop.timers, self._codec)
                self._finish(self._end.result(self.calls.failed, self.counts, commanded=self._cancelled))
                return False
            if self._live:
                if self._replaying:
                    self._replaying = False
                    self.calls.forget_done()
                self._start_steps()
                self._questions.settle()
                if not self.caught_up.done():
                    self.caught_up.set_result(None)
            elif self._awaited_again is not None:
                self._start_again(self._awaited_again.key)
            record = self._next_record()
            if record is None:
                self._check_progress()
                return False
            self._apply(record)
            if time.monotonic() > until:
                return True

    def _run_code(self) -> None:
        vitals = self._vitals
        if vitals is not None:
            vitals.enter(self._own_code)
        try:
            while True:
                self.loop.run_ready()
                if self._end.main.done():
                    self._questions.close()
                self._end.advance(self.calls.open)
                if not self.loop.has_ready:
                    return
        finally:
            if vitals is not None:
                vitals.leave()

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
            if record.key == RETRY:
                self.calls.retry(record.payload.decode())
            else:
                self._cancelled = True
                self._end.main.cancel()
        elif record.kind == ANSWER:
            self.loop.advance(record.time)
            self._questions.deliver(record)
        elif record.kind == TIMER:
            timer = self.loop.timers.pop(record.key, None)
            if timer is None:
                raise unknown_timer(record)
            self.loop.advance(record.time)
            self.loop.fire(timer)
        else:
            self._apply_outcome(record)

    def _apply_outcome(self, record: LogRecord) -> None:
        self.commands.delivered(record.key)
        handle = matching_handle(record, self.calls.by_key, self._codec)
        if handle.done():  # cancelled meanwhile, or a second record after a lost artifact
            self.loop.advance(record.time)
            return
        encoded = unpack(record.payload, self._log)
        if encoded is None:
            self._execute_again(handle, record)
            return
        if handle in self.calls.to_start:  # it was never started here
            del self.calls.to_start[handle]
            self.counts.reused += record.state != SKIPPED
        self.loop.advance(record.time)
        self.calls.deliver(handle, record.state, encoded)
        if not self._recovered:
            self.calls.by_key.pop(handle.key, None)

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
            raise unknown_outcome(record, self.calls.by_key, self._codec)
        if not handle.step.options.idempotent:
            raise WorkflowError(
                f"the result of step {handle.key} is lost, and it must not be executed again",
                hint=f"symphony artifacts verify; then restore it, or: symphony runs cancel {self.id}",
            )
        self._awaited_again = record
        self.calls.to_start[handle] = None

    def _start_again(self, key: str) -> None:
        handle = self.calls.by_key[key]
        if handle in self.calls.to_start and not self.commands.paused:
            del self.calls.to_start[handle]
            self._launcher.submit([self._step_call(handle)])

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
        self._arrive(LogRecord(TIMER, timer.key, b"", 0, b"", moment))

    # Ends.

    def _check_progress(self) -> None:
        """With no step under way and no timer set, nothing can ever wake the workflow."""
        stuck = not (self.calls.open or self._questions.open or self._unsettled)
        if self._live and stuck and self.loop.next_timer() is None:
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
        if self._vitals is not None:
            self._vitals.end(self._own_code)
            self._own_code = 0
        for handle in list(self._under_way):
            self._stop_step(handle)
        self._alarm.cancel()
        self.caught_up.cancel()
        self.commands.clear()
        self._questions.clear()
        self._end.dispose()
        self.calls.clear()
        self._recovered.clear()
        self._arrived.clear()
