"""``symphony plugins enable`` and ``disable``: whether an installed plugin is used."""

from __future__ import annotations

import click

from symphony.cli.command import Command, State, pass_state
from symphony.cli.output import note, print_json
from symphony.cli.plugins.running_host import tell_host


@click.command("enable", cls=Command, examples="symphony plugins enable symphony-ocr")
@click.argument("name")
@pass_state
def enable(state: State, name: str) -> None:
    """Use a plugin again that was disabled."""
    _set(state, name, enabled=True)


@click.command("disable", cls=Command, examples="symphony plugins disable symphony-ocr")
@click.argument("name")
@pass_state
def disable(state: State, name: str) -> None:
    """Keep a plugin installed, but neither load nor probe it."""
    _set(state, name, enabled=False)


def _set(state: State, name: str, *, enabled: bool) -> None:
    from symphony.plugins.install import set_enabled

    plugin = set_enabled(state.home, name, enabled=enabled, note=note)
    tell_host(state.home)
    if state.json:
        print_json(plugin.json())
        return
    click.echo(f"{plugin.name} is {plugin.status}")
    if plugin.problem:
        note(f"{plugin.problem.message}" + (f" ({plugin.problem.hint})" if plugin.problem.hint else ""))
