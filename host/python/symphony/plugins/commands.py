"""The commands that plugins give, by the names under which they are called.

``plugins.commands`` in the home is what a help text and a shell's completion read: names and help alone, from
the last look at the plugins. It is derived and safe to delete. Nothing here probes or imports a plugin.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from symphony.errors import HostUnavailable, NotFound, Refused, SymphonyError
from symphony.plugins import SELECTION

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from symphony.home import Home
    from symphony.plugins.catalog import PluginState

SCHEMA: Final = 1


class PluginCommand(NamedTuple):
    """One command. ``name`` is the full one, ``plugin.command``, ``summary`` its line in a list."""

    name: str
    id: str
    plugin: str
    summary: str

    @property
    def short(self) -> str:
        """What stands behind the dot."""
        return self.name.rpartition(".")[2]


def of(states: Iterable[PluginState]) -> list[PluginCommand]:
    """The commands of all active plugins: those that their short names mean, then the others."""
    found = [
        (state.short_name(item) is None, PluginCommand(item["name"], item["id"], state.name, item["summary"]))
        for state in states
        if state.status == "active"
        for item in state.contributions
        if item["kind"] == "command"
    ]
    return [command for _, command in sorted(found, key=lambda each: each[0])]


def callable_by(commands: Iterable[PluginCommand], core: Collection[str]) -> dict[str, PluginCommand]:
    """Each command by its names: the full one, the id, and the short one where it is the first to have it.

    Names of ``core`` commands are never a plugin's.
    """
    names: dict[str, PluginCommand] = {}
    for command in commands:
        for name in (command.short, command.name, command.id):
            if name not in core:
                names.setdefault(name, command)
    return names


def shown(commands: Iterable[PluginCommand], core: Collection[str]) -> dict[str, PluginCommand]:
    """As ``callable_by``, each command once: by its short name, where that is taken by its full one."""
    known = list(commands)
    names = callable_by(known, core)
    return {
        (command.short if names.get(command.short) is command else command.name): command for command in known
    }


def find(name: str, states: Sequence[PluginState], core: Collection[str]) -> PluginCommand:
    """The command that is called by this name.

    Raises
    ------
    NotFound
        No plugin gives it; the hint has the closest names, those of the core among them.
    Refused
        The plugin that gives it is disabled.
    PluginBroken, Incompatible, Conflict, Quarantined
        The plugin that should give it cannot be used.
    """
    from symphony.plugins import conflicts
    from symphony.plugins.names import did_you_mean  # not for a help text

    names = callable_by(of(states), core)
    if name in names:
        return names[name]
    meant = conflicts.namespace(states).find("command", name)
    if meant is not None and meant.full in names:  # in another spelling
        return names[meant.full]
    for state in states:
        given = [
            word
            for item in state.contributions
            if item["kind"] == "command"
            for word in (item["name"].rpartition(".")[2], item["name"], item["id"])
        ]
        if state.status != "active" and (name in given or _belongs(name, state)):
            raise _unusable(name, state)
    raise NotFound(
        f"there is no command {name!r}",
        hint=did_you_mean(name, {*core, *names}, f"commands: {', '.join(sorted(core))}"),
    )


def _belongs(name: str, state: PluginState) -> bool:
    from symphony.plugins.names import canonical, prefix

    plugin = name.partition(":")[0] if ":" in name else name.rpartition(".")[0]
    return canonical(plugin) in (state.name, prefix(state.name))


def _unusable(name: str, state: PluginState) -> SymphonyError:
    from symphony.plugins.lookup import error_for

    if state.problem is None:
        hint = f"symphony plugins enable {state.name}"
        return Refused(f"plugin {state.name} of command {name!r} is {state.status}", hint=hint)
    info = f"symphony plugins info {state.name}"
    return error_for(f"plugin {state.name} of command {name!r}", state.problem, info)


def keep(home: Home, states: Iterable[PluginState]) -> None:
    """Write down which commands there are, where that has changed."""
    from symphony.plugins import wish

    document = {**_place(), "commands": [command._asdict() for command in of(states)]}
    known = _read(home)
    if known == document or (known is None and not document["commands"]):
        return
    import json

    try:
        home.ensure()
        wish.replace(home.plugins_commands, json.dumps(document, indent=1))
    except HostUnavailable:
        pass  # a read-only or full home: its help lists no command of a plugin


def kept(home: Home) -> list[PluginCommand]:
    """The commands as they were written down, less those of plugins that are gone or left out."""
    known = _read(home)
    if known is None or known.get("prefix") != sys.prefix:
        return []
    try:
        commands = [PluginCommand(**row) for row in known["commands"]]
    except (KeyError, TypeError):
        return []
    if commands and known.get("packages") != _packages():
        from symphony.plugins import discovery  # costs more than all the rest of a help text

        there = discovery.installed()
        commands = [command for command in commands if command.plugin in there]
    if SELECTION in os.environ:
        from symphony.plugins import selection

        chosen = selection.current()
        commands = [command for command in commands if chosen.takes(command.plugin)]
    return commands


def _read(home: Home) -> dict[str, Any] | None:
    try:
        data = home.plugins_commands.read_bytes()
    except OSError:
        return None
    import json

    try:
        document = json.loads(data)
    except ValueError:
        return None
    return document if isinstance(document, dict) and document.get("schema") == SCHEMA else None


def _place() -> dict[str, Any]:
    return {"schema": SCHEMA, "prefix": sys.prefix, "packages": _packages()}


def _packages() -> list[list[Any]]:
    """Where packages lie and when something was last installed or removed there."""
    found: list[list[Any]] = []
    for folder in sorted({folder for folder in sys.path if folder.endswith("-packages")}):
        try:
            found.append([folder, os.stat(folder).st_mtime_ns])  # noqa: PTH116 - cheaper than a Path
        except OSError:
            continue
    return found
