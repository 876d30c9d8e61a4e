"""What brings a Pit back: records, snapshots, and what is done about those that cannot be read."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

from symphony import _host
from symphony.errors import PitCorrupt, PitError, PitInvalidArgument
from tests.fixtures.logs import release

pytestmark = [pytest.mark.integration, pytest.mark.python, pytest.mark.subprocess]

FILL = """
import itertools, resource, sys
from symphony import _host
from symphony.errors import PitIO

home, backend, *libraries = sys.argv[1:]
pit = _host.open_pit(home, libraries, log_backend=backend)
tracker = pit.dag_tracker
unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
# Files beyond this size are refused as space on a full disk is: when it is reserved, or written.
resource.setrlimit(resource.RLIMIT_FSIZE, (5 << 19, unlimited[1]))
for filled in itertools.count():
    try:
        tracker.accept_run(f"run-{filled}", b"", b"x" * 900_000)
    except PitIO as error:
        print(error)
        break
assert len(tracker.live_runs()) == filled
for _ in range(3):
    try:
        tracker.accept_run("refused", b"", b"y" * 900_000)
    except PitIO:
        pass
resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
tracker.accept_run("small", b"", b"z")
print(filled, flush=True)
"""

ROOT = Path(__file__).parent.parent.parent
FIXTURES = ROOT / "tests" / "fixtures"

OPEN = "import sys; from symphony import _host; _host.open_pit(sys.argv[1], sys.argv[2:]).close()"
COMPACT = "import sys; from symphony import _host; print(len(_host.compact(sys.argv[1], sys.argv[2:])))"


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Compile a component that counts its records and misbehaves as told."""
    folder = tmp_path_factory.mktemp("components")
    built: dict[str, str] = {}

    def compile_awkward(name: str = "acme.count", **defines: str) -> str:
        key = name + "".join(f"-{at}-{value}" for at, value in defines.items())
        if key not in built:
            target = str(folder / f"{key}.so")
            options = [f"-D{at.upper()}={value}" for at, value in defines.items()]
            source = str(FIXTURES / "components" / "awkward.c")
            headers = ["-I", str(ROOT / "pit" / "include")]
            command = ["cc", "-shared", "-fPIC", *headers, f'-DID="{name}"', *options, "-o", target, source]
            subprocess.run(command, check=True)
            built[key] = target
        return built[key]

    return compile_awkward


