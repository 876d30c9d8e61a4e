"""``symphony plugins dev``: a plugin under development, checked and reloaded on every change."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from symphony.cli.command import Command, State, pass_state
from symphony.cli.output import cut, echo, note, safe, styled, terminal_width
from symphony.cli.plugins.check import COLOURS
from symphony.errors import InvalidInput

if TYPE_CHECKING:
    from symphony.plugins.check import Checked
    from symphony.plugins.develop import News
    from symphony.plugins.subject import Subject


@click.command(
    "dev",
    cls=Command,
    examples="""
    symphony plugins dev ./tools.py
    symphony plugins dev . --no-build-isolation
    """,
)
@click.argument("path")
@click.option("--no-build-isolation", is_flag=True, help="Build with what is installed here.")
@pass_state
def command(state: State, path: str, no_build_isolation: bool) -> None:
    """Use a plugin from its source; check and reload it whenever a file changes, until Ctrl-C.

    PATH is a .py file or the folder of a project, which is installed editable unless it is so already. Each
    change gives one line: what is wrong, or what the plugin adds. A running host gets a fresh interpreter,
    and its runs go on.
    """
    from symphony.plugins.develop import from_source, watch
    from symphony.plugins.installer import IndexOptions

    if state.json:
        raise InvalidInput(
            "dev has no end, so that it gives no document", hint="symphony plugins check --json"
        )
    options = IndexOptions(no_build_isolation=no_build_isolation)
    subject = from_source(state.home, path, options, note)
    note(f"watching {subject.name}; Ctrl-C ends")
    told = False
    try:
        for news in watch(state.home, path, subject):
            echo(_line(news, path))
            if not told and news.checked and news.checked.contributions:
                note(_how_to_run(news.checked, subject))
                told = True
    except KeyboardInterrupt:
        kept = f"; {subject.name} stays installed (symphony plugins uninstall {subject.name})"
        note("stopped" + (kept if subject.kind == "project" else ""))


def _line(news: News, path: str) -> str:
    """One line: the time, how the plugin is, and why. What is cut off, ``check`` tells."""
    level, text = _verdict(news, path)
    began = f"{time.strftime('%H:%M:%S')}  "
    rest = cut(safe(text), max(terminal_width() - len(began) - len(level) - 2, 30))
    return f"{began}{styled(level, COLOURS.get(level, 'green'), sys.stdout)}  {rest}"


def _verdict(news: News, path: str) -> tuple[str, str]:
    names = [file.name for file in news.changed]
    changed = ", ".join(names[:2]) + (f" and {len(names) - 2} more" if len(names) > 2 else "")
    before = f"{changed}: " if changed else ""
    if news.error is not None:
        return "broken", f"{before}{news.error}"
    if news.checked is None:
        return "stale", f"{before}build it again: pip install --editable {path}"
    taken = ", reloaded" if news.reloaded else ""
    faults = [fault for fault in news.checked.faults if fault.level != "note"]
    if not faults:
        return "ok", f"{before}{_adds(news.checked)}, {news.checked.ms:.0f} ms{taken}"
    problem = faults[0].problem
    at = Path(problem.at).name if problem.at else changed
    more = f" (+{len(faults) - 1} more)" if len(faults) > 1 else ""
    return faults[0].level, f"{at}{more}{taken}: {problem.message}".removeprefix(": ")


def _adds(checked: Checked) -> str:
    from symphony.plugins.catalog import PluginState
    from symphony.plugins.probe_result import ProbeResult

    result = ProbeResult(contributions=checked.contributions)
    return PluginState(checked.name, checked.version, "active", True, result=result).adds() or "adds nothing"


def _how_to_run(checked: Checked, subject: Subject) -> str:
    names = [item["name"] for item in checked.contributions if item["kind"] == "workflow"]
    if not names:
        return "see it: symphony plugins info " + subject.name
    return f"run it: symphony run {names[0]}" + (f" --plugin {subject.file}" if subject.file else "")
