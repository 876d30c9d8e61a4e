"""``symphony runs``: look at runs, resume, command and delete them. ``list`` and ``show`` start nothing."""

from __future__ import annotations

import functools
import sys
from typing import TYPE_CHECKING, Any

import click

from symphony import client
from symphony.cli.command import Group, State, pass_state
from symphony.cli.output import counted, note, print_json, safe, seconds, show_crash, table
from symphony.cli.questions import how_to_go_on
from symphony.cli.run import finish, follow
from symphony.cli.runs_commands import add_to
from symphony.cli.runs_delete import delete, prune
from symphony.cli.runs_follow import follow as follow_events
from symphony.cli.runs_graph import explain, graph
from symphony.cli.times import parse_time
from symphony.crash_reports import crashes_of

if TYPE_CHECKING:
    from symphony.home import Home

STATUSES = ("pending", "running", "paused", "waiting", "completed", "failed", "cancelled")
SHOWN = 16  # of 26 characters: the time and 30 random bits, more than enough to name a run
PAGE = 5_000  # rows of one answer

command = Group(
    "runs",
    help="Look at runs, resume, command and delete them. ID may be cut short as long as it is unambiguous.",
    examples="""
    symphony runs list --status failed
    symphony runs show 01jd
    """,
)
command.add_command(graph)
command.add_command(explain)
command.add_command(delete)
command.add_command(prune)


@command.command(
    "list",
    examples="""
    symphony runs list
    symphony runs list --status failed --since 2d
    symphony runs list --workflow conductor.index --json
    """,
)
@click.option("--status", type=click.Choice(STATUSES), help="Only runs in this state.")
@click.option("--workflow", metavar="NAME", help="Only runs of this workflow.")
@click.option(
    "--since", metavar="TIME", help="Only runs started since: 2026-01-31, or an age as 30m, 2h, 7d."
)
@click.option(
    "--limit", type=click.IntRange(min=0), default=100, show_default=True, help="At most so many; 0: all."
)
@pass_state
def list_runs(state: State, status: str | None, workflow: str | None, since: str | None, limit: int) -> None:
    """List runs, newest first."""
    since = parse_time("--since", since) if since else None
    given = {"status": status, "workflow": workflow, "since": since}
    rows = fetch(state.home, {name: value for name, value in given.items() if value is not None}, limit)
    if limit and len(rows) > limit:
        rows.pop()
        note(f"the newest {limit} are shown; for more: --limit N, 0 for all")
    if state.json:
        print_json(rows)
        return
    table(
        ["RUN", "STATUS", "STARTED (UTC)", "TIME", "STEPS", "WORKFLOW"],
        [
            [
                row["run"][:SHOWN],
                row["status"],
                _minute(row["started"]),
                seconds(row["seconds"]),
                _steps(row),
                row["workflow"],
            ]
            for row in rows
        ],
        status=1,
    )


@command.command(
    "show",
    examples="""
    symphony runs show 01jd3k
    symphony runs show 01jd3k --follow
    """,
)
@click.argument("run", metavar="ID")
@click.option("--follow", "following", is_flag=True, help="First show what happens to it, until it ends.")
@pass_state
def show(state: State, run: str, following: bool) -> None:
    """Show one run and its steps."""
    if following:
        follow_events(state.home, run, quiet=state.json)
    row = client.ask(state.home, "runs.get", {"run": run})
    row["crashes"] = crashes_of(state.home, row["run"])
    if state.json:
        print_json(row)
        return
    click.echo(f"run       {row['run']}")
    click.echo(f"workflow  {row['workflow']}")
    click.echo(f"status    {row['status']}")
    click.echo(f"started   {row['started']}")
    click.echo(f"time      {seconds(row['seconds'])}")
    error = row.get("error")
    if error:
        place = f" in step {error['step']}" if error["step"] else ""
        click.echo(f"error     {error['type']}{place}: {safe(error['message'])}")
    for line in how_to_go_on(row["run"], row.get("questions") or []):
        click.echo(f"waits     {safe(line)}")
    if row["crashes"]:
        deaths = counted(len(row["crashes"]), "death")
        click.echo(f"\n{deaths} of the interpreter hit this run, the last one:")
        show_crash(row["crashes"][0])
    graph = row.get("graph") or []
    if graph:
        click.echo()
        table(
            ["STATE", "ATTEMPTS", "TIME", "NAME", "KEY"],
            [[s["state"], s["attempts"], seconds(s["seconds"]), s["name"], s["key"]] for s in graph],
            status=0,
        )


@command.command(
    "resume",
    examples="""
    symphony runs resume 01jd3k
    symphony runs resume 01jd3k --json
    """,
)
@click.argument("run", metavar="ID")
@pass_state
def resume(state: State, run: str) -> None:
    """Take a run up where it stopped, and wait for its end. Recorded steps are not executed again."""
    connect = functools.partial(client.connect_or_start, state.home, note=note)
    with connect() as connection:
        taken = connection.request("runs.resume", {"run": run})
        finish(state, follow(connect, connection, taken["run"]))


add_to(command)


def fetch(home: Home, params: dict[str, Any], limit: int) -> list[dict[str, Any]]:
    """The newest runs, one more than ``limit`` where there are more; all of them if it is 0."""
    wanted = limit + 1 if limit else sys.maxsize
    rows: list[dict[str, Any]] = []
    while len(rows) < wanted:
        size = min(PAGE, wanted - len(rows))
        before = {"before": rows[-1]["run"]} if rows else {}
        page = client.ask(home, "runs.list", {**params, **before, "limit": size})
        rows += page
        if len(page) < size:
            break
    return rows


def _minute(started: str | None) -> str:
    return (started or "")[:16].replace("T", " ")


def _steps(row: dict[str, Any]) -> int:
    steps = row["steps"]  # a failed step was executed too
    return int(steps["executed"] + steps["reused"] + steps["skipped"])
