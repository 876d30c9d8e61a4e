"""Plugins that end the interpreter again and again: not loaded any more, until somebody wants them back."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from symphony.crash_reports import crash_reports
from symphony.errors import Quarantined
from tests.fixtures.counted_runs import request, symphony, until
from tests.fixtures.deadly_runs import DEADLY, FIXTURES, impatient_home, interpreter, result, start

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from symphony.home import Home

pytestmark = [pytest.mark.integration, pytest.mark.subprocess, pytest.mark.python]

FATAL = "fatal-import"


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    home = impatient_home(tmp_path / "home")
    yield home
    symphony(home, "host", "stop")


def fresh(home: Home, *words: str) -> Any:
    """What a command says that looks for installed plugins by the present environment."""
    command = [sys.executable, "-m", "symphony", *words, "--home", str(home.path), "--json"]
    return json.loads(subprocess.run(command, capture_output=True, check=True).stdout)


def status(home: Home, name: str) -> dict[str, Any]:
    rows = fresh(home, "plugins", "list")["plugins"]
    return next((row for row in rows if row["name"] == name), {})


def install_fatal(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The plugin as an installed distribution. Gives the file that says what its import does."""
    info = folder / "fatal_import-1.0.dist-info"
    info.mkdir(parents=True)
    shutil.copy(FIXTURES / "python_modules" / "fatal_import.py", folder)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: fatal-import\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[symphony]\nfatal_import = fatal_import\n")
    how = folder / "how"
    monkeypatch.setenv("PYTHONPATH", str(folder))
    monkeypatch.setenv("FATAL_IMPORT", str(how))
    return how


@pytest.mark.parametrize(("how", "deaths"), [("exit", 3), ("kill", 5)])
def test_a_plugin_that_ends_each_interpreter_that_imports_it_is_left_out(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str, deaths: int
) -> None:
    said = install_fatal(tmp_path / "site", monkeypatch)
    said.write_text(how)
    fresh(home, "host", "start")
    assert interpreter(home)["restarts"] == deaths
    reports = crash_reports(home)
    assert len(reports) == deaths
    assert "blamed    the import of plugin fatal-import" in reports[0].read_text()
    found = status(home, FATAL)
    assert found["status"] == "quarantined"
    assert str(reports[0]) in found["problem"]["hint"]
    with pytest.raises(Quarantined, match="ended the interpreter again and again"):
        request(home, "workflows.run", workflow="fatal-import.hello", inputs={}, text={}, cwd="/")
    run = start(home, "bearable", how="nothing", place="thread", folder=str(tmp_path))
    assert result(home, run)["status"] == "completed"
    said.write_text("nothing")
    assert fresh(home, "plugins", "enable", FATAL)["status"] == "active"
    assert fresh(home, "run", "fatal-import.hello")["result"] == "hello"
    assert interpreter(home)["restarts"] == deaths


def test_runs_of_a_quarantined_plugin_wait_and_others_go_on(home: Home, tmp_path: Path) -> None:
    fragile = tmp_path / "fragile.py"
    shutil.copy(DEADLY, fragile)
    symphony(home, "host", "start")
    go = tmp_path / "go"
    other = start(home, "patience", path=str(go), folder=str(tmp_path))
    waiting = start(home, "patience", fragile, path=str(go), folder=str(tmp_path))
    runs = []
    for number in range(3):
        folder = tmp_path / f"run-{number}"
        folder.mkdir()
        inputs: dict[str, Any] = {"how": "segfault once", "place": "thread", "folder": str(folder)}
        runs.append(start(home, "bearable", fragile, **inputs))
        if number < 2:
            assert result(home, runs[-1])["result"] == "survived"
    for run in (waiting, runs[2]):
        with pytest.raises(Quarantined, match="last by signal 11") as blocked:
            result(home, run)
        assert "symphony plugins enable fragile" in blocked.value.hint
        assert symphony(home, "runs", "show", run)["status"] == "pending"
    assert (status(home, "fragile")["status"], status(home, "deadly")) == ("quarantined", {})
    assert symphony(home, "plugins", "info", "fragile")["problem"]["code"] == "quarantined"
    go.touch()
    assert result(home, other)["result"] == [0]
    symphony(home, "plugins", "enable", "fragile")
    until(lambda: request(home, "runs.get", run=waiting)["status"] != "pending", "the run to go on")
    assert result(home, waiting)["result"] == [0]
    assert result(home, runs[2])["result"] == "survived"
    assert status(home, "fragile") == {}
