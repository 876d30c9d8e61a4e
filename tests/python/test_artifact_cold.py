"""The cold tier of the Artifact Store through the bridge: compressed on disk, and read as before."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from symphony import _host
from symphony.errors import PitConflict, PitCorrupt, PitInvalidArgument, PitNotFound, PitWouldBlock

pytestmark = [pytest.mark.unit, pytest.mark.python]

LARGE = 64 * 1024
NOWHERE = "0" * 64

COOL_AND_WARM = """
import random, sys
from symphony import _host
store = _host.open_pit(sys.argv[1], sys.argv[3:]).artifact_store
chance = random.Random(int(sys.argv[2]))
ids = [row["id"] for row in store.inventory()]
print("ready", flush=True)
while True:
    getattr(store, chance.choice(["cool", "warm"]))(chance.choice(ids))
"""


@pytest.fixture
def store(pit: Any) -> Any:
    return pit.artifact_store


def prose(size: int, seed: int = 0) -> bytes:
    """Words in an order that does not repeat: what compresses, but not to nothing."""
    chance = random.Random(seed)
    words = (f"walnut{chance.randrange(500)} " for _ in range(size // 6 + 1))
    return "".join(words).encode()[:size]


def mixed(size: int) -> bytes:
    """Compresses to no less than half."""
    return random.Random(size).randbytes(size // 2) + bytes(size - size // 2)


def content_bytes(home: Path) -> int:
    folders = [home / "artifacts" / "packs", home / "artifacts" / "objects"]
    return sum(path.stat().st_size for folder in folders for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("size", [4 * 1024, LARGE - 1, LARGE, 3_000_000])
def test_cold_content_is_read_as_before_and_takes_less(store: Any, tmp_path: Path, size: int) -> None:
    content = prose(size)
    artifact = store.put(content, "notes", "text/plain", tags=["t"])
    before, view = store.info(artifact), store.read(artifact)
    row = store.cool(artifact)
    assert (row["cold"], row["size"], row["reason"]) == (True, size, "")
    assert row["bytes"] < size * 7 / 8
    assert view == content
    assert store.get(artifact) == content
    cold = store.read(artifact)
    assert (isinstance(cold, memoryview), cold.readonly, cold == content) == (True, True, True)
    assert store.verify(artifact)
    after = store.info(artifact)
    assert (before["cold"], after["cold"]) == (None, row["bytes"])
    assert {key: after[key] for key in ("size", "tags", "created")} == {
        key: before[key] for key in ("size", "tags", "created")
    }
    assert [one["cold"] for one in store.inventory()] == [True]
    assert (store.stats()["cold"], store.stats()["saved"]) == (1, size - row["bytes"])
    place = store.locate(artifact)
    assert (place["cold"], place["size"]) == (True, row["bytes"])
    assert Path(place["path"]).stat().st_size >= row["bytes"]
    assert [one["id"] for one in store.search("walnut1*" if size < LARGE else "notes", tags=["t"])] == [
        artifact
    ]
    assert store.put(content) == artifact
    store.delete(artifact, force=True)
    assert cold == content
    assert store.stats()["saved"] == 0
    with pytest.raises(PitNotFound):
        store.cool(artifact)


def test_what_is_small_or_does_not_compress_stays_and_says_so(store: Any) -> None:
    for content, reason in (
        (prose(4 * 1024 - 1), "smaller than 4 KiB"),
        (os.urandom(10_000), "compressing saves less than an eighth"),
        (os.urandom(LARGE * 2), "compressing saves less than an eighth"),
    ):
        artifact = store.put(content)
        row = store.cool(artifact)
        assert row == {"cold": False, "size": len(content), "bytes": len(content), "reason": reason}
        assert store.get(artifact) == content
    assert store.stats()["cold"] == 0


def test_warm_content_lies_as_it_was_put(store: Any) -> None:
    for content in (prose(20_000), prose(LARGE * 3)):
        artifact = store.put(content)
        store.cool(artifact)
        assert store.cool(artifact)["reason"] == "cold already"
        store.warm(artifact)
        store.warm(artifact)
        place = store.locate(artifact)
        raw = Path(place["path"]).read_bytes()
        assert raw[place["offset"] : place["offset"] + place["size"]] == content
        assert store.get(artifact) == content
    assert (store.stats()["cold"], store.stats()["saved"]) == (0, 0)


def test_what_was_idle_is_cooled_page_by_page_and_gives_its_space_back(store: Any, tmp_path: Path) -> None:
    contents = {store.put(prose(50_000, seed)): prose(50_000, seed) for seed in range(60)}
    noise = store.put(os.urandom(5_000))
    before = content_bytes(tmp_path)
    assert store.cool_all(3_600)["checked"] == 0
    pages, after = [], ""
    while True:
        pages.append(store.cool_all(0, after, 25))
        after = pages[-1]["next"]
        if after is None:
            break
    assert [page["checked"] for page in pages] == [25, 25, 11]
    assert sum(page["cooled"] for page in pages) == len(contents)
    assert sum(page["saved"] for page in pages) == store.stats()["saved"]
    assert all(page["damaged"] == [] for page in pages)
    assert content_bytes(tmp_path) < before * 3 / 4
    assert all(store.get(artifact) == content for artifact, content in contents.items())
    assert store.verify_all() == {"checked": 61, "damaged": [], "next": None}
    assert store.cool_all(0)["cooled"] == 0
    assert store.info(noise)["cold"] is None
    for idle in (-1.0, float("nan"), float("inf")):
        with pytest.raises(PitInvalidArgument, match="idle: expected seconds"):
            store.cool_all(idle)


def test_what_is_in_the_trash_or_archived_is_not_cooled(store: Any, tmp_path: Path) -> None:
    trashed, archived = store.put(prose(9_000, 1)), store.put(prose(9_000, 2))
    store.trash([trashed])
    store.archive(archived, str(tmp_path / "elsewhere"))
    for artifact in (trashed, archived, NOWHERE):
        for method in (store.cool, store.warm):
            with pytest.raises(PitNotFound):
                method(artifact)
    assert store.cool_all(0)["checked"] == 0
    store.retrieve(archived)
    store.cool(archived)
    store.archive(archived, str(tmp_path / "elsewhere"))
    assert (tmp_path / "elsewhere" / archived).read_bytes() == prose(9_000, 2)
    with pytest.raises(PitConflict):
        store.retrieve(trashed)


@pytest.mark.parametrize("content", [prose(20_000), mixed(LARGE * 4)])
def test_damage_is_an_error_that_names_the_file(store: Any, content: bytes) -> None:
    artifact = store.put(content)
    cooled = store.cool(artifact)
    assert cooled["cold"]
    place = store.locate(artifact)
    path = Path(place["path"])
    whole = path.read_bytes()
    at = place["offset"] + cooled["bytes"] // 3
    path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
    for method in (store.get, store.read, store.warm):
        with pytest.raises(PitCorrupt, match=f"{path.name} is damaged"):
            method(artifact)
    assert store.verify(artifact) is False
    assert store.verify_all()["damaged"] == [artifact]
    path.write_bytes(whole)
    assert store.get(artifact) == content


def test_an_event_loop_uses_the_async_twins(store: Any) -> None:
    async def main() -> None:
        content = prose(LARGE * 2)
        artifact = store.put(content)
        for method, arguments in (("cool", [artifact]), ("warm", [artifact]), ("cool_all", [0])):
            with pytest.raises(PitWouldBlock, match=f"{method}_async"):
                getattr(store, method)(*arguments)
        assert (await store.cool_async(artifact))["cold"]
        assert await store.read_async(artifact) == content
        await store.warm_async(artifact)
        assert await store.read_async(artifact) == content
        assert (await store.cool_all_async(0))["cooled"] == 1

    asyncio.run(main())


def test_cold_content_outlives_a_restart_and_a_snapshot(tmp_path: Path, libraries: dict[str, Path]) -> None:
    paths = [str(libraries["artifact_store"])]
    contents = [prose(9_000), prose(LARGE * 2), mixed(LARGE * 4)]
    pit: Any = _host.open_pit(str(tmp_path), paths)
    ids = [pit.artifact_store.put(content) for content in contents]
    rows = [pit.artifact_store.cool(artifact) for artifact in ids]
    stats = pit.artifact_store.stats()
    pit.close()
    for compacted in (False, True):
        if compacted:
            assert _host.compact(str(tmp_path), paths)
        pit = _host.open_pit(str(tmp_path), paths)
        assert pit.artifact_store.stats() == stats
        assert [pit.artifact_store.info(artifact)["cold"] for artifact in ids] == [
            row["bytes"] for row in rows
        ]
        assert [pit.artifact_store.get(artifact) for artifact in ids] == contents
        pit.close()


@pytest.mark.subprocess
def test_a_killed_process_loses_no_content(tmp_path: Path, libraries: dict[str, Path]) -> None:
    paths = [str(libraries["artifact_store"])]
    pit: Any = _host.open_pit(str(tmp_path), paths)
    contents = [prose(size, size) for size in (5_000, 60_000, 100_000)] + [mixed(LARGE * 8), mixed(LARGE * 9)]
    kept = {pit.artifact_store.put(content): content for content in contents}
    pit.close()
    for seed in range(int(os.environ.get("SYMPHONY_SOAK_RUNS", "6"))):
        command = [sys.executable, "-c", COOL_AND_WARM, str(tmp_path), str(seed), *paths]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            time.sleep(random.Random(seed).uniform(0, 0.1))
            process.send_signal(signal.SIGKILL)
        pit = _host.open_pit(str(tmp_path), paths)
        store = pit.artifact_store
        assert {artifact: store.get(artifact) for artifact in kept} == kept
        assert store.verify_all()["damaged"] == []
        named = {store.locate(artifact)["path"] for artifact in kept}
        pit.close()
        objects = (tmp_path / "artifacts" / "objects").rglob("*")
        left = {str(path) for path in objects if path.is_file()} - named
        # The process may have died between a file and its record: the next cool or warm writes it again.
        assert len(left) <= 2
