"""``symphony run``, and what it shares with ``runs resume``: following a run to its end."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from symphony import client, running
from symphony.cli.command import Command, State, pass_state
from symphony.cli.failure import Exit, show_failure
from symphony.cli.output import counted, note, print_json, safe, seconds
from symphony.cli.progress import Progress, progress
from symphony.cli.rendering import render
from symphony.cli.run_commands import how_to_go_on
from symphony.errors import InterpreterDied, InvalidInput, PluginBroken, Quarantined, SymphonyError
from symphony.running import Order

if TYPE_CHECKING:
    from symphony.home import Home

CANCEL_LIMIT = 30.0
INTERRUPTED = 130
WAITING = 10
CRASHES = (InterpreterDied.__name__, PluginBroken.__name__, Quarantined.__name__)


def _workflow_names(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """Shell completion, from the store."""
    from symphony.cli.command import state_of
    from symphony.plugins import catalog

    try:
        rows = catalog.workflows(catalog.survey(state_of(context).home))
    except (SymphonyError, OSError):
        return []
    return [row["name"] for row in rows if row["name"].startswith(incomplete)]


@click.command(
    "run",
    cls=Command,
    examples="""
    symphony run conductor.index path=src
    symphony run conductor.search query="retry with backoff" top=5
    symphony run tools.report --plugin tools.py --input report.json
    symphony run conductor.index path=. --detach
    """,
)
@click.argument("workflow", shell_complete=_workflow_names)
@click.argument("values", metavar="[KEY=VALUE]...", nargs=-1)
@click.option(
    "--input", "source", metavar="FILE|-", help="Read inputs as one JSON object from a file or stdin."
)
@click.option("--detach", is_flag=True, help="Print the run's id and do not wait for its end.")
@click.option(
    "--plugin", "plugins", metavar="FILE", multiple=True, help="Use a file as a plugin (repeatable)."
)
@pass_state
def command(
    state: State,
    workflow: str,
    values: tuple[str, ...],
    source: str | None,
    detach: bool,
    plugins: tuple[str, ...],
) -> None:
    """Run a workflow and wait for its result.

    WORKFLOW is a name such as conductor.index. The type of each VALUE follows from the workflow's
    signature: text as it stands, everything else as JSON. Ctrl-C cancels the run, a second one stops waiting.
    A run that asks for an input goes on waiting for it when this command ends, with exit code 10.
    """
    text = parse_values(values)
    inputs = read_inputs(source) if source else {}
    for name in text:
        if name in inputs:
            raise InvalidInput(f"input {name!r} is given twice, by --input and by {name}=VALUE")
    home = state.home
    order = running.resolve(home, Order(workflow, inputs, text, [Path(path) for path in plugins]), note)
    connection = client.connect_or_start(home, note=note)
    with connection:
        run = running.submit(connection, order)
        if detach:
            _detached(state, run, order.workflow)
            return
        finish(state, follow(home, connection, run))


def parse_values(values: tuple[str, ...]) -> dict[str, str]:
    """KEY=VALUE words as a dictionary. Raises ``InvalidInput``."""
    text: dict[str, str] = {}
    for word in values:
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise InvalidInput(f"{word!r} is not KEY=VALUE", hint="write inputs as name=value")
        if name in text:
            raise InvalidInput(f"input {name!r} is given twice")
        text[name] = value
    return text


def read_inputs(source: str) -> dict[str, Any]:
    """The JSON object in a file, or on stdin. Raises ``InvalidInput``."""
    try:
        content = sys.stdin.read() if source == "-" else Path(source).read_text(encoding="utf-8")
        found = json.loads(content)
    except FileNotFoundError as error:
        raise InvalidInput(f"--input: there is no file {source}") from error
    except (OSError, ValueError) as error:
        raise InvalidInput(f"--input {source}: {error}", hint="it has to be one JSON object") from error
    if not isinstance(found, dict):
        raise InvalidInput(f"--input {source}: expected a JSON object, got {type(found).__name__}")
    return found


def _detached(state: State, run: str, workflow: str) -> None:
    if not state.json:
        click.echo(run)
        note(f"running; look with: symphony runs show {run}")
        return
    steps = {"executed": 0, "reused": 0, "failed": 0, "skipped": 0}
    print_json(
        {
            "run": run,
            "workflow": workflow,
            "status": "running",
            "result": None,
            "error": None,
            "steps": steps,
            "seconds": 0.0,
        }
    )


def follow(home: Home, connection: client.Client, run: str) -> dict[str, Any]:
    """Wait for the run's end with progress on stderr; Ctrl-C cancels it."""
    with progress() as shown:
        try:
            document: dict[str, Any] = running.wait(
                home, connection, run, shown.event, shown.note, waiting=True
            )
            return document
        except KeyboardInterrupt:
            document = _cancel(home, run, shown) or {"run": run, "status": "running", "interrupted": True}
            return {**document, "interrupted": True}


