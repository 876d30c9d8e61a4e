"""When the log is turned into snapshots, by a compactor in its own process, and when it is shortened."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any, Final

from symphony.errors import SymphonyError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

GROWTH: Final = 32 << 20
"""Bytes of log, not covered by a snapshot, that are worth a compactor: replayed in well under a second."""
INTERVAL: Final = 10.0
"""Seconds between two looks."""


async def keep_compact(
    native: Any,
    home: Path,
    libraries: list[str],
    report: Callable[[str], None],
    *,
    retirable: Callable[[], int] = lambda: 0,
    growth: int = GROWTH,
) -> None:
    """Run a compactor whenever the log has grown enough, and retire what nobody needs; never returns.

    Parameters
    ----------
    native:
        The open Pit.
    home, libraries:
        What the compactor is started with.
    report:
        Is told why a compactor or a retirement failed.
    retirable:
        The position up to which the history is complete and no live run refers to the log.
    growth:
        Bytes since the last snapshot, and since the last attempt, that start one.
    """
    tried, problem = 0, ""
    while True:
        uncovered = native.uncovered()
        if uncovered < tried:  # a snapshot was made
            tried = 0
        if uncovered - tried >= growth:
            tried = uncovered
            await _compact(home, libraries, report)
        try:
            await asyncio.to_thread(native.retire, retirable())
        except SymphonyError as error:
            if str(error) != problem:  # it is tried again, and told once
                report(f"the log was not shortened: {error}")
            problem = str(error)
        await asyncio.sleep(INTERVAL)


async def _compact(home: Path, libraries: list[str], report: Callable[[str], None]) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-P",
        "-m",
        "symphony.compactor",
        str(home),
        *libraries,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        output, _ = await process.communicate()
    except asyncio.CancelledError:
        process.kill()
        await process.wait()
        raise
    if process.returncode != 0:
        last = output.decode(errors="replace").strip().rpartition("\n")[2]
        report(f"the log was not compacted: {last or f'exit code {process.returncode}'}")
