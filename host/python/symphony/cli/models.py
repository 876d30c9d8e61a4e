"""``symphony models``: look at models, load and unload them in the running host."""

from __future__ import annotations

from typing import Any

import click

from symphony import client
from symphony.cli.command import Group, State, pass_state
from symphony.cli.output import note, print_json, size, table

command = Group(
    "models",
    help="Look at models, load and unload them.",
    examples="""
    symphony models list
    symphony models load wordllama
    symphony models unload wordllama
    """,
)


@command.command(
    "list",
    examples="""
    symphony models list
    symphony models list --json
    """,
)
@pass_state
def list_models(state: State) -> None:
    """List the models of all plugins: their state, who uses them, what they take."""
    with client.connect_or_start(state.home, note=note) as connection:
        rows = connection.request("models.list")
    if state.json:
        print_json(rows)
        return
    table(
        ["NAME", "STATE", "IN USE", "MEMORY", "CALLS", "PLUGIN"],
        [
            [row["name"], row["state"], _use(row), size(row["memory"]), row["calls"], _plugin(row)]
            for row in rows
        ],
        status=1,
    )
    for row in rows:
        if row["state"] == "failed":
            note(f"{row['name']} failed: {row['reason']} (symphony models load {row['name']})")
    if not rows:
        note("no models: a plugin gives them, as symphony plugins install symphony-conductor")


@command.command("load", examples="symphony models load wordllama")
@click.argument("name")
@pass_state
def load(state: State, name: str) -> None:
    """Load a model now and wait until it can be used. One that failed is tried again.

    The host that has it stays until symphony host stop.
    """
    row = _ask(state, "models.load", name, linger=True)
    _show(state, row, f"{name} is {row['state']}")


@command.command("unload", examples="symphony models unload wordllama")
@click.argument("name")
@pass_state
def unload(state: State, name: str) -> None:
    """Unload a model that no step uses, and free its memory."""
    row = _ask(state, "models.unload", name)
    _show(state, row, f"{name} is {row['state']}")


@command.command("prewarm", examples="symphony models prewarm wordllama")
@click.argument("name")
@pass_state
def prewarm(state: State, name: str) -> None:
    """Have a model loaded in the background, ahead of its first use.

    The host that has it stays until symphony host stop.
    """
    row = _ask(state, "models.prewarm", name, linger=True)
    _show(state, row, f"{name} is being loaded" if row["started"] else f"{name} is {row['state']} already")


def _ask(state: State, method: str, name: str, *, linger: bool = False) -> dict[str, Any]:
    # A host that does not linger leaves soon after its last client, and the model with it.
    with client.connect_or_start(state.home, linger=linger, note=note) as connection:
        answer: dict[str, Any] = connection.request(method, {"model": name})
        return answer


def _show(state: State, row: dict[str, Any], text: str) -> None:
    if state.json:
        print_json(row)
    else:
        click.echo(text)


def _use(row: dict[str, Any]) -> str:
    waiting = f" +{row['waiting']}" if row["waiting"] else ""
    return f"{row['leased']}/{row['instances']}{waiting}"


def _plugin(row: dict[str, Any]) -> str:
    return row["provider"] if row["provided"] else f"{row['provider'] or '?'} (not loaded)"
