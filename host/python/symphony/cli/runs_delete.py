"""``symphony runs delete`` and ``prune``: forget runs that have ended. What they produced stays."""

from __future__ import annotations

from typing import Any

import click

from symphony import client
from symphony.cli.command import Command, State, pass_state
from symphony.cli.output import counted, note, print_json
from symphony.cli.times import parse_time

ENDED = ("completed", "failed", "cancelled")


@click.command(
    "delete",
    cls=Command,
    examples="""
    symphony runs delete 01jd3k
    symphony runs delete 01jd3k 01jd4m --json
    """,
)
@click.argument("runs", metavar="ID...", nargs=-1, required=True)
@pass_state
def delete(state: State, runs: tuple[str, ...]) -> None:
    """Delete runs that have ended: all of them, or none if one is unknown or live. Their artifacts stay."""
    _show(state, _ask(state, "runs.delete", {"runs": list(runs)}))


@click.command(
    "prune",
    cls=Command,
    examples="""
    symphony runs prune --older-than 30d --dry-run
    symphony runs prune --older-than 7d --status completed
    """,
)
@click.option(
    "--older-than", metavar="AGE", required=True, help="Runs that ended so long ago: 30m, 2h, 7d; or a date."
)
@click.option("--status", type=click.Choice(ENDED), help="Only runs that ended in this state.")
@click.option("--dry-run", is_flag=True, help="Only tell which.")
@pass_state
def prune(state: State, older_than: str, status: str | None, dry_run: bool) -> None:
    """Delete the runs that ended before a time. Their artifacts stay."""
    params = {"before": parse_time("--older-than", older_than), "status": status, "dry_run": dry_run}
    _show(state, _ask(state, "runs.prune", params))


def _ask(state: State, method: str, params: dict[str, Any]) -> dict[str, Any]:
    with client.connect_or_start(state.home, note=note) as connection:
        answer: dict[str, Any] = connection.request(method, params)
    return answer


def _show(state: State, answer: dict[str, Any]) -> None:
    if state.json:
        print_json(answer)
        return
    dry = answer.get("dry_run", False)
    for run in answer["deleted"] if dry else ():
        click.echo(run)
    count = counted(len(answer["deleted"]), "run")
    note(f"{count} would be deleted" if dry else f"{count} deleted")
