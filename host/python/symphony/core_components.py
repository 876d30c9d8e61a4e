"""Where the component libraries of the wheel lie; nothing else may know the folder."""

from __future__ import annotations

from pathlib import Path

_FOLDER = Path(__file__).parent / "_components"


def core_components() -> list[Path]:
    """The five core component libraries, by name.

    Example
    -------
    >>> [path.stem for path in core_components()]
    ['arbitration_engine', 'artifact_store', 'dag_tracker', 'pool_manager', 'stale_manager']
    """
    return sorted(path for path in _FOLDER.glob("*") if path.suffix in (".so", ".dylib"))
