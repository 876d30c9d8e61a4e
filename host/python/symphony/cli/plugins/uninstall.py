"""``symphony plugins uninstall``: remove distributions, broken ones too."""

from __future__ import annotations

import click

from symphony.cli.command import Command, State, pass_state
from symphony.cli.output import note, print_json
from symphony.cli.plugins.running_host import tell_host


@click.command("uninstall", cls=Command, examples="symphony plugins uninstall symphony-ocr")
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@pass_state
def command(state: State, names: tuple[str, ...]) -> None:
    """Remove plugins from this environment. Works on broken ones, too."""
    from symphony.plugins.install import uninstall as uninstall_plugins

    home = state.home
    removed = uninstall_plugins(home, names, note)
    tell_host(home)
    if state.json:
        print_json({"removed": removed})
        return
    for name in removed:
        click.echo(f"removed {name}")
