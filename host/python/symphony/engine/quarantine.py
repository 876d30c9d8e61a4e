"""The end of a run that ended the interpreter again and again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from symphony.engine.run_end import RunResult, StepCounts
from symphony.errors import Quarantined

if TYPE_CHECKING:
    from collections.abc import Mapping


def quarantine_result(step: Mapping[str, Any], states: Mapping[str, int]) -> RunResult:
    """The failure of the run, with the host's report in place of a traceback.

    Parameters
    ----------
    step:
        What the host knows of the step: ``key`` (empty: the workflow itself), ``counted`` deaths, the last
        one's ``cause`` and ``report``.
    states:
        How many steps of the run are in which state.
    """
    message = f"it ended the interpreter {step['counted']} times, last by {step['cause']}"
    failed = states.get("failed", 0)
    counts = StepCounts(
        executed=states.get("completed", 0) + failed,
        reused=states.get("cached", 0),
        failed=failed,
        skipped=states.get("skipped", 0),
    )
    key, report = str(step["key"]) or None, str(step["report"]) or None
    return RunResult("failed", error=Quarantined(message), step=key, report=report, counts=counts)
