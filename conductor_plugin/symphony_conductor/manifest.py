"""The manifest of an index: which file has which passages. Its artifact id is the index's id.

Pure: JSON in, JSON out, and what a new listing means for an older manifest.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from symphony_conductor.tree import Listing

NAME_PREFIX = "conductor/index/"
MEDIA_TYPE = "application/json"


@dataclass(frozen=True, slots=True)
class Entry:
    """One indexed file: the fingerprint of its text, the artifact of its passages, how many these are."""

    fingerprint: str
    artifact: str
    passages: int


@dataclass(slots=True)
class Manifest:
    """An index of the folder ``root``; ``skipped`` maps paths to reasons."""

    root: str
    files: dict[str, Entry] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)

    @property
    def passages(self) -> int:
        """How many passages all files have together."""
        return sum(entry.passages for entry in self.files.values())

    def to_json(self) -> bytes:
        """Bytes that depend only on what the manifest says, so that an unchanged index keeps its id."""
        files = {
            path: [entry.fingerprint, entry.artifact, entry.passages]
            for path, entry in sorted(self.files.items())
        }
        document = {
            "schema": 1,
            "root": self.root,
            "files": files,
            "skipped": dict(sorted(self.skipped.items())),
        }
        return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()

    @classmethod
    def from_json(cls, content: bytes | memoryview) -> Manifest:
        """Read what ``to_json`` wrote.

        Raises
        ------
        ValueError
            The bytes are no manifest.
        """
        try:
            document = json.loads(bytes(content))
            if document["schema"] != 1:
                raise ValueError(f"manifest of schema {document['schema']}, this version reads schema 1")
            files = {path: Entry(*entry) for path, entry in document["files"].items()}
            return cls(document["root"], files, dict(document["skipped"]))
        except (KeyError, TypeError) as error:
            raise ValueError(f"not a manifest: {error!r}") from error


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done to bring an index up to date.

    ``kept`` is the manifest of all files whose passages are there already; ``changed`` maps the others to the
    artifact of their previous passages, or ``""``; ``removed`` counts the passages of files that are gone.
    """

    kept: Manifest
    changed: dict[str, str]
    removed: int


def plan(root: str, listing: Listing, previous: Manifest | None, exists: Callable[[str], bool]) -> Plan:
    """Compare a listing with the previous manifest.

    Parameters
    ----------
    root:
        The folder.
    listing:
        What is in it now.
    previous:
        Its manifest so far.
    exists:
        Tells whether an artifact is still stored; a file whose passages were deleted is embedded anew.
    """
    old = previous.files if previous is not None else {}
    by_fingerprint = {entry.fingerprint: entry for entry in old.values()}
    kept = Manifest(root, {}, dict(listing.skipped))
    changed: dict[str, str] = {}
    for path, fingerprint in listing.files.items():
        same = old.get(path)
        if same is None or same.fingerprint != fingerprint:
            same = by_fingerprint.get(fingerprint)  # moved or copied
        if same is not None and exists(same.artifact):
            kept.files[path] = same
        else:
            changed[path] = old[path].artifact if path in old else ""
    return Plan(kept, changed, _removed(old, listing, kept))


def _removed(old: dict[str, Entry], listing: Listing, kept: Manifest) -> int:
    """Passages of paths that no longer have theirs, less those that went on under another path."""
    arrived = Counter(
        entry.artifact
        for path, entry in kept.files.items()
        if path not in old or old[path].artifact != entry.artifact
    )
    removed = 0
    for path, entry in old.items():
        left = path not in listing.files or (
            path in kept.files and kept.files[path].artifact != entry.artifact
        )
        if not left:
            continue
        if arrived[entry.artifact] > 0:
            arrived[entry.artifact] -= 1
        else:
            removed += entry.passages
    return removed
