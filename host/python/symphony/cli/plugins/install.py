"""``symphony plugins install``: a look first, then the environment's own installer."""

from __future__ import annotations

from typing import Any

import click

from symphony.cli.command import Command, State, pass_state
from symphony.cli.output import note, print_json
from symphony.cli.plugins.index_options import index_options
from symphony.cli.plugins.running_host import tell_host


@click.command(
    "install",
    cls=Command,
    examples="""
    symphony plugins install symphony-conductor
    symphony plugins install symphony-ocr==0.2.0 --index-url https://a.example
    symphony plugins install ./dist/symphony_ocr-0.2.0-py3-none-any.whl
    symphony plugins install ./conductor_plugin
    """,
)
@click.argument("specs", metavar="SPEC...", nargs=-1, required=True)
@index_options
@pass_state
def command(state: State, /, specs: tuple[str, ...], allow_build: bool, **index: Any) -> None:
    """Install plugins, after a look at what they are.

    SPEC is a name, NAME==VERSION, a wheel, or the folder of a project. What is no Symphony plugin is refused
    before any of its code runs; a plugin that crashes in its probe is removed again.
    """
    from symphony.plugins.install import install as install_plugins
    from symphony.plugins.installer import IndexOptions

    home = state.home
    try:
        installed = install_plugins(home, specs, IndexOptions(**index), allow_build=allow_build, note=note)
    finally:
        tell_host(home)
    if state.json:
        print_json({"plugins": [plugin.json() for plugin in installed]})
        return
    for plugin in installed:
        click.echo(f"installed {plugin.name} {plugin.version}: {plugin.adds() or 'adds nothing'}")
        for problem in (plugin.problem, *plugin.notes):
            if problem:
                note(f"{plugin.name}: {problem.message}" + (f" ({problem.hint})" if problem.hint else ""))
