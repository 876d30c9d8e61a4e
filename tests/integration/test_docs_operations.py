"""docs/operations.md: its settings, its systemd unit and its commands are what they say."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from symphony import symphonyd
from symphony.home import Home
from symphony.in_process import InProcessHost
from symphony.settings import HostSettings, Limits, load_settings
from tests.fixtures import counted_runs as counted

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.python, pytest.mark.integration, pytest.mark.subprocess]

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE = (DOCS / "operations.md").read_text()
UNIT = (DOCS / "symphonyd.service").read_text()
# As systemd.unit(5), systemd.service(5), systemd.exec(5) and systemd.resource-control(5) have them.
KEYS = {
    "Unit": {"Description": ".+", "After": r"[\w.-]+\.target"},
    "Service": {
        "ExecStart": r"(/|%h/)\S+( .+)?",
        "Type": "simple|exec",
        "Restart": "no|always|on-failure|on-abnormal",
        "KillMode": "control-group|mixed|process",
        "TimeoutStopSec": r"\d+",
        "Delegate": "yes|no|[a-z ]+",
        "UMask": "0[0-7]{3}",
    },
    "Install": {"WantedBy": r"default\.target"},
}


def block(name: str) -> str:
    """A block of commands of the page."""
    found = re.search(rf"```{name}\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None
    return found[1]


def test_every_setting_stands_in_the_table_and_nothing_else() -> None:
    table = PAGE.partition("## Settings")[2].partition("## Limits")[0]
    documented = set(re.findall(r"^\| `([\w.]+)` \|", table, re.MULTILINE))
    limits = {f"limits.{field.name}" for field in fields(Limits)}
    assert documented == {field.name for field in fields(HostSettings)} - {"limits"} | limits


def test_the_example_of_a_config_is_right(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(block("toml"))
    assert load_settings(tmp_path) == HostSettings(hang_after=20, limits=Limits(memory=4 << 30))


def test_the_unit_has_known_keys_and_starts_the_host_as_it_can_be_started(tmp_path: Path) -> None:
    section = ""
    seen = set()
    for line in UNIT.splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif line and not line.startswith("#"):
            key, _, value = line.partition("=")
            assert re.fullmatch(KEYS[section][key], value), line
            seen.add(section)
    assert seen == set(KEYS)
    found = re.search("^ExecStart=(.+)$", UNIT, re.MULTILINE)
    assert found is not None
    program, *options = found[1].split()
    assert program.endswith("/bin/symphonyd")
    help_text = subprocess.run(
        [symphonyd.binary(), "--help"], capture_output=True, text=True, check=True
    ).stdout
    assert all(f" {option}" in help_text for option in options if option.startswith("--"))
    analyze = shutil.which("systemd-analyze")
    if analyze is not None:  # a second opinion, where there is one
        judged = tmp_path / "symphonyd.service"
        judged.write_text(UNIT.replace(program, "/bin/true"))
        runtime = tmp_path / "runtime"
        runtime.mkdir(mode=0o700)
        done = subprocess.run(
            [analyze, "verify", "--user", str(judged)],
            env={**os.environ, "XDG_RUNTIME_DIR": str(runtime)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")


@pytest.fixture
def live(tmp_path: Path) -> Iterator[tuple[Home, str]]:
    """A home in use: a run whose steps take long enough for a backup in between."""
    home = Home(tmp_path / "home")
    counted.symphony(home, "host", "start")
    inputs = {"folder": str(tmp_path), "count": counted.COUNT, "seconds": 0.15}
    order = {"workflow": "counted.squares", "inputs": inputs, "plugins": [str(counted.COUNTED)]}
    yield home, str(counted.request(home, "workflows.run", **order, text={}, cwd="/")["run"])
    counted.symphony(home, "host", "stop")


def test_a_backup_of_a_home_in_use_is_restored_and_goes_on(live: tuple[Home, str], tmp_path: Path) -> None:
    home, run = live
    places = {"HOME_FOLDER": home.path, "BACKUP": tmp_path / "backup", "RESTORED": tmp_path / "restored"}
    counted.until(lambda: len(counted.completed(home, run)) > 2, "some steps")
    environment = {**os.environ, **{name: str(path) for name, path in places.items()}}
    copied = subprocess.run(["sh", "-ec", block("sh backup")], env=environment, check=False)
    assert copied.returncode == 0
    original = counted.symphony(home, "runs", "resume", run)
    assert original["status"] == "completed"

    restored = Home(places["RESTORED"])
    copy, *_ = block("sh restore").splitlines()
    subprocess.run(["sh", "-ec", copy], env=environment, check=True)
    assert restored.path.stat().st_mode & 0o777 == 0o700
    assert counted.symphony(restored, "doctor")["problems"] == []
    rows = symphonyd.query(restored, "runs.get", {"run": run})
    assert rows["status"] == "pending"
    recorded = counted.squares_done(rows["graph"])
    assert len(recorded) > 2
    before = counted.executions(tmp_path)
    host = InProcessHost(restored)
    host.open()
    result = host.request("runs.wait", {"run": run})
    host.close()
    assert (result["status"], result["result"]) == ("completed", original["result"])
    again = counted.executions(tmp_path) - before
    assert not recorded & set(again)
    assert set(again) == set(range(counted.COUNT + 1)) - recorded
