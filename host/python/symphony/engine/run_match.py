"""Recorded calls against the calls that the code makes now (R7)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from symphony.engine.handles import Handle, shown_call
from symphony.engine.run_log import OUTCOME, TIMER, LogRecord
from symphony.errors import WorkflowChanged

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from symphony.values.codec import Codec

_HINT: Final = (
    "the code has changed or is not deterministic; run the code that began this run, or start a new run"
)


def matching_handle(record: LogRecord, handles: Mapping[str, Handle[Any]], codec: Codec) -> Handle[Any]:
    """The handle that a recorded outcome belongs to.

    Raises
    ------
    WorkflowChanged
        The call was not made, or with other arguments.
    """
    handle = handles.get(record.key)
    if handle is None:
        raise unknown_outcome(record, handles, codec)
    if handle.fingerprint != record.fingerprint:
        raise WorkflowChanged(
            f"{record.key} is not the recorded call: recorded {_recorded(record, codec)}, "
            f"now {shown_call(codec, handle.name, handle.fingerprint)}",
            hint=_HINT,
        )
    return handle


def unknown_outcome(record: LogRecord, handles: Mapping[str, Handle[Any]], codec: Codec) -> WorkflowChanged:
    """No call of this key was made, or its arguments are not known yet; what was called stands beside it."""
    waiting = [handle for handle in handles.values() if not handle.done()]
    nearest = sorted(waiting, key=lambda handle: _scope(handle.key) != _scope(record.key))[:3]
    now = "; ".join(
        f"{handle.key} = {shown_call(codec, handle.name, handle.fingerprint)}" for handle in nearest
    )
    return WorkflowChanged(
        f"the workflow does not make a recorded call: recorded {record.key} = {_recorded(record, codec)}, "
        f"now {now or 'nothing is waiting'}",
        hint=_HINT,
    )


def unknown_timer(record: LogRecord) -> WorkflowChanged:
    return WorkflowChanged(f"the workflow does not set the recorded timer {record.key}", hint=_HINT)


def check_leftovers(
    records: Iterable[LogRecord],
    handles: Mapping[str, Handle[Any]],
    timers: Mapping[str, object],
    codec: Codec,
) -> None:
    """The run has ended: what is left in the log must be late outcomes of calls that were made.

    Raises
    ------
    WorkflowChanged
        A record is of no call of this code.
    """
    for record in records:
        if record.kind == OUTCOME:
            matching_handle(record, handles, codec)
        elif record.kind == TIMER and record.key not in timers:
            raise unknown_timer(record)


def _recorded(record: LogRecord, codec: Codec) -> str:
    name = record.key.rpartition(":")[2].partition("#")[0]
    return shown_call(codec, name, record.fingerprint)


def _scope(key: str) -> str:
    return key.rpartition(":")[0]
