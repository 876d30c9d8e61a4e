"""The artifact of one file: its passages and their vectors, in bytes that depend on nothing else.

Layout: ``CONDUCT1``, the header's length (4 bytes, little endian), the header (JSON), the vectors (float16,
little endian, row by row). Half precision changes no ranking and halves an index.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from symphony_conductor.passages import RECIPE, Passage

if TYPE_CHECKING:
    from collections.abc import Sequence

MEDIA_TYPE = "application/x-symphony-passages"
_MAGIC = b"CONDUCT1"
_LENGTH = struct.Struct("<I")

Vectors = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Bundle:
    """A file's passages and their unit vectors, shape (len(passages), dimensions)."""

    passages: tuple[Passage, ...]
    vectors: Vectors
    recipe: int = RECIPE


def pack(passages: Sequence[Passage], vectors: Vectors) -> bytes:
    """Bytes of a bundle; equal passages and vectors give equal bytes."""
    header = {
        "recipe": RECIPE,
        "dimensions": vectors.shape[1],
        "passages": [[passage.start, passage.end, passage.title, passage.text] for passage in passages],
    }
    encoded = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    return b"".join((_MAGIC, _LENGTH.pack(len(encoded)), encoded, vectors.astype("<f2").tobytes()))


def unpack(content: bytes | memoryview) -> Bundle:
    """The bundle in these bytes.

    Raises
    ------
    ValueError
        The bytes are no bundle.
    """
    content = bytes(content)
    begin = len(_MAGIC) + _LENGTH.size
    if content[: len(_MAGIC)] != _MAGIC:
        raise ValueError("not a bundle of passages")
    try:
        (length,) = _LENGTH.unpack_from(content, len(_MAGIC))
        header = json.loads(content[begin : begin + length])
        passages = tuple(Passage(*row) for row in header["passages"])
        vectors = np.frombuffer(content, dtype="<f2", offset=begin + length)
        shaped = vectors.reshape(len(passages), header["dimensions"]).astype(np.float32)
        return Bundle(passages, shaped, header["recipe"])
    except (struct.error, KeyError, TypeError) as error:
        raise ValueError(f"damaged bundle of passages: {error!r}") from error


def reuse(passages: Sequence[Passage], old: Bundle | None) -> tuple[dict[int, int], int]:
    """Which vectors of an older bundle still hold.

    Returns
    -------
    A map from the position of a passage to the position in ``old`` of one with the same title and text, each
    old one used once; and how many of the old passages are gone.
    """
    if old is None:
        return {}, 0
    if old.recipe != RECIPE:
        return {}, len(old.passages)
    places: dict[tuple[str, str], list[int]] = {}
    for position in reversed(range(len(old.passages))):
        passage = old.passages[position]
        places.setdefault((passage.title, passage.text), []).append(position)
    kept: dict[int, int] = {}
    for position, passage in enumerate(passages):
        if same := places.get((passage.title, passage.text)):
            kept[position] = same.pop()
    return kept, len(old.passages) - len(kept)
