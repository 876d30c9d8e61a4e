"""How long the host takes to list the newest hundred runs, out of a history of any length."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from symphony import _host, client, symphonyd
from symphony.core_components import core_components
from symphony.home import Home
from tests.benchmarks.measure import Figure, figure, seconds

if TYPE_CHECKING:
    from collections.abc import Iterator

FEW = 100
MANY = 100_000
REPEATS = 21
INFO = json.dumps({"workflow": "workload.chain", "id": "workload:chain", "plugin": {"name": "workload"}})
REPORT = json.dumps({"result": 7, "steps": {"executed": 1, "reused": 0, "failed": 0, "skipped": 0}})


def fill(home: Path, runs: int) -> None:
    """Record finished runs of one step, as the engine would."""
    pit: Any = _host.open_pit(str(home), [str(path) for path in core_components()])
    for number in range(runs):
        run = f"{number:026}"
        pit.dag_tracker.accept_run(run, INFO.encode(), b"")
        pit.dag_tracker.start_step(run, "step#0", "step", 1, [])
        pit.dag_tracker.finish_step(run, "step#0", "step", b"", 0, b"=")
        pit.dag_tracker.finish_run(run, "completed", b"=" + REPORT.encode())
    pit.close()


def kept(home: Path) -> int:
    with closing(sqlite3.connect(home / "history.db")) as history:
        (count,) = history.execute("SELECT count(*) FROM runs WHERE finished IS NOT NULL").fetchone()
    return int(count)


def serving(home: Path, stack: ExitStack) -> client.Client:
    """A host without an interpreter, once its history has all runs of the log."""
    command = [str(symphonyd.binary()), "--home", str(home), "--prefix", sys.prefix, "--linger"]
    process = subprocess.Popen([*command, "--python", str(shutil.which("false"))], stdout=subprocess.PIPE)
    stack.callback(process.wait)
    stack.callback(process.terminate)
    assert process.stdout is not None
    assert json.loads(process.stdout.readline())["ready"]
    connection = client.connect(Home(home))
    assert connection is not None
    return stack.enter_context(connection)


def history_figure() -> Iterator[Figure]:
    """The answer to ``runs.list`` with many runs against that with few."""
    with ExitStack() as stack:
        hosts = []
        for runs in (MANY, FEW):
            home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            home.chmod(0o700)
            fill(home, runs)
            host = serving(home, stack)
            while kept(home) < runs:
                time.sleep(0.05)
            rows = host.request("runs.list", {"limit": FEW})
            assert [row["run"] for row in rows] == [f"{runs - 1 - at:026}" for at in range(FEW)]
            hosts.append(host)
        many, few = hosts

        def listing(host: client.Client) -> float:
            return seconds(lambda: host.request("runs.list", {"limit": FEW})) * 1e3

        pairs = [(listing(many), listing(few)) for _ in range(REPEATS)]
        yield figure(
            f"runs.list, the newest {FEW} of {MANY:,} runs",
            "ms",
            f"of {FEW} runs",
            [pair[0] for pair in pairs],
            [pair[1] for pair in pairs],
            target="≤ 1.5",
        )
