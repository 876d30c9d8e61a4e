"""The command line against the real host: runs, Ctrl-C, deaths of the host and of the interpreter."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

import symphony
from tests.fixtures.command_line import command

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

PLUGIN = """
import asyncio, os, time
from pathlib import Path
import symphony

@symphony.step
async def nap(number: int, seconds: float, log: str) -> int:
    with Path(log).open("a") as file:
        file.write(f"{number}\\n")
    await asyncio.sleep(seconds)
    return number

@symphony.step
def block(seconds: float, log: str) -> None:
    Path(log).write_text("blocking")
    time.sleep(seconds)

@symphony.step
def halve(number: int) -> int:
    if number % 2:
        raise ValueError(f"{number} is odd")
    return number // 2

@symphony.workflow
async def naps(count: int, seconds: float, log: str) -> list[int]:
    return [await nap(number, seconds, log) for number in range(count)]

@symphony.workflow
async def blocks(seconds: float, log: str) -> None:
    await block(seconds, log)

@symphony.workflow
async def half(number: int = 8) -> int:
    return await halve(number)

@symphony.workflow
async def look(folder: symphony.DirectoryPath) -> str:
    return str(folder)

@symphony.hookimpl
def register_workflows(registry):
    for workflow in (naps, blocks, half, look):
        registry.add(workflow)
"""


pytestmark = [
    pytest.mark.python,
    pytest.mark.integration,
    pytest.mark.subprocess,
]


class Real:
    """A home, a file plugin, and command lines run in processes of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.home = folder, folder / "home"
        self.plugin, self.log = folder / "toy.py", folder / "log"
        self.plugin.write_text(PLUGIN)
        self.log.touch()

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "symphony", "--home", str(self.home), *arguments]
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.folder,
        )

    def __call__(self, *arguments: str) -> tuple[int, str, str]:
        done = command("--home", str(self.home), *arguments, cwd=self.folder)
        return done.returncode, done.stdout, done.stderr

    def json(self, *arguments: str) -> tuple[int, Any]:
        code, out, _ = self(*arguments, "--json")
        return code, json.loads(out)

    def run(self, name: str, *values: str) -> tuple[int, Any]:
        return self.json("run", f"toy.{name}", *values, "--plugin", str(self.plugin))

    def naps(self, count: int, seconds: float) -> list[str]:
        values = [f"count={count}", f"seconds={seconds}", f"log={self.log}"]
        return ["run", "toy.naps", *values, "--plugin", str(self.plugin), "--json"]

    def executed(self) -> list[int]:
        return [int(line) for line in self.log.read_text().splitlines()]


@pytest.fixture
def real(tmp_path: Path) -> Iterator[Real]:
    real = Real(tmp_path)
    yield real
    assert real("host", "stop")[0] == 0


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Real]:
    """One host for the tests that neither end it nor look at what others left."""
    real = Real(tmp_path_factory.mktemp("shared"))
    yield real
    assert real("host", "stop")[0] == 0