def in_a_process(program: str, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", program, *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def counted(home: Path, library: str, times: int, name: str = "acme.count") -> None:
    """A home whose log has so many records of the component."""
    pit = _host.open_pit(str(home), [library])
    for _ in range(times):
        pit.call(name, "count", [])
    pit.close()


def look(home: Path, library: str, name: str = "acme.count") -> tuple[int, int]:
    """How many records a component knows of, and how many of them it had to read again."""
    pit = _host.open_pit(str(home), [library])
    found = (pit.call(name, "counted", []), pit.call(name, "counted_by_replay", []))
    pit.close()
    return found


def test_a_foreign_record_that_kills_twice_disables_its_component(tmp_path: Path, build: Any) -> None:
    counted(tmp_path, build(), 3)
    deadly, other = build(replay="ABORTS"), build("acme.other")
    for _ in range(2):
        assert in_a_process(OPEN, str(tmp_path), deadly, other).returncode == -6
    pit = _host.open_pit(str(tmp_path), [deadly, other])
    assert [row["id"] for row in pit.components()] == ["acme.other"]
    [(name, reason, note)] = pit.disabled()
    assert name == "acme.count"
    assert "ended the process 2 times" in reason
    pit.close()
    assert _host.inspect(str(tmp_path))["disabled"] == [(name, reason, note)]
    Path(note).unlink()
    assert look(tmp_path, build()) == (3, 3)  # mended, and nothing is lost


def test_a_record_of_our_own_that_kills_twice_keeps_the_pit_closed(tmp_path: Path, build: Any) -> None:
    name = "symphony.count"
    counted(tmp_path, build(name), 1, name)
    for _ in range(2):
        assert in_a_process(OPEN, str(tmp_path), build(name, replay="ABORTS")).returncode == -6
    with pytest.raises(PitCorrupt, match=r"symphony\.count cannot be brought back") as raised:
        _host.open_pit(str(tmp_path), [build(name)])
    assert "symphony doctor" in str(raised.value.hint)


def test_one_death_is_forgotten_when_the_next_replay_succeeds(tmp_path: Path, build: Any) -> None:
    counted(tmp_path, build(), 2)
    for _ in range(3):
        assert in_a_process(OPEN, str(tmp_path), build(replay="ABORTS")).returncode == -6
        assert look(tmp_path, build()) == (2, 2)


def test_a_foreign_record_that_is_refused_disables_its_component_at_once(tmp_path: Path, build: Any) -> None:
    counted(tmp_path, build(), 2)
    other = build("acme.other")
    pit = _host.open_pit(str(tmp_path), [build(replay="FAILS"), other])
    assert [row["id"] for row in pit.components()] == ["acme.other"]
    assert "these bytes mean nothing" in pit.disabled()[0][1]
    pit.close()


def test_a_record_of_our_own_that_is_refused_is_an_error(tmp_path: Path, build: Any) -> None:
    name = "symphony.count"
    counted(tmp_path, build(name), 1, name)
    with pytest.raises(PitError, match="these bytes mean nothing"):
        _host.open_pit(str(tmp_path), [build(name, replay="FAILS")])


def test_a_record_newer_than_its_component_is_not_shown_to_it(tmp_path: Path, build: Any) -> None:
    counted(tmp_path, build(revision="2"), 2)
    pit = _host.open_pit(str(tmp_path), [build(revision="1"), build("acme.other")])
    assert [row["id"] for row in pit.components()] == ["acme.other"]
    [(_, reason, note)] = pit.disabled()
    assert "failed to read its records: one is of revision 2, it reads up to 1" in reason
    pit.close()
    Path(note).unlink()
    assert look(tmp_path, build(revision="2")) == (2, 2)


def test_a_record_newer_than_its_component_is_not_appended_by_it_either(tmp_path: Path, build: Any) -> None:
    library = build(revision="1", appended="2")
    pit = _host.open_pit(str(tmp_path), [library])
    assert pit.call("acme.count", "count", []) == -1
    pit.close()
    assert look(tmp_path, library) == (0, 0)


def test_records_of_our_own_newer_than_the_release_keep_the_pit_closed(tmp_path: Path, build: Any) -> None:
    name = "symphony.count"
    counted(tmp_path, build(name, revision="2"), 1, name)
    with pytest.raises(PitError, match="one is of revision 2, it reads up to 1"):
        _host.open_pit(str(tmp_path), [build(name, revision="1")])


def test_records_of_a_component_that_reads_none_are_no_silent_loss(tmp_path: Path, build: Any) -> None:
    counted(tmp_path, build(), 2)
    pit = _host.open_pit(str(tmp_path), [build(replay_by="NULL")])
    assert "failed to read its records: it has no replay" in pit.disabled()[0][1]
    pit.close()


def test_a_snapshot_of_a_component_that_makes_none_any_more_costs_no_record(
    tmp_path: Path, build: Any
) -> None:
    counted(tmp_path, build(), 5)
    _host.compact(str(tmp_path), [build()])
    assert look(tmp_path, build(snapshots="0")) == (5, 5)


def test_a_component_that_calls_a_disabled_one_is_left_out_too(tmp_path: Path, build: Any) -> None:
    counted(tmp_path, build(), 1)
    caller = build("acme.caller", calls='SYMPHONY_STR("acme.count")')
    _host.open_pit(str(tmp_path), [build(replay="FAILS"), build("acme.other")]).close()
    pit = _host.open_pit(str(tmp_path), [build(), caller, build("acme.other")])
    assert [row["id"] for row in pit.components()] == ["acme.other"]
    pit.close()


def test_a_snapshot_is_made_beside_a_running_pit_and_shortens_the_replay(tmp_path: Path, build: Any) -> None:
    library = build()
    pit = _host.open_pit(str(tmp_path), [library])
    for _ in range(50):
        pit.call("acme.count", "count", [])
    before = pit.uncovered()
    done = in_a_process(COMPACT, str(tmp_path), library)
    assert done.stdout.strip() == "1", done.stderr
    assert pit.uncovered() < before
    assert pit.call("acme.count", "count", []) == 51  # nothing was taken from it
    pit.close()
    assert look(tmp_path, library) == (51, 1)
    assert in_a_process(COMPACT, str(tmp_path), library).stdout.strip() == "1"
    assert look(tmp_path, library) == (51, 0)
    assert in_a_process(COMPACT, str(tmp_path), library).stdout.strip() == "0", "nothing is new"


def snapshot_of(home: Path, name: str = "acme.count") -> Path:
    return home / "pit" / "snapshots" / f"{name}.snap"


def test_a_damaged_snapshot_is_put_aside_and_the_log_is_read(tmp_path: Path, build: Any) -> None:
    counted(tmp_path, build(), 5)
    _host.compact(str(tmp_path), [build()])
    whole = bytearray(snapshot_of(tmp_path).read_bytes())
    whole[-3] ^= 1
    snapshot_of(tmp_path).write_bytes(whole)
    assert look(tmp_path, build()) == (5, 5)
    assert not snapshot_of(tmp_path).exists()


def test_the_snapshot_of_another_log_is_put_aside(tmp_path: Path, build: Any) -> None:
    counted(tmp_path / "one", build(), 5)
    counted(tmp_path / "other", build(), 7)
    _host.compact(str(tmp_path / "one"), [build()])
    snapshot_of(tmp_path / "other").parent.mkdir()
    shutil.copy(snapshot_of(tmp_path / "one"), snapshot_of(tmp_path / "other"))
    assert look(tmp_path / "other", build()) == (7, 7)


@pytest.mark.parametrize("restore", ["FAILS", "ABORTS"])
def test_a_snapshot_that_cannot_be_read_costs_no_record(tmp_path: Path, build: Any, restore: str) -> None:
    counted(tmp_path, build(), 5)
    _host.compact(str(tmp_path), [build()])
    broken = build(restore=restore)
    if restore == "ABORTS":
        assert in_a_process(OPEN, str(tmp_path), broken).returncode == -6
    assert look(tmp_path, broken) == (5, 5)
    assert _host.inspect(str(tmp_path))["disabled"] == []


@pytest.mark.parametrize("backend", ["mmap", "pwrite"])
def test_the_back_end_and_the_durability_can_be_chosen(tmp_path: Path, build: Any, backend: str) -> None:
    pit = _host.open_pit(str(tmp_path), [build()], durability="machine", log_backend=backend)
    assert pit.durability == "machine"
    assert pit.call("acme.count", "count", []) == 1
    pit.flush()
    pit.close()
    assert look(tmp_path, build()) == (1, 1)


@pytest.mark.parametrize("backend", ["mmap", "pwrite"])
def test_a_full_disk_is_an_error_of_the_call_and_harms_nothing_before_it(
    tmp_path: Path, libraries: dict[str, Path], backend: str
) -> None:
    components = [str(path) for path in libraries.values()]
    done = in_a_process(FILL, str(tmp_path), backend, *components)
    assert done.returncode == 0, done.stderr
    message, filled = done.stdout.splitlines()
    assert message == "the log could not be extended: the disk is full or read-only"
    assert int(filled) == {"mmap": 18, "pwrite": 2}[backend]  # a whole segment, or up to the limit
    pit = _host.open_pit(str(tmp_path), components)
    assert pit.damage() == []
    assert sorted(pit.dag_tracker.live_runs()) == sorted(
        [*(f"run-{at}" for at in range(int(filled))), "small"]
    )
    pit.close()


def test_unknown_settings_are_refused_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(PitInvalidArgument, match='durability: expected one of process, machine, got "both"'):
        _host.open_pit(str(tmp_path), [], durability="both")
    with pytest.raises(PitInvalidArgument, match="log_backend: expected one of mmap, pwrite"):
        _host.open_pit(str(tmp_path), [], log_backend="tape")


def test_damage_is_told_with_file_offset_and_reason(tmp_path: Path, build: Any) -> None:
    counted(tmp_path, build(), 5)
    segment = tmp_path / "pit" / "log" / "00000000.seg"
    row = _host.inspect(str(tmp_path))["segments"][0]
    with segment.open("r+b") as file:
        file.seek(row["used"] - 30)
        file.write(b"\xff")
    told = _host.inspect(str(tmp_path))["segments"][0]["damage"]
    pit = _host.open_pit(str(tmp_path), [build()])
    [(path, offset, what, aside)] = pit.damage()
    assert (path, offset, what) == (str(segment), told["offset"], told["what"])
    assert (Path(aside) / segment.name).exists()
    assert pit.call("acme.count", "counted", []) < 5
    pit.close()
    assert _host.inspect(str(tmp_path))["aside"] == [(aside, f"{segment.name} at byte {offset}: {what}")]


def as_told(now: Any, then: Any) -> bool:
    """Whether all that was told then is told now; rows may have got further fields."""
    if isinstance(then, dict):
        return isinstance(now, dict) and all(as_told(now.get(key), value) for key, value in then.items())
    if isinstance(then, list):
        return isinstance(now, list) and len(now) == len(then) and all(map(as_told, now, then))
    return bool(now == then)


@pytest.mark.parametrize("name", ["revision_1", "revision_2", "revision_3"])
def test_logs_of_earlier_releases_mean_what_they_meant(
    name: str, tmp_path: Path, libraries: dict[str, Path]
) -> None:
    with tarfile.open(FIXTURES / "logs" / f"{name}.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    home = str(tmp_path / "home")
    components = [str(path) for path in libraries.values()]

    def state() -> Any:
        pit = _host.open_pit(home, components)
        assert pit.damage() == []
        told = release.state(pit)
        pit.close()
        return told

    first = state()
    assert first["models"]
    assert first["artifacts"]
    assert first["runs"]
    assert as_told(first, json.loads((FIXTURES / "logs" / f"{name}.json").read_text()))
    assert {row[0] for row in _host.compact(home, components)} >= {"symphony.dag_tracker"}
    assert state() == first
