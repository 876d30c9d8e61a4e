"""Replay a workflow after each of its records, and name the first difference."""

from __future__ import annotations

import asyncio
import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from symphony.engine.handles import shown_call
from symphony.engine.run import Run
from symphony.engine.run_report import run_report
from symphony.errors import WorkflowChanged
from symphony.plugins.compatibility import read_source
from symphony.plugins.lint import findings
from symphony.testing.runner import completed
from symphony.values import json_value
from symphony.values.codec import native_codec
from symphony.values.inputs import bind_inputs, restore_inputs

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from symphony.engine.launching import StepCall
    from symphony.engine.run_log import Attempts, LogRecord, PitRunLog, RunLog
    from symphony.host import RunResult
    from symphony.pit_access import OpenPit
    from symphony.testing.runner import WorkflowRunner
    from symphony.workflows import Workflow

RECORDS: Final = 20_000
"""So many records are applied at most; of a run with more than 200, some cuts are left out."""
RULE: Final = (
    "Workflow code runs again after every crash, and must then make the same calls with the same arguments.\n"
    "Move what differs into a step, or take it from symphony.now(), symphony.random or symphony.uuid()."
)
Call = tuple[str, str, bytes]


class _CutLog:
    """The first records of a log, for a run that nothing is executed for."""

    def __init__(self, records: Sequence[LogRecord], whole: PitRunLog) -> None:
        self._records = records
        self.load = whole.load
        self.find = whole.find

    def recovered(self) -> list[LogRecord]:
        return list(self._records)

    def attempts(self) -> dict[str, Attempts]:
        return {}

    def questions(self) -> dict[str, str]:
        return {}

    def states(self) -> dict[str, str]:
        return {}

    def interrupted(self) -> set[str]:
        return set()

    def paused(self) -> bool:
        return False

    def ask(self, key: str, prompt: str) -> None:
        pass

    def withdraw(self, key: str) -> None:
        pass


class _Nobody:
    """Executes no step."""

    def submit(self, calls: list[StepCall]) -> None:
        pass

    def stop(self, call: StepCall) -> None:
        pass


