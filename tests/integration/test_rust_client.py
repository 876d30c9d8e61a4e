"""``symphony_host::Host`` through the example of Tauri commands, with a real host."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.fixtures.wire import BINARY, ROOT, TOY

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.python, pytest.mark.integration, pytest.mark.subprocess]


@pytest.fixture(scope="module")
def program() -> Path:
    command = ["cargo", "build", "--quiet", "--package", "symphony-host", "--example", "tauri_commands"]
    subprocess.run(command, check=True, cwd=ROOT, timeout=600)
    metadata = ["cargo", "metadata", "--no-deps", "--format-version", "1"]
    found = json.loads(subprocess.run(metadata, check=True, cwd=ROOT, capture_output=True).stdout)
    return ROOT / str(found["target_directory"]) / "debug" / "examples" / "tauri_commands"


def test_every_command_does_what_a_window_asks(program: Path, tmp_path: Path) -> None:
    words = [str(tmp_path / "home"), str(BINARY), sys.executable, str(TOY)]
    words += ["toy.noted", '{"number": 3}', "toy-small", "--no-plugins"]
    done = subprocess.run([program, *words], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    given = json.loads(done.stdout)
    run = given["result"]["run"]
    assert (given["result"]["result"], given["result"]["steps"]["executed"]) == (12, 3)
    kinds = [event["kind"] for event in given["events"]]
    assert (kinds[0], kinds[-1]) == ("run_accepted", "run_finished")
    assert kinds.count("step_finished") == 3
    progress = [event for event in given["events"] if event["kind"] == "progress"]
    assert [(event["done"], event["total"], event["name"]) for event in progress] == [(1, 2, "keep")]
    assert given["detail"]["run"] == given["graph"]["run"] == given["runs"][0]["run"] == run
    assert [step["because"] for step in given["story"]["steps"]][1:] == [
        "it depends on no step: the workflow came to it",
        "double#0 was the last of its dependencies to be done",
    ]
    assert given["deleted"] == [run]
    assert given["graph"]["edges"] == [{"from": "double#0", "to": "double#1"}]
    assert "toy.noted" in [workflow["name"] for workflow in given["workflows"]]
    assert [artifact["name"] for artifact in given["artifacts"]] == ["note/abc"]
    assert [models[0]["state"] for models in given["models"]][1:3] == ["hot", "cold"]
    assert "did you mean" not in given["unknown_model"]
    before, stopped, started, restarted = given["conductor"]
    assert [each["state"] for each in given["conductor"]] == ["ready", "stopped", "ready", "ready"]
    assert stopped["pid"] is None
    assert len({before["pid"], started["pid"], restarted["pid"]}) == 3
    assert "no.such" in given["refused"]
    assert given["status"]["home"] == str(tmp_path / "home")
