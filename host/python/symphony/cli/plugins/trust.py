"""``symphony plugins trust``: let the ``symphony_plugins.py`` of a folder run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from symphony.cli.command import Command, State, pass_state
from symphony.cli.output import note, print_json
from symphony.cli.plugins.running_host import tell_host

if TYPE_CHECKING:
    from symphony.plugins.trust import Trusted


@click.command(
    "trust",
    cls=Command,
    examples="""
    symphony plugins trust .
    symphony plugins trust ~/pages/symphony_plugins.py
    symphony plugins trust --list
    symphony plugins trust --revoke .
    """,
)
@click.argument("path", required=False)
@click.option("--list", "listing", is_flag=True, help="Show what is trusted, and what became of it.")
@click.option("--revoke", is_flag=True, help="Trust the file no more.")
@pass_state
def command(state: State, path: str | None, listing: bool, revoke: bool) -> None:
    """Let the symphony_plugins.py of a folder run, as it is now.

    PATH is the file or its folder. In that folder its workflows are local.NAME, without --plugin. It runs
    with your rights: look at it first. Once it changes it is not run any more, until you trust it again.
    This command runs nothing of it.
    """
    from symphony.plugins import trust

    if listing:
        if path is not None or revoke:
            raise click.UsageError("--list goes alone")
        _show(state, trust.listed(state.home))
        return
    if path is None:
        raise click.UsageError("Missing argument 'PATH': a folder or its symphony_plugins.py")
    done = trust.revoke(state.home, path) if revoke else trust.grant(state.home, path)
    tell_host(state.home)
    if state.json:
        print_json(done.json())
    elif revoke:
        click.echo(f"{done.path} is not trusted any more")
    else:
        click.echo(f"{done.path} is trusted as it is now (SHA-256 {done.sha256[:16]}...)")
        note("runs started in its folder know its workflows as local.NAME")


def _show(state: State, files: list[Trusted]) -> None:
    if state.json:
        print_json({"files": [file.json() for file in files]})
        return
    for file in files:
        click.echo(f"{file.status:<7}  {file.path}")  # whole, however long: it is what --revoke takes
    if not files:
        note("no file is trusted; for the symphony_plugins.py of this folder: symphony plugins trust .")
