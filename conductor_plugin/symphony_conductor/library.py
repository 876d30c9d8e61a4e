"""Keeps the last few indexes that were asked in memory, ready for the next question.

It gets its bytes from a function, knows no Pit, and holds nothing that cannot be loaded again.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from symphony_conductor.bundle import unpack
from symphony_conductor.embedding import DIMENSIONS, Vectors
from symphony_conductor.manifest import Manifest
from symphony_conductor.ranking import Collection

if TYPE_CHECKING:
    from symphony_conductor.passages import Passage

Fetch = Callable[[str], bytes | memoryview]

KEPT = 4


class Book:
    """One index, loaded: its passages with their paths."""

    def __init__(self, manifest: Manifest, fetch: Fetch) -> None:
        passages: list[Passage] = []
        vectors: list[Vectors] = [np.zeros((0, DIMENSIONS), dtype=np.float32)]
        self._paths: list[str] = []
        for path, entry in manifest.files.items():
            bundle = unpack(fetch(entry.artifact))
            passages.extend(bundle.passages)
            vectors.append(bundle.vectors)
            self._paths.extend([path] * len(bundle.passages))
        self._collection = Collection(passages, np.concatenate(vectors))

    def ask(self, query: str, vector: Vectors, top: int, within: str = "") -> list[dict[str, Any]]:
        """Hits, best first; with ``within`` only from files in that folder.

        Each hit is ``{"path", "start", "end", "score", "text"}``.
        """
        wanted = len(self._paths) if within else top
        hits = []
        for ranked in self._collection.rank(query, vector, wanted):
            path = self._paths[ranked.position]
            if within and path != within and not path.startswith(within + "/"):
                continue
            passage = self._collection.passages[ranked.position]
            hits.append(
                {
                    "path": path,
                    "start": passage.start,
                    "end": passage.end,
                    "score": round(ranked.score, 4),
                    "text": passage.text,
                }
            )
            if len(hits) == top:
                break
        return hits


class Library:
    """Books by the id of their index; the least recently asked one goes first.

    Ids are content addresses, so a book never becomes stale.
    """

    def __init__(self, kept: int = KEPT) -> None:
        self._kept = kept
        self._books: OrderedDict[str, Book] = OrderedDict()
        self._lock = threading.Lock()

    def open(self, index: str, fetch: Fetch) -> Book:
        """The book of an index, loaded by ``fetch(artifact id)`` unless it is at hand.

        Raises
        ------
        ValueError
            An artifact is not what the index says; whatever ``fetch`` raises comes through.
        """
        with self._lock:
            book = self._books.get(index)
            if book is not None:
                self._books.move_to_end(index)
                return book
        # Outside the lock: two first questions at once load twice, none waits for another index.
        book = Book(Manifest.from_json(fetch(index)), fetch)
        with self._lock:
            self._books[index] = book
            self._books.move_to_end(index)
            while len(self._books) > self._kept:
                self._books.popitem(last=False)
        return book


LIBRARY = Library()
