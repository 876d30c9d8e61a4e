"""``symphony workflows``: what the installed plugins let you run. Read from the store; starts nothing."""

from __future__ import annotations

import json
from typing import Any

import click

from symphony.cli.command import Group, State, no_probe_option, pass_state
from symphony.cli.output import note, print_json, table
from symphony.plugins import catalog, local, lookup, wish

command = Group(
    "workflows",
    help="List the workflows that plugins add.",
    examples="""
    symphony workflows list
    symphony workflows show conductor.index
    """,
)


@command.command(
    "list",
    examples="""
    symphony workflows list
    symphony workflows list --json
    """,
)
@no_probe_option
@pass_state
def list_workflows(state: State, no_probe: bool) -> None:
    """List all workflows with their inputs."""
    states = catalog.survey(state.home, probe=not no_probe, note=note)
    states = local.with_local(state.home, states, note, probe=not no_probe)
    rows = catalog.workflows(states)
    if state.json:
        print_json(rows)
        return
    table(
        ["NAME", "INPUTS", "SUMMARY"], [[row["name"], _inputs(row["inputs"]), row["summary"]] for row in rows]
    )
    unprobed = [plugin.name for plugin in states if plugin.problem and plugin.problem.code == "unprobed"]
    if unprobed:
        note(f"not probed yet: {', '.join(unprobed)}")
    elif not rows:
        note("no workflows: symphony plugins install symphony-conductor")
    broken = [plugin.name for plugin in states if plugin.needs_attention]
    if broken:
        note(f"plugins that need attention: {', '.join(broken)} (symphony plugins list)")


@command.command(
    "show",
    examples="""
    symphony workflows show conductor.index
    symphony workflows show index --json
    """,
)
@click.argument("name")
@no_probe_option
@pass_state
def show(state: State, name: str, no_probe: bool) -> None:
    """Show one workflow and its inputs. NAME is a full or a short name."""
    states = catalog.survey(state.home, probe=not no_probe, note=note)
    states = local.with_local(state.home, states, note, probe=not no_probe)
    found = lookup.workflow(name, states, wish.preferences(state.home))
    row = next(row for row in catalog.workflows(states) if row["name"] == found.full)
    if state.json:
        print_json(row)
        return
    click.echo(f"{row['name']}  ({row['id']})")
    if row["summary"]:
        click.echo(row["summary"])
    if row["inputs"]:
        click.echo()
        table(["INPUT", "TYPE", "DEFAULT"], [[i["name"], i["type"], _default(i)] for i in row["inputs"]])


def _default(described: dict[str, Any]) -> str:
    return "(required)" if described["required"] else json.dumps(described["default"], ensure_ascii=False)


def _inputs(inputs: list[dict[str, Any]]) -> str:
    return " ".join(item["name"] if item["required"] else f"[{item['name']}]" for item in inputs)
