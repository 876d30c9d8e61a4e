"""``plugins.cache``: probe results by plugin, so that no command imports a plugin to list what it offers.

Also the digests of plugins' files, so that no command reads these to see that they are unchanged. Safe to
delete at any time; a home that cannot be written just probes again. A result counts for one version,
fingerprint, environment and host; a failed one also only until something is installed or removed.
"""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

from symphony.errors import HostUnavailable
from symphony.plugins import wish
from symphony.plugins.discovery import Candidate, environment_stamp
from symphony.plugins.probe_result import ProbeResult

if TYPE_CHECKING:
    from symphony.home import Home

SCHEMA: Final = 2
PARTS: Final = ("plugins", "files")
Note = Callable[[str], None]


def results(
    home: Home,
    candidates: Sequence[Candidate],
    *,
    retry: bool = False,
    probe: bool = True,
    note: Note = lambda text: None,
) -> dict[str, ProbeResult]:
    """The probe result of each candidate by its target; probes those that are not in the cache.

    ``retry`` probes again what failed before; ``note`` is told when probing takes place. Without ``probe``
    what is not in the cache is not in the result.
    """
    stored = _read(home)
    known: dict[str, ProbeResult] = {}
    for candidate in candidates:
        cached = _valid(stored.get(candidate.target), candidate)
        if cached is not None and (cached.ok or not retry):
            known[candidate.target] = cached
    fresh = [candidate for candidate in candidates if candidate.target not in known] if probe else []
    if fresh:
        from concurrent.futures import ThreadPoolExecutor

        from symphony.plugins import prober

        note(f"probing {', '.join(candidate.name for candidate in fresh)}")
        with ThreadPoolExecutor(max_workers=4) as pool:
            probed = dict(zip((c.target for c in fresh), pool.map(prober.probe, fresh), strict=True))
        known.update(probed)
        _store(home, {c.target: _entry(c, probed[c.target]) for c in fresh})
    return known


def peek(home: Home, candidate: Candidate) -> ProbeResult | None:
    """The cached result, if there is a valid one; never probes."""
    return _valid(_read(home).get(candidate.target), candidate)


def files_digests(home: Home, candidates: Iterable[Candidate]) -> dict[str, str]:
    """The digest of each plugin's files as they are; they are read where time, size or RECORD changed."""
    stored = _read(home, "files")
    known: dict[str, str] = {}
    fresh: dict[str, dict[str, Any] | None] = {}
    for candidate in candidates:
        entry = stored.get(candidate.target, {})
        if entry.get("fingerprint") == candidate.fingerprint and isinstance(entry.get("digest"), str):
            known[candidate.name] = entry["digest"]
        elif candidate.record is not None:
            known[candidate.name] = candidate.record.actual().digest()
            fresh[candidate.target] = {
                "fingerprint": candidate.fingerprint,
                "digest": known[candidate.name],
            }
    if fresh:
        _store(home, fresh, "files")
    return known


def forget(home: Home, *targets: str) -> None:
    """Drop what is known of these plugins."""
    for part in PARTS:
        if not _read(home, part).keys().isdisjoint(targets):
            _store(home, dict.fromkeys(targets), part)


def forget_files(home: Home) -> None:
    """Drop the digests of all plugins' files."""
    _store(home, dict.fromkeys(_read(home, "files")), "files")


def targets(home: Home) -> set[str]:
    """Every plugin, by name or file, of which something is known."""
    return {target for part in PARTS for target in _read(home, part)}


def damaged(home: Home) -> bool:
    """Whether the file is none that could be used."""
    return home.plugins_cache.exists() and _document(home) is None


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


def _document(home: Home) -> dict[str, Any] | None:
    try:
        data = json.loads(home.plugins_cache.read_bytes())
    except (OSError, ValueError):
        return None
    usable = (
        isinstance(data, dict)
        and data.get("schema") == SCHEMA
        and all(isinstance(data.get(part), dict) for part in PARTS)
    )
    return data if usable else None


def _read(home: Home, part: str = "plugins") -> dict[str, Any]:
    entries = (_document(home) or {}).get(part, {})
    return {key: value for key, value in entries.items() if isinstance(value, dict)}


def _store(home: Home, changes: dict[str, dict[str, Any] | None], part: str = "plugins") -> None:
    try:
        home.ensure()
        with wish.locked(home):
            parts = {each: _read(home, each) for each in PARTS}
            entries = parts[part] | changes
            parts[part] = {key: value for key, value in sorted(entries.items()) if value is not None}
            wish.replace(home.plugins_cache, json.dumps({"schema": SCHEMA, **parts}, indent=1))
    except HostUnavailable:
        pass  # a read-only or full home: the next command probes again
