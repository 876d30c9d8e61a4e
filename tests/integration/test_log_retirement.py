"""The log lets go of its oldest segments; what was in them is known to snapshots and to the history."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from symphony import _host
from symphony.compaction import keep_compact
from symphony.core_components import core_components
from symphony.errors import PitCorrupt, PitNotFound

pytestmark = [pytest.mark.integration, pytest.mark.python, pytest.mark.subprocess]

ROOT = Path(__file__).parent.parent.parent
CORE = [str(path) for path in core_components()]
COMPACT = "import sys; from symphony import _host; _host.compact(sys.argv[1], sys.argv[2:])"
OPEN = "import sys; from symphony import _host; _host.open_pit(sys.argv[1], sys.argv[2:]).close()"
LARGE = b"x" * 300_000  # a few of them fill a segment
END = 1 << 62


@pytest.fixture(scope="module")
def counting(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A third party's component that counts its records; one that dies of its snapshot."""
    folder = tmp_path_factory.mktemp("components")

    def compiled(name: str, *options: str) -> str:
        target = str(folder / f"{name}.so")
        source = str(ROOT / "tests" / "fixtures" / "components" / "awkward.c")
        include = ["-I", str(ROOT / "pit" / "include"), '-DID="acme.count"']
        subprocess.run(["cc", "-shared", "-fPIC", *include, *options, "-o", target, source], check=True)
        return target

    return compiled("sound"), compiled("deadly", "-DRESTORE=ABORTS"), compiled("refusing", "-DRESTORE=FAILS")


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory, counting: Any) -> Path:
    """A home whose log has some segments: of finished runs, a live one, a third party; in snapshots."""
    home = tmp_path_factory.mktemp("filled")
    pit = _host.open_pit(str(home), [*CORE, counting[0]], log_segment_bytes=1)
    for number in range(8):
        pit.call("acme.count", "count", [])
        pit.dag_tracker.accept_run(f"run{number}", b"{}", LARGE)
        pit.dag_tracker.finish_run(f"run{number}", "completed", b"={}")
    pit.dag_tracker.accept_run("live", b"{}", b"inputs")
    assert pit.retire(END) == (0, 0)  # no component has a snapshot
    pit.close()
    compact(home, counting[0])
    return home


@pytest.fixture
def home(tmp_path: Path, filled: Path) -> Path:
    return Path(shutil.copytree(filled, tmp_path / "home"))


def compact(home: Path, *more: str) -> None:
    subprocess.run([sys.executable, "-c", COMPACT, str(home), *CORE, *more], check=True)


def opened(home: Path, *more: str) -> Any:
    return _host.open_pit(str(home), [*CORE, *more], log_segment_bytes=1)


def segments(home: Path) -> list[str]:
    return sorted(path.name for path in (home / "pit" / "log").glob("*.seg"))


def retired(home: Path, *more: str) -> tuple[int, int]:
    pit = opened(home, *more)
    done: tuple[int, int] = pit.retire(END)
    pit.close()
    return done


def counted(home: Path, library: str) -> tuple[int, int]:
    pit = opened(home, library)
    found = (pit.call("acme.count", "counted", []), pit.call("acme.count", "counted_by_replay", []))
    pit.close()
    return found


def test_segments_go_and_nothing_is_forgotten_by_it(home: Path, counting: Any) -> None:
    before = segments(home)
    pit = opened(home, counting[0])
    known = pit.dag_tracker.finished_runs()
    assert pit.dag_tracker.forget_runs(known[:3]) == 3
    assert pit.retire(0) == (0, 0)  # the history is not as far
    assert pit.retire(END) == (len(before) - 1, 0)
    pit.close()
    assert segments(home) == before[-1:]
    report = _host.inspect(str(home))
    assert [segment["damage"] for segment in report["segments"]] == [None]
    for _ in range(2):
        pit = opened(home, counting[0])
        assert pit.dag_tracker.finished_runs() == known[3:]
        assert pit.dag_tracker.live_runs() == ["live"]
        assert bytes(pit.dag_tracker.run_info("live")["inputs"]) == b"inputs"
        with pytest.raises(PitNotFound):
            pit.dag_tracker.run_info(known[0])
        pit.close()
        compact(home, counting[0])
    assert counted(home, counting[0]) == (8, 0)


