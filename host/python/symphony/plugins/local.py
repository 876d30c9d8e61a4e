"""The working folder's ``symphony_plugins.py``: the file plugin ``local``, which nobody has to name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from symphony.plugins import catalog, conflicts, selection, wish
from symphony.plugins.discovery import LOCAL_FILE
from symphony.plugins.namespace import LOCAL

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from symphony.home import Home
    from symphony.plugins.catalog import PluginState


def state(home: Home, note: Callable[[str], None], *, probe: bool = True) -> PluginState | None:
    """Its state; None where there is none, and where it is not trusted: that is told, and nothing is run."""
    path = Path(LOCAL_FILE)
    if not path.is_file() or not selection.current().takes(LOCAL):
        return None
    try:
        found = catalog.file_state(home, path, note, probe=probe)
    except PermissionError:
        note(f"{LOCAL_FILE} here cannot be read, and is not used")
        return None
    if found.problem and found.problem.code == "untrusted":
        note(f"{LOCAL_FILE} here was seen and not run, {found.problem.message}: symphony plugins trust .")
        return None
    return found


def with_local(
    home: Home, states: Sequence[PluginState], note: Callable[[str], None], *, probe: bool = True
) -> list[PluginState]:
    """Installed plugins and the file."""
    found = state(home, note, probe=probe)
    return conflicts.with_files(states, [found] if found else [], wish.preferences(home))


def for_run(home: Home, workflow: str, note: Callable[[str], None]) -> list[Path]:
    """The file, for a run that is started here; one that cannot be used harms only runs of its workflows."""
    if workflow.startswith((f"{LOCAL}.", f"{LOCAL}:")) and selection.current().takes(LOCAL):
        return [Path(LOCAL_FILE).absolute()]  # if need be, the run is refused with the reason
    found = state(home, note)
    if found is None or found.candidate is None or found.candidate.file is None:
        return []
    if found.status == "active":
        return [found.candidate.file]
    reason = found.problem.message if found.problem else found.status
    note(f"{LOCAL_FILE} here was left out: {reason} (symphony plugins info {LOCAL})")
    return []
