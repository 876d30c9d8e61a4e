"""``symphony plugins prefer``: which plugin is meant by a name that several give."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from symphony.cli.command import Command, State, pass_state
from symphony.cli.output import note, print_json, table
from symphony.cli.plugins.running_host import tell_host

if TYPE_CHECKING:
    from symphony.plugins.choices import Choice


@click.command(
    "prefer",
    cls=Command,
    examples="""
    symphony plugins prefer
    symphony plugins prefer map symphony-geo
    symphony plugins prefer model:small symphony-geo
    symphony plugins prefer conductor symphony-conductor
    symphony plugins prefer plugin:geo symphony-geo
    symphony plugins prefer map --unset
    """,
)
@click.argument("what", required=False)
@click.argument("plugin", required=False)
@click.option("--unset", is_flag=True, help="Take the choice back: the first in order has the name again.")
@pass_state
def command(state: State, what: str | None, plugin: str | None, unset: bool) -> None:
    """Choose whose a name is that several plugins give.

    WHAT is a short name, KIND:NAME, or conductor. plugin:NAME chooses who of two distributions such as geo
    and symphony-geo has the names geo.*; Symphony's own names stay its own, full names mean what they say.
    The choice is in plugins.toml, under [prefer]. Without arguments: the names that several give.
    """
    from symphony.plugins import choices, wish

    home = state.home
    if unset and plugin:
        raise click.UsageError("--unset takes no PLUGIN")
    if what is None:
        if unset:
            raise click.UsageError("--unset needs a WHAT")
        states, prefer = choices.known(home, note), wish.preferences(home)
        found = choices.contested(states, prefer)
        for chosen, absent in choices.idle(states, prefer).items():
            note(f"{absent}, which plugins.toml prefers for {chosen}, does not give it")
    elif unset:
        found = choices.forget(home, what)
    elif plugin is None:
        raise click.UsageError("Missing argument 'PLUGIN': who is to have the name")
    else:
        found = choices.choose(home, what, plugin, note)
    if what is not None:
        tell_host(home)
    if state.json:
        print_json({"prefer": wish.preferences(home), "names": [choice.json() for choice in found]})
    elif what is not None:
        for choice in found:
            click.echo(_sentence(choice))
    else:
        _show(found)


def _sentence(choice: Choice) -> str:
    also = f" (also given by {', '.join(choice.others)})" if choice.others else ""
    if choice.kind == "plugin":
        return f"the names {choice.name}.* are those of {choice.plugin}{also}"
    what = choice.name if choice.kind == choice.name else f"{choice.kind} {choice.name}"
    return f"{what} is that of {choice.plugin}{also}"


def _show(found: list[Choice]) -> None:
    table(
        ["KIND", "NAME", "PLUGIN", "ALSO GIVEN BY"],
        [[choice.kind, choice.name, choice.plugin, ", ".join(choice.others)] for choice in found],
    )
    if not found:
        note("no name is given by more than one plugin")
