"""``symphony plugins update``: newer releases, and the old one back where the new one does not work."""

from __future__ import annotations

from typing import Any

import click

from symphony.cli.command import Command, State, pass_state
from symphony.cli.output import note, print_json
from symphony.cli.plugins.index_options import index_options
from symphony.cli.plugins.running_host import tell_host


@click.command(
    "update",
    cls=Command,
    examples="""
    symphony plugins update
    symphony plugins update symphony-ocr
    symphony plugins update --no-index --find-links ./wheels
    """,
)
@click.argument("names", metavar="[NAME]...", nargs=-1)
@index_options
@pass_state
def command(state: State, /, names: tuple[str, ...], allow_build: bool, **index: Any) -> None:
    """Install newer releases of plugins, of all that are wished for by name.

    Only what the requirement in plugins.toml allows: symphony-ocr==0.2.0 stays. A release that does not fit
    or fails its probe is taken back. A plugin whose files changed is installed again.
    """
    from symphony.cli.plugins.sync import failure
    from symphony.plugins.installer import IndexOptions
    from symphony.plugins.update import update

    outcomes = update(state.home, names, IndexOptions(**index), allow_build=allow_build, note=note)
    if any(outcome.action in ("updated", "reinstalled") for outcome in outcomes):
        tell_host(state.home)
    failed = {outcome.name: outcome.error for outcome in outcomes if outcome.error is not None}
    if state.json and not failed:
        print_json({"plugins": [outcome.json() for outcome in outcomes]})
    if not state.json:
        for outcome in outcomes:
            if outcome.action == "updated":
                click.echo(f"updated {outcome.name} {outcome.before} to {outcome.version}")
            elif outcome.error is None:
                click.echo(f"{outcome.action} {outcome.name} {outcome.version}")
        if not outcomes:
            note("nothing is wished for by name: symphony plugins install NAME")
    if failed:
        raise failure(failed, "updated")
