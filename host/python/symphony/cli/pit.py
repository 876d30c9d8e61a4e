"""``symphony pit``: look at the Pit's components, call their methods. ``list`` and ``show`` start no host."""

from __future__ import annotations

import json
import textwrap
from typing import TYPE_CHECKING, Any

import click

from symphony import client
from symphony.cli.command import Group, State, no_probe_option, pass_state
from symphony.cli.output import note, print_json, table
from symphony.core_components import core_components
from symphony.errors import InvalidInput, NotFound
from symphony.home import absolute
from symphony.plugins import catalog, conflicts, prober, wish
from symphony.plugins.names import did_you_mean

if TYPE_CHECKING:
    from pathlib import Path

    from symphony.home import Home
    from symphony.plugins.namespace import Namespace

command = Group(
    "pit",
    help="Look at the Pit's components and call them.",
    examples="""
    symphony pit list
    symphony pit show pool_manager
    symphony pit call pool_manager.models
    symphony pit check ./libacme_vectors.so
    """,
)


def components(home: Home, *, probe: bool = True) -> tuple[list[dict[str, Any]], Namespace]:
    """Describe the core components and those of active plugins, each in a child process, and their names."""
    found = prober.describe([str(path) for path in core_components()])
    plugins = catalog.survey(home, probe=probe, note=note)
    for plugin in plugins:
        if plugin.status == "active":
            found += [item["description"] for item in plugin.contributions if item["kind"] == "component"]
    for item in found:
        if item.get("problem"):
            note(f"{item['library']}: {item['problem']['message']}")
    described = sorted(
        (item for item in found if not item.get("problem")), key=lambda item: str(item["name"])
    )
    return described, conflicts.namespace(plugins, wish.preferences(home))


def find(name: str, known: list[dict[str, Any]], names: Namespace) -> dict[str, Any]:
    """The component of this full or short name, or id. Raises ``NotFound``."""
    meant = names.find("component", name)
    for item in known:
        if item["id"] == (meant.id if meant else name):
            return item
    closest = [item["name"] for item in known] + [item["id"] for item in known]
    closest += [offer.full for offer in names.of_kind("component")]
    raise NotFound(f"there is no component {name!r}", hint=did_you_mean(name, closest, "symphony pit list"))


@command.command(
    "list",
    examples="""
    symphony pit list
    symphony pit list --json
    """,
)
@no_probe_option
@pass_state
def list_components(state: State, no_probe: bool) -> None:
    """List the components."""
    found, _ = components(state.home, probe=not no_probe)
    if state.json:
        print_json(found)
        return
    table(
        ["NAME", "VERSION", "METHODS", "DESCRIPTION"],
        [[item["name"], item["version"], len(item["methods"]), item["description"]] for item in found],
    )


@command.command("show", examples="symphony pit show pool_manager")
@click.argument("component")
@pass_state
def show(state: State, component: str) -> None:
    """Show one component and its methods."""
    item = find(component, *components(state.home))
    if state.json:
        print_json(item)
        return
    click.echo(f"{item['name']} {item['version']}  ({item['id']})")
    click.echo(item["description"])
    for method in item["methods"]:
        shown = f"  [{_flags(method)}]" if _flags(method) else ""
        click.echo(f"\n  {method['name']}{method['signature'].removeprefix(method['name'])}{shown}")
        for line in textwrap.wrap(method["doc"], 74):
            click.echo(f"      {line}")


@command.command(
    "call",
    context_settings={"ignore_unknown_options": True},
    examples="""
    symphony pit call pool_manager.models
    symphony pit call artifact_store.list notes/
    symphony pit call symphony.artifact_store.find '"42"'
    """,
)
@click.argument("method", metavar="COMPONENT.METHOD")
@click.argument("values", metavar="[ARG]...", nargs=-1)
@pass_state
def call(state: State, method: str, values: tuple[str, ...]) -> None:
    """Call a method of a component in the running host; one is started where none runs.

    Each ARG is taken as JSON where it is JSON, else as text.
    """
    component, dot, name = method.rpartition(".")
    if not dot or not component or not name:
        raise InvalidInput(f"{method!r} is not COMPONENT.METHOD", hint="as in pool_manager.models")
    params = {"component": component, "method": name, "args": [parse_argument(value) for value in values]}
    with client.connect_or_start(state.home, note=note) as connection:
        answer = connection.request("pit.call", params)
    if state.json:
        print_json({"value": answer["value"]})
        return
    from symphony.cli.rendering import render

    for line in render(answer["value"]):
        click.echo(line)


