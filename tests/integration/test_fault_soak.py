"""Faults of all kinds at random moments of running workflows; what was recorded stays, the guilty are named.

``SYMPHONY_FAULTS`` (6) says how many, ``SYMPHONY_CROWDS`` (10) how often one of a hundred steps misbehaves,
``SYMPHONY_SOAK_SEED`` which and when; ``make soak`` takes 1,000 and 200.
"""

from __future__ import annotations

import collections
import itertools
import json
import os
import random
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from symphony import _host
from tests.fixtures.counted_runs import (
    check_end,
    completed,
    executed,
    executions_of,
    gone,
    request,
    start_counted,
    symphony,
    until,
)
from tests.fixtures.deadly_runs import DEADLY, build_native, forgive, impatient_home, result, start
from tests.fixtures.faults import ALL, INSIDE, from_inside, from_outside, host_resources, processes_of, ready

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from symphony.home import Home

pytestmark = [pytest.mark.integration, pytest.mark.subprocess, pytest.mark.python]

FAULTS = int(os.environ.get("SYMPHONY_FAULTS", "6"))
CROWDS = int(os.environ.get("SYMPHONY_CROWDS", "10"))
SEED = int(os.environ.get("SYMPHONY_SOAK_SEED") or time.time_ns() % 1_000_000)
AT_ONCE = 3
MIB = 1 << 20


@pytest.fixture(scope="module")
def native(tmp_path_factory: pytest.TempPathFactory) -> str:
    return build_native(tmp_path_factory.mktemp("native"))


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    home = impatient_home(tmp_path / "home")
    symphony(home, "host", "start")
    yield home
    symphony(home, "host", "stop")


class CountedRun:
    """A run, and how often each of its steps had run when it was seen recorded."""

    def __init__(self, home: Home, folder: Path) -> None:
        folder.mkdir()
        self.home = home
        self.folder = folder
        self.run = start_counted(home, folder)
        self.recorded: dict[int, int] = {}

    def look(self) -> int:
        self.recorded |= executions_of(completed(self.home, self.run) - set(self.recorded), self.folder)
        return len(self.recorded)

    def ended(self) -> bool:
        return bool(request(self.home, "runs.get", run=self.run)["status"] not in ("running", "pending"))

    def check(self, faults: int) -> int:
        """Gives how many records it has."""
        document = request(self.home, "runs.wait", run=self.run, events=False)
        check_end(document, self.recorded, self.folder, faults)
        lives = [pid for pid, _ in itertools.groupby(pid for _, pid in executed(self.folder))]
        assert len(lives) == len(set(lives)), f"two interpreters at once: {lives}"
        return self.look()


def innocent(home: Home) -> None:
    """No plugin is quarantined but one that misbehaves, and that is forgiven."""
    if home.plugin_deaths.exists():
        rows = json.loads(home.plugin_deaths.read_text())["plugins"]
        assert [name for name in rows if rows[name]["quarantined"] and not name.startswith("guilty")] == []
    forgive(home)


