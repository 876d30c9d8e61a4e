"""Run one command of a plugin in this process, which is its own.

    python -P -m symphony.command_process TRACE-FD CALLED PLUGIN:COMMAND [--json] [--traceback] -- [WORD ...]

Started by ``symphony CALLED ...``, which stays behind to name how it ended. It has the terminal and a client
of the host; it opens no Pit.
"""

from __future__ import annotations

import faulthandler
import sys
from typing import TYPE_CHECKING, Any

import click

from symphony.cli.command import common_options
from symphony.cli.failure import ended, show_failure
from symphony.cli.invoking import invoke
from symphony.cli.state import State
from symphony.errors import NotFound, SymphonyError
from symphony.home import Home, absolute
from symphony.host import Host
from symphony.plugins.discovery import Candidate, find
from symphony.plugins.loading import collect, import_modules, own_frame, own_roots, problem_of
from symphony.plugins.lookup import error_for

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

JSON = "--json"


def main(argv: Sequence[str]) -> int:
    """Run what the arguments name and give its exit code."""
    trace, called, full, *rest = argv
    faulthandler.enable(file=int(trace), all_threads=True)
    flags, words = rest[: rest.index("--")], rest[rest.index("--") + 1 :]
    state = State(json=JSON in flags, traceback="--traceback" in flags)
    return ended(state, lambda: _run(state, called, full, words))


def _run(state: State, called: str, full: str, words: list[str]) -> int:
    plugin, _, name = full.partition(":")
    candidate = find(plugin)
    command = _load(candidate, name)
    host = _CommandHost()
    if state.json and JSON in _flags(command) and JSON not in words:
        words = [JSON, *words]  # given in front of the command
    _understand_common_options(command, host)
    # The parent keeps the state, so that what the command finds in its own context is the host.
    root = click.Context(click.Command("symphony"), info_name="symphony", obj=state)
    root.max_content_width = 80

    def parsed() -> click.Context:
        context = command.make_context(called, words, parent=root)
        context.obj = host
        return context

    try:
        return invoke(state, parsed)
    except (SymphonyError, BrokenPipeError):
        raise
    except Exception as error:
        return _show_raised(state, f"command {called} of plugin {plugin}", candidate, error)


def _load(candidate: Candidate, name: str) -> click.Command:
    try:
        found = collect(candidate.name, import_modules(candidate), conductor=False)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        problem = problem_of(error, own_roots(candidate))
        raise error_for(f"plugin {candidate.name}", problem).with_traceback(error.__traceback__) from None
    command = found.commands.items.get(name)
    if command is None:
        hint = "it was changed meanwhile: symphony --help"
        raise NotFound(f"plugin {candidate.name} has no command {name!r}", hint=hint)
    return command


def _show_raised(state: State, what: str, candidate: Candidate, error: Exception) -> int:
    at = own_frame(error.__traceback__, own_roots(candidate))
    kind = type(error).__name__
    told = SymphonyError(
        f"{what} raised {kind}: {error}" + (f" (at {at})" if at else ""), hint="--traceback shows all of it"
    ).with_traceback(error.__traceback__)
    return show_failure(state, told, SymphonyError.exit_code, kind)


class _CommandHost(Host):
    """The host of the home that the command line names, wherever in it that stands."""

    def use_home(self, path: str) -> None:
        self._home = Home(absolute(path))


def _flags(command: click.Command) -> set[str]:
    return {flag for parameter in command.params for flag in parameter.opts}


def _understand_common_options(command: click.Command, host: _CommandHost) -> None:
    """Add the options that every command has, where the author has none of that name."""
    own = _flags(command)
    for option in common_options():
        if not own.intersection(option.opts):
            if "--home" in option.opts:
                option.callback = _home_of(host)
            command.params.append(option)
    if isinstance(command, click.Group):
        for below in command.commands.values():
            _understand_common_options(below, host)


def _home_of(host: _CommandHost) -> Callable[[click.Context, click.Parameter, Any], None]:
    def use(_context: click.Context, _option: click.Parameter, value: str | None) -> None:
        if value is not None:
            host.use_home(value)

    return use


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
