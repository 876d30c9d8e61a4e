"""Limits of memory and CPU: put on a process, and on the interpreter of a real host before plugins load."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from symphony.errors import InvalidInput, Refused
from symphony.home import Home
from symphony.host import Host, RunFailed
from symphony.limits import impose
from symphony.settings import HostSettings, Limits, load_settings, setting_words
from tests.fixtures import counted_runs as counted

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.python, pytest.mark.integration, pytest.mark.subprocess]

MIB = 1 << 20
GREEDY = """
import mmap, os, resource
from pathlib import Path
import symphony
from symphony import _host

AT_IMPORT = resource.getrlimit(resource.RLIMIT_DATA)[0]

def first_time(mark):
    if Path(mark).exists():
        return False
    Path(mark).touch()
    return True

@symphony.step
def limit() -> int:
    return AT_IMPORT

@symphony.step
def much(size: int) -> int:
    return len(bytearray(size))

@symphony.step
def shared(size: int, mark: str) -> str:
    if first_time(mark):
        memory = mmap.mmap(-1, size)  # no data of this process: only a control group counts it
        for at in range(0, size, 4096):
            memory[at] = 1
    return "lived"

@symphony.step
def native(size: int, mark: str) -> str:
    if first_time(mark):
        content = bytes(size)
        _host.encode(content)  # a copy, in Rust
    return "lived"

@symphony.workflow
async def at_import() -> int:
    return await limit()

@symphony.workflow
async def too_much(size: int) -> int:
    return await much(size)

@symphony.workflow
async def too_much_shared(size: int, mark: str) -> str:
    return await shared(size, mark)

@symphony.workflow
async def too_much_native(size: int, mark: str) -> str:
    return await native(size, mark)

@symphony.hookimpl
def register_workflows(registry):
    for workflow in (at_import, too_much, too_much_shared, too_much_native):
        registry.add(workflow)
"""


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """A host with a limit of memory, and an installed plugin that wants more."""
    folder = tmp_path_factory.mktemp("installed")
    (folder / "greedy.py").write_text(GREEDY)
    about = folder / "greedy-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: greedy\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[symphony]\ngreedy = greedy\n")
    (about / "RECORD").write_text("greedy.py,,\n")
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = str(folder)
    sys.path.insert(0, str(folder))
    home = Home(tmp_path_factory.mktemp("home"))
    try:
        with Host(home.path, settings={"limits": {"memory": "320MiB"}}) as host:
            yield host
        counted.symphony(home, "host", "stop")
    finally:
        sys.path.remove(str(folder))
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before


def last_report(host: Host) -> str:
    reports = sorted((host._home.path / "reports").glob("*"), key=lambda path: path.stat().st_mtime_ns)
    return reports[-1].read_text()


def test_the_limit_is_in_force_before_plugins_are_imported(limited: Host) -> None:
    assert limited.run("greedy.at_import").value == 320 * MIB


def test_too_much_is_a_memory_error_of_the_step(limited: Host) -> None:
    with pytest.raises(RunFailed) as failed:
        limited.run("greedy.too_much", size=400 * MIB)
    assert (failed.value.type, failed.value.step) == ("MemoryError", "much#0")


def test_native_code_that_aborts_for_want_of_memory_is_in_the_report(limited: Host, tmp_path: Path) -> None:
    result = limited.run("greedy.too_much_native", size=180 * MIB, mark=str(tmp_path / "mark"))
    assert result.value == "lived"  # the second time
    report = last_report(limited)
    assert "signal 6 (SIGABRT)" in report
    assert "it wrote: memory allocation of" in report
    assert "limits    memory 320 MiB each" in report
    assert "blamed    step native#0" in report


def test_a_kill_for_lack_of_memory_is_in_the_report(limited: Host, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    result = limited.run("greedy.too_much_shared", size=400 * MIB, mark=str(mark))
    assert (result.value, mark.exists()) == ("lived", True)
    grouped = "together by cgroup" in last_report(limited)
    assert grouped == can_make_groups()
    if grouped:  # elsewhere nobody counts shared memory, and there was no death
        assert "signal 9 (SIGKILL)" in last_report(limited)
        assert "the kernel killed 1 processes for lack of memory" in last_report(limited)


def can_make_groups() -> bool:
    """Whether this user may make a control group here, found out without the code that is tested."""
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "memory":
            return os.access(f"/sys/fs/cgroup/memory{path}", os.W_OK)
        if not controllers and not path.strip("/"):
            continue
        if not controllers:
            for near in (Path(f"/sys/fs/cgroup{path}"), Path(f"/sys/fs/cgroup{path}").parent):
                control = near / "cgroup.subtree_control"
                if control.exists() and "memory" in control.read_text() and os.access(near, os.W_OK):
                    return True
    return False


def child(code: str) -> subprocess.CompletedProcess[str]:
    start = "from symphony.limits import impose; from symphony.settings import Limits\n"
    return subprocess.run(
        [sys.executable, "-c", start + code], capture_output=True, text=True, timeout=60, check=False
    )


def test_cpu_time_is_ended_by_its_signal() -> None:
    done = child("print(impose(Limits(cpu_time=1)).text, flush=True)\nwhile True: pass")
    assert done.returncode == -signal.SIGXCPU
    assert done.stdout == "1 s of CPU time each\n"


class Groups:
    """A tree like that of the kernel's control groups, to see what is written where."""

    def __init__(self, folder: Path, own: str, *paths: str) -> None:
        self.root, self.own = folder / "cgroup", folder / "own"
        self.own.write_text(own)
        for path in paths:
            (self.root / path).mkdir(parents=True)

    def impose(self, limits: Limits) -> tuple[str, dict[str, str]]:
        text = child(
            f"from pathlib import Path\n"
            f"made = impose({limits!r}, groups=Path({str(self.root)!r}), own=Path({str(self.own)!r}))\n"
            f"print(made.text)\n"
        ).stdout.strip()
        files = {
            str(path.relative_to(self.root)): path.read_text()
            for path in self.root.rglob("symphony-*/*")
            if path.name != "cgroup.procs"
        }
        return text, {
            name.partition("symphony-")[0] + name.rpartition("/")[2]: text for name, text in files.items()
        }


