"""Where the wheel's component libraries lie, and the header for others; nothing else knows the folders."""

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


def get_include() -> str:
    """The folder of ``symphony_pit.h``, for the compiler that builds a component.

    Example
    -------
    >>> Path(get_include(), "symphony_pit.h").name
    'symphony_pit.h'
    """
    return str(Path(__file__).parent / "_include")
