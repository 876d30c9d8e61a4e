"""``plugin_deaths.json``: plugins whose code ended the interpreter again and again, as the host counts it.

The host writes the file; here it is read, and a plugin is taken out of it. It imports no plugin.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from symphony.plugins import wish
from symphony.plugins.problem import Problem

if TYPE_CHECKING:
    from symphony.home import Home


def _read(home: Home) -> dict[str, Any]:
    try:
        plugins = json.loads(home.plugin_deaths.read_bytes())["plugins"]
    except (OSError, ValueError, LookupError, TypeError):
        return {}  # as the host sees it: at worst a plugin gets another chance
    return plugins if isinstance(plugins, dict) else {}


def problems(home: Home) -> dict[str, Problem]:
    """Why which plugins are not loaded.

    Example
    -------
    >>> problems(home)["ocr"].code
    'quarantined'
    """
    found = {}
    for name, row in _read(home).items():
        verdict = row.get("quarantined") if isinstance(row, dict) else None
        if isinstance(verdict, dict):
            message = f"its code ended the interpreter again and again, last by {verdict.get('cause')}"
            report = f"see {verdict['report']}; " if verdict.get("report") else ""
            hint = f"{report}to use it all the same: symphony plugins enable {name}"
            found[name] = Problem("quarantined", message, hint=hint)
    return found


def lift(home: Home, name: str) -> bool:
    """Forget the deaths of a plugin. Gives whether it was quarantined."""
    if name not in _read(home):
        return False
    with wish.locked(home):
        plugins = _read(home)
        row = plugins.pop(name, None)
        wish.replace(home.plugin_deaths, json.dumps({"plugins": plugins}) + "\n")
    return isinstance(row, dict) and bool(row.get("quarantined"))
