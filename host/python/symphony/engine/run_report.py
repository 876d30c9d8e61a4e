"""The end of a run as JSON: what ``symphony run`` prints and ``symphony runs show`` shows."""

from __future__ import annotations

import traceback
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from symphony.engine.failures import message_of
from symphony.errors import ConversionError, StepFailed, SymphonyError
from symphony.values import json_value

if TYPE_CHECKING:
    from symphony.engine.run_end import RunResult
    from symphony.workflows import Workflow


def run_report(result: RunResult, workflow: Workflow | None) -> tuple[str, dict[str, Any]]:
    """Status and report; a result that is not of its type, or has no JSON form, makes the run fail."""
    status, error, value = result.status, result.error, None
    if status == "completed":
        try:
            value = result.value if workflow is None else workflow.coerce_result(result.value)
            value = json_value(value)
        except ConversionError as mismatch:
            status, error, value = "failed", mismatch, None
        except RecursionError:
            status, error, value = (
                "failed",
                ConversionError("result: nested too deeply, or in a circle"),
                None,
            )
    return status, {
        "result": value,
        "error": None if error is None else _error(error, result),
        "steps": asdict(result.counts),
    }


def _error(error: BaseException, result: RunResult) -> dict[str, Any]:
    kind = error.type if isinstance(error, StepFailed) and error.type else type(error).__name__
    message = message_of(error)
    if isinstance(error, StepFailed) and error.type:
        message = message.removeprefix(f"{error.type}: ")
    elif isinstance(error, SymphonyError) and error.hint:
        message = f"{message}: {error.hint}"
    report = result.report
    if report is None and not isinstance(error, SymphonyError):
        report = "".join(traceback.format_exception(error))[-4000:]
    return {"type": kind, "message": message, "step": result.step, "report": report}
