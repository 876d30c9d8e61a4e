"""``symphony artifacts gc``: what the retention policies would do and why, and doing it in batches."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from symphony import client
from symphony.cli.command import Command, State, pass_state
from symphony.cli.output import counted, cut, note, print_json, size, table
from symphony.cli.tally import tally
from symphony.errors import Conflict, InvalidInput, SymphonyError

if TYPE_CHECKING:
    from symphony.client import Client

ROWS = 1000


@click.command(
    "gc",
    cls=Command,
    examples="""
    symphony artifacts gc --dry-run
    symphony artifacts gc --dry-run --decision delete --json
    symphony artifacts gc --yes
    symphony pit call stale_manager.set_policy old '{"max_age": 2592000}'
    """,
)
@click.option("--dry-run", is_flag=True, help="Say what would be done and why; change nothing.")
@click.option(
    "--decision", type=click.Choice(["keep", "archive", "delete"]), help="Show only these decisions."
)
@click.option("--limit", metavar="N", type=click.IntRange(0), default=ROWS, help=f"Show so many ({ROWS}).")
@click.option(
    "--batch", metavar="N", type=click.IntRange(1), default=1000, help="Work in batches of so many."
)
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@click.option("--undo", is_flag=True, help="Bring back what an interrupted sweep put into the trash.")
@pass_state
def gc(
    state: State, dry_run: bool, decision: str | None, limit: int, batch: int, yes: bool, undo: bool
) -> None:
    """Delete or archive artifacts as the retention policies say.

    What is referenced or of high value is never deleted. Content rests in the trash until the whole sweep is
    done; an interrupted one is undone.
    """
    with client.connect_or_start(state.home, note=note) as connection:
        plan = connection.request("artifacts.plan", {"limit": limit, "decision": decision or ""})
        if undo:
            _undo(state, connection, plan["pending"])
            return
        if dry_run:
            _explain(state, plan)
            return
        if plan["pending"] is not None:
            raise Conflict(
                f"sweep {plan['pending']['sweep']} is not over ({plan['pending']['state']})",
                hint="symphony artifacts gc --undo",
            )
        totals = plan["totals"]
        if totals["deleted"] + totals["archived"] == 0:
            _done(state, {"sweep": None, "deleted": 0, "archived": 0, "kept": totals["kept"], "bytes": 0})
            return
        if not yes:
            _confirm(state, totals)
        _done(state, _sweep(connection, batch))


def _explain(state: State, plan: dict[str, Any]) -> None:
    if state.json:
        print_json(plan)
        return
    rows = plan["decisions"]
    table(
        ["DECISION", "SIZE", "SCORE", "ARTIFACT"],
        [[row["decision"], size(row["size"]), f"{row['score']:.2f}", _name(row)] for row in rows],
        below=[row["reason"] for row in rows],
    )
    totals = plan["totals"]
    note(
        f"{counted(totals['total'], 'artifact')}: {_amount(totals, 'deleted')} to delete, "
        f"{_amount(totals, 'archived')} to archive, {_amount(totals, 'kept')} to keep; nothing was changed"
    )
    for policy in plan["policies"]:
        built_in = " (built in)" if policy["built_in"] else ""
        note(f"policy {policy['name']}{built_in}, priority {policy['priority']}: {policy['rules'] or 'keep'}")
    if plan["pending"] is not None:
        note(f"sweep {plan['pending']['sweep']} is not over: symphony artifacts gc --undo")


def _name(row: dict[str, Any]) -> str:
    return cut(row["name"], 28) if row["name"] else row["id"][:16]


def _amount(totals: dict[str, Any], what: str) -> str:
    return f"{totals[what]} ({size(totals[f'{what}_bytes'])})"


def _confirm(state: State, totals: dict[str, Any]) -> None:
    if state.json or not sys.stdin.isatty():
        raise InvalidInput(
            "gc deletes artifacts, and there is no one to ask", hint="--yes, or look first: --dry-run"
        )
    click.confirm(
        f"Delete {_amount(totals, 'deleted')} and archive {_amount(totals, 'archived')} "
        f"of {counted(totals['total'], 'artifact')}?",
        abort=True,
        err=True,
    )


def _sweep(connection: Client, batch: int) -> dict[str, Any]:
    """All batches, then the commit. Whatever goes wrong in between: everything is brought back."""
    row: dict[str, Any] = connection.request("artifacts.sweep")
    sweep = row["sweep"]
    try:
        row = {"state": row["state"], "deleted": 0, "archived": 0, "kept": 0, "bytes": 0}
        with tally("swept") as progress:
            while row["state"] == "running":
                row = connection.request("artifacts.sweep_step", {"sweep": sweep, "batch": batch})
                progress.count(row["done"], row["total"])
    except (SymphonyError, KeyboardInterrupt):
        note(f"undoing sweep {sweep}")
        connection.request("artifacts.sweep_end", {"sweep": sweep, "commit": False})
        raise
    emptied = connection.request("artifacts.sweep_end", {"sweep": sweep, "commit": True})
    return {
        "sweep": sweep,
        "deleted": emptied["deleted"],
        "archived": row["archived"],
        "kept": row["kept"],
        "bytes": emptied["bytes"],
    }


def _undo(state: State, connection: Client, pending: dict[str, Any] | None) -> None:
    if pending is None:
        raise InvalidInput("there is no sweep to undo", hint="a committed one cannot be undone")
    row = connection.request("artifacts.sweep_end", {"sweep": pending["sweep"], "commit": False})
    if state.json:
        print_json(row)
    else:
        click.echo(f"undid sweep {row['sweep']}")


def _done(state: State, document: dict[str, Any]) -> None:
    if state.json:
        print_json(document)
    elif document["sweep"] is None:
        click.echo("nothing to delete or archive")
    else:
        click.echo(
            f"deleted {counted(document['deleted'], 'artifact')} ({size(document['bytes'])}), "
            f"archived {document['archived']}"
        )