@command.command(
    "check",
    examples="""
    symphony pit check ./libacme_vectors.so
    symphony pit check target/release/libacme_vectors.so --json
    """,
)
@click.argument("file", type=click.Path(dir_okay=False))
@pass_state
def check(state: State, file: str) -> None:
    """Check a component library: open it, create it in a throw-away home, call it, and bring it back.

    All of that is done in a process of its own, which may crash or hang. No host is started.
    """
    from symphony.plugins import lookup
    from symphony.plugins.problem import Problem

    path = absolute(file)
    if not path.is_file():
        near = did_you_mean(path.name, [item.name for item in _libraries(path.parent)])
        raise NotFound(f"there is no file {path}", hint=near or "give the path of a shared library")
    found = prober.exercise(str(path))
    problem = Problem.of(found["problem"])
    if problem is not None:
        done = f" (went well: {', '.join(found['checks'])})" if found["checks"] else ""
        raise lookup.error_for(f"component library {path}{done}", problem)
    if state.json:
        print_json(found)
        return
    item = found["component"]
    click.echo(f"{item['name']} {item['version']}  ({item['id']})")
    click.echo(item["description"])
    if item["calls"]:
        click.echo(f"calls {', '.join(item['calls'])}")
    click.echo()
    table(
        ["METHOD", "FLAGS", "SIGNATURE"],
        [[method["name"], _flags(method), method["signature"]] for method in item["methods"]],
    )
    note(f"ok: {', '.join(found['checks'])}")


@command.command(
    "stubs",
    examples="""
    symphony pit stubs pool_manager
    symphony pit stubs ./libacme_vectors.so -o typings
    symphony pit stubs acme.vectors > vectors.pyi
    """,
)
@click.argument("component", metavar="[COMPONENT|FILE]", required=False)
@click.option("--output", "-o", metavar="DIR", type=click.Path(file_okay=False), help="Write files here.")
@pass_state
def stubs(state: State, component: str | None, output: str | None) -> None:
    """Write type stubs of components from their method tables, for type checkers and editors.

    Without COMPONENT those of all components are written, which needs -o.
    """
    from symphony import pit_stubs

    if component is None:
        if output is None:
            raise InvalidInput(
                "the stubs of all components need a folder", hint="-o DIR, or name a component"
            )
        chosen, _ = components(state.home)
    elif absolute(component).is_file():
        chosen = [_described(absolute(component))]
    else:
        chosen = [find(component, *components(state.home))]
    files = {f"{item['name']}.pyi": pit_stubs.stub(item) for item in chosen}
    if output is None:
        if state.json:
            print_json(files)
        else:
            click.echo("".join(files.values()), nl=False)
        return
    folder = absolute(output)
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    if state.json:
        print_json({"written": [str(folder / name) for name in files]})
    else:
        note(f"written to {folder}: {', '.join(files)}")


def _described(path: Path) -> dict[str, Any]:
    from symphony.plugins import lookup
    from symphony.plugins.problem import Problem

    item = prober.describe([str(path)])[0]
    problem = Problem.of(item.get("problem"))
    if problem is not None:
        raise lookup.error_for(f"component library {path}", problem)
    return item


def _libraries(folder: Path) -> list[Path]:
    return [item for item in folder.glob("*") if item.suffix in (".so", ".dylib")] if folder.is_dir() else []


def _flags(method: dict[str, Any]) -> str:
    flags = method.get("flags") or ""
    return ", ".join(flags) if isinstance(flags, list) else str(flags)


def parse_argument(text: str) -> Any:
    """JSON where it is JSON, else the text. Raises ``InvalidInput`` for what looks like a misspelt option."""
    try:
        return json.loads(text)
    except ValueError:
        if text.startswith("--"):
            raise InvalidInput(
                f"there is no option {text}", hint=f"as an argument, write it as JSON: '\"{text}\"'"
            ) from None
        return text
