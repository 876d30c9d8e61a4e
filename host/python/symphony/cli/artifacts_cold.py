"""``symphony artifacts cool`` and ``warm``: keep artifacts compressed, and as they were put again."""

from __future__ import annotations

from typing import Any

import click

from symphony import client
from symphony.cli.command import Command, State, pass_state
from symphony.cli.failure import Exit
from symphony.cli.output import counted, note, print_json, size
from symphony.cli.tally import tally
from symphony.errors import InvalidInput

DAY = 86_400.0
PAGE = 200


@click.command(
    "cool",
    cls=Command,
    examples="""
    symphony artifacts cool --idle 30
    symphony artifacts cool report/summary 5f1c0a
    symphony artifacts cool --idle 7 --json
    """,
)
@click.argument("artifacts", metavar="[ARTIFACT]...", nargs=-1)
@click.option(
    "--idle", metavar="DAYS", type=click.FloatRange(0), help="All that was not used for so many days."
)
@pass_state
def cool(state: State, artifacts: tuple[str, ...], idle: float | None) -> None:
    """Keep artifacts compressed from now on, those named or all that were idle.

    They are read as before. What is below 4 KiB, or would save less than an eighth, stays as it is. Exit code
    1 if an artifact is damaged; it stays as it is too.
    """
    if bool(artifacts) == (idle is not None):
        raise InvalidInput("expected ARTIFACT... or --idle DAYS", hint="symphony artifacts cool --idle 30")
    total: dict[str, Any] = {"checked": 0, "cooled": 0, "saved": 0, "damaged": [], "artifacts": []}
    with client.connect_or_start(state.home, note=note) as connection, tally("looked at") as progress:
        pages: list[dict[str, Any]]
        pages = [{"artifact": one} for one in artifacts] or [{"idle": (idle or 0) * DAY, "limit": PAGE}]
        for params in pages:
            while params:
                page = connection.request("artifacts.cool", params)
                for key in ("checked", "cooled", "saved", "damaged", "artifacts"):
                    total[key] += page[key]
                progress.count(total["checked"])
                params = {**params, "after": page["next"]} if page["next"] else {}
    if state.json:
        print_json(total)
    else:
        _tell(total)
    if total["damaged"]:
        raise Exit(1)


@click.command(
    "warm",
    cls=Command,
    examples="""
    symphony artifacts warm report/summary
    symphony artifacts warm 5f1c0a --json
    """,
)
@click.argument("artifacts", metavar="ARTIFACT...", nargs=-1, required=True)
@pass_state
def warm(state: State, artifacts: tuple[str, ...]) -> None:
    """Keep cold artifacts as they were put again, to be read without decompressing."""
    rows = []
    with client.connect_or_start(state.home, note=note) as connection:
        for artifact in artifacts:
            rows.append(connection.request("artifacts.warm", {"artifact": artifact}))  # noqa: PERF401 (each may fail)
    if state.json:
        print_json(rows)
        return
    for row in rows:
        click.echo(f"{row['id'][:16]}  {'warm, ' + size(row['size']) if row['warmed'] else 'was not cold'}")


def _tell(total: dict[str, Any]) -> None:
    for row in total["artifacts"]:
        result = f"cold, {size(row['size'])} in {size(row['bytes'])}"
        click.echo(f"{row['id'][:16]}  {'stays as it is: ' + row['reason'] if row['reason'] else result}")
    for one in total["damaged"]:
        click.echo(f"damaged  {one}")
    saved = f"{size(total['saved'])} saved"
    note(f"{counted(total['checked'], 'artifact')} looked at, {total['cooled']} cooled, {saved}")
