"""What is handed to the embedding model for a passage or a question, and in which batches.

The model comes from the Pool; nothing here loads one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from symphony_conductor.terms import parts, words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from symphony_conductor.passages import Passage

Vectors = NDArray[np.float32]
DIMENSIONS = 256
# The model pads a batch to its longest text: equal lengths together, and few enough for the cache.
_BATCH = 16
# A vector is the mean over all tokens; beyond this many words it says ever less of what stands on top.
_WORDS = 300


class Embedder(Protocol):
    """The one method that is used of a model."""

    def embed(self, texts: list[str], *, norm: bool = ...) -> Any: ...


def embed_passages(model: Embedder, passages: Sequence[Passage]) -> Vectors:
    """Unit vectors of passages, shape (len(passages), 256); zero where the model knows no word of it.

    Name, scope and text are embedded apart and added with equal weight: in one text, a name would drown
    among a hundred other words (MRR@10 0.55 against 0.52, tests/benchmarks/retrieval.py).
    """
    inputs = [[spoken(part) for part in (*split_title(passage.title), passage.text)] for passage in passages]
    wanted = {
        text: number for number, text in enumerate(dict.fromkeys(text for row in inputs for text in row))
    }
    known = _embed(model, list(wanted))
    total = np.zeros((len(passages), DIMENSIONS), dtype=np.float32)
    for number, row in enumerate(inputs):
        total[number] = known[[wanted[text] for text in row]].sum(axis=0)
    return _unit(total)


def embed_question(model: Embedder, question: str) -> Vectors:
    """The unit vector of a question, shape (256,)."""
    vector: Vectors = _embed(model, [spoken(question)])[0]
    return vector


def split_title(title: str) -> tuple[str, str]:
    """The scope (class, chapter) and the name in a passage's title.

    Example
    -------
    >>> split_title("Tree.walk"), split_title("Guide > Install"), split_title("main")
    (('Tree', 'walk'), ('Guide', 'Install'), ('', 'main'))
    """
    separator = " > " if " > " in title else "."
    scope, _, name = title.rpartition(separator)
    return scope, name


def spoken(text: str) -> str:
    """Words of a text with identifiers split, as one would read it aloud.

    Example
    -------
    >>> spoken("for f in max_files: walkTree(f)")
    'for f in max files walk tree f'
    """
    return " ".join(" ".join(parts(word)) for word in words(text)[:_WORDS])


def _embed(model: Embedder, texts: list[str]) -> Vectors:
    vectors = np.zeros((len(texts), DIMENSIONS), dtype=np.float32)
    order = sorted((n for n, text in enumerate(texts) if text), key=lambda n: len(texts[n]))
    for first in range(0, len(order), _BATCH):
        batch = order[first : first + _BATCH]
        vectors[batch] = model.embed([texts[n] for n in batch], norm=False)
    return _unit(vectors)


def _unit(vectors: Vectors) -> Vectors:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: Vectors = np.divide(vectors, lengths, out=vectors, where=lengths > 0)
    return unit
