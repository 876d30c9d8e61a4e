"""``symphony plugins``: install, remove and look at plugins. Imports none, so broken ones do no harm."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING, Any

import click

from symphony import client
from symphony.cli.command import Group, State, pass_state
from symphony.cli.output import counted, note, print_json, table
from symphony.errors import SymphonyError
from symphony.plugins import catalog, lookup

if TYPE_CHECKING:
    from symphony.home import Home
    from symphony.plugins.catalog import PluginState

ABI = [1, 0]

command = Group(
    "plugins",
    help="Install, remove and look at plugins.",
    examples="""
    symphony plugins list
    symphony plugins install symphony-conductor
    symphony plugins disable symphony-ocr
    """,
)


@command.command(
    "list",
    examples="""
    symphony plugins list
    symphony plugins list --json
    """,
)
@pass_state
def list_plugins(state: State) -> None:
    """List plugins, their status and what they add."""
    plugins = sorted(catalog.survey(state.home, note=note), key=lambda plugin: plugin.name)
    if state.json:
        print_json({"schema": 1, "host": host_facts(), "plugins": [plugin.json() for plugin in plugins]})
        return
    table(
        ["NAME", "VERSION", "STATUS", "ADDS"],
        [[plugin.name, plugin.version, plugin.status, plugin.adds()] for plugin in plugins],
        status=2,
    )
    note(summary(plugins))


def summary(plugins: list[PluginState]) -> str:
    """The line below the table."""
    if not plugins:
        return "no plugins; get the Conductor: symphony plugins install symphony-conductor"
    sick = [plugin.name for plugin in plugins if plugin.needs_attention]
    total = counted(len(plugins), "plugin")
    if not sick:
        return total
    return (
        f"{total}, {len(sick)} need{'s' if len(sick) == 1 else ''} attention: symphony plugins info {sick[0]}"
    )


def host_facts() -> dict[str, Any]:
    """What plugins are judged against."""
    from symphony import __version__
    from symphony.api import SYMPHONY_API

    return {"version": __version__, "api": SYMPHONY_API, "python": platform.python_version(), "abi": ABI}


@command.command("info", examples="symphony plugins info symphony-conductor")
@click.argument("name")
@pass_state
def info(state: State, name: str) -> None:
    """Show one plugin: what it adds, or what is wrong and where. Probes it again if it failed."""
    known = lookup.plugin(name, catalog.survey(state.home, note=note))
    if known.status == "broken":
        known = lookup.plugin(known.name, catalog.survey(state.home, retry=[known.name], note=note))
    if state.json:
        print_json(known.json())
        return
    click.echo(f"{known.name} {known.version}".rstrip())
    click.echo(f"  status     {known.status}")
    if known.requirement:
        click.echo(f"  installed  {known.requirement}")
    if known.problem:
        for word, text in (
            ("problem", known.problem.message),
            ("at", known.problem.at),
            ("hint", known.problem.hint),
        ):
            if text:
                click.echo(f"  {word:<9}  {text}")
    if known.result and known.result.ok:
        click.echo(f"  import     {known.result.ms:.0f} ms, {known.result.modules} modules")
    for item in known.contributions:
        click.echo(
            f"  {item['kind']:<9}  {item['name']}" + (f"  {item['summary']}" if item.get("summary") else "")
        )


@command.command(
    "install",
    examples="""
    symphony plugins install symphony-conductor
    symphony plugins install symphony-ocr==0.2.0 --index-url https://a.example
    symphony plugins install ./dist/symphony_ocr-0.2.0-py3-none-any.whl
    symphony plugins install ./conductor_plugin
    """,
)
@click.argument("specs", metavar="SPEC...", nargs=-1, required=True)
@click.option("--index-url", metavar="URL", help="The package index to use.")
@click.option("--extra-index-url", metavar="URL", multiple=True, help="One more package index.")
@click.option("--find-links", "-f", metavar="PLACE", multiple=True, help="A folder or page with wheels.")
@click.option("--no-index", is_flag=True, help="Use no package index, only --find-links.")
@click.option("--pre", is_flag=True, help="Allow pre-releases.")
@click.option("--allow-build", is_flag=True, help="Allow source distributions, whose build runs their code.")
@click.option("--no-build-isolation", is_flag=True, help="Build with what is installed here.")
@pass_state
def install(state: State, /, specs: tuple[str, ...], allow_build: bool, **index: Any) -> None:
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
        if plugin.problem:
            note(f"{plugin.name}: {plugin.problem.message}")


@command.command("uninstall", examples="symphony plugins uninstall symphony-ocr")
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@pass_state
def uninstall(state: State, names: tuple[str, ...]) -> None:
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


@command.command("enable", examples="symphony plugins enable symphony-ocr")
@click.argument("name")
@pass_state
def enable(state: State, name: str) -> None:
    """Use a plugin again that was disabled."""
    _set(state, name, enabled=True)


@command.command("disable", examples="symphony plugins disable symphony-ocr")
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


def tell_host(home: Home) -> None:
    """Let a running host read the plugins again; none is started for it."""
    try:
        connection = client.connect(home)
        if connection is not None:
            with connection:
                connection.request("plugins.reload", timeout=60.0)
    except (SymphonyError, TimeoutError) as error:
        note(f"the running host did not take it over: {error}")
