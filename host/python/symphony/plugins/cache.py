"""``plugins.cache``: probe results by plugin, so that no command imports a plugin to list what it offers.

Safe to delete at any time; a home that cannot be written just probes again. A result counts for one
version, fingerprint, environment and host; a failed one also only until something is installed or removed.
"""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from symphony.errors import HostUnavailable
from symphony.plugins import wish
from symphony.plugins.discovery import Candidate, environment_stamp
from symphony.plugins.probe_result import ProbeResult

if TYPE_CHECKING:
    from symphony.home import Home

SCHEMA: Final = 1
Note = Callable[[str], None]


def results(
    home: Home,
    candidates: Sequence[Candidate],
    *,
    retry: bool = False,
    note: Note = lambda text: None,
) -> dict[str, ProbeResult]:
    """The probe result of each candidate by its target; probes those that are not in the cache.

    ``retry`` probes again what failed before; ``note`` is told when probing takes place.
    """
    stored = _read(home)
    known: dict[str, ProbeResult] = {}
    for candidate in candidates:
        cached = _valid(stored.get(candidate.target), candidate)
        if cached is not None and (cached.ok or not retry):
            known[candidate.target] = cached
    fresh = [candidate for candidate in candidates if candidate.target not in known]
    if fresh:
        from concurrent.futures import ThreadPoolExecutor

        from symphony.plugins.prober import probe

        note(f"probing {', '.join(candidate.name for candidate in fresh)}")
        with ThreadPoolExecutor(max_workers=4) as pool:
            probed = dict(zip((c.target for c in fresh), pool.map(probe, fresh), strict=True))
        known.update(probed)
        _store(home, {c.target: _entry(c, probed[c.target]) for c in fresh})
    return known


def peek(home: Home, candidate: Candidate) -> ProbeResult | None:
    """The cached result, if there is a valid one; never probes."""
    return _valid(_read(home).get(candidate.target), candidate)


def forget(home: Home, target: str) -> None:
    """Drop one plugin's result."""
    _store(home, {target: None})


def _key(candidate: Candidate) -> dict[str, str]:
    from symphony import __version__

    return {
        "version": candidate.version,
        "fingerprint": candidate.fingerprint,
        "host": __version__,
        "python": platform.python_version(),
        "prefix": sys.prefix,
    }


def _entry(candidate: Candidate, result: ProbeResult) -> dict[str, Any]:
    stamp = None if result.ok else environment_stamp()
    return {"key": _key(candidate), "environment": stamp, "result": result.json()}


def _valid(entry: dict[str, Any] | None, candidate: Candidate) -> ProbeResult | None:
    if entry is None or entry.get("key") != _key(candidate):
        return None
    try:
        result = ProbeResult.of(entry["result"])
    except (KeyError, TypeError, ValueError):
        return None
    if not result.ok and entry.get("environment") != environment_stamp():
        return None
    return result


def _read(home: Home) -> dict[str, Any]:
    try:
        data = json.loads(home.plugins_cache.read_bytes())
    except (OSError, ValueError):
        return {}
    if (
        not isinstance(data, dict)
        or data.get("schema") != SCHEMA
        or not isinstance(data.get("plugins"), dict)
    ):
        return {}
    return {key: value for key, value in data["plugins"].items() if isinstance(value, dict)}


def _store(home: Home, changes: dict[str, dict[str, Any] | None]) -> None:
    try:
        home.ensure()
        with wish.locked(home):
            entries = _read(home) | changes
            kept = {key: value for key, value in sorted(entries.items()) if value is not None}
            wish.replace(home.plugins_cache, json.dumps({"schema": SCHEMA, "plugins": kept}, indent=1))
    except HostUnavailable:
        pass  # a read-only or full home: the next command probes again
