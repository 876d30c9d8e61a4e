"""``symphony workflows``: what the installed plugins let you run. Read from the store; starts nothing."""

from __future__ import annotations

from typing import Any

from symphony.cli.command import Group, State, no_probe_option, pass_state
from symphony.cli.output import note, print_json, table
from symphony.plugins import catalog

command = Group("workflows", help="List the workflows that plugins add.", examples="symphony workflows list")


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


def _inputs(inputs: list[dict[str, Any]]) -> str:
    return " ".join(item["name"] if item["required"] else f"[{item['name']}]" for item in inputs)
