"""Host and interpreter die at random moments of real runs; every run is held against what was recorded.

``SYMPHONY_SOAK_RUNS`` (2) and ``SYMPHONY_SOAK_SEED`` say how many runs and which moments; ``make soak``
takes 200.
"""

from __future__ import annotations

import itertools
import os
import random
import signal
import time
from typing import TYPE_CHECKING

import pytest

from symphony import _host
from symphony.home import Home
from tests.fixtures.counted_runs import (
    check_end,
    completed,
    executed,
    executions_of,
    gone,
    process_state,
    request,
    start_counted,
    symphony,
    until,
)

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.integration, pytest.mark.subprocess, pytest.mark.python]

RUNS = int(os.environ.get("SYMPHONY_SOAK_RUNS", "2"))
SEED = int(os.environ.get("SYMPHONY_SOAK_SEED") or time.time_ns() % 1_000_000)


def stop(pid: int) -> None:
    os.kill(pid, signal.SIGSTOP)
    until(lambda: process_state(pid) in "TZ", "the stop")


def kill_interpreter(home: Home, run: str, chance: random.Random) -> set[int]:
    """Gives what was recorded when it died."""
    pid = request(home, "host.status")["interpreter"]["pid"]
    if not pid:
        return set()
    stop(pid)
    if chance.random() < 0.3:  # it goes on once more, as after a swap
        os.kill(pid, signal.SIGCONT)
        time.sleep(chance.random() * 0.02)
        stop(pid)
    recorded = completed(home, run)
    os.kill(pid, signal.SIGKILL)
    until(lambda: gone(pid), "its end")
    return recorded


def kill_host(home: Home, run: str) -> set[int]:
    """Gives what was recorded before; another host takes over."""
    status = request(home, "host.status")
    recorded = completed(home, run)
    os.kill(status["pid"], signal.SIGKILL)
    until(lambda: gone(status["pid"]) and gone(status["interpreter"]["pid"] or 0), "both ends")
    symphony(home, "host", "start")
    return recorded


@pytest.mark.timeout(120 + 30 * RUNS)
def test_runs_outlive_every_death(tmp_path: Path) -> None:
    print(f"soak: {RUNS} runs, SYMPHONY_SOAK_SEED={SEED}")
    chance = random.Random(SEED)
    deaths_in_all = 0
    for number in range(RUNS):
        home, folder = Home(tmp_path / f"home-{number}"), tmp_path / f"run-{number}"
        folder.mkdir()
        symphony(home, "host", "start")
        try:
            run = start_counted(home, folder)
            recorded: dict[int, int] = {}
            deaths = chance.randint(1, 3)
            for _ in range(deaths):
                time.sleep(chance.random() * 0.3)
                by_host = chance.random() < 0.25
                known = kill_host(home, run) if by_host else kill_interpreter(home, run, chance)
                recorded |= executions_of(known, folder)
            result = request(home, "runs.wait", run=run, events=False)
        finally:
            symphony(home, "host", "stop")
        context = f"run {number}, SYMPHONY_SOAK_SEED={SEED}"
        check_end(result, recorded, folder, deaths)
        processes = [pid for pid, _ in itertools.groupby(pid for _, pid in executed(folder))]
        assert len(processes) == len(set(processes)), f"{context}: two interpreters at once: {processes}"
        report = _host.inspect(str(home.path))
        assert [segment["damage"] for segment in report["segments"]] == [None], context
        assert report["aside"] == [], context
        deaths_in_all += deaths
        if number % 50 == 49:
            print(f"  {number + 1} runs, {deaths_in_all} deaths", flush=True)
    print(f"soak: {RUNS} runs, {deaths_in_all} deaths, nothing recorded was lost or ran again")
