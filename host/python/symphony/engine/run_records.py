"""What is recorded of a run as a whole: how it began and ended. What happens inside is in its ``RunLog``."""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime
from json import dumps, loads  # by these names, since a plugin may put others into the module
from typing import TYPE_CHECKING, Any, Final

from symphony.engine.questions import question_row
from symphony.engine.run_log import INLINE_LIMIT, reference
from symphony.engine.run_report import run_report
from symphony.errors import Conflict, NotFound, PitNotFound, SymphonyError, WorkflowChanged

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from symphony.engine.run_end import RunResult
    from symphony.plugins.loaded import RegisteredWorkflow
    from symphony.workflows import Workflow

HASHES: Final = f"{hash('symphony') & 0xFFFF_FFFF:08x}"
"""Tells apart the seeds of Python's string hashes, by which sets of strings have their order."""


class RunRecords:
    """The runs of a Pit, as its DAG Tracker knows them.

    Parameters
    ----------
    pit:
        The open Pit.

    Example
    -------
    >>> records = RunRecords(pit)
    >>> records.document("01j...")["status"]
    'completed'
    """

    def __init__(self, pit: Any) -> None:
        self._pit = pit
        self._tracker = pit.dag_tracker

    def accept(self, run_id: str, about: Mapping[str, Any], inputs: bytes) -> None:
        """Record that a run begins: ``about`` is as ``first_record`` gives it, the inputs are encoded."""
        self._tracker.accept_run(run_id, dumps(about).encode(), inputs)

    def live(self) -> list[str]:
        """The runs that have not ended."""
        runs: list[str] = self._tracker.live_runs()
        return runs

    def find(self, run_id: str) -> dict[str, Any] | None:
        """What the tracker knows of a run, with ``about`` decoded; None where there is no such run."""
        try:
            info: dict[str, Any] = self._tracker.run_info(run_id)
        except PitNotFound:
            return None
        return {**info, "about": loads(info["info"])}

    def require(self, run_id: str) -> dict[str, Any]:
        """The same of a run that there is.

        Raises
        ------
        NotFound
            There is no such run.
        """
        info = self.find(run_id)
        if info is None:
            raise NotFound(f"no run {run_id!r}", hint="symphony runs list")
        return info

    def require_live(self, run_id: str) -> dict[str, Any]:
        """The same of a run that has not ended.

        Raises
        ------
        NotFound
            There is no such run.
        Conflict
            It has ended.
        """
        info = self.require(run_id)
        if info["finished"] is not None:
            raise Conflict(f"run {run_id} has ended: {info['status']}", hint=f"symphony runs show {run_id}")
        return info

    def finish(self, run_id: str, result: RunResult, workflow: Workflow | None) -> None:
        """Record how a run ended."""
        status, report = run_report(result, workflow)
        content = dumps(report, ensure_ascii=False).encode("utf-8", "backslashreplace")
        if len(content) < INLINE_LIMIT:
            payload = b"=" + content
        else:
            store = self._pit.artifact_store
            payload = reference(str(store.put(content, media_type="application/json", step=run_id)))
        self._tracker.finish_run(run_id, status, payload)

    def document(self, run_id: str) -> dict[str, Any]:
        """What clients are shown of a run that has ended.

        Raises
        ------
        NotFound
            There is no such run.
        Conflict
            It has not ended.
        """
        info = self.require(run_id)
        if info["finished"] is None:
            raise Conflict(f"run {run_id} has not ended")
        payload = bytes(info["payload"])
        inline = payload[:1] != b"@"
        return {
            "run": run_id,
            "workflow": info["about"]["workflow"],
            "status": info["status"],
            **(loads(payload[1:]) if inline else self.report(payload[1:].decode("ascii"))),
            "seconds": (info["finished"] - info["accepted"]) / 1e6,
        }

    def report(self, artifact: str, at_most: int | None = None) -> dict[str, Any]:
        """The report of a run's end that was too large for its record.

        Raises
        ------
        PitNotFound
            The artifact is gone.
        SymphonyError
            It has more than ``at_most`` bytes; the hint says how to get them.
        """
        content = bytes(self._pit.artifact_store.get(artifact))
        if at_most is not None and len(content) > at_most:
            raise SymphonyError(
                f"the run has ended, and its result of {len(content) / (1 << 20):.1f} MiB is kept, "
                "but an answer has at most 16 MiB",
                hint=f"symphony artifacts get {artifact} -o result.json; or return an artifact's id",
            )
        report: dict[str, Any] = loads(content)
        return report

    def waiting(self, run_id: str) -> dict[str, Any] | None:
        """What clients are shown of a run that asks something while no step of it runs; None of any other."""
        info = self.require(run_id)
        steps = info["steps"]
        if info["finished"] is not None or not info["questions"] or steps.get("running"):
            return None
        failed = steps.get("failed", 0)
        return {
            "run": run_id,
            "workflow": info["about"]["workflow"],
            "status": "waiting",
            "result": None,
            "error": None,
            "steps": {
                "executed": steps.get("completed", 0) + failed,
                "reused": steps.get("cached", 0),
                "failed": failed,
                "skipped": steps.get("skipped", 0),
            },
            "seconds": (time.time_ns() // 1000 - info["accepted"]) / 1e6,
            "questions": [question_row(key, prompt) for key, prompt in info["questions"].items()],
        }

    def with_seeds(self, run_id: str, error: WorkflowChanged) -> WorkflowChanged:
        """The error, which says so where a set of strings may be what changed."""
        if self.require(run_id)["about"].get("hashes", HASHES) == HASHES:
            return error
        told = WorkflowChanged(
            f"{error}; the run was recorded under another PYTHONHASHSEED, by which sets of strings have "
            "their order"
        )
        told.hint = "take it up under that seed; that of isolated hosts is in the file hash_seed of the home"
        return told


def first_record(
    registered: RegisteredWorkflow,
    cwd: Path,
    executor: str | None,
    givers: Mapping[str, str],
    files: Iterable[Path],
) -> dict[str, Any]:
    """The first record of a run: with it, any later interpreter can take it up, or say what is missing."""
    more: dict[str, Any] = {"executor": executor, "executors": givers, "files": [str(file) for file in files]}
    if registered.file is not None:
        plugin = {"name": registered.plugin, "file": str(registered.file), "sha256": registered.sha256}
    else:
        plugin = {"name": registered.plugin, "version": registered.version}
    return {
        "workflow": registered.name,
        "id": registered.id,
        "plugin": plugin,
        "python": f"{sys.version_info.major}.{sys.version_info.minor}",
        "cwd": str(cwd),
        "started": datetime.fromtimestamp(time.time(), UTC).isoformat(),
        "hashes": HASHES,
        **{name: value for name, value in more.items() if value},
    }
