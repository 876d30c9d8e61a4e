"""``symphony plugins sync``: bring an environment back to what is wished for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from symphony.cli.command import Command, State, pass_state
from symphony.cli.output import counted, note, print_json
from symphony.cli.plugins.index_options import index_options
from symphony.cli.plugins.running_host import tell_host

if TYPE_CHECKING:
    from symphony.errors import SymphonyError
    from symphony.plugins.sync import Step

DONE = {"install": "installed", "reinstall": "reinstalled", "lock": "locked", "keep": "kept"}


@click.command(
    "sync",
    cls=Command,
    examples="""
    symphony plugins sync
    symphony plugins sync --dry-run
    symphony plugins sync --no-index --find-links ./wheels
    """,
)
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
@index_options
@pass_state
def command(state: State, /, dry_run: bool, allow_build: bool, **index: Any) -> None:
    """Bring the environment back to what plugins.toml wishes for.

    Installs what is missing, in the version of plugins.lock where it can be had, and puts back files that
    were changed. Removes nothing. For an environment that was made anew, or a home that came from elsewhere.
    """
    from symphony.plugins.installer import IndexOptions
    from symphony.plugins.sync import plan, sync

    if dry_run:
        _show(state, plan(state.home), "would ", {})
        return
    synced = sync(state.home, IndexOptions(**index), allow_build=allow_build, note=note)
    if any(step.action != "keep" for step in synced.steps):
        tell_host(state.home)
    versions = {plugin.name: plugin.version for plugin in synced.states}
    failed = synced.errors
    if state.json and failed:
        raise failure(failed, "restored")
    _show(state, [step for step in synced.steps if step.name not in failed], "", versions)
    sick = [plugin for plugin in synced.states if plugin.needs_attention]
    if sick:
        note(f"{counted(len(sick), 'plugin')} in need of attention: symphony plugins doctor")
    if failed:
        raise failure(failed, "restored")


def _show(state: State, steps: list[Step], would: str, versions: dict[str, str]) -> None:
    if state.json:
        rows = [step.json() | {"version": versions.get(step.name) or step.version} for step in steps]
        print_json({"plugins": rows})
        return
    for step in steps:
        version = versions.get(step.name) or step.version or step.requirement
        action = f"{would}{step.action}" if would else DONE.get(step.action, step.action)
        click.echo(f"{action} {step.name} {version}: {step.reason}")
    if not steps:
        note("nothing is wished for: symphony plugins install NAME")


def failure(errors: dict[str, SymphonyError], done: str) -> SymphonyError:
    """One error that tells of all; its class is that of the first."""
    first = next(iter(errors.values()))
    if len(errors) == 1:
        return first
    told = "; ".join(str(error) for error in errors.values())
    return type(first)(f"{len(errors)} plugins could not be {done}: {told}", hint=first.hint)
