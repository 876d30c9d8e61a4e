"""``symphony plugins new``: the project of a plugin, to begin with."""

from __future__ import annotations

import os
from pathlib import Path

import click

from symphony.cli.command import Command, State, pass_state
from symphony.cli.output import echo, note, print_json
from symphony.errors import InvalidInput
from symphony.home import absolute
from symphony.plugins.new import LICENSES


@click.command(
    "new",
    cls=Command,
    examples="""
    symphony plugins new symphony-acme
    symphony plugins new symphony-acme --license Apache-2.0 --path ../acme
    symphony plugins new symphony-acme --native --sdk ../symphony/pit/sdk
    """,
)
@click.argument("name")
@click.option("--native", is_flag=True, help="With a component in Rust.")
@click.option("--path", metavar="DIR", type=click.Path(file_okay=False), help="Its folder; default ./NAME.")
@click.option("--license", type=click.Choice(LICENSES), default="MIT", help="Its license; default MIT.")
@click.option(
    "--sdk",
    metavar="DIR",
    type=click.Path(exists=True, file_okay=False),
    help="Symphony's SDK for components, with --native.",
)
@pass_state
def command(state: State, name: str, native: bool, path: str | None, license: str, sdk: str | None) -> None:
    """Write the project of a new plugin: complete, tested, and ready to be published.

    NAME is its distribution's: lower-case letters, digits and "-". A leading "symphony-" is left out of the
    names of its workflows. Needs no network.
    """
    from symphony.plugins.new import checkout_sdk, new

    if sdk and not native:
        raise InvalidInput("--sdk is of use with --native only", hint=f"symphony plugins new {name} --native")
    folder = absolute(path or name)
    chosen = absolute(sdk) if sdk else checkout_sdk()
    files = new(name, folder, native=native, license=license, sdk=chosen)
    if state.json:
        print_json({"name": name, "path": str(folder), "files": [str(file) for file in files]})
        return
    for file in files:
        echo(str(_near(folder) / file))
    if native and chosen is None:
        note("native/Cargo.toml looks for Symphony's SDK beside the folder: clone Symphony there")
    note(f"next: cd {_near(folder)} && pip install --editable . --group dev && pytest")


def _near(folder: Path) -> Path:
    near = Path(os.path.relpath(folder))
    return folder if ".." in near.parts else near