@pytest.mark.timeout(120 + 20 * FAULTS)
def test_runs_outlive_all_faults(home: Home, tmp_path: Path, native: str) -> None:
    print(f"\nfaults: {FAULTS}, SYMPHONY_SOAK_SEED={SEED}")
    chance = random.Random(SEED)
    guilty = tmp_path / "guilty.py"
    shutil.copy(DEADLY, guilty)
    tally: collections.Counter[str] = collections.Counter()
    live: list[CountedRun] = []
    runs = records = unnamed = 0
    first = host_resources(home)
    for number in range(FAULTS):
        while len(live) < AT_ONCE:
            live.append(CountedRun(home, tmp_path / f"run-{runs}"))
            runs += 1
        time.sleep(chance.random() * 0.3)
        for counted in live:
            counted.look()
        fault = chance.choice(ALL)
        if number and number % 50 == 0:
            print(f"  after {number} faults: {runs} runs, {records} records of ended ones", flush=True)
        tally[fault] += 1
        if fault in INSIDE:
            folder = tmp_path / f"fault-{number}"
            folder.mkdir()
            blamed = from_inside(home, fault, chance, guilty, folder, native)
            assert blamed.endswith("plugin guilty") or "plugin" not in blamed, (
                f"fault {number}, {fault}: {blamed}"
            )
            unnamed += INSIDE[fault] and not blamed.endswith("plugin guilty")
        else:
            from_outside(home, fault, chance)
        innocent(home)
        for counted in [counted for counted in live if counted.ended()]:
            records += counted.check(FAULTS)
            live.remove(counted)
    for counted in live:
        records += counted.check(FAULTS)
    report = _host.inspect(str(home.path))
    assert {segment["damage"] for segment in report["segments"]} == {None}
    assert report["aside"] == []
    ready(home)
    descriptors, memory = (now - then for now, then in zip(host_resources(home), first, strict=True))
    symphony(home, "host", "stop")
    until(lambda: not [pid for pid in processes_of(home) if not gone(pid)], "the end of all processes")
    for fault, count in sorted(tally.items()):
        print(f"  {count:5} {fault}")
    print(
        f"faults: {FAULTS}; {runs} runs completed, {records} records committed, 0 lost, 0 executed again, "
        f"{unnamed} not named, 0 hangs, 0 processes, {descriptors} descriptors, {memory / MIB:.1f} MiB left"
    )
    assert unnamed == 0
    assert descriptors <= 0
    assert memory < 16 * MIB


KINDS = [
    ("segfault", "thread"),
    ("exit", "loop"),
    ("exhaust", "thread"),
    ("loop", "loop"),
    ("hold", "thread"),
]
HOMES = len(KINDS)


class Crowds:
    """Crowds of a hundred steps on one home, one of which misbehaves."""

    def __init__(self, home: Home, folder: Path, native: str) -> None:
        self.home = home
        self.folder = folder
        self.native = native

    def one(self, number: int, how: str, place: str, seconds: float) -> None:
        folder = self.folder / f"crowd-{number}"
        folder.mkdir()
        guilty = self.folder / f"guilty_{number}.py"
        shutil.copy(DEADLY, guilty)
        crowd = [
            start(self.home, "audience", folder=str(folder), steps=33, seconds=seconds) for _ in range(3)
        ]
        inputs: dict[str, Any] = {"folder": str(folder), "library": self.native, "seconds": 0.05}
        run = start(self.home, "death", guilty, how=how, place=place, **inputs)
        document = result(self.home, run)
        assert (document["status"], document["error"]["type"]) == ("failed", "Quarantined"), (how, document)
        assert document["error"]["step"] == ("on_loop#0" if place == "loop" else "in_thread#0")
        assert [result(self.home, other)["result"] for other in crowd] == [sum(range(33))] * 3
        innocent(self.home)


@pytest.fixture
def crowds(tmp_path: Path, native: str) -> Iterator[list[Crowds]]:
    """Some homes with a host each: most of a crowd's time goes by in waiting for a hang to end."""
    homes = [impatient_home(tmp_path / f"home-{number}") for number in range(HOMES)]
    for home in homes:
        symphony(home, "host", "start")
    yield [Crowds(home, tmp_path, native) for home in homes]
    for home in homes:
        symphony(home, "host", "stop")


@pytest.mark.timeout(120 + 60 * CROWDS)
def test_the_guilty_one_of_a_hundred_is_named_and_no_other(crowds: list[Crowds]) -> None:
    print(f"\ncrowds: {CROWDS}, SYMPHONY_SOAK_SEED={SEED}")
    chance = random.Random(SEED)
    kinds = chance.sample(KINDS, len(KINDS))

    def on_one_home(place: int) -> None:
        for number in range(place, CROWDS, HOMES):
            kind = kinds[(number + number // HOMES) % len(kinds)]
            crowds[place].one(number, *kind, seconds=0.1 + chance.random() * 0.2)
            if number % 10 == 9:
                print(f"  crowd {number + 1}", flush=True)

    with ThreadPoolExecutor(HOMES) as threads:
        for done in [threads.submit(on_one_home, place) for place in range(HOMES)]:
            done.result()
    print(f"crowds: {CROWDS}, the guilty step named each time, no other")