def test_records_of_a_component_that_is_not_there_wait_for_it(home: Path, counting: Any) -> None:
    (home / "pit" / "snapshots" / "acme.count.snap").unlink()
    assert retired(home) == (2, 7)  # its last record is in the segment that stays
    kept = home / "pit" / "log" / "kept"
    assert sum(path.stat().st_blocks * 512 for path in kept.iterdir()) < 100_000
    assert counted(home, counting[0]) == (8, 8)
    compact(home, counting[0])
    assert counted(home, counting[0]) == (8, 0)
    pit = opened(home, counting[0])
    for number in range(4):
        pit.dag_tracker.accept_run(f"more{number}", b"{}", LARGE)
    pit.close()
    compact(home, counting[0])
    assert retired(home, counting[0])[0] > 0
    assert list(kept.iterdir()) == []  # a snapshot has them now
    assert counted(home, counting[0]) == (8, 0)


def test_without_the_snapshot_that_is_all_there_is_a_pit_says_so_and_loses_nothing(
    home: Path, counting: Any
) -> None:
    retired(home, counting[0])
    snapshots = home / "pit" / "snapshots"
    for component, library in (("symphony.dag_tracker", ()), ("acme.count", counting[:1])):
        snapshot = snapshots / f"{component}.snap"
        whole = snapshot.read_bytes()
        for content in (b"damaged", None):
            snapshot.unlink()
            if content:
                snapshot.write_bytes(content)
            if library:
                pit = opened(home, *library)
                [(name, reason, note)] = pit.disabled()
                pit.close()
                assert (name, "its records up to position" in reason) == ("acme.count", True)
                Path(note).unlink()
            else:
                with pytest.raises(PitCorrupt, match=r"records up to position .* were retired") as raised:
                    opened(home)
                assert "finished runs stay in the history" in str(raised.value.hint)
            assert not list(snapshots.glob("*.unreadable"))
            snapshot.write_bytes(whole)
    assert counted(home, counting[0]) == (8, 0)


def test_a_death_while_such_a_snapshot_is_read_does_not_cost_it(home: Path, counting: Any) -> None:
    sound, deadly, refusing = counting
    retired(home, sound)
    command = [sys.executable, "-c", OPEN, str(home), *CORE]
    assert subprocess.run([*command, deadly], stderr=subprocess.DEVNULL, check=False).returncode == -6
    assert counted(home, sound) == (8, 0)
    for _ in range(2):
        assert subprocess.run([*command, deadly], stderr=subprocess.DEVNULL, check=False).returncode == -6
    pit = opened(home, sound)
    [(_, reason, note)] = pit.disabled()
    assert "reading its snapshot up to position" in reason
    pit.close()
    Path(note).unlink()
    pit = opened(home, refusing)
    [(_, _, note)] = pit.disabled()
    pit.close()
    Path(note).unlink()
    assert counted(home, sound) == (8, 0)


def test_what_a_killed_compactor_left_is_cleared_away(home: Path, counting: Any) -> None:
    left = home / "pit" / "snapshots" / "symphony.dag_tracker.4242.new"
    left.write_bytes(b"half of it")
    opened(home, counting[0]).close()
    assert not left.exists()


def test_a_compacted_log_is_shortened_as_far_as_the_history_goes(home: Path, counting: Any) -> None:
    before = segments(home)
    pit = opened(home, counting[0])
    behind = [segment["first"] + segment["bytes"] for segment in _host.inspect(str(home))["segments"]]

    async def main() -> list[str]:
        said: list[str] = []
        keeping = asyncio.create_task(
            keep_compact(pit, home, [*CORE, counting[0]], said.append, retirable=lambda: behind[0])
        )
        while segments(home) == before:
            await asyncio.sleep(0.01)
        keeping.cancel()
        return said

    assert asyncio.run(main()) == []
    assert segments(home) == before[1:]
    pit.close()
