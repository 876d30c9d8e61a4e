"""Where a loaded plugin came from, so that another process can load it as this one did."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from symphony.plugins.configuration import PluginConfig
from symphony.plugins.discovery import Candidate
from symphony.plugins.loading import collect, import_modules
from symphony.values.registry import adopt_types

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class PluginSource:
    """A plugin with its settings; ``gives_types`` tells whether it has codecs of values."""

    candidate: Candidate
    config: PluginConfig
    gives_types: bool

    def plain(self) -> dict[str, Any]:
        """All of it as values that cross to another process."""
        candidate = self.candidate
        return {
            "name": candidate.name,
            "modules": list(candidate.modules),
            "file": str(candidate.file) if candidate.file else None,
            "content": candidate.content,
            "fingerprint": candidate.fingerprint,
            "config": self.config.plain(),
        }


_loaded: dict[str, str] = {}


def load_sources(sources: Sequence[dict[str, Any]]) -> None:
    """Import these plugins, configure them and register their types, each that is not as it was yet.

    Raises what a plugin raises.
    """
    for plain in sources:
        name, fingerprint = plain["name"], plain["fingerprint"]
        if _loaded.get(name) == fingerprint:
            continue
        file = None if plain["file"] is None else Path(plain["file"])
        modules, content = tuple(plain["modules"]), plain["content"]
        candidate = Candidate(name, "", modules, fingerprint, file=file, content=content)
        config = PluginConfig(name, **plain["config"])
        found = collect(name, import_modules(candidate), config=config, only=("register_types",))
        adopt_types(name, found.types.items.values())
        _loaded[name] = fingerprint
