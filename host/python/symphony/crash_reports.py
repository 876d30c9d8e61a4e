"""The reports of an interpreter's deaths, which the host leaves in the home.

Only reads. A report begins with its gist, at most ten lines; an empty line ends it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from symphony.home import Home

_STACKS = "\nPython stacks:\n"


def crash_reports(home: Home) -> list[Path]:
    """All reports, the newest first."""
    return sorted(home.reports.glob("*.txt"), reverse=True)


def crash_document(path: Path) -> dict[str, Any]:
    """Where a report is, and the lines of its gist.

    Example
    -------
    >>> crash_document(crash_reports(home)[0])["gist"][0]
    'death     signal 11 (SIGSEGV)'
    """
    head, _, _ = path.read_text(encoding="utf-8", errors="replace").partition("\n\n")
    return {"report": str(path), "gist": head.splitlines()[:10]}


def crashes_of(home: Home, run: str) -> list[dict[str, Any]]:
    """The deaths at which steps of a run were in flight, the newest first."""
    hit = []
    for path in crash_reports(home):
        head, _, _ = path.read_text(encoding="utf-8", errors="replace").partition(_STACKS)
        if run in head:
            hit.append(crash_document(path))
    return hit
