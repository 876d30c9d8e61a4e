"""Real processes, killed in real runs: nothing recorded is lost, no recorded step runs again."""

from __future__ import annotations

import collections
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from symphony import client
from symphony.home import Home

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = [pytest.mark.integration, pytest.mark.subprocess, pytest.mark.python]

COUNTED = Path(__file__).parent.parent / "fixtures" / "python_modules" / "counted.py"
PACKAGE = Path(client.__file__).parent
COUNT = 14


def symphony(home: Home, *words: str, check: bool = True) -> Any:
    """Run the command line and read its one JSON document."""
    command = [sys.executable, "-m", "symphony", *words, "--home", str(home.path), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    if check:
        assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def until(condition: Callable[[], Any], what: str, seconds: float = 60) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        time.sleep(0.002)
    raise AssertionError(f"waited {seconds} s for {what}")


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    home = Home(tmp_path / "home")
    symphony(home, "host", "start")
    yield home
    symphony(home, "host", "stop")


def request(home: Home, method: str, **params: Any) -> Any:
    connection = client.connect(home)
    assert connection is not None, "no host runs"
    with connection:
        return connection.request(method, params)


def start_counted(home: Home, folder: Path) -> str:
    inputs = {"folder": str(folder), "count": COUNT}
    order = {
        "workflow": "counted.squares",
        "inputs": inputs,
        "text": {},
        "cwd": "/",
        "plugins": [str(COUNTED)],
    }
    return str(request(home, "workflows.run", **order)["run"])


def executions(folder: Path) -> collections.Counter[int]:
    try:
        return collections.Counter(int(line) for line in (folder / "executed").read_text().split())
    except FileNotFoundError:
        return collections.Counter()


def completed(home: Home, run: str) -> set[int]:
    """Numbers of the squares whose outcome is recorded, as the host reads them from the log."""
    graph = request(home, "runs.get", run=run)["graph"]
    keys = [row["key"] for row in graph if row["name"] == "square" and row["state"] == "completed"]
    return {int(re.sub(r".*#", "", key)) for key in keys}


def check_end(result: dict[str, Any], recorded: set[int], folder: Path) -> None:
    assert result["status"] == "completed", result
    assert result["result"] == sum(number * number for number in range(COUNT))
    counts = executions(folder)
    assert set(counts) == set(range(COUNT + 1))
    assert {number: counts[number] for number in recorded} == dict.fromkeys(recorded, 1)
    assert max(counts.values()) <= 2


@pytest.mark.parametrize("moment", range(1, 11))
def test_a_killed_interpreter_is_replaced_and_the_run_goes_on(
    home: Home, tmp_path: Path, moment: int
) -> None:
    run = start_counted(home, tmp_path)
    until(lambda: sum(executions(tmp_path).values()) >= moment, f"execution {moment}")
    interpreter = request(home, "host.status")["interpreter"]["pid"]
    os.kill(
        interpreter, signal.SIGSTOP
    )  # so that what is recorded now is all that will be, by this interpreter
    until(lambda: "T" in Path(f"/proc/{interpreter}/stat").read_text().rpartition(")")[2], "the stop")
    recorded = completed(home, run)
    os.kill(interpreter, signal.SIGKILL)
    result = request(home, "runs.wait", run=run, events=False)
    check_end(result, recorded, tmp_path)
    assert result["steps"]["reused"] >= len(recorded)
    status = request(home, "host.status")["interpreter"]
    assert status["restarts"] == 1
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
    keys = [row["key"] for row in row["graph"] if row["name"] == "square" and row["state"] == "completed"]
    recorded = {int(re.sub(r".*#", "", key)) for key in keys}
    if resume == "runs resume":
        result = symphony(home, "runs", "resume", run)
        symphony(home, "host", "start")  # the fixture stops it
    else:
        symphony(home, "host", "start")
        result = request(home, "runs.wait", run=run, events=False)
    check_end(result, recorded, tmp_path)


@pytest.mark.parametrize("files", [3, 40, 90])
def test_an_index_that_was_interrupted_is_the_same_index(home: Home, tmp_path: Path, files: int) -> None:
    tree = tmp_path / "tree"
    shutil.copytree(PACKAGE, tree, ignore=shutil.ignore_patterns("_*"))
    for copy in ("a", "b"):
        shutil.copytree(PACKAGE / "cli", tree / copy, ignore=shutil.ignore_patterns("_*"))
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
    again = symphony(home, "run", "conductor.index", f"path={tree}")["result"]
    assert again["embedded"] == 0
    assert again["index"] == result["result"]["index"]
    assert again["passages"] == again["reused"] == result["result"]["passages"]
