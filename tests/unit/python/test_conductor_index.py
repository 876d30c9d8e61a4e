"""The steps of conductor.index over a store in memory: what is embedded, reused, removed; and the policy."""

from __future__ import annotations

import hashlib
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import symphony
from symphony.errors import NotFound
from symphony.scheduling import ReadyStep, Resources
from symphony_conductor.indexing import embed_file, list_files, write_index
from symphony_conductor.manifest import Manifest
from symphony_conductor.policy import ModelsTogether
from symphony_conductor.searching import ask, find_index

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.unit, pytest.mark.python]

LIMIT = 1 << 20
CODE = "import os\n\ndef one():\n    return 1\n\ndef two():\n    return 2\n"


class Store:
    """The Artifact Store's methods that the steps call, in memory."""

    def __init__(self) -> None:
        self.contents: dict[str, bytes] = {}
        self.names: dict[str, str] = {}

    def put(self, content: bytes, name: str = "", media_type: str = "") -> str:
        identity = hashlib.sha256(content).hexdigest()
        self.contents[identity] = content
        if name:
            self.names[name] = identity
        return identity

    def get(self, identity: str) -> bytes:
        try:
            return self.contents[identity]
        except KeyError:
            raise symphony.SymphonyError(f"no artifact {identity}") from None

    def info(self, identity: str) -> dict[str, int]:
        return {"size": len(self.get(identity))}

    def find(self, name: str) -> str | None:
        return self.names.get(name)

    def list(self, prefix: str) -> list[dict[str, Any]]:
        named = [name for name in self.names if name.startswith(prefix)]
        return [{"name": name, "created": created} for created, name in enumerate(named)]


class Ones:
    """A model that counts the texts it embeds."""

    texts = 0

    def embed(self, texts: list[str], *, norm: bool = False) -> Any:
        self.texts += len(texts)
        return np.ones((len(texts), 256), dtype=np.float32)


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Store:
    store = Store()
    monkeypatch.setitem(vars(symphony), "pit", SimpleNamespace(artifact_store=store))
    return store


def run(root: Path, model: Ones | None = None) -> dict[str, Any]:
    """The workflow's body, step by step, in plain function calls."""
    listed = list_files.fn(str(root), LIMIT)
    embedded = [
        embed_file.fn(listed["root"], path, previous, LIMIT, model=model or Ones())
        for path, previous in listed["changed"]
    ]
    result: dict[str, Any] = write_index.fn(listed["kept"], embedded, listed["removed"])
    return result


def counts(result: dict[str, Any]) -> tuple[int, ...]:
    return tuple(result[key] for key in ("files", "passages", "embedded", "reused", "removed"))


def test_the_first_run_embeds_everything(tmp_path: Path, store: Store) -> None:
    (tmp_path / "a.py").write_text(CODE)
    (tmp_path / "empty.txt").write_text("")
    (tmp_path / "b.bin").write_bytes(b"\0")
    result = run(tmp_path)
    assert counts(result) == (2, 3, 3, 0, 0)
    assert result["skipped"] == [{"path": "b.bin", "reason": "binary: holds NUL bytes"}]
    assert store.names == {f"conductor/index/{tmp_path}": result["index"]}
    assert set(Manifest.from_json(store.get(result["index"])).files) == {"a.py", "empty.txt"}


def test_a_second_run_embeds_nothing_and_keeps_the_id(tmp_path: Path, store: Store) -> None:
    (tmp_path / "a.py").write_text(CODE)
    first = run(tmp_path)
    model = Ones()
    second = run(tmp_path, model)
    assert counts(second) == (1, 3, 0, 3, 0)
    assert second["index"] == first["index"]
    assert model.texts == 0


def test_within_a_changed_file_only_the_changed_passage_is_embedded(tmp_path: Path, store: Store) -> None:
    (tmp_path / "a.py").write_text(CODE)
    run(tmp_path)
    (tmp_path / "a.py").write_text(CODE.replace("return 1", "return 11") + "\n\ndef three():\n    return 3\n")
    assert counts(run(tmp_path)) == (1, 4, 2, 2, 1)


def test_a_deleted_file_is_removed_and_a_moved_one_is_not_embedded(tmp_path: Path, store: Store) -> None:
    (tmp_path / "a.py").write_text(CODE)
    (tmp_path / "b.py").write_text("x = 1\n")
    run(tmp_path)
    (tmp_path / "b.py").unlink()
    (tmp_path / "a.py").rename(tmp_path / "c.py")
    assert counts(run(tmp_path)) == (1, 3, 0, 3, 1)