def wait_for(what: Callable[[], object], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def test_a_run_prints_its_document_and_stands_in_the_list(real: Real) -> None:
    code, document = real.run("half", "number=42")
    assert code == 0
    assert document.pop("seconds") > 0
    run = document["run"]
    steps = {"executed": 1, "reused": 0, "failed": 0, "skipped": 0}
    assert document == {
        "run": run,
        "workflow": "toy.half",
        "status": "completed",
        "result": 21,
        "error": None,
        "steps": steps,
    }
    code, rows = real.json("runs", "list")
    assert [(row["run"], row["workflow"], row["status"]) for row in rows] == [(run, "toy.half", "completed")]
    with_host = real.json("runs", "show", run[:16])[1]
    assert [(step["name"], step["attempts"]) for step in with_host["graph"]] == [("halve", 1)]
    assert real("host", "stop")[0] == 0
    code, without_host = real.json("runs", "show", run[:16])
    assert (code, without_host["graph"]) == (0, with_host["graph"])
    assert real.json("host", "status")[1]["running"] is False


def test_runs_are_listed_in_part_and_deleted(real: Real) -> None:
    first, second, third = (real.run("half", f"number={number}")[1]["run"] for number in (2, 4, 7))
    code, out, err = real("runs", "list", "--limit", "2", "--json")
    assert (code, [row["run"] for row in json.loads(out)]) == (0, [third, second])
    assert err == "the newest 2 are shown; for more: --limit N, 0 for all\n"
    assert [row["run"] for row in real.json("runs", "list", "--limit", "0")[1]] == [third, second, first]
    assert real.json("runs", "delete", first[:16], "01zzzz")[0] == 3  # then nothing is deleted
    assert real.json("runs", "delete", first[:16]) == (0, {"deleted": [first]})
    assert real.json("runs", "show", first)[0] == 3
    prune = ("runs", "prune", "--older-than", "0s", "--status", "failed")
    assert real.json(*prune, "--dry-run") == (0, {"deleted": [third], "dry_run": True})
    assert real.json(*prune) == (0, {"deleted": [third], "dry_run": False})
    live = real.json(*real.naps(1, 60), "--detach")[1]["run"]
    code, document = real.json("runs", "delete", live)
    assert (code, document["error"]["hint"]) == (6, f"symphony runs cancel {live}")
    os.kill(real.json("host", "status")[1]["pid"], signal.SIGKILL)
    assert [row["run"] for row in real.json("runs", "list")[1]] == [live, second]
    assert real.json("runs", "cancel", live)[0] == 0


def test_a_step_that_raises_is_exit_1_and_named(shared: Real) -> None:
    code, document = shared.run("half", "number=7")
    assert (code, document["status"]) == (1, "failed")
    assert (document["error"]["type"], document["error"]["message"]) == ("ValueError", "7 is odd")
    code, out, err = shared("run", "toy.half", "number=7", "--plugin", str(shared.plugin))
    assert (code, out) == (1, "")
    assert "7 is odd" in err


@pytest.mark.parametrize(
    ("name", "values", "code", "message"),
    [
        ("half", ["number=x"], 2, "number"),
        ("half", ["nummer=2"], 2, "nummer"),
        ("naps", [], 2, "count"),
        ("look", ["folder=/no/such/folder"], 2, "/no/such/folder"),
        ("helf", [], 3, "toy.helf"),
    ],
)
def test_what_is_refused_leaves_no_run(
    shared: Real, name: str, values: list[str], code: int, message: str
) -> None:
    before = shared.json("runs", "list")[1]
    exited, document = shared.run(name, *values)
    assert (exited, document["error"]["exit"]) == (code, code)
    assert message in document["error"]["message"]
    assert shared.json("runs", "list")[1] == before


def test_paths_are_relative_to_the_folder_of_the_command(shared: Real) -> None:
    (shared.folder / "data").mkdir()
    assert shared.run("look", "folder=data")[1]["result"] == str(shared.folder / "data")


def test_ctrl_c_cancels_the_run_and_only_it(real: Real) -> None:
    other = real.start(*real.naps(3, 1.5))
    process = real.start(*real.naps(500, 0.1))
    wait_for(lambda: 3 in real.executed())
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=40)
    assert process.returncode == 130
    assert json.loads(out)["status"] == "cancelled"
    assert "waiting up to 30 s" in err
    assert json.loads(other.communicate(timeout=40)[0])["status"] == "completed"


def test_ctrl_c_before_the_run_is_taken_cancels_it_all_the_same(real: Real) -> None:
    real.run("half")
    interpreter = real.json("host", "status")[1]["interpreter"]["pid"]
    os.kill(interpreter, signal.SIGSTOP)
    try:
        process = real.start(*real.naps(500, 0.1))
        wait_for(lambda: "toy.naps" in (real.home / "host.log").read_text())
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        assert "waiting for the host to take the run" in process.stderr.readline()
    finally:
        os.kill(interpreter, signal.SIGCONT)
    out, _ = process.communicate(timeout=60)
    assert (process.returncode, json.loads(out)["status"]) == (130, "cancelled")
    assert [row["status"] for row in real.json("runs", "list")[1]] == ["cancelled", "completed"]


