"""Plugins that observe runs and steps: told from the log, whatever dies meanwhile, and in nobody's way."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

import symphony
from symphony import _host
from symphony.crash_reports import crash_reports
from symphony.home import Home
from symphony.host import RunFailed
from symphony.observing.place import look
from tests.fixtures.counted_runs import gone, request, until
from tests.fixtures.counted_runs import symphony as command
from tests.fixtures.deadly_runs import result
from tests.fixtures.wheel_writer import MODULES, source_of, unpack, write_wheel

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.integration, pytest.mark.subprocess, pytest.mark.python]

OBSERVING = MODULES / "observing.py"
RUNS = int(os.environ.get("SYMPHONY_OBSERVED_RUNS", "1"))
SEED = int(os.environ.get("SYMPHONY_SOAK_SEED") or time.time_ns() % 1_000_000)
DEATHS = 2


class Observed:
    """The home, and what the plugin has written about its runs."""

    def __init__(self, folder: Path) -> None:
        self.home = Home(folder / "home")
        self.file = folder / "observed"

    def told(self, run: str) -> list[tuple[str, dict[str, Any]]]:
        lines = self.file.read_text().splitlines() if self.file.exists() else []
        events = [json.loads(line) for line in lines]
        return [(hook, event) for hook, event in events if run in (event.get("id"), event.get("run"))]

    def finished(self, run: str) -> bool:
        return any(hook == "run_finished" for hook, _ in self.told(run))

    def log(self) -> str:
        return (self.home.logs / "interpreter.log").read_text()

    def start(self, workflow: str, **inputs: Any) -> str:
        order = {"workflow": f"observing.{workflow}", "inputs": inputs, "text": {}, "cwd": "/"}
        return str(request(self.home, "workflows.run", **order)["run"])


@pytest.fixture(scope="module")
def observed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Observed]:
    """A host that has the plugin installed."""
    folder = tmp_path_factory.mktemp("observed")
    observed = Observed(folder)
    unpack(write_wheel(folder, "observing", source_of("observing")), folder / "site")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(folder / "site"))
        patch.setenv("OBSERVED", str(observed.file))
        command(observed.home, "host", "start")
        yield observed
        command(observed.home, "host", "stop")


@pytest.mark.hook("run_started", "run_finished", "step_started", "step_finished")
def test_a_plugin_is_told_of_runs_and_steps_in_the_order_in_which_they_happened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    observed = Observed(tmp_path)
    monkeypatch.setenv("OBSERVED", str(observed.file))
    with symphony.Host(observed.home.path, isolated=False, plugins=[OBSERVING]) as host:
        run = host.run("observing.well", number=8).run_id
        with pytest.raises(RunFailed) as failed:
            host.run("observing.well", number=7)
        assert host._here is not None
        interpreter = host._here._interpreter
        interpreter._retirable = 1 << 62  # of the log, for all that the history needs
        assert interpreter._unneeded() < 1 << 62, "the observers may not have read it yet"
    told = observed.told(run)
    steps = [(hook, e["name"], e["attempt"], e["state"]) for hook, e in told if "name" in e]
    assert steps == [
        ("step_started", "shaky", 1, "running"),
        ("step_started", "shaky", 2, "running"),
        ("step_finished", "shaky", 2, "completed"),
        ("step_started", "halve", 1, "running"),
        ("step_finished", "halve", 1, "completed"),
    ]
    (first, begin), (last, end) = told[0], told[-1]
    assert (first, begin["status"], begin["seconds"]) == ("run_started", "running", None)
    assert (last, end["status"], end["error"]) == ("run_finished", "completed", None)
    assert {event["workflow"] for _, event in told} == {"observing.well"}
    positions = [event["position"] for _, event in told]
    assert positions == sorted(set(positions))
    assert begin["time"] <= end["time"]
    assert end["seconds"] >= max(event["seconds"] or 0.0 for _, event in told if "name" in event)
    of_failed = observed.told(failed.value.run_id)
    error = {"type": "ValueError", "message": "7 is odd"}
    states = [(event.get("state", event.get("status")), event["error"]) for _, event in of_failed[-2:]]
    assert states == [("failed", error), ("failed", error)]


def test_what_was_not_told_when_the_interpreter_was_killed_is_told_by_the_next(
    observed: Observed, tmp_path: Path
) -> None:
    run = observed.start("deadly", marker=str(tmp_path / "marker"))
    assert result(observed.home, run)["status"] == "completed"
    until(lambda: observed.finished(run), "the end of the run to be told")
    told = observed.told(run)
    # The one that was being told at the death may come again.
    once = {(hook, event["position"]): event for hook, event in told}
    assert len(told) - len(once) <= 1
    assert [(hook, event.get("name")) for (hook, _), event in once.items()] == [
        ("run_started", None),
        ("step_started", "halve"),
        ("step_finished", "halve"),
        ("step_started", "die_once"),
        ("step_started", "die_once"),
        ("step_finished", "die_once"),
        ("run_finished", None),
    ]
    assert list(once) == sorted(once, key=lambda place: place[1])


@pytest.mark.parametrize("number", range(RUNS))
def test_wherever_the_interpreter_is_killed_all_is_told_and_hardly_anything_twice(
    observed: Observed, number: int
) -> None:
    chance = random.Random(SEED + number)
    run = observed.start("many", count=150)
    for _ in range(DEATHS):
        pid = until(lambda: request(observed.home, "host.status")["interpreter"]["pid"], "an interpreter")
        time.sleep(chance.random() * 0.4)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        until(lambda pid=pid: gone(pid), "its end")  # type: ignore[misc]
    assert result(observed.home, run)["status"] == "completed", f"seed {SEED}"
    until(lambda: observed.finished(run), "the end of the run to be told")
    rows, _ = _host.RunEvents(str(observed.home.path), 0).take(1 << 30)
    recorded = [(row[0][0], row[0][1]) for row in rows if row[1][0] == run]
    told = [(hook, event["position"]) for hook, event in observed.told(run)]
    assert list(dict.fromkeys(told)) == recorded, f"seed {SEED}"
    assert len(told) - len(recorded) <= DEATHS, f"seed {SEED}"
    assert len(recorded) >= 302


def test_what_an_observer_raises_is_told_with_its_name_and_harms_nothing(observed: Observed) -> None:
    run = observed.start("sour")
    assert result(observed.home, run)["status"] == "completed"
    until(lambda: observed.finished(run), "the end of the run to be told")
    number = OBSERVING.read_text().partition('raise ValueError("this is sour")')[0].count("\n") + 1
    place = observed.file.parent / "site" / "observing.py"
    told = f"run_started raised ValueError: this is sour (at {place}:{number})"
    until(lambda: f"plugin observing: {told}" in observed.log(), "the log to name it")
    about = look(observed.home, "observing")
    assert about is not None
    assert (about["raised"], about["lost"]) == (1, 0)
    assert about["problem"].endswith(told)
    line = [
        sys.executable,
        "-m",
        "symphony",
        "plugins",
        "info",
        "observing",
        "--home",
        str(observed.home.path),
    ]
    shown = subprocess.run(line, capture_output=True, text=True, check=True).stdout
    assert f"  observers  told of {about['told']} events, 1 raised\n             " in shown
    assert told in shown


def test_no_step_waits_for_an_observer(observed: Observed) -> None:
    wait = observed.file.with_name("observed.wait")
    wait.touch()
    try:
        run = observed.start("sour")
        assert result(observed.home, run)["status"] == "completed"
        assert not observed.finished(run)
    finally:
        wait.unlink()
    until(lambda: observed.finished(run), "the observer to catch up")


def test_an_observer_that_crashes_is_blamed_and_its_event_is_left_out(observed: Observed) -> None:
    before = request(observed.home, "host.status")["interpreter"]["restarts"]
    run = observed.start("fatal")
    assert result(observed.home, run)["status"] == "completed"
    until(lambda: observed.finished(run), "the end of the run to be told")
    assert request(observed.home, "host.status")["interpreter"]["restarts"] == before + 2
    blamed = "blamed    hook run_started of plugin observing"
    assert sum(blamed in report.read_text() for report in crash_reports(observed.home)) == 2
    about = look(observed.home, "observing")
    assert about is not None
    assert about["lost"] == 1
    assert "an event that ended the interpreter twice is not told it again" in observed.log()