def test_a_group_of_v2_is_made_where_limits_are_handed_on(tmp_path: Path) -> None:
    groups = Groups(tmp_path, "0::/user/shell\n", "user/shell")
    (groups.root / "user" / "cgroup.subtree_control").write_text("cpu memory pids\n")
    assert groups.impose(Limits(memory=1 << 30, cpus=1.5)) == (
        "memory 1024 MiB each, and together by cgroup v2; 1.5 processors by cgroup v2",
        {"user/memory.max": str(1 << 30), "user/cpu.max": "150000 100000"},
    )


def test_a_group_of_v1_is_made_below_ones_own(tmp_path: Path) -> None:
    groups = Groups(tmp_path, "4:memory:/me\n1:cpu,cpuacct:/\n", "memory/me", "cpu,cpuacct")
    assert groups.impose(Limits(memory=1 << 30, cpus=0.5))[1] == {
        "memory/me/memory.limit_in_bytes": str(1 << 30),
        "cpu,cpuacct/cpu.cfs_period_us": "100000",
        "cpu,cpuacct/cpu.cfs_quota_us": "50000",
    }


def test_a_share_of_processors_is_refused_where_no_group_can_be_made(tmp_path: Path) -> None:
    groups = Groups(tmp_path, "0::/\n", ".")
    with pytest.raises(Refused, match=r"limits\.cpus needs a control group"):
        impose(Limits(cpus=2), groups=groups.root, own=groups.own)


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("[host.limits]\nmemry = 1", "host.limits.memry: no such setting", "limits.memory"),
        ('[host.limits]\nmemory = "2 apples"', "expected bytes, such as 2147483648 or 2GiB", ""),
        ("[host.limits]\ncpus = true", "expected a number of processors", ""),
        ("[host.limits]\ncpu_time = 0.5", "expected whole seconds", ""),
        ("[host]\nlimits = 3", "host.limits: expected a table", ""),
    ],
)
def test_a_wrong_limit_is_named(tmp_path: Path, text: str, message: str, hint: str) -> None:
    (tmp_path / "config.toml").write_text(text)
    with pytest.raises(InvalidInput) as raised:
        load_settings(tmp_path)
    assert message in str(raised.value)
    assert hint in raised.value.hint


def test_settings_given_come_before_the_file(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(
        '[host]\nhang_after = 5\ndurability = "machine"\n[host.limits]\nmemory = "1.5 GiB"\ncpus = 2\n'
    )
    words = setting_words({"hang_after": 7, "limits": {"memory": 1 << 20}, "kill_stopped": True})
    assert words == ["hang_after=7", "limits.memory=1048576", "kill_stopped=true"]
    assert load_settings(tmp_path, words) == HostSettings(
        durability="machine", hang_after=7, kill_stopped=True, limits=Limits(memory=1 << 20, cpus=2)
    )
    assert load_settings(tmp_path).limits.memory == 3 << 29


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"hang_afer": 1}, "hang_afer: no such setting"), ({"durability": "disk"}, "process or machine")],
)
def test_a_wrong_setting_in_code_is_refused_at_once(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        Host(settings=settings)


def test_a_host_that_runs_with_other_settings_is_no_silent_substitute(limited: Host) -> None:
    home = limited._home
    refused = counted.symphony(home, "host", "start", "--set", "hang_after=9", check=False)["error"]
    assert refused["exit"] == 6
    assert "with other settings: limits.memory=320MiB" in refused["message"]
    wrong = counted.symphony(home, "host", "start", "--set", "hang_afer=9", check=False)["error"]
    assert (wrong["exit"], "hang_after" in wrong["hint"]) == (2, True)