class _Replay(Run):
    """Remembers which calls the workflow has made, and how many of them before each record.

    ``seen`` is how many it had made when the log was at its end.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.made: list[Call] = []
        self.marks: list[int] = []
        self.seen: int | None = None
        call = self.calls.call_step

        def remember(*parts: Any) -> Any:
            handle = call(*parts)
            self.made.append((handle.key, handle.name, handle.fingerprint))
            return handle

        self.calls.call_step = remember  # type: ignore[method-assign, assignment]

    def _apply(self, record: LogRecord) -> None:
        self.marks.append(len(self.made))
        super()._apply(record)

    def _start_steps(self) -> None:
        if self.seen is None:
            self.seen = len(self.made)


class AssertReplayable:
    """The fixture ``assert_replayable``."""

    def __init__(self, runner: Callable[[], WorkflowRunner], pit: Callable[[], OpenPit]) -> None:
        self._runner = runner
        self._pit = pit

    def __call__(self, workflow: Workflow | str, /, **inputs: Any) -> RunResult:
        """Run a workflow, then replay it from each beginning of its log: every one must go the same way.

        No step is executed for that. Gives the result of the run.

        Raises
        ------
        AssertionError
            A replay differs, and the message names the first difference; or the workflow's code has an effect
            that this run did not show. It says what to do, too.
        RunFailed, InvalidInput
            As ``run_workflow``.
        """
        runner = self._runner()
        result = runner(workflow, **inputs)
        assert runner.log is not None
        found = runner.workflow(workflow) if isinstance(workflow, str) else workflow
        given = {name: json_value(value, name) for name, value in inputs.items()}
        replays = _Replays(
            self._pit(), found, bind_inputs(found, given, {}, Path.cwd()), runner.run, runner.log
        )
        difference = completed(replays.first_difference(runner.log.records, result.value))
        effects = _effects(found)
        if difference is not None:
            raise AssertionError(f"workflow {found.name} does not replay: {difference}\n{RULE}{effects}")
        if effects:
            raise AssertionError(f"workflow {found.name} was replayed alike, but only by chance:{effects}")
        return result


class _Replays:
    """Replays of one run."""

    def __init__(
        self, pit: OpenPit, workflow: Workflow, inputs: dict[str, Any], run: str, log: PitRunLog
    ) -> None:
        self._workflow = workflow
        self._codec = native_codec()
        self._inputs = self._codec.encode(inputs)
        self._run = run
        self._log = log
        self._accepted = int(pit.native.dag_tracker.run_info(run)["accepted"])

    async def first_difference(self, records: Sequence[LogRecord], value: Any) -> str | None:
        """What is not as in the run, or not the same in all replays; ``value`` was the result."""
        whole = self._begun(records)
        wrong = await self._driven(whole)
        if wrong is None and not whole.done.done():
            wrong = f"after all {len(records)} records it goes on, and waits for {self._waiting(whole)}"
        if wrong is None:
            _, report = run_report(whole.done.result(), self._workflow)
            if report["result"] != value:
                wrong = f"its result was {value!r}, and now is {report['result']!r}"
        for cut in _cuts(len(records)):
            replay = self._begun(records[:cut])
            now_wrong = await self._driven(replay)
            replay.abandon()
            expected = whole.made[: whole.marks[cut]] if cut < len(whole.marks) else None
            if now_wrong is None and expected is not None:
                now_wrong = self._compared(expected, replay.made[: replay.seen])
            if now_wrong is not None:
                last = f" ({records[cut - 1].key})" if cut else ""
                return f"after record {cut} of {len(records)}{last}, {now_wrong}"
        return wrong

    def _begun(self, records: Sequence[LogRecord]) -> _Replay:
        inputs = restore_inputs(self._workflow, dict(cast("Any", self._codec.decode(self._inputs))))
        replay = _Replay(
            self._run,
            self._workflow,
            inputs,
            name=self._workflow.name,
            log=cast("RunLog", _CutLog(records, self._log)),
            codec=self._codec,
            launcher=_Nobody(),
            started=self._accepted,
            cwd=str(Path.cwd()),
            report=lambda line: None,
            clock=lambda: 0.0,  # no timer but the recorded ones
        )
        replay.begin()
        return replay

    async def _driven(self, replay: _Replay) -> str | None:
        """Drive it until its log is at its end; what is wrong with it."""
        ends: list[asyncio.Future[Any]] = [replay.done, replay.caught_up]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        if not replay.done.done() or replay.done.cancelled():
            return None
        error = replay.done.exception()
        if error is None:
            return None
        if isinstance(error, WorkflowChanged):
            return str(error)
        raise error

    def _compared(self, expected: Sequence[Call], made: Sequence[Call]) -> str | None:
        for number, (one, other) in enumerate(zip(expected, made, strict=False)):
            if one != other:
                return (
                    f"call {number + 1} was {one[0]} = {self._shown(one)}, and now is "
                    f"{other[0]} = {self._shown(other)}"
                )
        if len(expected) == len(made):
            return None
        longer, when = (expected, "is not made any more") if len(expected) > len(made) else (made, "is new")
        call = longer[min(len(expected), len(made))]
        return f"the call {call[0]} = {self._shown(call)} {when}"

    def _shown(self, call: Call) -> str:
        return shown_call(self._codec, call[1], call[2])

    def _waiting(self, replay: _Replay) -> str:
        waiting = [handle.key for handle in replay.calls.by_key.values() if not handle.done()]
        return ", ".join(waiting[:3]) or "nothing that is a step"


def _cuts(count: int) -> list[int]:
    """Beginnings of a log to replay: all of them, or so many, evenly, as the limit allows."""
    step = 1
    while sum(range(0, count, step)) > RECORDS:
        step += 1
    return list(range(0, count, step))


def _effects(workflow: Workflow) -> str:
    """What the lint finds in the workflow's own code: the likely cause of a difference, now or later."""
    file = inspect.getsourcefile(workflow.fn)
    source = "" if file is None else read_source(Path(file))
    found = [f for f in findings(Path(file or ""), source) if f.workflow == workflow.name]
    return "".join(f"\n{finding.at}: {finding.message}: {finding.hint}" for finding in found)
