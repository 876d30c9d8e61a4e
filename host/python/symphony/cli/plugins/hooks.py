"""``symphony plugins hooks``: what plugins can implement, and which of them do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from symphony.cli.command import Command, State, no_probe_option, pass_state
from symphony.cli.output import counted, note, print_json, table, terminal_width
from symphony.errors import NotFound
from symphony.plugins import catalog
from symphony.plugins.names import did_you_mean

if TYPE_CHECKING:
    from symphony.hook_reference import Hook


def _names(_context: click.Context, _argument: click.Parameter, begun: str) -> list[str]:
    from symphony.hookspecs import HOOKS

    return [name for name in HOOKS if name.startswith(begun)]


@click.command(
    "hooks",
    cls=Command,
    examples="""
    symphony plugins hooks
    symphony plugins hooks step_finished
    """,
)
@click.argument("hook", required=False, shell_complete=_names)
@no_probe_option
@pass_state
def command(state: State, hook: str | None, no_probe: bool) -> None:
    """Show the hooks that plugins can implement, or the reference of one HOOK."""
    from symphony.hook_reference import hooks

    known = {found.name: found for found in hooks()}
    if hook is not None and hook not in known:
        hint = did_you_mean(hook, known, "symphony plugins hooks")
        raise NotFound(f"there is no hook {hook!r}", hint=hint)
    users: dict[str, list[str]] = {name: [] for name in known}
    for plugin in catalog.survey(state.home, probe=not no_probe, note=note):
        for name in plugin.result.hooks if plugin.result and plugin.status == "active" else []:
            users[name].append(plugin.name)
    if hook is not None:
        _show(state, known[hook], sorted(users[hook]))
        return
    if state.json:
        print_json([{**found.json(), "plugins": sorted(users[name])} for name, found in known.items()])
        return
    table(
        ["HOOK", "SINCE", "PLUGINS"],
        [[name, found.since, ", ".join(sorted(users[name]))] for name, found in known.items()],
        below=[_line(found) for found in known.values()],
    )
    note(f"{counted(len(known), 'hook')}; more about one: symphony plugins hooks HOOK")


def _line(hook: Hook) -> str:
    summary = hook.summary.replace("``", "")
    return f"{summary} Deprecated: {hook.deprecated}." if hook.deprecated else summary


def _show(state: State, hook: Hook, plugins: list[str]) -> None:
    if state.json:
        print_json({**hook.json(), "signature": hook.signature, "doc": hook.doc, "plugins": plugins})
        return
    from symphony.hook_reference import terminal_text

    click.echo(terminal_text(hook, terminal_width()))
    note(f"implemented by {', '.join(plugins)}" if plugins else "no installed plugin implements it")
