"""Real processes, killed in real runs: nothing recorded is lost, no recorded step runs again."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from symphony import client
from symphony.home import Home
from tests.fixtures.counted_runs import (
    check_end,
    completed,
    executions,
    gone,
    process_state,
    request,
    squares_done,
    start_counted,
    symphony,
    until,
)
from tests.fixtures.deadly_runs import forgive

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.integration, pytest.mark.subprocess, pytest.mark.python]

PACKAGE = Path(client.__file__).parent


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    home = Home(tmp_path_factory.mktemp("recovery") / "home")
    yield home
    symphony(home, "host", "stop")


@pytest.fixture
def home(shared: Home) -> Iterator[Home]:
    """One home for all, whose host runs; the deaths of one test are not counted in the next."""
    symphony(shared, "host", "start")
    yield shared
    forgive(shared)
    if request(shared, "host.status")["interpreter"]["restarts"] > 2:  # another would wait, longer each time
        symphony(shared, "host", "stop")


@pytest.mark.parametrize("moment", range(1, 11))
def test_a_killed_interpreter_is_replaced_and_the_run_goes_on(
    home: Home, tmp_path: Path, moment: int
) -> None:
    run = start_counted(home, tmp_path)
    until(lambda: sum(executions(tmp_path).values()) >= moment, f"execution {moment}")
    before = request(home, "host.status")["interpreter"]
    interpreter = before["pid"]
    os.kill(
        interpreter, signal.SIGSTOP
    )  # so that what is recorded now is all that will be, by this interpreter
    until(lambda: process_state(interpreter) == "T", "the stop")
    recorded = completed(home, run)
    os.kill(interpreter, signal.SIGKILL)
    result = request(home, "runs.wait", run=run, events=False)
    check_end(result, dict.fromkeys(recorded, 1), tmp_path)
    assert result["steps"]["reused"] >= len(recorded)
    status = request(home, "host.status")["interpreter"]
    assert status["restarts"] == before["restarts"] + 1
    assert status["pid"] != interpreter


@pytest.mark.parametrize("resume", ["host start", "runs resume", "both killed"])
def test_a_killed_host_takes_its_interpreter_along_and_the_run_goes_on_later(
    home: Home, tmp_path: Path, resume: str
) -> None:
    run = start_counted(home, tmp_path)
    until(lambda: sum(executions(tmp_path).values()) >= 5, "five executions")
    status = request(home, "host.status")
    host, interpreter = status["pid"], status["interpreter"]["pid"]
    if resume == "both killed":
        os.kill(interpreter, signal.SIGKILL)
    os.kill(host, signal.SIGKILL)
    until(lambda: gone(host) and gone(interpreter), "both processes to end")
    assert symphony(home, "host", "status")["running"] is False
    row = symphony(home, "runs", "show", run)
    assert row["status"] == "pending"
    recorded = squares_done(row["graph"])
    if resume == "runs resume":
        result = symphony(home, "runs", "resume", run)
    else:
        symphony(home, "host", "start")
        result = request(home, "runs.wait", run=run, events=False)
    check_end(result, dict.fromkeys(recorded, 1), tmp_path)


@pytest.mark.parametrize("files", [3, 40, 90])
def test_an_index_that_was_interrupted_is_the_same_index(home: Home, tmp_path: Path, files: int) -> None:
    tree = tmp_path / "tree"
    for folder in ("cli", "engine"):
        for copy in ("a", "b"):
            shutil.copytree(PACKAGE / folder, tree / copy / folder, ignore=shutil.ignore_patterns("_*"))
    order = {
        "workflow": "conductor.index",
        "inputs": {"path": str(tree)},
        "text": {},
        "cwd": "/",
        "plugins": [],
    }
    run = request(home, "workflows.run", **order)["run"]

    def embedded() -> int:
        graph = request(home, "runs.get", run=run)["graph"]
        return sum(row["state"] == "completed" for row in graph)

    until(lambda: embedded() >= files, f"{files} files")
    os.kill(request(home, "host.status")["interpreter"]["pid"], signal.SIGKILL)
    result = request(home, "runs.wait", run=run, events=False)
    assert result["status"] == "completed", result
    assert result["result"]["reused"] == 0
    again = symphony(home, "run", "conductor.index", f"path={tree}")["result"]
    assert again["embedded"] == 0
    assert again["index"] == result["result"]["index"]
    assert again["passages"] == again["reused"] == result["result"]["passages"]
