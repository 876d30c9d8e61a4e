"""Hosts of throw-away homes, and which of the installed plugins they see."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import TYPE_CHECKING

from symphony.plugins import discovery, wish
from symphony.plugins.names import canonical

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    import pytest

    from symphony.home import Home


def hide_installed(monkeypatch: pytest.MonkeyPatch, home: Home) -> None:
    """Let nobody find the plugins that are installed now.

    This process finds only those that are added from now on; a host of ``home`` neither loads nor probes the
    others, which its ``plugins.toml`` disables.
    """
    hidden = set(discovery.installed())

    def added(group: str) -> list[EntryPoint]:
        found = entry_points(group=group)
        return [entry for entry in found if entry.dist and canonical(entry.dist.name) not in hidden]

    for name in sorted(hidden):
        wish.change(home, name, enabled=False)
    monkeypatch.setattr(discovery, "entry_points", added)
