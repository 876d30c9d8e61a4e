"""``RECORD``: the files that a distribution brought, and whether they still are what it brought.

Only what lay in the wheel counts. What installers add in their own way (byte code, scripts, their notes in
``.dist-info``) does not, so that pip and uv, and two environments, give one wheel the same digest.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_INSTALLERS: Final = frozenset({"INSTALLER", "REQUESTED", "direct_url.json", "uv_cache.json", "RECORD"})
_ALGORITHMS: Final = frozenset({"sha256", "sha384", "sha512"})


@dataclass(frozen=True)
class Record:
    """The files below ``root``, each with its hash as RECORD writes it (``sha256=…``)."""

    root: Path
    rows: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, text: str, root: Path) -> Record:
        """Read the text of a RECORD; ``root`` is the folder that its paths begin at."""
        rows = [(row[0], row[1]) for row in csv.reader(text.splitlines()) if len(row) > 1]
        return cls(root, tuple(sorted((path, digest) for path, digest in rows if _brought(path, digest))))

    def stamp(self) -> str:
        """Changes with each file's hash in RECORD, time or size; reads no file's content."""
        stamped = hashlib.sha256()
        for path, digest in self.rows:
            try:
                found = os.stat(f"{self.root}/{path}")  # noqa: PTH116 - hundreds of them in each command
                seen = f"{found.st_mtime_ns}\0{found.st_size}"
            except OSError:
                seen = ""
            stamped.update(f"{path}\0{digest}\0{seen}\n".encode("utf-8", "surrogateescape"))
        return stamped.hexdigest()

    def actual(self) -> Record:
        """The same files with the hashes of what is in them now; a missing one has none."""
        return Record(self.root, tuple((path, self._hashed(path, digest)) for path, digest in self.rows))

    def digest(self) -> str:
        """One hash for all of it.

        Example
        -------
        >>> Record.of("toy.py,sha256=47DEQpj8HBSa,0", Path("/site")).digest()[:11]
        'sha256:…'
        """
        return "sha256:" + _text_hash(f"{path},{digest}\n" for path, digest in self.rows)

    def differing(self, other: Record) -> list[str]:
        """The paths whose hashes are not the same here and there."""
        theirs = dict(other.rows)
        return [path for path, digest in self.rows if theirs.get(path) != digest]

    def _hashed(self, path: str, recorded: str) -> str:
        algorithm = recorded.partition("=")[0]
        try:
            with (self.root / path).open("rb") as file:
                found = hashlib.file_digest(file, algorithm).digest()
        except OSError:
            return ""
        return f"{algorithm}={base64.urlsafe_b64encode(found).rstrip(b'=').decode()}"


def _brought(path: str, digest: str) -> bool:
    if path.startswith(("..", "/")) or digest.partition("=")[0] not in _ALGORITHMS:
        return False
    folder, _, name = path.rpartition("/")
    return not (folder.endswith(".dist-info") and name in _INSTALLERS)


def _text_hash(lines: Iterable[str]) -> str:
    return hashlib.sha256("".join(lines).encode("utf-8", "surrogateescape")).hexdigest()
