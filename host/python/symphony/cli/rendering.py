"""A run's result for people: keys and values, lists, and found passages; the same for every workflow.

JSON for programs is ``--json``; nothing here knows any particular workflow.
"""

from __future__ import annotations

import json
from typing import Any

from symphony.cli.output import cut, safe, terminal_width

PASSAGE_LINES = 6


def render(value: Any) -> list[str]:
    """The lines to print for a result."""
    if value is None:
        return []
    if isinstance(value, str):
        return safe(value).splitlines()
    if isinstance(value, list):
        return [line for item in value for line in _item(item)]
    if not isinstance(value, dict):
        return [_plain(value)]
    simple = {key: item for key, item in value.items() if not isinstance(item, (dict, list)) or not item}
    lines = []
    for key, item in value.items():
        if key not in simple:
            lines += [f"{key}:", *(f"  {line}" if line else "" for line in render(item))]
    while lines and not lines[-1]:
        lines.pop()
    width = max((len(key) for key in simple), default=0)
    facts = [f"{key.ljust(width)}  {_plain(item)}" for key, item in simple.items()]
    return [*lines, *([""] if lines and facts else []), *facts]


def _item(item: Any) -> list[str]:
    if not isinstance(item, dict):
        return [
            f"- {line}" if number == 0 else f"  {line}" for number, line in enumerate(render(item) or [""])
        ]
    if "path" in item:
        return _passage(item)
    return _listed(render(item))


def _listed(lines: list[str]) -> list[str]:
    return [f"{'  ' if number else '- '}{line}".rstrip() for number, line in enumerate(lines or [""])]


def _passage(item: dict[str, Any]) -> list[str]:
    """``path:start-end  score``, then the rest, then the first lines of its text."""
    place = str(item["path"])
    if "start" in item:
        place += f":{item['start']}" + (f"-{item['end']}" if "end" in item else "")
    named = {"path", "start", "end", "text"}
    rest = [
        f"{item[key]:.3f}" if isinstance(item[key], float) else f"{_plain(item[key])}"
        for key in item
        if key not in named
    ]
    lines = [safe("  ".join([place, *rest]))]
    text = str(item.get("text") or "").rstrip().splitlines()
    lines += [
        f"    {cut(safe(line).expandtabs(4), max(terminal_width() - 6, 40))}".rstrip()
        for line in text[:PASSAGE_LINES]
    ]
    if len(text) > PASSAGE_LINES:
        lines.append(f"    ({len(text) - PASSAGE_LINES} more lines)")
    return [*lines, ""] if text else lines


def _plain(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "-"}[value]
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, str):
        return safe(value)
    if isinstance(value, (list, dict)):
        return json.dumps(value, ensure_ascii=False) if value else "none"
    return str(value)
