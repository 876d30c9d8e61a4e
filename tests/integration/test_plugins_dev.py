"""``symphony plugins dev``: a line for each change, a host that takes it over, and an end at once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from symphony.home import Home
from tests.fixtures import counted_runs as counted
from tests.fixtures.command_line import command
from tests.fixtures.wheel_writer import source_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.python, pytest.mark.integration, pytest.mark.subprocess]
GOOD = source_of("good")


class Developing:
    """The command at work, and the lines that it prints."""

    def __init__(self, path: Path, home: Home) -> None:
        words = [sys.executable, "-m", "symphony", "plugins", "dev", str(path), "--home", str(home.path)]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(words, stdout=pipe, stderr=pipe, text=True, cwd=path.parent)

    def line(self) -> str:
        """The next line, without its time."""
        assert self._process.stdout is not None
        return self._process.stdout.readline().rstrip("\n").partition("  ")[2]

    def interrupt(self) -> tuple[int, str]:
        """Ctrl-C: the exit code and what was told beside the lines."""
        self._process.send_signal(signal.SIGINT)
        _, told = self._process.communicate(timeout=20)
        return self._process.returncode, told

    def end(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.communicate()


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home").ensure()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "tools.py").write_text(GOOD)
    return tmp_path / "tools.py"


@pytest.fixture
def developing(file: Path, home: Home) -> Iterator[Developing]:
    found = Developing(file, home)
    yield found
    found.end()


def test_each_change_of_a_file_gives_a_line(developing: Developing, file: Path, home: Home) -> None:
    assert developing.line().startswith("ok  1 workflow, 1 model, ")
    file.write_text(f"{GOOD}\ndef half(\n")
    broken = f"broken  tools.py:{len(GOOD.splitlines()) + 2}: SyntaxError: "
    assert developing.line().startswith(broken)
    file.write_text(GOOD.replace("await double(number)", "len(input())"))
    assert developing.line().startswith("effect  tools.py:16: input in workflow 'doubled'")
    file.write_text(GOOD)
    assert developing.line().startswith("ok  tools.py: 1 workflow, 1 model, ")
    code, told = developing.interrupt()
    assert code == 0
    assert told.splitlines() == [
        "watching tools; Ctrl-C ends",
        f"run it: symphony run tools.doubled --plugin {file}",
        "stopped",
    ]
    assert not home.host_json.exists()


def test_ctrl_c_in_the_middle_of_a_check_leaves_no_process(home: Home, tmp_path: Path) -> None:
    slow = tmp_path / "slow.py"
    pid = tmp_path / "pid"
    slow.write_text(
        f"import os, time, pathlib\npathlib.Path({str(pid)!r}).write_text(str(os.getpid()))\ntime.sleep(9)\n"
    )
    developing = Developing(slow, home)
    counted.until(lambda: pid.exists() and pid.read_text(), "the probe")
    assert developing.interrupt()[0] == 0
    assert counted.gone(int(pid.read_text()))


PROJECT = """
[project]
name = "symphony-toy"
version = "1.0"
dependencies = ["symphony-host"]
[project.entry-points.symphony]
symphony-toy = "symphony_toy"
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project that is installed editable, as an installer leaves it."""
    folder = tmp_path / "project"
    info = folder / "symphony_toy-1.0.dist-info"
    info.mkdir(parents=True)
    (folder / "pyproject.toml").write_text(PROJECT)
    (folder / "symphony_toy.py").write_text(GOOD)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: symphony-toy\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[symphony]\nsymphony-toy = symphony_toy\n")
    (info / "RECORD").touch()
    (info / "direct_url.json").write_text(
        json.dumps({"url": folder.as_uri(), "dir_info": {"editable": True}})
    )
    monkeypatch.setenv("PYTHONPATH", f"{folder}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    return folder


def test_a_running_host_takes_a_changed_project_over(project: Path, home: Home) -> None:
    assert counted.symphony(home, "run", "toy.doubled", "number=4")["result"] == 8
    counted.symphony(home, "host", "start")
    developing = Developing(project, home)
    try:
        assert developing.line().startswith("ok  ")
        (project / "symphony_toy.py").write_text(GOOD.replace("2 * number", "3 * number"))
        line = developing.line()
        assert line.startswith("ok  symphony_toy.py: 1 workflow, 1 model, ")
        assert line.endswith(", reloaded")
        assert counted.symphony(home, "run", "toy.doubled", "number=4")["result"] == 12
        (project / "symphony_toy.py").write_text("import nothing_of_this_name\n")
        assert developing.line().startswith("broken  symphony_toy.py:1: ModuleNotFoundError: ")
        (project / "lib.rs").write_text("// native code")
        assert developing.line().startswith("stale  lib.rs: build it again")
        code, told = developing.interrupt()
        assert code == 0
        assert "symphony-toy stays installed (symphony plugins uninstall symphony-toy)" in told
    finally:
        developing.end()
        counted.symphony(home, "host", "stop")


def test_what_has_no_source_here_is_refused(home: Home) -> None:
    done = command("plugins", "dev", "symphony-conductor", "--home", str(home.path))
    assert done.returncode == 2
    assert "Hint: name a .py file or a project's folder" in done.stderr
    done = command("plugins", "dev", "./nothing.py", "--json", "--home", str(home.path))
    assert json.loads(done.stdout)["error"]["exit"] == 2
