"""Names of plugins and workflows: their canonical form, and the closest ones to a name that is unknown.

Every comparison of plugin names goes through ``canonical``; nothing here reads a file.
"""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

FILE_STEM: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*\Z")
COMMAND: Final = re.compile(r"[a-z0-9][a-z0-9_-]*\Z")
OBSERVING: Final = frozenset({"run_started", "run_finished", "step_started", "step_finished"})
"""The hooks that observe runs and steps."""
_NEAR: Final = 0.6


def canonical(name: str) -> str:
    """The PEP 503 form: ``Symphony_Conductor`` and ``symphony-conductor`` are one plugin."""
    return re.sub(r"[-_.]+", "-", name).lower()


def prefix(plugin: str) -> str:
    """What stands before the dot in a plugin's workflow names: ``symphony-conductor`` gives ``conductor``."""
    return plugin.removeprefix("symphony-") or plugin


def closest(name: str, known: Iterable[str], limit: int = 3) -> list[str]:
    """Known names that look like ``name``, best first; those clearly worse than the best are left out."""
    scores = {}
    for candidate in sorted(set(known)):
        likeness = difflib.SequenceMatcher(None, name.lower(), candidate.lower())
        # A name of megabytes is like none, which its length tells at once.
        scores[candidate] = likeness.ratio() if likeness.real_quick_ratio() >= _NEAR else 0.0
        if "." in candidate and candidate.rpartition(".")[2] == name.rpartition(".")[2]:
            scores[candidate] = max(scores[candidate], 0.7)  # the right workflow of another plugin
    best = max(scores.values(), default=0.0)
    near = [candidate for candidate, score in scores.items() if score >= max(_NEAR, best - 0.12)]
    return sorted(near, key=lambda candidate: -scores[candidate])[:limit]


def did_you_mean(name: str, known: Iterable[str], otherwise: str = "") -> str:
    """A hint naming the closest known names, or ``otherwise`` when none is close."""
    near = closest(name, known)
    return f"did you mean {' or '.join(near)}?" if near else otherwise
