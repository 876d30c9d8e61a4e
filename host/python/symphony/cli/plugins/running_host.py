"""Tell a running host that the plugins changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from symphony import client
from symphony.cli.output import note
from symphony.errors import SymphonyError

if TYPE_CHECKING:
    from symphony.home import Home


def tell_host(home: Home) -> None:
    """Let a running host read the plugins again; none is started for it."""
    try:
        connection = client.connect(home)
        if connection is not None:
            with connection:
                answer = connection.request("plugins.reload", timeout=60.0)
            for name in answer.get("stale", ()):
                note(f"the running host still has {name} as it was before: symphony host restart")
    except (SymphonyError, TimeoutError) as error:
        note(f"the running host did not take it over: {error}")
