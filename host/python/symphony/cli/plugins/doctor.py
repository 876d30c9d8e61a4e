"""``symphony plugins doctor``: what is wrong with plugins, and the command that mends it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from symphony.cli.command import Command, State, no_probe_option, pass_state
from symphony.cli.failure import Exit
from symphony.cli.output import counted, note, print_json, safe
from symphony.cli.plugins.index_options import index_options
from symphony.cli.plugins.list import host_facts
from symphony.cli.plugins.running_host import reloaded

if TYPE_CHECKING:
    from symphony.plugins.doctor import Examination


@click.command(
    "doctor",
    cls=Command,
    examples="""
    symphony plugins doctor
    symphony plugins doctor --fix
    symphony plugins doctor --json
    """,
)
@click.option("--fix", is_flag=True, help="Do what is safe: install what is missing, tidy lock and cache.")
@no_probe_option
@index_options
@pass_state
def command(state: State, /, fix: bool, no_probe: bool, allow_build: bool, **index: Any) -> None:
    """Look at every plugin, and at wish, lock, cache, policy and environment.

    For each fault it names the command that mends it. It reads all files of locked plugins. Exit code 1
    where a fault is left.
    """
    from symphony.plugins.doctor import Fault, examine, mend
    from symphony.plugins.installer import IndexOptions

    home = state.home
    if fix:
        for error in mend(home, IndexOptions(**index), allow_build=allow_build, note=note).values():
            note(str(error))
    found = examine(home, probe=not no_probe, note=note)
    for name in [] if no_probe else reloaded(home):
        stale = "the running host still has it as it was before its files changed"
        found.faults.append(Fault(name, stale, "symphony host restart", "stale"))
    if state.json:
        print_json(
            {
                "schema": 1,
                "host": host_facts(),
                "environment": found.environment,
                "policies": found.policies,
                "selection": found.selection,
                "plugins": len(found.plugins),
                "faults": [fault.json() for fault in found.faults],
            }
        )
    else:
        _show(found)
    if found.faults:
        raise Exit(1)


def _show(found: Examination) -> None:
    facts = host_facts()
    host = f"{facts['version']}, plugin API {facts['api']}, Python {facts['python']}"
    rows = [("environment", found.environment), ("host", host)]
    rows += [("policy", text) for text in found.policies]
    if found.selection is not None:
        rows.append(("selection", found.selection))
    rows.append(("plugins", str(len(found.plugins))))
    for name, text in rows:
        click.echo(f"{name:<13}{safe(text)}")
    for fault in found.faults:
        click.echo(f"\n{safe(fault.where)}: {safe(fault.what)}\n  {safe(fault.do)}")
    click.echo()
    safe_ones = sum(fault.safe for fault in found.faults)
    if not found.faults:
        click.echo("nothing needs attention")
    elif safe_ones:
        note(f"{counted(len(found.faults), 'fault')}; symphony plugins doctor --fix mends {safe_ones}")
    else:
        note(counted(len(found.faults), "fault"))