def _cancel(home: Home, run: str, shown: Progress) -> dict[str, Any] | None:
    """Cancel the run and wait for its end; None when it takes too long or the user has had enough."""
    shown.note(
        f"cancelling run {run}: waiting up to {CANCEL_LIMIT:g} s for its steps; Ctrl-C again stops waiting"
    )
    try:
        running.cancel(home, run)
        with client.connect_or_start(home) as again:
            document: dict[str, Any] = again.request(
                "runs.wait", {"run": run, "events": True}, event=shown.event, timeout=CANCEL_LIMIT
            )
            return document
    except KeyboardInterrupt:
        shown.note(f"not waiting any more; look with: symphony runs show {run}")
    except TimeoutError:
        shown.note(f"its steps did not stop within {CANCEL_LIMIT:g} s; look with: symphony runs show {run}")
    except SymphonyError as error:
        shown.note(f"it could not be cancelled: {error}")
    return None


def finish(state: State, document: dict[str, Any]) -> None:
    """Print a run's document, and end with the exit code that its status asks for."""
    interrupted = bool(document.pop("interrupted", False))
    if "steps" not in document:  # nobody waited for the end
        if state.json:
            show_failure(
                state,
                SymphonyError(
                    f"interrupted while run {document['run']} was going on",
                    hint=f"symphony runs show {document['run']}",
                ),
                INTERRUPTED,
                kind="Interrupted",
            )
        raise Exit(INTERRUPTED)
    code = INTERRUPTED if interrupted else exit_code(document)
    if state.json:
        print_json(document)
    elif document["status"] == "completed":
        for line in render(document["result"]):
            click.echo(line)
    note(_summary(document))
    for line in how_to_go_on(document["run"], document.get("questions") or []):
        note(safe(line))
    error = document.get("error")
    if error and not state.json and not interrupted:
        step = f" in step {error['step']}" if error.get("step") else ""
        report = str(error.get("report") or "").rstrip()
        if "\n" in report:
            note(safe(report))  # the traceback, cut to the plugin's own frames
        hint = f"symphony runs show {document['run']}" if "\n" in report or not report else f"see {report}"
        show_failure(state, SymphonyError(f"{error['type']}{step}: {error['message']}", hint=hint), code)
    if code:
        raise Exit(code)


def _summary(document: dict[str, Any]) -> str:
    steps = document["steps"] or {}
    parts = [f"{counted(steps.get('executed', 0), 'step')} executed", f"{steps.get('reused', 0)} reused"]
    parts += [f"{steps[kind]} {kind}" for kind in ("failed", "skipped") if steps.get(kind)]
    took = f" in {seconds(document['seconds'])}" if document.get("seconds") is not None else ""
    return f"{document['status']}{took}: {', '.join(parts)} (run {document['run']})"


def exit_code(document: dict[str, Any]) -> int:
    """0 completed; 4 the interpreter died on it; 10 it waits for an input; 1 otherwise."""
    if document["status"] == "completed":
        return 0
    if document["status"] == "waiting":
        return WAITING
    crashed = (document.get("error") or {}).get("type") in CRASHES
    return PluginBroken.exit_code if crashed else 1
