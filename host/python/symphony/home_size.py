"""How much of the disk a home takes, by what it is for."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from symphony.home import Home

PARTS = {
    "log": ("pit/log",),
    "snapshots": ("pit/snapshots",),
    "artifacts": ("artifacts",),
    "history": ("history.db", "history.db-wal", "history.db-shm"),
    "reports": ("reports",),
}


def sizes(home: Home) -> dict[str, int]:
    """Bytes on the disk: of log, snapshots, artifacts, history, crash reports; ``total`` is of all of it.

    Example
    -------
    >>> sizes(Home("/tmp/home"))["history"]
    36864
    """
    found = {name: sum(_size(home.path / part) for part in parts) for name, parts in PARTS.items()}
    return {**found, "total": _size(home.path)}


def _size(path: Path) -> int:
    """What is reserved counts, holes do not; what vanishes meanwhile, too."""
    try:
        if path.is_symlink() or not path.is_dir():
            return path.lstat().st_blocks * 512
        return sum(_size(entry) for entry in path.iterdir())
    except FileNotFoundError:
        return 0
