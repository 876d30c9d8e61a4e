"""The Artifact Store through the bridge: each of its methods, with real files."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from symphony import _host
from symphony.errors import PitConflict, PitInvalidArgument, PitNotFound, PitWouldBlock

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.unit, pytest.mark.python]

LARGE = 64 * 1024
NOWHERE = "0" * 64

WRITE_AND_DIE = """
import os, signal, sys
from symphony import _host
store = _host.open_pit(sys.argv[1], sys.argv[2:]).artifact_store
small = store.put(b"small", "notes", "text/plain", {"k": [1, None]}, "run/step", ["gold"])
large = store.put(b"L" * 100_000, "big", inputs=[small], message="first", author="me")
store.mark(small, 0.5)
store.trash([store.put(b"trash")], "old")
writer = store.open_writer()
store.write(writer, b"never finished")
print(small, large, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def store(pit: Any) -> Any:
    return pit.artifact_store


def files(tmp_path: Path) -> set[Path]:
    """The files with content; the search index is no such thing."""
    found = (tmp_path / "artifacts").rglob("*")
    return {path for path in found if path.is_file() and not path.name.startswith("index")}


def names(rows: list[dict[str, Any]]) -> list[str]:
    return [row["name"] for row in rows]


@pytest.mark.parametrize("size", [0, 1, LARGE - 1, LARGE, LARGE + 1, 1_000_000])
def test_content_comes_back_as_it_was(store: Any, size: int) -> None:
    content = os.urandom(size)
    artifact = store.put(content)
    assert len(artifact) == 64
    assert store.get(artifact) == content
    view = store.read(artifact)
    assert isinstance(view, memoryview)
    assert (view.readonly, view.nbytes, view == content) == (True, size, True)
    assert store.verify(artifact) is True
    with pytest.raises(TypeError):
        view[:1] = b"x"[: min(size, 1)]


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_any_buffer_can_be_stored(store: Any, kind: Any) -> None:
    assert store.get(store.put(kind(b"content"))) == b"content"


@pytest.mark.parametrize("size", [100, LARGE * 2])
def test_the_same_content_is_stored_once(store: Any, tmp_path: Path, size: int) -> None:
    content = os.urandom(size)
    first = store.put(content, "a")
    before = sum(path.stat().st_size for path in files(tmp_path))
    assert store.put(content, "b") == first
    assert store.put(content) == first
    assert sum(path.stat().st_size for path in files(tmp_path)) == before
    assert (store.stats()["contents"], store.stats()["bytes"], store.stats()["names"]) == (1, size, 2)


def test_the_id_is_the_blake3_hash(store: Any) -> None:
    assert store.put(b"") == "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"


@pytest.mark.parametrize("size", [100, LARGE * 3])
def test_a_memoryview_outlives_its_artifact(store: Any, size: int) -> None:
    content = os.urandom(size)
    artifact = store.put(content)
    view = store.read(artifact)
    store.delete(artifact)
    with pytest.raises(PitNotFound):
        store.read(artifact)
    store.put(os.urandom(size))
    gc.collect()
    assert view == content
    part = view[size // 2 :]
    del view
    gc.collect()
    assert part == content[size // 2 :]


def test_versions_of_a_name_are_kept_and_numbered(store: Any) -> None:
    first = store.put(b"one", "report", message="draft", author="ada")
    second = store.put(b"two", "report", parent=1)
    third = store.put(b"three", "report")
    assert store.find("report") == third
    assert [store.find("report", number) for number in (1, 2, 3, 4)] == [first, second, third, None]
    assert store.find("none") is None
    rows = store.versions("report")
    assert [(row["version"], row["id"], row["parent"]) for row in rows] == [
        (1, first, None),
        (2, second, 1),
        (3, third, 2),
    ]
    assert (rows[0]["message"], rows[0]["author"], rows[0]["size"]) == ("draft", "ada", 3)
    assert store.versions("none") == []
    back = store.put(b"one", "report")
    assert back == first
    assert [row["version"] for row in store.versions("report")][-1] >= 3


def test_a_list_goes_by_prefix_tag_and_pages(store: Any) -> None:
    for number in range(5):
        store.put(b"%d" % number, f"log/{number}", tags=["even"] if number % 2 == 0 else [])
    store.put(b"x", "other")
    assert names(store.list()) == [*(f"log/{number}" for number in range(5)), "other"]
    assert names(store.list("log/")) == [f"log/{number}" for number in range(5)]
    assert names(store.list("log/", "even")) == ["log/0", "log/2", "log/4"]
    assert names(store.list(limit=2)) == ["log/0", "log/1"]
    assert names(store.list("log/", limit=2, after="log/1")) == ["log/2", "log/3"]
    assert names(store.list("log/", after="log/4")) == []
    store.trash([store.find("log/1")])
    assert "log/1" not in names(store.list())


def test_info_says_what_is_known(store: Any) -> None:
    before = int(time.time() * 1e6)
    artifact = store.put(b"text", "notes", "text/plain", {"pages": 3}, "run/step#0", ["a", "b"])
    info = store.info(artifact)
    assert before - 1_000_000 <= info["created"] <= int(time.time() * 1e6)
    shown = {key: info[key] for key in ("id", "size", "tags", "mark", "referenced", "trashed", "archived")}
    assert shown == {
        "id": artifact,
        "size": 4,
        "tags": ["a", "b"],
        "mark": None,
        "referenced": True,
        "trashed": False,
        "archived": None,
    }
    version = info["versions"][0]
    assert (version["media_type"], version["metadata"], version["step"]) == (
        "text/plain",
        {"pages": 3},
        "run/step#0",
    )
    assert info["accesses"] == 0
    store.get(artifact)
    store.read(artifact)
    assert store.info(artifact)["accesses"] == 2
    assert store.info(artifact)["last_access"] >= info["created"]
    with pytest.raises(PitNotFound):
        store.info(NOWHERE)


def test_tags_metadata_and_marks_can_be_changed(store: Any) -> None:
    artifact = store.put(b"content", tags=["a"])
    store.tag(artifact, ["b", "c"])
    store.tag(artifact, ["b"])
    store.untag(artifact, ["a", "never"])
    assert store.info(artifact)["tags"] == ["b", "c"]
    store.annotate(artifact, {"lang": "en", "n": [1, {"deep": None}]})
    assert store.info(artifact)["metadata"] == {"lang": "en", "n": [1, {"deep": None}]}
    store.annotate(artifact, None)
    assert store.info(artifact)["metadata"] is None
    store.mark(artifact, 0.25)
    assert store.info(artifact)["mark"] == 0.25
    store.mark(artifact)
    assert store.info(artifact)["mark"] is None
    for value in (-0.1, 1.1, float("nan")):
        with pytest.raises(PitInvalidArgument, match="from 0 to 1"):
            store.mark(artifact, value)
    for metadata in (3, ["a"], "text"):
        with pytest.raises(PitInvalidArgument, match="metadata: expected dict"):
            store.annotate(artifact, metadata)
    changes: dict[str, Any] = {"tag": ["a"], "untag": ["a"], "annotate": {}, "mark": 1.0}
    for method, value in changes.items():
        with pytest.raises(PitNotFound):
            getattr(store, method)(NOWHERE, value)


@pytest.mark.parametrize("id", ["", "abc", "g" * 64, "0" * 63, "0" * 65, "../../etc/passwd"])
@pytest.mark.parametrize("method", ["get", "read", "info", "verify", "locate", "delete", "lineage"])
def test_what_is_no_id_is_refused(store: Any, method: str, id: str) -> None:
    with pytest.raises(PitInvalidArgument):
        getattr(store, method)(id)


def test_lineage_goes_both_ways_over_generations(store: Any) -> None:
    chain = [store.put(b"0")]
    for number in range(1, 4):
        chain.append(store.put(b"%d" % number, step=f"step{number}", inputs=[chain[-1]]))
    one = store.lineage(chain[1])
    assert (one["steps"], one["inputs"], one["consumers"]) == (["step1"], [chain[0]], [chain[2]])
    assert (one["ancestors"], one["descendants"]) == ([chain[0]], [chain[2], chain[3]])
    assert store.lineage(chain[3])["ancestors"] == [chain[2], chain[1], chain[0]]
    assert store.lineage(chain[3], 1)["ancestors"] == [chain[2]]
    with pytest.raises(PitNotFound):
        store.lineage(NOWHERE)


def test_the_best_match_comes_first(store: Any) -> None:
    often = store.put(b"walnut walnut walnut", "a")
    once = store.put(b"a walnut among many, many other words " * 9, "b")
    named = store.put(b"\x00\xff", "walnut")
    other = store.put(b"hazel", "c", metadata={"kind": "walnut-like"}, tags=["tree"], media_type="text/plain")
    found = [row["id"] for row in store.search("walnut")]
    assert set(found) == {often, once, named, other}
    assert found.index(often) < found.index(once)
    scores = [row["score"] for row in store.search("walnut")]
    assert scores == sorted(scores, reverse=True)
    assert {row["id"] for row in store.search("walnut many")} == {once}
    assert {row["id"] for row in store.search("waln*")} == set(found)
    assert store.search("absent") == []
    assert [row["id"] for row in store.search("walnut", tags=["tree"])] == [other]
    assert [row["id"] for row in store.search("walnut", metadata={"kind": "walnut-like"})] == [other]
    assert [row["id"] for row in store.search("walnut", media_type="text/")] == [other]
    assert len(store.search("walnut", limit=2)) == 2
    assert [row["id"] for row in store.search()] == [other, named, once, often]
    store.delete(often, force=True)
    assert often not in {row["id"] for row in store.search("walnut")}


@pytest.mark.parametrize("query", ['"', "AND", "a OR", "NEAR(", "col:x", "*", "-", "'; DROP TABLE x"])
def test_any_words_can_be_searched_for(store: Any, query: str) -> None:
    store.put(b"something else", "name")
    assert isinstance(store.search(query), list)


def test_search_finds_what_was_tagged_and_annotated_later(store: Any) -> None:
    artifact = store.put(b"content")
    store.tag(artifact, ["golden"])
    store.annotate(artifact, {"note": "quarterly figures"})
    assert [row["id"] for row in store.search("golden")] == [artifact]
    assert [row["id"] for row in store.search("quarterly")] == [artifact]
    store.untag(artifact, ["golden"])
    assert store.search("golden") == []


@pytest.mark.parametrize("size", [10, LARGE * 2])
def test_content_can_come_in_parts(store: Any, size: int) -> None:
    content = os.urandom(size)
    writer = store.open_writer()
    middle = size // 3
    assert store.write(writer, content[:middle]) == middle
    assert store.write(writer, content[middle:]) == size
    assert store.stats()["writers"] == 1
    source = store.put(b"source", "streamed")
    said = ("text/plain", {"k": 1}, "step", ["t"], [source], 1, "in parts", "ada")
    artifact = store.commit_writer(writer, "streamed", *said)
    row = store.versions("streamed")[1]
    assert (row["parent"], row["message"], row["author"]) == (1, "in parts", "ada")
    assert store.lineage(artifact)["inputs"] == [source]
    assert artifact == store.put(content)
    assert store.get(artifact) == content
    assert store.stats()["writers"] == 0
    assert (store.info(artifact)["tags"], store.find("streamed")) == (["t"], artifact)
    with pytest.raises(PitNotFound):
        store.write(writer, b"more")
    with pytest.raises(PitNotFound):
        store.commit_writer(writer)


def test_a_writer_without_parts_gives_empty_content_and_an_aborted_one_nothing(
    store: Any, tmp_path: Path
) -> None:
    assert store.get(store.commit_writer(store.open_writer())) == b""
    before = files(tmp_path)
    writer = store.open_writer()
    store.write(writer, bytes(LARGE * 2))
    store.abort_writer(writer)
    assert files(tmp_path) == before
    with pytest.raises(PitNotFound):
        store.abort_writer(writer)


def test_an_event_loop_uses_the_async_twins(store: Any) -> None:
    async def main() -> None:
        content = os.urandom(LARGE * 2)
        first = await store.put_async(b"first", "big")
        said = ("text/plain", {"k": [1]}, "step", ["t"], [first], 1, "larger", "ada")
        artifact = await store.put_async(content, "big", *said)
        assert store.find("big") == artifact
        row = store.versions("big")[1]
        assert [
            row[key] for key in ("media_type", "metadata", "step", "tags", "parent", "message", "author")
        ] == [*said[:4], *said[5:]]
        assert store.lineage(artifact)["inputs"] == [first]
        assert await store.verify_async(artifact) is True
        writer = store.open_writer()
        for part in (content[:LARGE], content[LARGE:]):
            await store.write_async(writer, part)
        assert (
            await store.commit_writer_async(writer, "streamed", metadata={"k": 2}, author="ada") == artifact
        )
        row = store.versions("streamed")[0]
        assert (row["metadata"], row["author"]) == ({"k": 2}, "ada")
        assert [row["id"] for row in await store.search_async("streamed")] == [artifact]
        for method, args in (("verify", (artifact,)), ("search", ()), ("write", (0, b""))):
            with pytest.raises(PitWouldBlock, match=f"{method}_async"):
                getattr(store, method)(*args)

    asyncio.run(main())


def flip(path: Path, offset: int) -> None:
    path.chmod(0o600)
    with path.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 1]))


