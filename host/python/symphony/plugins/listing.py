"""``plugins.listing``: what ``symphony plugins list`` shows, kept while nothing that it follows from changes.

With a hundred plugins installed, reading their metadata takes longer than all else. What is kept counts while
the times and sizes of all files that were looked at are the same. Safe to delete. Imports little: that is the
point.
"""

from __future__ import annotations

import json
import os
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from symphony.plugins import LOCAL_FILE, SELECTION

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from symphony.home import Home
    from symphony.plugins.catalog import PluginState

SCHEMA: Final = 1
# A file that changed so lately may change again within the same tick of its time.
_SETTLED: Final = 2.0

Stamp = tuple[int, int] | None


class Listing(NamedTuple):
    """The document of ``--json``, the rows of the table, and the lines below it."""

    document: dict[str, Any]
    rows: list[list[str]]
    notes: list[str]


def kept(home: Home) -> Listing | None:
    """What was kept, if it still is what would be found."""
    if SELECTION in os.environ or os.path.lexists(LOCAL_FILE):
        return None
    try:
        with open(home.plugins_listing, "rb") as file:  # noqa: PTH123 - costs less than Path's
            data = json.loads(file.read())
        if data["place"] != _place():
            return None
        for path, stamp in data["files"].items():
            if stamp_of(path) != (None if stamp is None else tuple(stamp)):
                return None
        return Listing(*data["listing"])
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None


def keep(home: Home, listing: Listing, plugins: Sequence[PluginState]) -> None:
    """Keep a listing of these plugins; not one of files that have changed only now."""
    from symphony.errors import HostUnavailable
    from symphony.plugins import wish

    if SELECTION in os.environ or os.path.lexists(LOCAL_FILE):
        return
    files = {path: stamp_of(path) for path in _files(home, plugins)}
    newest = max((stamp[0] for stamp in files.values() if stamp), default=0)
    if time.time_ns() - newest < _SETTLED * 1e9:
        return
    document = {"place": _place(), "listing": listing, "files": files}
    with suppress(HostUnavailable):  # a read-only or full home: the next one looks again
        wish.replace(home.plugins_listing, json.dumps(document))


def _place() -> list[Any]:
    from symphony import __version__

    return [SCHEMA, __version__, sys.version, sys.prefix, sys.path]


def stamp_of(path: str | Path) -> Stamp:
    """Time and size of a file; None where there is none."""
    try:
        found = os.stat(path)  # noqa: PTH116 - hundreds of them
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size


def _files(home: Home, plugins: Iterable[PluginState]) -> Iterable[str]:
    """All that a listing follows from."""
    from symphony.plugins import discovery, policy

    yield from sys.path
    own = (home.plugins_toml, home.plugins_lock, home.plugins_cache, home.plugin_deaths)
    yield from (str(path) for path in (*own, *policy.places(home)))
    for plugin in plugins:
        candidate = plugin.candidate
        if candidate is None:
            continue
        if candidate.record is not None:
            yield from (f"{candidate.record.root}/{path}" for path, _ in candidate.record.rows)
        else:
            sources = discovery.source_files(candidate.modules)
            yield from (str(path) for path in sources)
            yield from {str(path.parent) for path in sources}
