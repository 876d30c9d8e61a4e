"""Start a run on a host and wait for its end, through deaths of the host.

What ``symphony run`` and ``symphony.Host`` have in common; it shows nothing and runs no workflow itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from symphony.client import ConnectionLost, Event
from symphony.errors import NotFound

if TYPE_CHECKING:
    from symphony.home import Home

Note = Callable[[str], None]
HOST_DEATHS: Final = 5


class Connection(Protocol):
    """Asks a host, be it a process of its own (``Client``) or this one (``InProcessHost``)."""

    def request(
        self,
        method: str,
        params: dict[str, Any] | None = None,
        *,
        event: Event | None = None,
        timeout: float | None = None,
    ) -> Any: ...


Connect = Callable[[], AbstractContextManager[Connection]]


class Order(NamedTuple):
    """What is to be run. ``inputs`` are JSON values, ``text`` raw strings for its hints to read."""

    workflow: str
    inputs: Mapping[str, Any] = MappingProxyType({})
    text: Mapping[str, str] = MappingProxyType({})
    plugins: Sequence[Path] = ()


def resolve(home: Home, order: Order, note: Note = lambda text: None) -> Order:
    """Check the workflow's name and the plugin files against the store, so that a mistake starts no host.

    Raises ``NotFound`` with the closest names, or the error of the plugin that should give the workflow.
    """
    from symphony.plugins import (
        catalog,
        conflicts,
        lookup,
        wish,
    )  # not read where a host is asked that knows them

    files = [catalog.file_state(home, path, note) for path in order.plugins]
    prefer = wish.preferences(home)
    states = conflicts.with_files(catalog.survey(home, note=note), files, prefer)
    for state in states:
        if state.candidate and state.candidate.file and state.problem and state.status != "active":
            raise lookup.error_of(state)
    paths = [state.candidate.file for state in files if state.candidate and state.candidate.file]
    found = lookup.workflow(order.workflow, states, prefer)
    if order.workflow == found.name:
        others = conflicts.namespace(states, prefer).rivals("workflow", found.name)[1:]
        if others:
            also = ", ".join(offer.full for offer in others)
            note(f"{found.name} is {found.full}; there is also {also}")
    return Order(found.full, order.inputs, order.text, paths)


def submit(connection: Connection, order: Order) -> str:
    """Hand the run to the host and return its id, once it is recorded."""
    return str(submitted(connection, order)["run"])


def submitted(connection: Connection, order: Order) -> dict[str, Any]:
    """As ``submit``; ``run`` and the full name of its ``workflow``."""
    params = {
        "workflow": order.workflow,
        "inputs": dict(order.inputs),
        "text": dict(order.text),
        "cwd": str(Path.cwd()),
        "plugins": [str(path) for path in order.plugins],
    }
    try:
        answer: dict[str, Any] = connection.request("workflows.run", params)
    except NotFound:
        # The store knows the workflow (see resolve), the host does not yet: the plugin came by plain pip.
        connection.request("plugins.reload")
        answer = connection.request("workflows.run", params)
    return answer


def wait(
    connect: Connect,
    connection: Connection,
    run: str,
    event: Event | None = None,
    note: Note = lambda text: None,
    *,
    waiting: bool = False,
) -> Any:
    """Wait for a run's end and return its document; ``connect`` gives a new host for one that dies.

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
            with connect() as again:
                return again.request("runs.wait", params, event=event)
        except ConnectionLost:
            continue
    raise ConnectionLost(
        f"the host died {HOST_DEATHS + 1} times while run {run} was going on",
        hint=f"symphony runs resume {run}",
    )


def cancel(connect: Connect, run: str, limit: float, event: Event | None = None) -> dict[str, Any]:
    """Cancel a run and wait for its end, by a connection of its own; return its document.

    Raises ``TimeoutError`` when its steps take longer than ``limit`` seconds; the command is recorded then.
    """
    with connect() as connection:
        connection.request("runs.cancel", {"run": run}, timeout=10.0)
        params = {"run": run, "events": event is not None}
        document: dict[str, Any] = connection.request("runs.wait", params, event=event, timeout=limit)
        return document
