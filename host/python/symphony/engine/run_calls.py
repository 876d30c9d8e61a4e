"""The step calls of one run: made by workflow code, waiting for others, ready to start, failed, done."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from symphony.engine.failures import decode_failure
from symphony.engine.handles import Arguments, Handle
from symphony.engine.run_log import FAILED, SKIPPED
from symphony.engine.run_loop import WorkflowTask, running_run_loop
from symphony.errors import TypeMissing, UpstreamFailed, WorkflowEffect, WorkflowError

if TYPE_CHECKING:
    from collections.abc import Callable

    from symphony.engine.run_end import StepCounts
    from symphony.values.codec import Codec
    from symphony.workflows import Step


class RunCalls:
    """The handles of one run.

    ``by_key`` has every handle that a record may still name, ``open`` those without a result, ``to_start``
    those whose arguments are all known, in the order they became so, ``failed`` those that failed, with the
    text of the traceback.
    """

    def __init__(self, codec: Codec, counts: StepCounts, stop: Callable[[Handle[Any]], None]) -> None:
        self.by_key: dict[str, Handle[Any]] = {}
        self.open: dict[Handle[Any], None] = {}
        self.to_start: dict[Handle[Any], None] = {}
        self.failed: dict[Handle[Any], str] = {}
        self._codec = codec
        self._counts = counts
        self._stop = stop

    def call_step(self, step: Step[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Handle[Any]:
        """The handle of a new call, with the key that it will have on every replay (R5).

        Raises
        ------
        WorkflowEffect
            Not called from a task of the workflow, or with a handle of another run.
        """
        loop = running_run_loop()
        task = asyncio.current_task(loop)
        if loop is None or not isinstance(task, WorkflowTask):
            raise WorkflowEffect(f"step {step.name!r} was called outside the workflow's own tasks")
        arguments = Arguments(self._codec, step, args, kwargs)
        if any(edge.handle.owner is not self for edge in arguments.edges):
            raise WorkflowEffect(f"step {step.name!r} was given a handle of another run")
        scope = task.scope
        key = f"{scope.prefix}{step.name}#{scope.ordinal(step.name)}"
        handle: Handle[Any] = Handle(loop, self, key, step, arguments)
        self.by_key[key] = handle
        self.open[handle] = None
        handle.waiting = len(handle.deps)
        if not handle.waiting:
            self.to_start[handle] = None
        for dep in handle.deps:
            dep.add_done_callback(lambda done: self._dep_done(handle, done))
        return handle

    def _dep_done(self, handle: Handle[Any], dep: Handle[Any]) -> None:
        cause = None if dep.cancelled() else dep.exception()  # seen by this, whatever becomes of the handle
        if handle.done():
            return
        if dep.cancelled():
            self._fail_upstream(handle, f"{dep.key} was cancelled", None)
        elif cause is not None:
            text = str(cause) if isinstance(cause, WorkflowError) else f"{type(cause).__name__}: {cause}"
            self._fail_upstream(handle, f"{dep.key} failed: {text}", cause)
        else:
            handle.waiting -= 1
            if not handle.waiting:
                self.to_start[handle] = None

    def _fail_upstream(self, handle: Handle[Any], reason: str, cause: BaseException | None) -> None:
        error = UpstreamFailed(f"step {handle.key} was not started: {reason}")
        error.__cause__ = cause
        self._counts.skipped += 1
        self.failed[handle] = ""
        self.open.pop(handle, None)
        handle.fail(error)
        handle.unheeded = False  # it is the other step that can be retried

    def handle_cancelled(self, handle: Handle[Any]) -> None:
        """R9: the step stops, its outcome is not recorded."""
        handle.arguments = None
        self.open.pop(handle, None)
        self.to_start.pop(handle, None)
        self._stop(handle)

    def deliver(self, handle: Handle[Any], state: int, encoded: bytes) -> None:
        """Complete a handle with what its record says."""
        self.open.pop(handle, None)
        if state == SKIPPED:
            self._counts.skipped += 1
            handle.skip(encoded, self._codec.decode(encoded))
            return
        if state == FAILED:
            error, report = decode_failure(self._codec, encoded)
            self._fail(handle, error, report)
            return
        try:
            value = handle.step.coerce_result(self._codec.decode(encoded))
        except TypeMissing:  # nobody can say what the workflow would do; the run waits for the plugin
            raise
        except Exception as mismatch:  # not what the return hint says: the step's failure, the same on replay
            self._fail(handle, mismatch, "")
            return
        handle.succeed(encoded, value)

    def _fail(self, handle: Handle[Any], error: Exception, report: str) -> None:
        self._counts.failed += 1
        self.failed[handle] = report
        handle.fail(error)

    def retriable(self, key: str) -> Handle[Any] | None:
        """A step of this key that has failed without anybody knowing."""
        return next((handle for handle in self.failed if handle.key == key and handle.retriable), None)

    def retry(self, key: str) -> None:
        """A person wants a step once more. One whose failure is known by now stays as it is."""
        handle = self.retriable(key)
        if handle is not None:
            del self.failed[handle]
            self._counts.failed -= 1
            handle.reopen()
            self.by_key[key] = handle
            self.open[handle] = None
            self.to_start[handle] = None

    def forget_done(self) -> None:
        """No record can name a finished call any more."""
        self.by_key = {key: handle for key, handle in self.by_key.items() if not handle.done()}

    def clear(self) -> None:
        for kept in (self.by_key, self.open, self.to_start, self.failed):
            kept.clear()
