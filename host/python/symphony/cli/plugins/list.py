"""``symphony plugins list``: every plugin, its status and what it adds."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING, Any

import click

from symphony.cli.command import Command, State, no_probe_option, pass_state
from symphony.cli.output import counted, note, show_listing
from symphony.plugins import SELECTION, catalog, listing, local, selection
from symphony.plugins.listing import Listing

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from symphony.plugins.catalog import PluginState

# As the native module has it, which no command imports.
ABI = [1, 1]


@click.command(
    "list",
    cls=Command,
    examples="""
    symphony plugins list
    symphony plugins list --json
    symphony plugins list --no-probe
    """,
)
@no_probe_option
@pass_state
def command(state: State, no_probe: bool) -> None:
    """List plugins, their status and what they add.

    One that was never seen is probed first, that is executed in a process of its own.
    """
    states = catalog.survey(state.home, probe=not no_probe, note=note)
    states = local.with_local(state.home, states, note, probe=not no_probe)
    plugins = sorted(states, key=lambda plugin: plugin.name)
    found = listing_of(plugins)
    if not no_probe:
        listing.keep(state.home, found, plugins)
    show_listing(found, json=state.json)


def listing_of(plugins: Sequence[PluginState]) -> Listing:
    """What is shown of these plugins."""
    document = {"schema": 1, "host": host_facts(), "plugins": [plugin.json() for plugin in plugins]}
    rows = [[plugin.name, plugin.version, plugin.status, plugin.adds()] for plugin in plugins]
    return Listing(document, rows, list(_notes(plugins)))


def _notes(plugins: Sequence[PluginState]) -> Iterator[str]:
    chosen = selection.current()
    if not chosen.everything:
        yield f"only those that {SELECTION}={chosen.text()} takes"
    unprobed = [plugin.name for plugin in plugins if plugin.problem and plugin.problem.code == "unprobed"]
    if unprobed:
        yield f"not probed yet: {', '.join(unprobed)}"
    without = [plugin.name for plugin in plugins if plugin.notes]
    if without:
        yield f"without a short name that another has: symphony plugins info {without[0]}"
    yield summary(plugins)


def summary(plugins: Sequence[PluginState]) -> str:
    """The line below the table."""
    if not plugins and not selection.current().everything:
        return "no plugins"
    if not plugins:
        return "no plugins; get the Conductor: symphony plugins install symphony-conductor"
    sick = [plugin.name for plugin in plugins if plugin.needs_attention]
    total = counted(len(plugins), "plugin")
    if not sick:
        return total
    return f"{total}, {len(sick)} need{'s' if len(sick) == 1 else ''} attention: symphony plugins doctor"


def host_facts() -> dict[str, Any]:
    """What plugins are judged against."""
    from symphony import __version__
    from symphony.api import SYMPHONY_API

    return {"version": __version__, "api": SYMPHONY_API, "python": platform.python_version(), "abi": ABI}
