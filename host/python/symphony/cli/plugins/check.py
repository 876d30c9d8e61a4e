"""``symphony plugins check``: all that is wrong with a plugin, at once, for its author."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import click

from symphony.cli.command import Command, State, pass_state
from symphony.cli.failure import Exit
from symphony.cli.output import counted, echo, note, print_json, safe, styled, terminal_width

if TYPE_CHECKING:
    from symphony.plugins.check import Checked, Fault

COLOURS = {"broken": "red", "incompatible": "red", "conflict": "red", "effect": "yellow"}


@click.command(
    "check",
    cls=Command,
    examples="""
    symphony plugins check ./tools.py
    symphony plugins check . --json
    symphony plugins check dist/symphony_acme-0.1.0-py3-none-any.whl
    symphony plugins check symphony-conductor
    """,
)
@click.argument("target", metavar="NAME|PATH")
@pass_state
def command(state: State, target: str) -> None:
    """Report everything that is wrong with a plugin: an installed one, or that of a path.

    PATH is a .py file, the folder of a project, or a wheel. It is imported in a process of its own, which may
    crash or hang. Effects in workflow code are found by reading it; "# symphony: allow[CODE]" behind a line
    allows one.

    Ends with 0 (fine; notes do no harm), 4 (broken), 5 (incompatible), 6 (its name is taken), or 1 (effects
    in workflow code, and nothing else).
    """
    from symphony.plugins.check import check

    checked = check(state.home, target)
    if state.json:
        print_json({**checked.json(), "error": _error(checked)})
    else:
        show(checked)
    if checked.exit:
        raise Exit(checked.exit)


def _error(checked: Checked) -> dict[str, object] | None:
    if not checked.exit:
        return None
    worst = checked.faults[0]
    message = f"{checked.name}: {counted(len(checked.faults), 'fault')}; {worst.problem.message}"
    return {
        "type": "PluginFaults",
        "message": message,
        "hint": worst.problem.hint,
        "exit": checked.exit,
    }


def show(checked: Checked) -> None:
    """What was found, on stdout, and a last line on stderr."""
    echo(f"{checked.name} {checked.version}".rstrip() + f"  ({checked.kind})")
    for item in checked.contributions:
        echo(f"  {item['kind']:<9}  {item['name']}")
    if checked.hooks:
        echo(f"  {'hooks':<9}  {', '.join(checked.hooks)}")
        echo(f"  {'import':<9}  {checked.ms:.0f} ms, {counted(checked.modules, 'module')}")
    for fault in checked.faults:
        _show_fault(fault)
    note(summary(checked))


def summary(checked: Checked) -> str:
    """The line at the end."""
    faults = [fault for fault in checked.faults if fault.level != "note"]
    notes = len(checked.faults) - len(faults)
    told = counted(len(faults), "fault") if faults else "no faults"
    return told + (f", {counted(notes, 'note')}" if notes else "")


def _show_fault(fault: Fault) -> None:
    import sys

    problem, room = fault.problem, max(terminal_width() - 4, 40)
    level = styled(fault.level, COLOURS[fault.level], sys.stdout) if fault.level in COLOURS else fault.level
    echo()
    echo(f"{level} [{problem.code}]" + (f"  {nearby(problem.at)}" if problem.at else ""))
    for text in (problem.message, problem.hint):
        for line in textwrap.wrap(safe(text), room, break_on_hyphens=False) if text else ():
            echo(f"    {line}")


def nearby(at: str) -> str:
    """A place as short as it can be said from the working folder."""
    path = Path(at)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else at
