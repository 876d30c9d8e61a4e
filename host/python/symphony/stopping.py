"""Stop the host of a home, and wait until it is gone."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from symphony import client
from symphony.errors import HostUnavailable

if TYPE_CHECKING:
    from symphony.home import Home

STOP_LIMIT: Final = 60.0


def stop(home: Home) -> None:
    """Stop the host: running steps are given time. Does nothing where none runs.

    Raises
    ------
    HostUnavailable
        It did not answer, or said that it ends, and did not.
    """
    connection = client.connect(home)
    if connection is not None:
        with connection:
            pid = connection.request("host.status", timeout=client.ANSWER_LIMIT).get("pid")
            connection.request("host.stop", timeout=STOP_LIMIT)
        _await_end(home, pid)


def _await_end(home: Home, pid: int | None) -> None:
    """The host answers before it is gone; whoever starts one next must not meet it."""
    deadline = time.monotonic() + 10.0
    while pid and _alive(pid):
        if time.monotonic() > deadline:
            raise HostUnavailable(
                f"the host (pid {pid}) was stopped, but did not end", hint=f"see {home.logs}"
            )
        time.sleep(0.02)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
        return stat.rpartition(")")[2].split()[0] != "Z"  # a zombie is an ended process
    except OSError:
        return True
