"""The interpreter as a process: how soon a dead one is replaced, and what host and interpreter weigh."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from symphony import client
from symphony.home import Home
from tests.benchmarks.measure import Figure, figure

if TYPE_CHECKING:
    from collections.abc import Iterator

PLUGIN = Path(__file__).parent / "workload.py"
REPEATS = 7
LIMIT = 60.0


START = """
import sys
from symphony.home import Home
from symphony.in_process import InProcessHost
InProcessHost(Home(sys.argv[1])).open()
print("ready", flush=True)
input()
"""


def process_figures() -> Iterator[Figure]:
    """Figures of whole processes."""
    with tempfile.TemporaryDirectory() as folder:
        home, other = Home(Path(folder) / "home"), Path(folder) / "other"
        resumed, cold = [], []
        cold_start(other)  # plugins are probed once
        for number in range(REPEATS):
            # A host of its own for each: it waits a little longer after each further death.
            with client.connect_or_start(home, linger=True) as host:
                resumed.append(restart(host, Path(folder) / str(number)) * 1e3)
                host.request("host.stop", timeout=30.0)
            cold.append(cold_start(other) * 1e3)
        yield figure(
            "interpreter killed → next step of the resumed run starts",
            "ms",
            "cold start of the interpreter",
            resumed,
            cold,
            target="≤ 1.3",
        )
        with client.connect_or_start(home, linger=True) as host:
            yield from memory_figures(host)
            host.request("host.stop", timeout=30.0)


def restart(host: client.Client, mark: Path) -> float:
    """Seconds from the death of the interpreter in a step to the same step's beginning in the next one."""
    order = {"workflow": "workload.waits", "inputs": {"mark": str(mark)}, "plugins": [str(PLUGIN)]}
    run = host.request("workflows.run", order)["run"]
    first = begun(mark, 1)
    killed = time.monotonic()
    os.kill(first, signal.SIGKILL)
    second = begun(mark, 2)
    took = time.monotonic() - killed
    assert second != first
    host.request("runs.cancel", {"run": run})
    assert host.request("runs.wait", {"run": run})["status"] == "cancelled"
    return took


def cold_start(home: Path) -> float:
    """Seconds from the start of Python until plugins are loaded and the Pit is open."""
    began = time.monotonic()
    child = subprocess.Popen(
        [sys.executable, "-P", "-c", START, str(home)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert child.stdout is not None
    assert child.stdout.readline() == b"ready\n"
    took = time.monotonic() - began
    child.communicate(b"\n")
    return took


def begun(mark: Path, times: int) -> int:
    """The process in which the step has begun for so many times."""
    deadline = time.monotonic() + LIMIT
    while time.monotonic() < deadline:
        lines = mark.read_text().splitlines() if mark.exists() else []
        if len(lines) >= times:
            return int(lines[times - 1])
        time.sleep(0.001)
    raise AssertionError(f"the step did not begin {times} times")


def memory_figures(host: client.Client) -> Iterator[Figure]:
    status: dict[str, Any] = host.request("host.status")
    bare = subprocess.Popen(
        [sys.executable, "-c", "print(flush=True); input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert bare.stdout is not None
    bare.stdout.readline()
    weights = {
        "host": resident(status["pid"]),
        "idle interpreter": resident(status["interpreter"]["pid"]),
        "bare": resident(bare.pid),
    }
    bare.communicate(b"\n")
    assert all(weight > 1 for weight in weights.values())
    for name, target in (("host", "≤ 1"), ("idle interpreter", "≤ 5")):
        yield figure(
            f"resident memory, {name}",
            "MiB",
            "a bare Python",
            [weights[name]],
            [weights["bare"]],
            target=target,
        )


def resident(pid: int) -> float:
    """MiB."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20)
