"""Folders that an editable install adds to the module path while this process runs.

Python reads ``.pth`` files when it starts; an interpreter that lives on would not find such a plugin.
"""

from __future__ import annotations

import os
import site
import sys
from pathlib import Path


class SitePaths:
    """The ``.pth`` files of this environment: those that there are when the object is made were read."""

    def __init__(self) -> None:
        self._read = _files()

    def take_up(self) -> None:
        """Read those that are new or have changed, as Python does at its start."""
        found = _files()
        for folder, name, _ in sorted(found - self._read):
            site.addpackage(folder, name, None)
        self._read = found


def _files() -> frozenset[tuple[str, str, int]]:
    folders = set(site.getsitepackages())
    if site.ENABLE_USER_SITE:
        folders.add(site.getusersitepackages())
    found = set()
    for folder in folders & set(sys.path):
        for entry in os.scandir(folder) if Path(folder).is_dir() else ():
            if entry.name.endswith(".pth"):
                found.add((folder, entry.name, entry.stat().st_mtime_ns))
    return frozenset(found)
