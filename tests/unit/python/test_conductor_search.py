"""Ranking, the memory of loaded indexes, and the choice of an index."""

from __future__ import annotations

import numpy as np
import pytest

from symphony_conductor.bundle import pack, reuse, unpack
from symphony_conductor.choice import choose
from symphony_conductor.embedding import DIMENSIONS, Vectors, embed_passages, split_title
from symphony_conductor.library import Library
from symphony_conductor.manifest import Entry, Manifest
from symphony_conductor.passages import Passage
from symphony_conductor.ranking import Collection, z_scores
from symphony_conductor.terms import stem, terms

pytestmark = [pytest.mark.unit, pytest.mark.python]

PASSAGES = [
    Passage(1, 2, "parse_header", "def parse_header(raw):\n    return raw.split(':')"),
    Passage(4, 5, "Socket.close", "def close(self):\n    self.handle = None"),
    Passage(7, 8, "", "import os\nimport sys"),
]


class LetterModel:
    """A model whose vectors are counts of letters: enough to see which texts it was given."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def embed(self, texts: list[str], *, norm: bool = False) -> Vectors:
        self.seen.extend(texts)
        vectors = np.zeros((len(texts), DIMENSIONS), dtype=np.float32)
        for row, text in enumerate(texts):
            for letter in text:
                vectors[row, ord(letter) % DIMENSIONS] += 1
        return vectors


def flat(count: int) -> Vectors:
    vectors = np.zeros((count, DIMENSIONS), dtype=np.float32)
    vectors[:, 0] = 1
    return vectors


def test_words_decide_where_vectors_are_alike() -> None:
    ranked = Collection(PASSAGES, flat(3)).rank("who parses the headers", flat(1)[0], 3)
    assert ranked[0].position == 0
    assert ranked[0].score > ranked[1].score


def test_vectors_decide_where_no_word_is_known() -> None:
    vectors = flat(3)
    vectors[1] = np.eye(1, DIMENSIONS, 7, dtype=np.float32)
    assert Collection(PASSAGES, vectors).rank("zzz", vectors[1], 1)[0].position == 1


def test_a_title_weighs_more_than_text() -> None:
    named, mentioned = Passage(1, 1, "close", "pass"), Passage(2, 2, "other", "close()")
    assert Collection([mentioned, named], flat(2)).rank("close", flat(1)[0], 2)[0].position == 1


def test_an_empty_collection_has_no_answers() -> None:
    assert Collection([], np.zeros((0, DIMENSIONS), dtype=np.float32)).rank("x", flat(1)[0], 5) == []


def test_equal_scores_have_no_spread() -> None:
    assert z_scores(np.ones(4, dtype=np.float32)).tolist() == [0, 0, 0, 0]


def test_words_of_one_family_share_their_stem() -> None:
    for family in (
        ["parse", "parsing", "parsed", "parser", "parses"],
        ["entry", "entries"],
        ["class", "classes"],
    ):
        assert len({stem(word) for word in family}) == 1, family
    assert terms("HTTPServerError2") == ("http", stem("server"), stem("error"))
    assert terms("the") == terms("x") == ()


def test_vectors_are_unit_and_each_text_is_embedded_once() -> None:
    model = LetterModel()
    vectors = embed_passages(model, [*PASSAGES, PASSAGES[0], Passage(9, 9, "", "...")])
    assert np.allclose(np.linalg.norm(vectors, axis=1), [1, 1, 1, 1, 0])
    assert len(model.seen) == len(set(model.seen))
    assert np.array_equal(vectors[0], vectors[3])


def test_titles_fall_into_scope_and_name() -> None:
    assert split_title("A.B.c") == ("A.B", "c")
    assert split_title("Guide > v1.2 > Install") == ("Guide > v1.2", "Install")


def test_a_bundle_survives_its_bytes() -> None:
    vectors = embed_passages(LetterModel(), PASSAGES)
    bundle = unpack(memoryview(pack(PASSAGES, vectors)))
    assert bundle.passages == tuple(PASSAGES)
    assert np.allclose(bundle.vectors, vectors, atol=1e-3)
    assert pack(bundle.passages, bundle.vectors) == pack(PASSAGES, vectors)


@pytest.mark.parametrize("content", [b"", b"CONDUCT1", b"CONDUCT1\x02\0\0\0{}", b"other bytes"])
def test_foreign_bytes_are_no_bundle(content: bytes) -> None:
    with pytest.raises(ValueError, match="bundle of passages"):
        unpack(content)


def test_vectors_of_unchanged_passages_are_reused_once_each() -> None:
    old = unpack(pack([PASSAGES[0], PASSAGES[1], PASSAGES[0]], flat(3)))
    moved = Passage(90, 91, PASSAGES[0].title, PASSAGES[0].text)
    assert reuse([PASSAGES[2], moved], old) == ({1: 0}, 2)
    assert reuse([PASSAGES[0]] * 3, old) == ({0: 0, 1: 2}, 1)
    renamed = Passage(4, 5, "Other.close", PASSAGES[1].text)
    assert reuse([renamed], old) == ({}, 3), "the title is in the vector"
    assert reuse(PASSAGES, None) == ({}, 0)


def shelf(count: int) -> dict[str, bytes]:
    """Artifacts of ``count`` indexes of the same file."""
    artifacts = {"file": pack(PASSAGES, flat(3))}
    for number in range(count):
        files = {"src/a.py": Entry("f", "file", 3), "b.py": Entry("g", "file", 3)}
        artifacts[f"index{number}"] = Manifest(f"/r{number}", files).to_json()
    return artifacts


def test_a_book_answers_with_places() -> None:
    artifacts = shelf(1)
    hits = Library().open("index0", artifacts.__getitem__).ask("parse header", flat(1)[0], 2)
    assert [(hit["path"], hit["start"], hit["end"]) for hit in hits] == [("b.py", 1, 2), ("src/a.py", 1, 2)]
    assert hits[0]["text"] == PASSAGES[0].text
    assert set(hits[0]) == {"path", "start", "end", "score", "text"}


def test_hits_can_be_limited_to_a_folder() -> None:
    book = Library().open("index0", shelf(1).__getitem__)
    assert {hit["path"] for hit in book.ask("close", flat(1)[0], 10, "src")} == {"src/a.py"}
    assert {hit["path"] for hit in book.ask("close", flat(1)[0], 10, "b.py")} == {"b.py"}
    assert book.ask("close", flat(1)[0], 10, "sr") == []


def test_the_library_forgets_the_least_recently_asked() -> None:
    artifacts, fetched = shelf(3), []

    def fetch(name: str) -> bytes:
        fetched.append(name)
        return artifacts[name]

    library = Library(kept=2)
    for name in ("index0", "index1", "index0", "index2", "index0", "index1"):
        library.open(name, fetch)
    assert [name for name in fetched if name != "file"] == ["index0", "index1", "index2", "index1"]


@pytest.mark.parametrize(
    ("wanted", "else_newest", "expected"),
    [
        ("/a/b", True, "/a/b"),
        ("/a/b/c", False, "/a/b"),
        ("/a/bc", False, "/a"),
        ("/x", True, "/z"),
        ("/x", False, None),
    ],
)
def test_the_innermost_index_is_chosen(wanted: str, else_newest: bool, expected: str | None) -> None:
    assert choose(["/a", "/a/b", "/z"], wanted, else_newest=else_newest) == expected


def test_without_any_index_there_is_none() -> None:
    assert choose([], "/a", else_newest=True) is None