def test_a_second_ctrl_c_stops_waiting(real: Real) -> None:
    real.run("half")
    values = ["seconds=8", f"log={real.log}"]
    process = real.start("run", "toy.blocks", *values, "--plugin", str(real.plugin))
    wait_for(lambda: real.log.read_text())
    started = time.monotonic()
    process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
    process.communicate(timeout=40)
    assert process.returncode == 130
    assert time.monotonic() - started < 5


def test_the_death_of_the_host_costs_no_recorded_step(real: Real) -> None:
    process = real.start(*real.naps(12, 0.1))
    wait_for(lambda: 3 in real.executed())
    os.kill(json.loads((real.home / "host.json").read_text())["pid"], signal.SIGKILL)
    out, err = process.communicate(timeout=60)
    document = json.loads(out)
    assert (process.returncode, document["result"]) == (0, list(range(12)))
    assert "the host went away" in err
    assert len(real.executed()) <= 13  # the step that was running may be executed again, no other


def test_the_death_of_the_interpreter_costs_no_recorded_step(real: Real) -> None:
    real.run("half")
    interpreter = real.json("host", "status")[1]["interpreter"]["pid"]
    process = real.start(*real.naps(12, 0.1))
    wait_for(lambda: 3 in real.executed())
    os.kill(interpreter, signal.SIGKILL)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, json.loads(out)["result"]) == (0, list(range(12)))
    assert "the managed interpreter" in err
    assert len(real.executed()) <= 13


def test_detached_runs_are_resumed_and_cancelled_by_id(real: Real) -> None:
    code, document = real.json(*real.naps(400, 0.1)[:-1], "--detach")
    assert (code, document["status"]) == (0, "running")
    wait_for(lambda: 1 in real.executed())
    answer = {"run": document["run"], "command": "cancel", "applied": True}
    assert real.json("runs", "cancel", document["run"]) == (0, answer)
    code, ended = real.json("runs", "resume", document["run"])
    assert (code, ended["status"]) == (1, "cancelled")
    assert real.json("runs", "resume", "01zzzz")[0] == 3


def test_the_pit_is_called_through_the_host(shared: Real) -> None:
    code, document = shared.json("pit", "call", "artifact_store.find", "nothing")
    assert (code, document) == (0, {"value": None})
    assert shared.json("pit", "call", "symphony.artifact_store.list")[1] == {"value": []}
    code, document = shared.json("pit", "call", "artifact_store.fnd", "x")
    assert (code, document["error"]["exit"]) == (3, 3)
    assert document["error"]["hint"] == "did you mean 'find'?"
    code, document = shared.json("pit", "call", "artifact_stroe.find", "x")
    assert (code, document["error"]["hint"]) == (3, "did you mean 'artifact_store'?")


def test_a_reader_that_goes_away_is_no_error(shared: Real) -> None:
    listing = f'"{sys.executable}" -m symphony --home "{shared.home}" runs list --help'
    command = f"{listing} | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert (done.stdout.strip(), done.stderr) == ("0", "")


class TestPython:
    def test_runs_from_python_give_values_or_raise(self, shared: Real) -> None:
        from symphony.host import RunFailed

        with symphony.Host(shared.home, plugins=[shared.plugin]) as host:
            result = host.run("toy.half", number=10)
            assert (result.value, result.status, result.steps["executed"]) == (5, "completed", 1)
            with pytest.raises(RunFailed, match="3 is odd") as error:
                host.run("toy.half", number=3)
            assert error.value.type == "ValueError"
            with pytest.raises(symphony.InvalidInput):
                host.run("toy.half", number="x")

    def test_runs_from_coroutines_go_on_side_by_side(self, shared: Real) -> None:
        import asyncio

        async def both() -> list[Any]:
            async with symphony.Host(shared.home, plugins=[shared.plugin]) as host:
                return [
                    result.value
                    for result in await asyncio.gather(*(host.arun("toy.half", number=n) for n in (2, 4, 6)))
                ]

        assert asyncio.run(both()) == [1, 2, 3]
