"""Ranks passages for a question: meaning (vectors) and words (BM25), fused by z-scores.

Pure: passages, vectors and a question's vector in, an order out. It loads neither index nor model.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from symphony_conductor.terms import count

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Sequence

    from symphony_conductor.passages import Passage

Scores = NDArray[np.float32]

# Chosen by tests/benchmarks/retrieval.py.
VECTOR_WEIGHT = 1.0
WORD_WEIGHT = 0.5
TITLE_WEIGHT = 3.0
K1 = 1.2
B = 0.75


@dataclass(frozen=True, slots=True)
class Ranked:
    """A passage's place in the collection, and its score (z-scores: 0 is an average passage)."""

    position: int
    score: float


class Collection:
    """Passages ready to be asked.

    Parameters
    ----------
    passages:
        All passages.
    vectors:
        Their unit vectors, shape (len(passages), dimensions).
    """

    def __init__(self, passages: Sequence[Passage], vectors: Scores) -> None:
        self.passages = passages
        self.vectors = vectors
        self._counts = [_count(passage) for passage in passages]
        lengths = np.array([counts.total() for counts in self._counts], dtype=np.float32)
        mean = float(lengths.mean()) if len(lengths) else 0.0
        self._damping: Scores = K1 * (1 - B + B * lengths / (mean or 1.0))

    def rank(self, question: str, vector: Scores, top: int) -> list[Ranked]:
        """The ``top`` best passages for a question, best first; equal ones in the order of the collection."""
        if not self.passages:
            return []
        scores = VECTOR_WEIGHT * z_scores(self.vectors @ vector) + WORD_WEIGHT * z_scores(self.bm25(question))
        order = np.argsort(-scores, kind="stable")[:top]
        return [Ranked(int(position), float(scores[position])) for position in order]

    def bm25(self, question: str) -> Scores:
        """BM25 score of every passage, shape (len(passages),)."""
        scores = np.zeros(len(self.passages), dtype=np.float32)
        total = len(self.passages)
        for term, times in count(question).items():
            frequency = np.array([counts.get(term, 0.0) for counts in self._counts], dtype=np.float32)
            holding = int(np.count_nonzero(frequency))
            if holding:
                rarity = math.log(1 + (total - holding + 0.5) / (holding + 0.5))
                scores += times * rarity * frequency * (K1 + 1) / (frequency + self._damping)
        return scores


def z_scores(scores: Scores) -> Scores:
    """Scores less their mean, in units of their spread; all zero where they are all the same.

    Example
    -------
    >>> z_scores(np.array([1.0, 3.0], dtype=np.float32)).tolist()
    [-1.0, 1.0]
    """
    spread = float(scores.std())
    if spread == 0.0:
        return np.zeros_like(scores)
    normal: Scores = (scores - scores.mean()) / spread
    return normal


def _count(passage: Passage) -> Counter[str]:
    counts = count(passage.text)
    return count(passage.title, TITLE_WEIGHT, counts) if passage.title else counts
