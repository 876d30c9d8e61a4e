"""``runs graph``, ``explain``, ``show --follow``, ``host logs`` and ``restart`` on a real host."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from symphony.cli import main
from symphony.cli.runs_graph import dot, mermaid
from tests.fixtures.wire import TOY, Wire, running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.python, pytest.mark.integration, pytest.mark.subprocess]


@dataclass(frozen=True)
class Place:
    home: Path
    wire: Wire

    def start(self, workflow: str, **inputs: Any) -> str:
        order = {"workflow": workflow, "inputs": inputs, "plugins": [str(TOY)]}
        return str(self.wire.result("workflows.run", **order)["run"])


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    home = tmp_path_factory.mktemp("host") / "home"
    with running(home) as address, Wire(address) as wire:
        yield Place(home, wire)


def test_a_run_is_shown_as_a_graph_and_explained(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    def symphony(*words: str) -> str:
        assert main(["--home", str(place.home), *words]) == 0
        return capsys.readouterr().out

    run = place.start("toy.doubled")
    place.wire.result("runs.wait", run=run)
    rows = [line.split() for line in symphony("runs", "graph", run).splitlines()]
    assert rows[0] == ["STATE", "TIME", "KEY", "AFTER"]
    assert [(row[0], row[3:]) for row in rows[1:]] == [
        ("completed", ["double#0"]),
        ("completed", ["double#1", "double#0"]),
    ]
    assert '"double#0" -> "double#1";' in symphony("runs", "graph", run, "--dot")
    assert "s0 --> s1" in symphony("runs", "graph", run, "--mermaid")
    document = json.loads(symphony("runs", "graph", run, "--json"))
    assert document == place.wire.result("runs.graph", run=run)
    run = place.start("toy.napping", count=1)
    place.wire.result("runs.wait", run=run)
    told = " ".join(symphony("runs", "explain", run).split())
    assert "it depends on no step: the workflow came to it" in told
    assert "attempt 1: OSError: once" in told
    first, _ = json.loads(symphony("runs", "explain", run, "--json"))["steps"]
    assert (first["key"], first["attempts"], first["failures"][0]["message"]) == (
        "stumble#0",
        2,
        "OSError: once",
    )


def test_names_of_steps_are_quoted() -> None:
    key = 'a"b\\c'
    document = {"workflow": "w.w", "nodes": [{"key": key}, {"key": "d"}], "edges": [{"from": key, "to": "d"}]}
    assert dot(document).splitlines()[1] == '  "a\\"b\\\\c";'
    assert mermaid(document).splitlines()[1] == '  s0["a#quot;b\\c"]'


def test_a_run_is_followed_to_its_end(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    run = place.start("toy.napping", count=10)
    assert main(["--home", str(place.home), "runs", "show", run, "--follow"]) == 0
    lines = capsys.readouterr().out.splitlines()
    end = next(at for at, line in enumerate(lines) if "run finished" in line)
    assert lines[end].endswith("toy.napping completed")
    assert any("step finished  nap#9 completed" in line for line in lines[:end])
    assert lines[end + 1].split() == ["run", run]
    assert main(["--home", str(place.home), "runs", "show", run, "--follow", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["status"] == "completed"


def test_logs_are_followed_and_the_interpreter_is_restarted(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--home", str(place.home), "host", "logs", "--lines", "1", "--json"]) == 0
    logs = json.loads(capsys.readouterr().out)
    assert len(logs["symphonyd"]) == 1
    command = [sys.executable, "-m", "symphony", "--home", str(place.home), "host", "logs", "-f", "-n", "1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as following:
        assert following.stdout is not None
        assert following.stdout.readline().removeprefix("symphonyd").strip() == logs["symphonyd"][0]
        before = place.wire.result("conductor.status")["pid"]
        assert main(["--home", str(place.home), "host", "restart"]) == 0
        after = place.wire.result("conductor.status")["pid"]
        assert before != after
        while f"interpreter {after} is ready" not in following.stdout.readline():
            pass
        following.send_signal(signal.SIGINT)
    assert following.returncode == 130
