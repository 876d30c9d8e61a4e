"""Commands to runs in a real host: what is acknowledged has its effect, whoever dies meanwhile."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from symphony import client
from symphony.home import Home
from tests.fixtures.command_line import command
from tests.fixtures.counted_runs import gone, process_state, request, symphony, until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.integration, pytest.mark.subprocess, pytest.mark.python]

PLUGIN = Path(__file__).parents[1] / "fixtures" / "python_modules" / "commanded.py"


class Place:
    """A home with its host, and a folder in which one run's steps write and read."""

    def __init__(self, home: Home, folder: Path) -> None:
        self.home, self.folder = home, folder
        folder.mkdir(exist_ok=True)

    def start(self, workflow: str) -> str:
        order = {"workflow": f"commanded.{workflow}", "inputs": {"folder": str(self.folder)}, "cwd": "/"}
        return str(request(self.home, "workflows.run", **order, plugins=[str(PLUGIN)])["run"])

    def go(self, *names: str) -> None:
        for name in names:
            (self.folder / f"go-{name}").touch()

    def executed(self) -> list[str]:
        file = self.folder / "executed"
        return file.read_text().split() if file.exists() else []

    def begun(self, name: str, times: int = 1) -> None:
        until(lambda: self.executed().count(name) == times, f"execution {times} of {name}")

    def row(self, run: str) -> dict[str, Any]:
        return dict(request(self.home, "runs.get", run=run))

    def is_waiting(self, run: str) -> None:
        until(lambda: self.row(run)["status"] == "waiting", "the run to wait")

    def end(self, run: str) -> dict[str, Any]:
        return dict(request(self.home, "runs.wait", run=run))

    def refused(self, *words: str) -> tuple[int, str]:
        """Exit code and message of a command that is refused."""
        done = command("--home", str(self.home.path), "runs", *words)
        return done.returncode, done.stderr

    def interpreter(self) -> int:
        return int(request(self.home, "host.status")["interpreter"]["pid"])

    def kill_interpreter(self) -> None:
        pid = self.interpreter()
        os.kill(pid, signal.SIGKILL)
        until(lambda: request(self.home, "host.status")["interpreter"]["pid"] not in (pid, None), "a new one")
        request(self.home, "workflows.list")  # it answers


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    home = Home(tmp_path_factory.mktemp("commands") / "home")
    symphony(home, "host", "start")
    yield home
    symphony(home, "host", "stop")


@pytest.fixture
def place(home: Home, tmp_path: Path) -> Place:
    return Place(home, tmp_path / "steps")


def test_a_paused_run_stays_paused_through_a_death_and_goes_on_when_it_is_unpaused(place: Place) -> None:
    run = place.start("chain")
    place.begun("one")
    assert symphony(place.home, "runs", "pause", run) == {"run": run, "command": "pause", "applied": True}
    assert place.refused("pause", run)[0] == 6
    place.go("one", "two")
    until(lambda: place.row(run)["graph"][0]["state"] == "completed", "the running step to finish")
    place.kill_interpreter()
    rows = symphony(place.home, "runs", "list", "--status", "paused")
    assert [row["run"] for row in rows] == [run]
    other = Place(place.home, place.folder / "other")
    other.go("one", "two")
    assert other.end(other.start("chain"))["status"] == "completed", "others go on"
    assert place.executed() == ["one"]
    symphony(place.home, "runs", "unpause", run)
    assert place.end(run)["result"] == ["one", "two"]
    assert place.executed() == ["one", "two"]
    code, message = place.refused("pause", run)
    assert (code, "has ended: completed" in message) == (6, True)


