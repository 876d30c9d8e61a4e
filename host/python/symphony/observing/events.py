"""What observers are told, made from what the log says.

Named tuples: there are two of them a step, and making a frozen dataclass takes three times as long.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

OBSERVING: Final = ("run_started", "run_finished", "step_started", "step_finished")
"""The hooks that are told."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a run or a step failed: the class of the exception by its name, and its message."""

    type: str
    message: str


class RunEvent(NamedTuple):
    """A run was accepted, or has ended.

    Parameters
    ----------
    id, workflow:
        The run's id and its workflow's full name.
    status:
        ``running``, or how it ended: ``completed``, ``failed``, ``cancelled``.
    time:
        When it was recorded; UTC.
    seconds:
        What the run took, once it has ended.
    error:
        Of a failed run.
    position:
        Of the record in the log: grows from event to event, and is the same when an event is told again.

    Example
    -------
    >>> RunEvent("01m8…", "tools.report", "running", datetime.now(UTC), position=4096).seconds is None
    True
    """

    id: str
    workflow: str
    status: str
    time: datetime
    seconds: float | None = None
    error: Failure | None = None
    position: int = 0


class StepEvent(NamedTuple):
    """An attempt of a step begins, or a step has its outcome.

    Parameters
    ----------
    run, workflow:
        The run's id and its workflow's full name.
    key:
        Of the step in its run; ``f"{run}/{key}"`` is what ``symphony.current().key`` gives the step.
    name:
        The step's name.
    attempt:
        Counts from 1; 0 of a step that was not executed: its result came from the cache, or it was skipped.
    state:
        ``running``, or the outcome: ``completed``, ``failed``, ``cached``, ``skipped``, ``cancelled``.
    time:
        When it was recorded; UTC.
    seconds:
        What the last attempt took, if there was one, once the step has its outcome.
    error:
        Of a failed step.
    position:
        Of the record in the log: grows from record to record, and is the same when an event is told again.
    """

    run: str
    workflow: str
    key: str
    name: str
    attempt: int
    state: str
    time: datetime
    seconds: float | None = None
    error: Failure | None = None
    position: int = 0


class Told(NamedTuple):
    """An event and the hook that is called with it."""

    hook: str
    event: RunEvent | StepEvent


Row = tuple[tuple[str, int, int], tuple[str, str], tuple[str, str, int] | None, str, int | None, bytes | None]


def told(row: Row, decode: Callable[[bytes], Any], load: Callable[[str], bytes]) -> Told:
    """The event of a row of ``_host.RunEvents``.

    Parameters
    ----------
    decode:
        The bridge's codec, for the failure of a step.
    load:
        Gives the content of an artifact, for a failure that was too large for its record.
    """
    (hook, position, moment), (run, workflow), step, state, since, record = row
    time = datetime.fromtimestamp(moment / 1e6, UTC)
    seconds = None if since is None else (moment - since) / 1e6
    error = None if record is None else _failure(record, decode, load, of_run=step is None)
    if step is None:
        return Told(hook, RunEvent(run, workflow, state, time, seconds, error, position))
    return Told(hook, StepEvent(run, workflow, *step, state, time, seconds, error, position))


def _failure(
    record: bytes, decode: Callable[[bytes], Any], load: Callable[[str], bytes], *, of_run: bool
) -> Failure | None:
    try:
        content = load(record[1:].decode("ascii")) if record[:1] == b"@" else record[1:]
        if not of_run:
            type_, _, message, _ = decode(content)
            return Failure(type_, message)
        error = json.loads(content)["error"]
        return None if error is None else Failure(error["type"], error["message"])
    except Exception as problem:  # the artifact is gone, or its content is of an older release
        return Failure("unknown", f"its record cannot be read: {problem}")
