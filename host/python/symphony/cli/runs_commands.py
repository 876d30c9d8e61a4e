"""``symphony runs cancel | pause | unpause | retry | skip | input``: commands to a run.

The host records each before it is acknowledged here; from then on no death of any process loses it.
"""

from __future__ import annotations

from typing import Any

import click

from symphony import client
from symphony.cli.command import Command, Group, State, pass_state
from symphony.cli.output import note, print_json
from symphony.errors import InvalidInput


def _command(state: State, method: str, params: dict[str, Any], done: str) -> None:
    with client.connect_or_start(state.home, note=note) as connection:
        answer = connection.request(method, params)
    if state.json:
        print_json(answer)
    elif answer.get("applied", True):
        note(f"run {answer['run']} {done}")
    else:
        note(f"recorded for run {answer['run']}; it has effect as soon as the interpreter answers")


@click.command("cancel", cls=Command, examples="symphony runs cancel 01jd3k")
@click.argument("run", metavar="ID")
@pass_state
def cancel(state: State, run: str) -> None:
    """Cancel a run: its running steps are stopped, nothing of it is started any more."""
    _command(state, "runs.cancel", {"run": run}, "is being cancelled")


@click.command(
    "pause",
    cls=Command,
    examples="""
    symphony runs pause 01jd3k
    symphony runs unpause 01jd3k
    """,
)
@click.argument("run", metavar="ID")
@pass_state
def pause(state: State, run: str) -> None:
    """Pause a run: its running steps finish, no step is started before it is unpaused."""
    _command(state, "runs.pause", {"run": run}, "is paused")


@click.command("unpause", cls=Command, examples="symphony runs unpause 01jd3k")
@click.argument("run", metavar="ID")
@pass_state
def unpause(state: State, run: str) -> None:
    """Let a paused run start steps again."""
    _command(state, "runs.unpause", {"run": run}, "goes on")


@click.command(
    "retry",
    cls=Command,
    examples="""
    symphony runs show 01jd3k
    symphony runs retry 01jd3k deploy#0
    """,
)
@click.argument("run", metavar="ID")
@click.argument("step")
@pass_state
def retry(state: State, run: str, step: str) -> None:
    """Execute a step once more.

    STEP is a key as runs show prints it: of a step that waits for a person since a death interrupted it,
    that waits for its next attempt, or that has failed and the workflow has not looked at it yet.
    """
    _command(state, "runs.retry_step", {"run": run, "step": step}, f"executes {step} again")


@click.command("skip", cls=Command, examples="symphony runs skip 01jd3k deploy#0")
@click.argument("run", metavar="ID")
@click.argument("step")
@pass_state
def skip(state: State, run: str, step: str) -> None:
    """End a step that has not ended, with None as its result; what needs it goes on."""
    _command(state, "runs.skip_step", {"run": run, "step": step}, f"goes on without {step}")


@click.command(
    "input",
    cls=Command,
    examples="""
    symphony runs input 01jd3k approve=true
    symphony runs input 01jd3k comment="not before Monday"
    """,
)
@click.argument("run", metavar="ID")
@click.argument("answer", metavar="KEY=VALUE")
@pass_state
def provide(state: State, run: str, answer: str) -> None:
    """Answer what a waiting run asks. The type of VALUE is the one that the workflow asks for."""
    name, equals, value = answer.partition("=")
    if not name or not equals:
        raise InvalidInput(f"{answer!r} is not KEY=VALUE", hint=f"symphony runs input {run} approve=true")
    _command(state, "runs.provide_input", {"run": run, "name": name, "text": value}, f"has {name}")


def add_to(group: Group) -> None:
    """Make these commands of the group ``runs``."""
    for command in (cancel, pause, unpause, retry, skip, provide):
        group.add_command(command)
