"""What ``symphony run`` does, and shares with ``runs resume``: following a run to its end. Without click."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from symphony import client, running
from symphony.cli.failure import Exit, show_failure
from symphony.cli.output import counted, echo, note, print_json, safe, seconds
from symphony.cli.progress import Progress, progress
from symphony.cli.questions import how_to_go_on
from symphony.cli.rendering import render
from symphony.errors import (
    InterpreterDied,
    InvalidInput,
    NotFound,
    PluginBroken,
    Quarantined,
    SymphonyError,
)
from symphony.home import absolute
from symphony.plugins import LOCAL_FILE
from symphony.running import Order

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from symphony.cli.state import State
    from symphony.home import Home
    from symphony.running import Connect, Connection

LOCAL = Path(LOCAL_FILE)
CANCEL_LIMIT = 30.0
INTERRUPTED = 130
WAITING = 10
CRASHES = (InterpreterDied.__name__, PluginBroken.__name__, Quarantined.__name__)


def start(
    state: State,
    workflow: str,
    values: Sequence[str],
    source: str | None = None,
    detach: bool = False,
    here: bool = False,
    settings: Sequence[str] = (),
    plugins: Sequence[str] = (),
    executor: str | None = None,
) -> None:
    """Run a workflow and print its result, or only its id; ends as ``finish`` does."""
    if here and detach:
        raise InvalidInput("--detach needs a host of its own", hint="leave out --no-isolation")
    home = state.home
    if here:
        _take_hash_seed(home)  # before anything is read from stdin
    text = parse_values(values)
    inputs = read_inputs(source) if source else {}
    for name in text:
        if name in inputs:
            raise InvalidInput(f"input {name!r} is given twice, by --input and by {name}=VALUE")
    files = [absolute(path) for path in plugins]
    if LOCAL.is_file() and LOCAL.absolute() not in files:
        from symphony.plugins import local

        files += local.for_run(home, workflow, note)
    order = Order(workflow, inputs, text, files, executor)
    check = functools.partial(running.resolve, home, order, note)
    if here or "." not in workflow:
        order = check()  # a short name is looked up where the plugins of this command line are known
        check = functools.partial(running.resolve, home, order, note)
    connect: Connect = functools.partial(
        client.connect_or_start, home, settings=settings, note=note, check=check
    )
    with contextlib.ExitStack() as held:
        if here:
            connect = held.enter_context(_host_here(home, settings))
        connection = held.enter_context(connect())
        with held_interrupts() as interrupts:
            try:
                accepted = running.submitted(connection, order)
            except NotFound:
                check()  # which knows of plugins that are disabled or broken, too
                raise
            run = str(accepted["run"])
            detached = detach and not interrupts.held
            document = None if detached else follow(connect, connection, run, interrupts.release)
    if document is None:
        _detached(state, run, str(accepted["workflow"]))
    else:
        finish(state, document)


def _take_hash_seed(home: Home) -> None:
    """Become a process with the home's hash seed, as isolated interpreters have it: a replay needs that."""
    seed = home.ensure().hash_seed()
    if os.environ.get("PYTHONHASHSEED") != seed:
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)


@contextlib.contextmanager
def _host_here(home: Home, settings: Sequence[str]) -> Iterator[Connect]:
    """A host in this process. What steps write to stdout goes to stderr: stdout is for the result."""
    from symphony.in_process import InProcessHost

    host = InProcessHost(home, settings)
    sys.stdout.flush()
    result = os.dup(1)
    os.dup2(2, 1)
    try:
        host.open()
        try:
            yield lambda: contextlib.nullcontext(host)
        finally:
            host.close()
    finally:
        sys.stdout.flush()
        os.dup2(result, 1)
        os.close(result)


def parse_values(values: Sequence[str]) -> dict[str, str]:
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
        echo(run)
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


class Interrupts:
    """Ctrl-C, held back until there is a run that it can cancel. The second one comes at once."""

    def __init__(self) -> None:
        self.held = False
        self._before = signal.getsignal(signal.SIGINT)
        if self._before != signal.SIG_IGN:  # as a shell has it for what runs in the background
            signal.signal(signal.SIGINT, self._hold)

    def _hold(self, _number: int, _frame: object) -> None:
        if self.held:
            raise KeyboardInterrupt
        self.held = True
        note("interrupted: waiting for the host to take the run, to cancel it; Ctrl-C again stops waiting")

    def release(self) -> None:
        """Let Ctrl-C come as ever; raises KeyboardInterrupt where one was held back."""
        signal.signal(signal.SIGINT, self._before)
        if self.held:
            self.held = False
            raise KeyboardInterrupt


@contextlib.contextmanager
def held_interrupts() -> Iterator[Interrupts]:
    """Hold Ctrl-C back, until it is released or the block ends."""
    interrupts = Interrupts()
    try:
        yield interrupts
    finally:
        interrupts.release()


def follow(
    connect: Connect, connection: Connection, run: str, begin: Callable[[], None] = lambda: None
) -> dict[str, Any]:
    """Wait for the run's end with progress on stderr; Ctrl-C cancels it, also one that ``begin`` raises."""
    with progress() as shown:
        try:
            begin()
            document: dict[str, Any] = running.wait(
                connect, connection, run, shown.event, shown.note, waiting=True
            )
            return document
        except KeyboardInterrupt:
            document = _cancel(connect, run, shown) or {"run": run, "status": "running", "interrupted": True}
            return {**document, "interrupted": True}


def _cancel(connect: Connect, run: str, shown: Progress) -> dict[str, Any] | None:
    """Cancel the run and wait for its end; None when it takes too long or the user has had enough."""
    shown.note(
        f"cancelling run {run}: waiting up to {CANCEL_LIMIT:g} s for its steps; Ctrl-C again stops waiting"
    )
    try:
        return running.cancel(connect, run, CANCEL_LIMIT, shown.event)
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
            echo(line)
    note(_summary(document))
    for line in how_to_go_on(document["run"], document.get("questions") or []):
        note(safe(line))
    error = document.get("error")
    if error and not state.json and not interrupted:
        step = f" in step {error['step']}" if error.get("step") else ""
        report = str(error.get("report") or "").rstrip()
        if "\n" in report:
            note(safe(report))  # the traceback, cut to the plugin's own frames
        crash = report.startswith("/")  # the place of a report, and no traceback
        hint = f"see {report}" if crash else f"symphony runs show {document['run']}"
        message = f": {error['message']}" if error["message"] else ""
        show_failure(state, SymphonyError(f"{error['type']}{step}{message}", hint=hint), code)
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
