"""``symphony host``: start, stop and look at the host of a home."""

from __future__ import annotations

from typing import Any

import click

from symphony import client, stopping
from symphony.cli.command import Group, State, pass_state, settings_option
from symphony.cli.host_logs import logs
from symphony.cli.output import counted, note, print_json, safe, seconds

STACK_LINES = 30
NOT_RUNNING: dict[str, Any] = {"running": False, "pid": None, "interpreter": None, "runs": 0, "paused": None}

command = Group(
    "host",
    help="Start, stop and look at the host.",
    examples="""
    symphony host start
    symphony host status --json
    symphony host logs --follow
    symphony host stop
    """,
)
command.add_command(logs)


@command.command(
    "start",
    examples="""
    symphony host start
    symphony host start --set limits.memory=2GiB --set hang_after=20
    """,
)
@settings_option
@pass_state
def start(state: State, settings: tuple[str, ...]) -> None:
    """Start the host of this home; it stays until it is stopped. Where one runs, say which."""
    with client.connect_or_start(state.home, linger=True, settings=settings, note=note) as connection:
        _show(state, connection.request("host.status"))


@command.command("stop", examples="symphony host stop")
@pass_state
def stop(state: State) -> None:
    """Stop the host: running steps are given time, their runs go on at the next start."""
    stopping.stop(state.home)
    _show(state, NOT_RUNNING)


@command.command("restart", examples="symphony host restart")
@pass_state
def restart(state: State) -> None:
    """Give the host a fresh interpreter; one that was given up after deaths is tried again.

    Running steps are given time, unfinished runs go on. Where no host runs, one is started.
    """
    connection = client.connect(state.home)
    if connection is None:
        connection = client.connect_or_start(state.home, linger=True, note=note)
    else:
        connection.request("conductor.restart")
    with connection:
        _show(state, connection.request("host.status"))


@command.command(
    "status",
    examples="""
    symphony host status
    symphony host status --json
    """,
)
@pass_state
def status(state: State) -> None:
    """Say whether a host runs, and how its interpreter is. Starts nothing."""
    connection = client.connect(state.home)
    if connection is None:
        _show(state, NOT_RUNNING)
        return
    with connection:
        _show(state, connection.request("host.status", timeout=client.ANSWER_LIMIT))


def _show(state: State, document: dict[str, Any]) -> None:
    shown = {key: document.get(key) for key in NOT_RUNNING}
    if state.json:
        print_json(shown)
        return
    if not shown["running"]:
        click.echo("not running")
        return
    live = counted(int(shown["runs"] or 0), "live run")
    click.echo(f"running      pid {shown['pid']}, {live}, home {state.home.path}")
    for setting in document.get("settings") or []:
        click.echo(f"setting      {safe(setting)}")
    paused = shown.get("paused")
    if paused:
        click.echo(f"paused       no new run begins: {paused['message']} ({paused['hint']})")
    interpreter = shown["interpreter"]
    if not interpreter:
        click.echo("interpreter  none")
        return
    facts = [str(interpreter.get("liveness") or interpreter.get("state"))]
    if interpreter.get("pid"):
        facts = [f"pid {interpreter['pid']}", *facts, f"up {seconds(float(interpreter.get('uptime') or 0))}"]
    if interpreter.get("rss"):
        facts.append(f"{interpreter['rss'] / (1 << 20):.0f} MiB")
    facts.append(counted(interpreter.get("restarts", 0), "restart"))
    click.echo(f"interpreter  {', '.join(facts)}")
    if interpreter.get("last_death"):
        click.echo(f"last death   {safe(interpreter['last_death'])}; see symphony doctor")
    problem = interpreter.get("problem")
    if problem:
        click.echo(f"problem      {safe(problem['message'])}")
        click.echo(f"             {safe(problem['hint'])}")
    if interpreter.get("silent") is not None:
        step = interpreter.get("step")
        where = f"step {safe(step['key'])}" if step and step["key"] else "the workflow"
        place = f", in {where} of run {step['run']}" if step else ""
        click.echo(f"{interpreter['liveness']:<12} for {seconds(float(interpreter['silent']))}{place}")
        for line in str(interpreter.get("stacks") or "").splitlines()[:STACK_LINES]:
            click.echo(f"             {safe(line)}")
