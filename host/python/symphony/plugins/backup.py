"""The files of an installed distribution, kept so that a newer one that does not work can be taken back.

Copies and puts back files; the installer is not asked, so that it works without an index.
"""

from __future__ import annotations

import shutil
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path


class Backup:
    """A copy of all files that a distribution's RECORD lists.

    Parameters
    ----------
    name:
        The distribution's name.
    folder:
        An empty folder for the copies.
    """

    def __init__(self, name: str, folder: Path) -> None:
        self._copies: list[tuple[Path, Path]] = []
        try:
            files = distribution(name).files or []
        except PackageNotFoundError:
            files = []
        for number, file in enumerate(files):
            path = Path(str(file.locate()))
            if path.is_file():
                copy = folder / str(number)
                shutil.copy2(path, copy)  # with its times, by which it is known as unchanged
                self._copies.append((copy, path))

    def __bool__(self) -> bool:
        return bool(self._copies)

    def put_back(self) -> None:
        """Write every file back to its place."""
        for copy, path in self._copies:
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(copy, path)
