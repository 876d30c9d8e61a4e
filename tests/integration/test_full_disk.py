"""A home on a disk that gets full, and one that cannot be written: real file systems of the host alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from symphony import symphonyd
from symphony.errors import HostUnavailable, PitIO
from symphony.home import Home
from tests.fixtures.counted_runs import request, symphony, until
from tests.fixtures.deadly_runs import result, start

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.integration, pytest.mark.subprocess, pytest.mark.python]

ROOT = os.geteuid() == 0
UNSHARE = ["unshare", "-m"] if ROOT else ["unshare", "-rm"]


def mounted(mount: str, home: Path) -> list[str]:
    """The beginning of a command that is to see ``home`` as the shell command ``mount`` leaves it."""
    return [*UNSHARE, "sh", "-c", f'home="$1"; shift; {mount} && exec "$@"', "sh", str(home)]


def host(home: Path, mount: str) -> tuple[subprocess.Popen[bytes], dict[str, Any]]:
    """Start a host in such a home. Gives its first line, too."""
    program = [
        str(symphonyd.binary()),
        "--home",
        str(home),
        "--python",
        sys.executable,
        "--prefix",
        sys.prefix,
    ]
    script = f'home="$1"; shift; {mount} && exec "$@"'
    command = [*UNSHARE, "sh", "-c", script, "sh", str(home), *program, "--linger"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, cwd="/")
    assert process.stdout is not None
    with process.stdout:
        return process, json.loads(process.stdout.readline())


def inside(process: subprocess.Popen[bytes], home: Path) -> Home:
    """The home as that process sees it."""
    return Home(f"/proc/{process.pid}/root{home}")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """A home with 48 MiB of disk."""
    home = tmp_path_factory.mktemp("disk") / "home"
    home.mkdir(mode=0o700)
    process, line = host(home, 'mount -t tmpfs -o size=48m,mode=700 none "$home"')
    assert line["ready"], line
    seen = inside(process, home)
    yield seen
    request(seen, "host.stop")
    process.wait()


def fill(home: Home) -> Path:
    """Take all the space that is left."""
    ballast = home.path / "ballast"
    with ballast.open("ab", buffering=0) as file:
        for size in (1 << 20, 4096):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue
    return ballast


def test_a_full_disk_pauses_admission_and_all_goes_on_when_there_is_room(small: Home, tmp_path: Path) -> None:
    first = start(small, "bearable", how="nothing", place="thread", folder=str(tmp_path))
    assert result(small, first)["status"] == "completed"
    running = start(small, "patience", path=str(tmp_path / "go"), folder=str(tmp_path), steps=3)
    large = start(small, "bearable", how="wait for room", place="thread", folder=str(tmp_path))
    until(lambda: (tmp_path / "executed").exists(), "both")
    pid = request(small, "host.status")["interpreter"]["pid"]
    ballast = fill(small)

    with pytest.raises(HostUnavailable, match=r"home .*: the disk is full") as refused:
        start(small, "bearable", how="nothing", place="thread", folder=str(tmp_path))
    assert "free space" in refused.value.hint
    status = request(small, "host.status")
    assert status["paused"]["message"].endswith("the disk is full")
    assert status["interpreter"]["state"] == "ready"
    assert request(small, "runs.get", run=first)["status"] == "completed"

    (tmp_path / "go").touch()  # what runs can finish: its records have room
    assert result(small, running)["result"] == [0, 1, 2]
    with pytest.raises(PitIO) as waiting:  # a result of some megabytes has none
        result(small, large)
    assert "free space in the home" in waiting.value.hint
    assert {row["run"] for row in request(small, "runs.list")} == {first, running, large}

    ballast.unlink()
    assert request(small, "host.status")["paused"] is None
    request(small, "runs.resume", run=large)
    assert result(small, large)["status"] == "completed"
    again = start(small, "bearable", how="nothing", place="thread", folder=str(tmp_path))
    assert result(small, again)["status"] == "completed"
    assert request(small, "host.status")["interpreter"]["pid"] == pid


def test_a_read_only_home_can_be_read(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    symphony(home, "host", "start")
    run = start(home, "bearable", how="nothing", place="thread", folder=str(tmp_path))
    assert result(home, run)["status"] == "completed"
    symphony(home, "host", "stop")
    bind = 'mount --bind "$home" "$home" && mount -o remount,ro,bind "$home"'
    process, line = host(home.path, bind)
    assert process.wait() == 9
    assert line["error"]["message"] == f"home {home.path}: the file system is read-only"
    assert line["error"]["hint"] == "choose another home with --home DIR"

    def look(*words: str) -> tuple[int, Any]:
        command = [sys.executable, "-m", "symphony", *words, "--home", str(home.path), "--json"]
        done = subprocess.run([*mounted(bind, home.path), *command], capture_output=True, check=False)
        return done.returncode, json.loads(done.stdout or b"null")

    code, shown = look("runs", "show", run)
    assert (code, shown["status"]) == (0, "completed")
    assert look("plugins", "list")[0] == 0
    code, found = look("doctor")
    assert (code, found["log_backend"]) == (1, "none")
    assert "Read-only file system" in found["problems"][0]["what"]
    assert look("run", "deadly.bearable")[0] == 9