def test_a_run_asks_and_its_answer_outlives_the_interpreter(place: Place) -> None:
    place.go("one")
    words = ["run", "commanded.asks", f"folder={place.folder}", "--plugin", str(PLUGIN)]
    done = command(*words, "--home", str(place.home.path))
    assert done.returncode == 10
    run = symphony(place.home, "runs", "list", "--status", "waiting")[0]["run"]
    assert f"Deploy?: symphony runs input {run} approve=VALUE" in done.stderr
    place.kill_interpreter()
    assert place.row(run)["questions"] == [
        {"key": "approve?0", "name": "approve", "kind": "input", "prompt": "Deploy?"}
    ]
    assert place.refused("input", run, "approve=perhaps")[0] == 2
    assert place.refused("input", run, "aprove=true")[0] == 3
    assert symphony(place.home, "runs", "input", run, "approve=true")["applied"] is True
    place.begun("two")
    place.kill_interpreter()
    place.begun("two", 2)
    place.go("two")
    assert place.end(run)["result"] == ["one", True, "two"]


@pytest.mark.parametrize("verb", ["retry", "skip"])
def test_a_step_that_must_not_be_repeated_waits_for_a_person_after_a_death(place: Place, verb: str) -> None:
    place.go("beside")
    run = place.start("release")
    place.begun("deploy")
    until(
        lambda: len([s for s in place.row(run)["graph"] if s["state"] == "completed"]) == 1, "the other one"
    )
    place.kill_interpreter()
    place.is_waiting(run)
    code, message = place.refused("retry", run, "work#0")
    assert (code, "step work#0 is completed already" in message) == (6, True)
    assert place.refused(verb, run, "nothing#0")[0] == 3
    assert place.executed().count("deploy") == 1
    place.go("deploy")
    symphony(place.home, "runs", verb, run, "deploy#0")
    result = place.end(run)
    assert result["result"] == (["deploy", "beside"] if verb == "retry" else [None, "beside"])
    assert place.executed().count("deploy") == (2 if verb == "retry" else 1)


def test_commands_that_were_acknowledged_are_obeyed_though_interpreter_and_host_die(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    symphony(home, "host", "start")
    cancelled, paused, asking = (Place(home, tmp_path / name) for name in ("cancelled", "paused", "asking"))
    runs = [cancelled.start("chain"), paused.start("chain"), asking.start("asks")]
    asking.go("one", "two")
    asking.is_waiting(runs[2])
    cancelled.begun("one")
    paused.begun("one")
    status = request(home, "host.status")
    host, interpreter = status["pid"], status["interpreter"]["pid"]
    os.kill(interpreter, signal.SIGSTOP)
    until(lambda: process_state(interpreter) == "T", "the stop")
    commands = [
        ("runs.cancel", {}),
        ("runs.pause", {}),
        ("runs.provide_input", {"name": "approve", "text": "false"}),
    ]
    for run, (method, params) in zip(runs, commands, strict=True):
        assert request(home, method, run=run, **params)["applied"] is False
    for pid in (host, interpreter):
        os.kill(pid, signal.SIGKILL)
    until(lambda: gone(host) and gone(interpreter), "both to end")
    symphony(home, "host", "start")
    try:
        assert cancelled.end(runs[0])["status"] == "cancelled"
        assert asking.end(runs[2])["result"] == ["one", False, "two"]
        until(lambda: paused.row(runs[1])["status"] == "paused", "the pause")
        paused.go("one", "two")
        request(home, "runs.unpause", run=runs[1])
        assert paused.end(runs[1])["result"] == ["one", "two"]
        assert cancelled.executed().count("two") == 0
    finally:
        symphony(home, "host", "stop")


def test_a_command_given_while_no_interpreter_answers_waits_for_the_next(place: Place) -> None:
    run = place.start("chain")
    place.begun("one")
    interpreter = place.interpreter()
    os.kill(interpreter, signal.SIGSTOP)
    until(lambda: process_state(interpreter) == "T", "the stop")
    with client.connect_or_start(place.home) as connection:
        assert connection.request("runs.cancel", {"run": run})["applied"] is False
    os.kill(interpreter, signal.SIGKILL)
    assert place.end(run)["status"] == "cancelled"
    assert place.executed() == ["one"]