def test_one_of_two_copies_deleted_counts_as_removed(tmp_path: Path, store: Store) -> None:
    for name in ("a.py", "b.py"):
        (tmp_path / name).write_text(CODE)
    assert counts(run(tmp_path)) == (2, 6, 6, 0, 0)
    (tmp_path / "b.py").unlink()
    assert counts(run(tmp_path)) == (1, 3, 0, 3, 3)


def test_a_file_that_became_binary_is_removed_and_listed(tmp_path: Path, store: Store) -> None:
    (tmp_path / "a.py").write_text(CODE)
    run(tmp_path)
    (tmp_path / "a.py").write_bytes(b"\0")
    result = run(tmp_path)
    assert counts(result) == (0, 0, 0, 0, 3)
    assert [row["path"] for row in result["skipped"]] == ["a.py"]


def test_a_file_that_vanishes_after_it_was_listed_is_skipped(tmp_path: Path, store: Store) -> None:
    (tmp_path / "a.py").write_text(CODE)
    listed = list_files.fn(str(tmp_path), LIMIT)
    (tmp_path / "a.py").unlink()
    file = embed_file.fn(listed["root"], "a.py", "", LIMIT, model=Ones())
    result = write_index.fn(listed["kept"], [file], listed["removed"])
    assert counts(result) == (0, 0, 0, 0, 0)
    assert result["skipped"] == [{"path": "a.py", "reason": "unreadable: No such file or directory"}]


def test_passages_that_were_deleted_from_the_store_are_embedded_anew(tmp_path: Path, store: Store) -> None:
    (tmp_path / "a.py").write_text(CODE)
    entry = Manifest.from_json(store.get(run(tmp_path)["index"])).files["a.py"]
    del store.contents[entry.artifact]
    assert counts(run(tmp_path))[2:4] == (3, 0)


def test_a_link_to_the_folder_is_the_same_index(tmp_path: Path, store: Store) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real/a.py").write_text(CODE)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert run(tmp_path / "real")["index"] == run(tmp_path / "link")["index"]


def test_a_search_without_a_path_asks_the_index_around_the_working_folder(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("here", "there"):
        (tmp_path / name / "sub").mkdir(parents=True)
        (tmp_path / name / "sub/a.py").write_text(CODE + f"# {name}\n")
    here, there = run(tmp_path / "here"), run(tmp_path / "there")

    def found_from(folder: Path) -> dict[str, str]:
        monkeypatch.setitem(vars(symphony), "current", lambda: SimpleNamespace(cwd=str(folder)))
        found: dict[str, str] = find_index.fn("")
        return found

    assert found_from(tmp_path / "here/sub") == {
        "index": here["index"],
        "root": str(tmp_path / "here"),
        "within": "",
    }
    assert found_from(tmp_path)["index"] == there["index"], "the newest, where none contains the folder"


def test_a_search_in_a_part_of_an_index_finds_only_there(tmp_path: Path, store: Store) -> None:
    (tmp_path / "sub").mkdir()
    for name in ("a.py", "sub/b.py"):
        (tmp_path / name).write_text(CODE)
    run(tmp_path)
    found = find_index.fn(str(tmp_path / "sub"))
    assert found["within"] == "sub"
    hits = ask.fn("two", found["index"], found["within"], 10, model=Ones())
    assert {hit["path"] for hit in hits} == {"sub/b.py"}
    assert (hits[0]["start"], hits[0]["end"], hits[0]["text"]) == (6, 7, "def two():\n    return 2")


def test_a_folder_without_index_says_how_to_make_one(tmp_path: Path, store: Store) -> None:
    with pytest.raises(NotFound, match=f"symphony run conductor.index path={tmp_path}"):
        find_index.fn(str(tmp_path))


def test_the_policy_draws_steps_of_one_model_together() -> None:
    def step(key: str, model: str | None) -> ReadyStep:
        return ReadyStep("r", "w", key, key, "thread", model, 1, 0.0, ())

    policy = ModelsTogether()
    ready = [step("1", None), step("2", "x"), step("3", "y"), step("4", "x"), step("5", None)]
    free = Resources(asynchronous=1, threads=1)
    assert [found.key for found in policy.order(ready, free)] == ["1", "2", "4", "3", "5"]
    policy.observe(step("3", "y"), 0.1, True)
    assert [found.key for found in policy.order(ready, free)] == ["1", "3", "2", "4", "5"]
