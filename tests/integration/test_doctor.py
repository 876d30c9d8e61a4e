"""``symphony doctor`` and the settings of the log, by the command line and a real home."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import symphony
from symphony import _host, symphonyd
from symphony.compaction import keep_compact
from symphony.errors import InvalidInput
from symphony.home import Home
from symphony.permissions import exposed
from symphony.settings import HostSettings, load_settings
from tests.fixtures.command_line import command

pytestmark = [pytest.mark.integration, pytest.mark.python, pytest.mark.subprocess]


def doctor(home: Path, *options: str) -> tuple[int, str, str]:
    done = command("doctor", "--home", str(home), *options)
    return done.returncode, done.stdout, done.stderr


def report(home: Path) -> dict[str, Any]:
    return dict(json.loads(doctor(home, "--json")[1]))


@pytest.fixture
def home(tmp_path: Path) -> Path:
    with symphony.open_pit(tmp_path / "home") as pit:
        for number in range(20):
            pit.artifact_store.put(b"%d" % number, name=f"n{number}")
    return tmp_path / "home"


def test_a_healthy_home_needs_nothing(home: Path) -> None:
    code, out, err = doctor(home)
    assert (code, err) == (0, "")
    assert "nothing needs attention" in out
    assert "symphony.artifact_store  40" in out
    assert report(home)["records"] == {"symphony.artifact_store": 40}


def test_a_home_without_a_pit_is_healthy(tmp_path: Path) -> None:
    code, out, _ = doctor(tmp_path / "new")
    assert code == 0
    assert "0 segments" in out
    assert report(tmp_path / "new")["size"]["log"] == 0


def test_it_says_what_takes_space(home: Path) -> None:
    before = report(home)["size"]
    assert set(before) == {"log", "snapshots", "artifacts", "history", "reports", "total"}
    assert sum(before.values()) <= 2 * before["total"]
    (home / "history.db").write_bytes(b"x" * (1 << 20))
    (home / "reports").mkdir()
    (home / "reports" / "death.txt").write_bytes(b"x" * (2 << 20))
    after = report(home)["size"]
    assert after["history"] == before["history"] + (1 << 20)
    assert after["reports"] >= 2 << 20
    assert after["log"] == before["log"] >= 16 << 20  # a segment is reserved
    assert after["total"] >= before["total"] + (3 << 20)
    assert "history 1.0, reports 2.0" in doctor(home)[1]


def test_damage_is_named_before_and_after_the_next_start(home: Path) -> None:
    segment = home / "pit" / "log" / "00000000.seg"
    used = report(home)["segments"][0]["used"]
    with segment.open("r+b") as file:
        file.seek(used - 40)
        file.write(b"\xff\xff")
    code, out, _ = doctor(home)
    assert code == 1
    assert f"{segment}: at byte " in out
    assert "a record whose checksum does not fit" in out
    with symphony.open_pit(home) as pit:
        assert len(pit.artifact_store.list()) == 19
    [problem] = report(home)["problems"]
    assert problem["what"].startswith("set aside: 00000000.seg at byte ")
    assert (home / "pit" / "log").joinpath(problem["where"], "00000000.seg").exists()


def test_retry_gives_disabled_components_another_chance(home: Path) -> None:
    note = home / "pit" / "disabled" / "acme.vectors"
    note.parent.mkdir()
    note.write_text("reading its record at position 64 ended the process 2 times\n")
    assert report(home)["problems"][0]["where"] == "acme.vectors"
    with symphony.open_pit(home):
        code, _, err = doctor(home, "--retry")
        assert code == 6
        assert "symphony host stop" in err
    code, out, err = doctor(home, "--retry")
    assert (code, "acme.vectors is enabled" in err) == (0, True)
    assert "nothing needs attention" in out


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[host]\ndurabilty = "machine"\n', "host.durabilty: no such setting"),
        ('[host]\ndurability = "moon"\n', "expected process or machine, got 'moon'"),
        ("[host]\nflush_interval = -1\n", "expected seconds from 0 to 3600"),
        ("[host]\nkill_stopped = 1\n", "host.kill_stopped: expected true or false"),
        ("[host\n", "config.toml"),
        ("host = 3\n", "host: expected a table"),
    ],
)
def test_a_wrong_setting_is_named(home: Path, text: str, message: str) -> None:
    (home / "config.toml").write_text(text)
    with pytest.raises(InvalidInput) as raised:
        symphony.open_pit(home)
    assert message in str(raised.value)
    code, _, err = doctor(home)
    assert code == 2
    assert message in err
    if "durabilty" in text:
        assert "durability" in err


def test_settings_reach_the_pit(home: Path) -> None:
    assert load_settings(home) == HostSettings()
    (home / "config.toml").write_text(
        '[host]\ndurability = "machine"\nlog_backend = "pwrite"\nflush_interval = 0.5\n'
    )
    with symphony.open_pit(home) as pit:
        assert pit.native.durability == "machine"
        pit.artifact_store.put(b"more", name="more")
    out = doctor(home)[1]
    assert "machine: what is acknowledged survives a power loss" in out
    assert "pwrite: chosen in config.toml" in out


def test_a_log_that_has_grown_is_compacted_beside_the_pit(home: Path, libraries: dict[str, Path]) -> None:
    components = [str(path) for path in libraries.values()]
    pit = _host.open_pit(str(home), components)
    pit.artifact_store.put(b"x", name="x")
    told: list[str] = []
    snapshot = home / "pit" / "snapshots" / "symphony.artifact_store.snap"

    async def until_covered() -> None:
        keeping = asyncio.ensure_future(keep_compact(pit, home, components, told.append, growth=100))
        while pit.uncovered() >= 100 or not snapshot.exists():
            await asyncio.sleep(0.01)
        keeping.cancel()
        with suppress(asyncio.CancelledError):
            await keeping

    asyncio.run(asyncio.wait_for(until_covered(), 60))
    before = pit.artifact_store.list()
    pit.close()
    assert told == []
    again = _host.open_pit(str(home), components)
    assert again.artifact_store.list() == before
    again.close()
    assert "symphony.artifact_store" in {row["component"] for row in report(home)["snapshots"]}


def test_a_compactor_that_fails_is_told_of_and_does_no_harm(home: Path, tmp_path: Path) -> None:
    pit = _host.open_pit(str(home), [])
    told: list[str] = []

    async def until_told() -> None:
        missing = [str(tmp_path / "missing.so")]
        keeping = asyncio.ensure_future(keep_compact(pit, home, missing, told.append, growth=100))
        while not told:
            await asyncio.sleep(0.01)
        keeping.cancel()
        with suppress(asyncio.CancelledError):
            await keeping

    asyncio.run(asyncio.wait_for(until_told(), 60))
    pit.close()
    assert "the log was not compacted" in told[0]
    assert "missing.so" in told[0]


def test_what_others_may_change_is_named_with_the_remedy(home: Path) -> None:
    segment = home / "pit" / "log" / "00000000.seg"
    segment.chmod(0o646)
    home.chmod(0o777)
    assert {(row["where"], row["what"], row["do"]) for row in report(home)["problems"]} == {
        (str(home), "others may write to it (mode 0777)", f"chmod go-w {home}"),
        (str(segment), "others may write to it (mode 0646)", f"chmod go-w {segment}"),
    }
    code, out, _ = doctor(home)
    assert (code, f"chmod go-w {segment}" in out) == (1, True)
    segment.chmod(0o600)
    home.chmod(0o755)
    assert exposed(Home(home), []) == [(str(home), "others may read it (mode 0755)", f"chmod 700 {home}")]
    home.chmod(0o700)


def test_what_belongs_to_others_is_named(home: Path, tmp_path: Path) -> None:
    library = tmp_path / "code" / "acme.so"
    library.parent.mkdir(mode=0o777)
    library.parent.chmod(0o777)
    library.touch(0o600)
    own, other = os.geteuid(), os.geteuid() + 1
    found = exposed(Home(home), [str(library)], uid=own)
    assert found == [
        (str(library.parent), "others may write to it (mode 0777)", f"chmod go-w {library.parent}")
    ]
    rows = exposed(Home(home), [], uid=other)
    assert (str(home), f"belongs to uid {own}", f"chown {other} {home}") in rows
    assert len(rows) > 3


def test_the_socket_is_for_its_user_alone(home: Path) -> None:
    runtime = Path(tempfile.mkdtemp())
    runtime.chmod(0o755)
    command = [str(symphonyd.binary()), "--home", str(home), "--python", sys.executable, "--no-plugins"]
    host = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env={**os.environ, "XDG_RUNTIME_DIR": str(runtime)}
    )
    try:
        assert host.stdout is not None
        socket = Path(json.loads(host.stdout.readline())["socket"])
        assert socket.parent == runtime / "symphony"
        modes = [path.stat().st_mode & 0o777 for path in (socket.parent, socket)]
        assert modes == [0o700, 0o600]
        if os.geteuid() == 0:  # only root can be somebody else for a moment
            assert "Permission denied" in answer_to_nobody(socket)
            socket.parent.chmod(0o755)
            socket.chmod(0o666)
            assert "this host is another user's" in answer_to_nobody(socket)
    finally:
        host.terminate()
        host.communicate()
        shutil.rmtree(runtime)


def answer_to_nobody(socket: Path) -> str:
    """What a process of another user is told."""
    code = """
import os, socket, sys
client = socket.socket(socket.AF_UNIX)
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
client.connect(sys.argv[1])
print(client.recv(4096).decode())
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(socket)], capture_output=True, text=True, check=False
    )
    return done.stdout + done.stderr


def test_what_keeps_a_host_from_starting_its_interpreter_is_shown(tmp_path: Path) -> None:
    home = tmp_path / "home"
    words = [str(symphonyd.binary()), "--home", str(home), "--python", "/bin/false", "--prefix", sys.prefix]
    with subprocess.Popen([*words, "--linger"], stdout=subprocess.PIPE, text=True) as host:
        assert host.stdout is not None
        assert json.loads(host.stdout.readline())["ready"] is True
        reason = "the interpreter ended before it was ready (exit code 1): /bin/false wrote nothing"
        status = command("host", "status", "--home", str(home)).stdout
        assert f"interpreter  failed, 0 restarts\nproblem      {reason}\n" in status
        code, out, _ = doctor(home)
        assert (code, f"interpreter: {reason}\n" in out) == (1, True)
        host.terminate()
    assert doctor(home)[0] == 0
