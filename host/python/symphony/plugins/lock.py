"""``plugins.lock``: the files each plugin was installed with, so that a change is seen and can be undone.

Written by whatever installs, removes or accepts a plugin; never by hand. A plugin that plain pip put there
has no entry, and none of its changes are reported.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from symphony.errors import InvalidInput
from symphony.plugins import wish

if TYPE_CHECKING:
    from collections.abc import Iterator

    from symphony.home import Home
    from symphony.plugins.discovery import Candidate

SCHEMA: Final = 1


@dataclass(frozen=True)
class Locked:
    """One plugin as it was installed.

    Parameters
    ----------
    version:
        Its version.
    record:
        The digest of its files (see ``Record.digest``); None for an editable install, whose files are its
        author's to change.
    installed:
        When it was installed first, ISO 8601 in UTC; an update keeps it.
    """

    version: str
    record: str | None
    installed: str


def read(home: Home) -> dict[str, Locked]:
    """All entries by canonical name; none without the file. Raises ``InvalidInput`` for a damaged one."""
    try:
        data = json.loads(home.plugins_lock.read_bytes())
        if data["schema"] != SCHEMA:
            raise ValueError(f"its schema is {data['schema']!r}, this host knows {SCHEMA}")
        return {name: _entry(name, row) for name, row in data["plugins"].items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        what = f"no key {error}" if isinstance(error, KeyError) else str(error)
        raise InvalidInput(
            f"{home.plugins_lock}: {what}", hint="move it away; then: symphony plugins doctor --fix"
        ) from error


def _entry(name: str, row: dict[str, Any]) -> Locked:
    entry = Locked(row["version"], row["record"], row["installed"])
    texts = (entry.version, entry.installed, entry.record if entry.record is not None else "")
    if not all(isinstance(text, str) for text in texts):
        raise ValueError(f"plugins.{name}: a value is not text")
    datetime.fromisoformat(entry.installed)
    return entry


def keep(home: Home, candidate: Candidate) -> Locked:
    """Lock a plugin with the files that are there now, and return its entry."""
    record = candidate.record.actual().digest() if candidate.record else None
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    with _editing(home) as entries:
        known = entries.get(candidate.name)
        entry = Locked(candidate.version, record, known.installed if known else now)
        entries[candidate.name] = entry
    return entry


def put(home: Home, name: str, entry: Locked | None) -> None:
    """Set an entry as it was, or remove it."""
    with _editing(home) as entries:
        if entry is not None:
            entries[name] = entry
        else:
            entries.pop(name, None)


@contextmanager
def _editing(home: Home) -> Iterator[dict[str, Locked]]:
    """The entries, to be changed; they are written when that went well."""
    home.ensure()
    with wish.locked(home):
        before = read(home)
        entries = dict(before)
        yield entries
        if entries != before:
            rows = {name: asdict(entry) for name, entry in sorted(entries.items())}
            document = {"schema": SCHEMA, "plugins": rows}
            wish.replace(home.plugins_lock, json.dumps(document, indent=1) + "\n")