@pytest.mark.parametrize("size", [1000, LARGE * 2])
def test_a_flipped_bit_is_found(store: Any, size: int) -> None:
    whole = [store.put(os.urandom(size)) for _ in range(3)]
    place = store.locate(whole[1])
    assert place["size"] == size
    flip(Path(place["path"]), place["offset"] + size // 2)
    assert [store.verify(artifact) for artifact in whole] == [True, False, True]
    found = store.verify_all()
    assert (found["checked"], found["damaged"], found["next"]) == (3, [whole[1]], None)


def test_all_is_verified_in_pages(store: Any) -> None:
    whole = sorted(store.put(b"%d" % number) for number in range(5))
    store.trash([whole[4]])
    first = store.verify_all(limit=2)
    assert (first["checked"], first["next"]) == (2, whole[1])
    second = store.verify_all(first["next"], 100)
    assert (second["checked"], second["damaged"], second["next"]) == (2, [], None)


def test_a_missing_file_is_an_error_that_names_it(tmp_path: Path, libraries: dict[str, Path]) -> None:
    paths = [str(libraries["artifact_store"])]
    pit: Any = _host.open_pit(str(tmp_path), paths)
    artifact = pit.artifact_store.put(bytes(LARGE * 2))
    path = Path(pit.artifact_store.locate(artifact)["path"])
    pit.close()
    path.unlink()
    pit = _host.open_pit(str(tmp_path), paths)
    with pytest.raises(PitNotFound, match=f"{path.name} is gone"):
        pit.artifact_store.get(artifact)
    pit.close()


def test_what_is_needed_is_not_deleted_unless_forced(store: Any) -> None:
    source = store.put(b"source")
    made = store.put(b"made", "result", inputs=[source])
    for artifact in (source, made):
        with pytest.raises(PitConflict, match="referenced"):
            store.delete(artifact)
    store.delete(made, force=True)
    assert (store.find("result"), store.list()) == (None, [])
    store.delete(source)
    assert store.stats()["contents"] == 0
    with pytest.raises(PitNotFound):
        store.delete(source)


def test_the_trash_hides_restores_and_empties(store: Any, tmp_path: Path) -> None:
    small, large, kept = (store.put(os.urandom(size)) for size in (10, LARGE * 2, 20))
    before = files(tmp_path)
    assert store.trash([small, large], "too old") == 2
    with pytest.raises(PitNotFound):
        store.get(small)
    assert {row["id"] for row in store.inventory()} == {kept}
    assert {(row["id"], row["reason"], row["size"]) for row in store.list_trash()} == {
        (small, "too old", 10),
        (large, "too old", LARGE * 2),
    }
    assert store.stats()["trashed"] == 2
    assert files(tmp_path) == before
    assert store.restore([small, kept]) == 1
    assert len(store.get(small)) == 10
    assert store.commit_trash([small]) == {"deleted": 0, "bytes": 0}
    assert store.commit_trash() == {"deleted": 1, "bytes": LARGE * 2}
    assert store.list_trash() == []
    assert len(files(tmp_path)) == len(before) - 1
    with pytest.raises(PitNotFound):
        store.info(large)


def test_content_put_again_comes_out_of_the_trash(store: Any) -> None:
    artifact = store.put(b"content")
    store.trash([artifact])
    assert store.put(b"content", "again") == artifact
    assert store.get(artifact) == b"content"
    assert store.commit_trash() == {"deleted": 0, "bytes": 0}
    assert store.get(artifact) == b"content"


def test_the_inventory_has_what_tells_the_worth_of_each_in_pages(store: Any) -> None:
    whole = sorted(store.put(b"%d" % number, tags=["t"]) for number in range(4))
    named = store.put(b"0", "name")
    store.mark(named, 1.0)
    rows = store.inventory(limit=3) + store.inventory(whole[2])
    assert [row["id"] for row in rows] == whole
    one = next(row for row in rows if row["id"] == named)
    assert (one["names"], one["tags"], one["mark"], one["referenced"], one["archived"]) == (
        ["name"],
        ["t"],
        1.0,
        True,
        False,
    )


def test_archived_content_lies_elsewhere_until_it_is_retrieved(store: Any, tmp_path: Path) -> None:
    folder = tmp_path / "cold"
    content = os.urandom(LARGE * 2)
    artifact = store.put(content, "big", "application/octet-stream")
    store.archive(artifact, str(folder))
    assert store.info(artifact)["archived"] == str(folder)
    assert [path.read_bytes() for path in folder.iterdir()] == [content]
    store.retrieve(artifact)
    assert store.get(artifact) == content
    assert store.info(artifact)["archived"] is None


def test_everything_outlives_a_killed_process(tmp_path: Path, libraries: dict[str, Path]) -> None:
    paths = [str(libraries["artifact_store"])]
    command = [sys.executable, "-c", WRITE_AND_DIE, str(tmp_path), *paths]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL
    small, large = done.stdout.split()
    pit: Any = _host.open_pit(str(tmp_path), paths)
    store = pit.artifact_store
    assert store.get(small) == b"small"
    assert store.get(large) == b"L" * 100_000
    assert store.verify_all()["damaged"] == []
    info = store.info(small)
    assert (info["tags"], info["mark"]) == (["gold"], 0.5)
    assert info["versions"][0]["metadata"] == {"k": [1, None]}
    assert store.lineage(large)["inputs"] == [small]
    assert [row["reason"] for row in store.list_trash()] == ["old"]
    assert [row["name"] for row in store.search("gold")] == ["notes"]
    assert store.stats()["writers"] == 0
    pit.close()


def test_a_closed_pit_leaves_memoryviews_readable(tmp_path: Path, libraries: dict[str, Path]) -> None:
    pit: Any = _host.open_pit(str(tmp_path), [str(libraries["artifact_store"])])
    view = pit.artifact_store.read(pit.artifact_store.put(b"x" * LARGE * 2))
    pit.close()
    del pit
    gc.collect()
    assert bytes(view[:3]) == b"xxx"


def test_the_store_answers(store: Any) -> None:
    assert store.ping() is None
    assert set(store.stats()) == {"contents", "names", "bytes", "trashed", "writers", "cold", "saved"}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, libraries: dict[str, Path]) -> Iterator[Any]:
    home = tmp_path_factory.mktemp("home")
    pit: Any = _host.open_pit(str(home), [str(libraries["artifact_store"])])
    yield pit.artifact_store
    pit.close()


