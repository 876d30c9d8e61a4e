"""``symphony runs show --follow``: what happens to a run, line by line, while it happens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from symphony import client
from symphony.cli.output import note, safe

if TYPE_CHECKING:
    from symphony.home import Home

ENDED: Final = ("completed", "failed", "cancelled")


def follow(home: Home, run: str, *, quiet: bool = False) -> None:
    """Return when the run has ended, or when the host goes away."""
    connection = client.connect(home)
    if connection is None:
        note("no host runs: nothing happens to the run")
        return
    with connection:
        events = connection.subscribe(run=run)
        # What ended before the subscription is not told.
        if client.ask(home, "runs.get", {"run": run})["status"] in ENDED:
            return
        for event in events:
            if not quiet:
                click.echo(line(event))
            if event["kind"] == "run_finished":
                return
    note("the host has gone; look again with: symphony runs show " + run)


def line(event: dict[str, Any]) -> str:
    """One event in one line."""
    if event["kind"] == "lost":
        return f"({event['lost']} events were lost)"
    time = event["time"][11:23]
    what = str(event["kind"]).replace("_", " ")
    amount = f"{event['done']}/{event['total']}" if event["total"] else str(event["done"] or "")
    words = [time, f"{what:<14}", event["key"] or event["name"], event["state"], amount, event["message"]]
    return safe(" ".join(word for word in words if word)).replace("\n", " ").rstrip()
