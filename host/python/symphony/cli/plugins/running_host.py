"""Tell a running host that the plugins changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from symphony import client
from symphony.cli.output import note
from symphony.errors import SymphonyError

if TYPE_CHECKING:
    from symphony.home import Home


def tell_host(home: Home) -> None:
    """Let a running host read the plugins again, and say what it cannot take over; none is started for it."""
    for name in reloaded(home):
        note(f"the running host still has {name} as it was before: symphony host restart")


def reloaded(home: Home) -> list[str]:
    """Let a running host read the plugins again. Gives those whose files changed since it loaded them."""
    try:
        connection = client.connect(home)
        if connection is None:
            return []
        with connection:
            return list(connection.request("plugins.reload", timeout=60.0).get("stale", ()))
    except (SymphonyError, TimeoutError) as error:
        note(f"the running host did not take it over: {error}")
        return []