@pytest.mark.property
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["put", "large", "trash", "restore", "empty", "delete", "cool", "warm"]),
            st.integers(0, 4),
        ),
        max_size=20,
    )
)
def test_the_store_keeps_exactly_what_was_put_and_not_deleted(
    shared: Any, actions: list[tuple[str, int]]
) -> None:
    store: Any = shared
    for row in store.inventory():
        store.delete(row["id"], force=True)
    store.commit_trash()
    kept: dict[str, bytes] = {}
    trashed: dict[str, bytes] = {}
    ids: dict[int, str] = {}
    for action, number in actions:
        artifact = ids.get(number, NOWHERE)
        if action in ("put", "large"):
            content = bytes([number]) * (LARGE + number if action == "large" else number)
            artifact = ids[number] = store.put(content)
            trashed.pop(artifact, None)
            kept[artifact] = content
        elif action == "trash" and artifact in kept:
            assert store.trash([artifact]) == 1
            trashed[artifact] = kept.pop(artifact)
        elif action == "restore" and artifact in trashed:
            assert store.restore([artifact]) == 1
            kept[artifact] = trashed.pop(artifact)
        elif action == "empty":
            emptied = store.commit_trash()
            assert emptied == {"deleted": len(trashed), "bytes": sum(map(len, trashed.values()))}
            trashed.clear()
        elif action == "delete" and artifact in kept:
            store.delete(artifact)
            del kept[artifact]
        elif action in ("cool", "warm") and artifact in kept:
            getattr(store, action)(artifact)
    assert {row["id"]: bytes(store.read(row["id"])) for row in store.inventory()} == kept
    assert {row["id"] for row in store.list_trash()} == set(trashed)
    assert store.verify_all()["damaged"] == []
