"""Host and interpreter die while the log is compacted and shortened; no run is lost, and none begins anew.

``SYMPHONY_RETIREMENT_ROUNDS`` (1) and ``SYMPHONY_SOAK_SEED`` say how many deaths and which moments;
``make soak`` takes 100.
"""

from __future__ import annotations

import collections
import os
import random
import signal
import time
from typing import TYPE_CHECKING

import pytest

from symphony.home import Home
from tests.fixtures.counted_runs import gone, request, symphony, until

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.integration, pytest.mark.subprocess, pytest.mark.python]

ROUNDS = int(os.environ.get("SYMPHONY_RETIREMENT_ROUNDS", "1"))
SEED = int(os.environ.get("SYMPHONY_SOAK_SEED") or time.time_ns() % 1_000_000)
BATCH = 45
TEXT = "x" * 900_000  # a batch of them is worth a compactor, two fill a segment

PLUGIN = """
import symphony

@symphony.step
def measure(text: str, number: int, log: str) -> int:
    with open(log, "a") as file:
        file.write(f"{number}\\n")
    return len(text) + number

@symphony.workflow
async def heavy(text: str, number: int, log: str) -> int:
    return await measure(text, number, log)

@symphony.hookimpl
def register_workflows(registry):
    registry.add(heavy)
"""


class Heavy:
    """A home, and the runs that were given to its hosts."""

    def __init__(self, folder: Path) -> None:
        self.home, self.log, self.plugin = Home(folder / "home"), folder / "log", folder / "load.py"
        self.plugin.write_text(PLUGIN)
        self.log.touch()
        self.runs: list[str] = []

    def start(self) -> None:
        number = len(self.runs)
        inputs = {"text": TEXT, "number": number, "log": str(self.log)}
        order = {"workflow": "load.heavy", "inputs": inputs, "text": {}, "cwd": "/"}
        self.runs.append(request(self.home, "workflows.run", plugins=[str(self.plugin)], **order)["run"])

    def completed(self) -> set[int]:
        rows = request(self.home, "runs.list", limit=len(self.runs))
        done = {row["run"] for row in rows if row["status"] == "completed"}
        return {number for number, run in enumerate(self.runs) if run in done}

    def executions(self) -> collections.Counter[int]:
        return collections.Counter(int(line) for line in self.log.read_text().split())

    def segments(self) -> list[str]:
        return sorted(path.name for path in (self.home.path / "pit" / "log").glob("*.seg"))


def kill(home: Home, chance: random.Random) -> None:
    status = request(home, "host.status")
    interpreter = status["interpreter"]["pid"] or 0
    if chance.random() < 0.5:
        os.kill(status["pid"], signal.SIGKILL)
        until(lambda: gone(status["pid"]) and gone(interpreter), "both ends")
        symphony(home, "host", "start")
    elif interpreter:
        os.kill(interpreter, signal.SIGKILL)
        until(lambda: gone(interpreter), "its end")


@pytest.mark.timeout(120 + 60 * ROUNDS)
def test_no_run_is_lost_with_the_segments_that_go(tmp_path: Path) -> None:
    print(f"retirement: {ROUNDS} rounds, SYMPHONY_SOAK_SEED={SEED}")
    chance, heavy = random.Random(SEED), Heavy(tmp_path)
    symphony(heavy.home, "host", "start")
    try:
        for done in range(ROUNDS):
            if done and done % 10 == 0:
                print(f"  after {done} rounds: {len(heavy.runs)} runs", flush=True)
            first = heavy.segments()[:1]
            for _ in range(BATCH):
                heavy.start()
            time.sleep(chance.random() * 8)  # the log is compacted, the history told, a segment let go
            known = heavy.completed()
            before = heavy.executions()
            kill(heavy.home, chance)
            results = [request(heavy.home, "runs.wait", run=run, events=False) for run in heavy.runs]
            expected = [len(TEXT) + number for number in range(len(heavy.runs))]
            assert [result["result"] for result in results] == expected
            after = heavy.executions()
            assert {number: after[number] for number in known} == {number: before[number] for number in known}
            assert all(count <= 2 for count in after.values())
            until(lambda: len(heavy.segments()) == 1, "all but the newest to go")
            assert heavy.segments() != first
        print(
            f"retirement: {len(heavy.runs)} runs, {ROUNDS} deaths, the log begins with {heavy.segments()[0]}"
        )
    finally:
        symphony(heavy.home, "host", "stop")
