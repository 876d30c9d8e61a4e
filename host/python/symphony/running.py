"""Start a run on a home's host and wait for its end, through deaths of the host.

What ``symphony run`` and ``symphony.Host`` have in common; it shows nothing and runs no workflow itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from symphony import client
from symphony.client import Client, ConnectionLost, Event
from symphony.errors import NotFound
from symphony.plugins import catalog, lookup

if TYPE_CHECKING:
    from symphony.home import Home

Note = Callable[[str], None]
HOST_DEATHS: Final = 5


@dataclass(frozen=True)
class Order:
    """What is to be run. ``inputs`` are JSON values, ``text`` raw strings for its hints to read."""

    workflow: str
    inputs: dict[str, Any] = field(default_factory=dict)
    text: dict[str, str] = field(default_factory=dict)
    plugins: Sequence[Path] = ()


def resolve(home: Home, order: Order, note: Note = lambda text: None) -> Order:
    """Check the workflow's name and the plugin files against the store, so that a mistake starts no host.

    Raises ``NotFound`` with the closest names, or the error of the plugin that should give the workflow.
    """
    files = [catalog.file_state(home, path, note) for path in order.plugins]
    for state in files:
        if state.problem and state.needs_attention:
            raise lookup.error_of(state)
    states = [*catalog.survey(home, note=note), *files]
    paths = [state.candidate.file for state in files if state.candidate and state.candidate.file]
    return Order(lookup.workflow(order.workflow, states), order.inputs, order.text, paths)


def submit(connection: Client, order: Order) -> str:
    """Hand the run to the host and return its id, once it is recorded."""
    params = {
        "workflow": order.workflow,
        "inputs": order.inputs,
        "text": order.text,
        "cwd": str(Path.cwd()),
        "plugins": [str(path) for path in order.plugins],
    }
    try:
        answer = connection.request("workflows.run", params)
    except NotFound:
        # The store knows the workflow (see resolve), the host does not yet: the plugin came by plain pip.
        connection.request("plugins.reload")
        answer = connection.request("workflows.run", params)
    return str(answer["run"])


def wait(
    home: Home,
    connection: Client,
    run: str,
    event: Event | None = None,
    note: Note = lambda text: None,
    *,
    waiting: bool = False,
) -> Any:
    """Wait for a run's end and return its document; a host that dies meanwhile is started again.

    With ``waiting`` also for the moment when nothing goes on before a person answers: its status is then
    ``waiting``, and ``questions`` tells what is asked.

    Raises ``ConnectionLost`` when the host died five times.
    """
    params = {"run": run, "events": event is not None, "waiting": waiting}
    try:
        return connection.request("runs.wait", params, event=event)
    except ConnectionLost:
        note("the host went away; starting it again, the run goes on from its records")
    for attempt in range(HOST_DEATHS):
        time.sleep(0.1 * attempt)
        try:
            with client.connect_or_start(home) as again:
                return again.request("runs.wait", params, event=event)
        except ConnectionLost:
            continue
    raise ConnectionLost(
        f"the host died {HOST_DEATHS + 1} times while run {run} was going on",
        hint=f"symphony runs resume {run}",
    )


def cancel(home: Home, run: str) -> None:
    """Cancel a run by a connection of its own, so that one that is waiting is left alone."""
    with client.connect_or_start(home) as connection:
        connection.request("runs.cancel", {"run": run}, timeout=10.0)
